"""The server's settings, from the command line, the process environment (read nowhere else) and langgraph.json."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from threadmill.errors import ConfigError


class Source(Protocol):
    """langgraph.json, as far as settings are concerned."""

    @property
    def path(self) -> Path: ...
    @property
    def root(self) -> Path: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def raw(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Setting:
    """One server setting; `kind` is one of text, path, int, float, bool and choice."""

    name: str
    env: str
    kind: str
    default: Any
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    fallback_env: str | None = None


def _setting(default: Any, env: str, doc: str, **more: Any) -> Any:
    return field(default=default, metadata={"env": env, "doc": doc, **more})


@dataclass(frozen=True)
class Settings:
    """Every setting of the server. The fields are the table: parsing, bounds and the docs are made from them."""

    host: str = _setting("127.0.0.1", "THREADMILL_HOST", "Address to listen on.")
    port: int = _setting(
        2024, "THREADMILL_PORT", "Port to listen on; 0 takes a free one.", low=0, high=65535, fallback_env="PORT"
    )
    data_dir: Path = _setting(  # noqa: RUF009 (a field, not a shared value)
        Path(".threadmill"), "THREADMILL_DATA_DIR", "Folder of the database; relative to that of langgraph.json."
    )
    insecure: bool = _setting(
        False, "THREADMILL_INSECURE", "Listen where other machines can reach the server although nobody must log in."
    )
    sharing: bool = _setting(
        False, "THREADMILL_SHARING", "Let users make links by which anybody may read a conversation without a login."
    )
    max_concurrent_runs: int = _setting(
        256, "THREADMILL_MAX_CONCURRENT_RUNS", "Runs executed at the same time; more wait in the queue.", low=1
    )
    run_timeout_s: float = _setting(
        3600.0, "THREADMILL_RUN_TIMEOUT", "Seconds after which a run is stopped with status timeout.", low=0.1
    )
    max_attempts: int = _setting(
        25, "THREADMILL_MAX_ATTEMPTS", "How often a run is started, again after each crash, before it fails.", low=1
    )
    on_crash: str = _setting(
        "retry",
        "THREADMILL_ON_CRASH",
        "What becomes of a run when its server dies: retry goes on from its last checkpoint, wait leaves the choice.",
        choices=("retry", "wait"),
    )
    lease_s: float = _setting(
        30.0, "THREADMILL_LEASE", "Seconds a worker may be silent before its runs are given to another.", low=1.0
    )
    drain_grace_s: float = _setting(
        10.0, "THREADMILL_DRAIN_GRACE", "Seconds running runs get to finish when the server stops.", low=0.0
    )
    heartbeat_s: float = _setting(
        5.0, "THREADMILL_HEARTBEAT", "Seconds between the comments that keep an idle SSE stream open.", low=0.1
    )
    ping_s: float = _setting(
        20.0,
        "THREADMILL_PING",
        "Seconds between the pings to a WebSocket; who does not answer within as long is gone.",
        low=0.1,
    )
    send_timeout_s: float = _setting(
        30.0,
        "THREADMILL_SEND_TIMEOUT",
        "Seconds in which a WebSocket must take a frame; then it is closed, and comes back with its cursors.",
        low=0.1,
    )
    flush_ms: int = _setting(
        20, "THREADMILL_FLUSH_MS", "Longest time in milliseconds an event is not yet on disk.", low=1, high=25
    )
    max_body_bytes: int = _setting(
        32 * 1024 * 1024, "THREADMILL_MAX_BODY_BYTES", "Largest request body in bytes.", low=1024
    )
    compact_after_s: float = _setting(
        600.0,
        "THREADMILL_COMPACT_AFTER",
        "Seconds after a run's end when its tokens are folded into whole messages in the log.",
        low=0.0,
    )
    keep_all_days: float = _setting(
        0.0,
        "THREADMILL_KEEP_ALL_DAYS",
        "Days after which of a thread's checkpoints only those are kept that ended a turn; 0 keeps all.",
        low=0.0,
        high=36500,
    )
    keep_turns_months: float = _setting(
        12.0,
        "THREADMILL_KEEP_TURNS_MONTHS",
        "Months after which, of those, only what is kept for ever is left.",
        low=0.0,
        high=1200,
    )
    max_sockets: int = _setting(
        2000, "THREADMILL_MAX_SOCKETS", "WebSockets one user, or one address without auth, may have open.", low=1
    )
    max_subscriptions: int = _setting(
        1000, "THREADMILL_MAX_SUBSCRIPTIONS", "Threads that one WebSocket may follow.", low=1
    )
    feed_deletions: int = _setting(
        10000,
        "THREADMILL_FEED_DELETIONS",
        "Deleted threads that the list feed tells of; a list that missed more is sent whole.",
        low=0,
    )
    log_level: str = _setting(
        "info",
        "THREADMILL_LOG_LEVEL",
        "Least severe message that is logged.",
        choices=("debug", "info", "warning", "error", "critical"),
    )
    log_format: str = _setting(
        "auto",
        "THREADMILL_LOG_FORMAT",
        "How log lines look; auto is console at a terminal and json elsewhere.",
        choices=("auto", "json", "console"),
    )
    recursion_limit: int = _setting(
        10007, "THREADMILL_RECURSION_LIMIT", "Supersteps a run may take unless its config says otherwise.", low=1
    )
    sqlite_synchronous: str = _setting(
        "FULL",
        "THREADMILL_SQLITE_SYNCHRONOUS",
        "FULL survives a power cut; NORMAL a crash of the process only; see [durability](durability.md).",
        choices=("FULL", "NORMAL"),
    )
    durability: str = _setting(
        "async",
        "THREADMILL_DURABILITY",
        "When the checkpoints of a run that does not say so reach the disk; see [durability](durability.md).",
        choices=("sync", "async", "exit"),
    )
    ring_bytes: int = _setting(
        4 * 1024 * 1024, "THREADMILL_RING_BYTES", "Bytes of newest events in memory per active thread.", low=4096
    )
    stall_s: float = _setting(
        1.0, "THREADMILL_STALL", "Seconds a node may block the graphs' event loop before it is reported.", low=0.01
    )
    webhook_secret: str = _setting(
        "",
        "THREADMILL_WEBHOOK_SECRET",
        "Signs webhooks: `whsec_` and base64; several with spaces between while it changes.",
    )
    webhook_max_attempts: int = _setting(
        8, "THREADMILL_WEBHOOK_MAX_ATTEMPTS", "How often a webhook is sent before it is given up.", low=1, high=20
    )
    webhook_timeout_s: float = _setting(
        10.0, "THREADMILL_WEBHOOK_TIMEOUT", "Seconds that one attempt to send a webhook may take.", low=0.1, high=300
    )
    egress_allow: str = _setting(
        "",
        "THREADMILL_EGRESS_ALLOW",
        "Networks that are not public and may be called all the same, as `10.0.0.0/8, 192.168.1.7`.",
    )


_KINDS = {bool: "bool", int: "int", float: "float", str: "text", type(Path()): "path"}
SETTINGS: tuple[Setting, ...] = tuple(
    Setting(
        f.name, kind="choice" if "choices" in f.metadata else _KINDS[type(f.default)], default=f.default, **f.metadata
    )
    for f in fields(Settings)
)


def load_settings(project: Source, **overrides: Any) -> Settings:
    """Precedence: `overrides` not None, environment, `env` of langgraph.json, its `threadmill` section, default."""
    if unknown := overrides.keys() - {s.name for s in SETTINGS}:
        raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
    variables, values = environment(project.env), dict[str, Any]()
    for setting in SETTINGS:
        source, value = _find(setting, overrides, variables, project)
        values[setting.name] = _parse(setting, source, value)
    values["data_dir"] = (project.root / values["data_dir"].expanduser()).resolve()
    return Settings(**values)


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The process's variables, which win over `env` of langgraph.json."""
    return {**env, **os.environ}


def _find(setting: Setting, overrides: Any, variables: Mapping[str, str], project: Source) -> tuple[str, Any]:
    section = project.raw.get("threadmill", {})
    if overrides.get(setting.name) is not None:
        return f"--{setting.name.replace('_', '-')}", overrides[setting.name]
    for variable in (setting.env, setting.fallback_env):
        if variable and variables.get(variable, "") != "":
            return variable, variables[variable]
    if setting.name in section:
        return f"{project.path}: threadmill.{setting.name}", section[setting.name]
    return "default", setting.default


def _parse(setting: Setting, source: str, value: Any) -> Any:
    try:
        parsed = _convert(setting, value)
    except (KeyError, OverflowError, TypeError, ValueError):
        raise ConfigError(f"{source} must be {_expected(setting)}, not {value!r}.") from None
    too_low = setting.low is not None and parsed < setting.low
    too_high = setting.high is not None and parsed > setting.high
    if too_low or too_high:
        raise ConfigError(f"{source} must be {_expected(setting)}, not {value!r}.")
    return parsed


def _convert(setting: Setting, value: Any) -> Any:
    text = value.strip() if isinstance(value, str) else value
    if setting.kind == "bool":
        return _as_bool(text)
    if isinstance(text, bool):
        raise TypeError
    if setting.kind == "int":
        if isinstance(text, float) and not text.is_integer():
            raise ValueError
        return int(text)
    if setting.kind == "float":
        number = float(text)
        if not math.isfinite(number):
            raise ValueError
        return number
    if setting.kind == "path" and isinstance(text, (str, Path)) and text:
        return Path(text)
    if setting.kind == "text" and isinstance(text, str) and (text or not setting.default):
        return text
    if setting.kind == "choice" and isinstance(text, str):
        return {choice.casefold(): choice for choice in setting.choices}[text.casefold()]
    raise TypeError


def _as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError


def _expected(setting: Setting) -> str:
    if setting.kind == "choice":
        return "one of " + ", ".join(setting.choices)
    noun = {"int": "a whole number", "float": "a number", "bool": "true or false", "path": "a path", "text": "text"}
    if setting.low is not None and setting.high is not None:
        return f"{noun[setting.kind]} from {setting.low:g} to {setting.high:g}"
    if setting.low is not None:
        return f"{noun[setting.kind]} of at least {setting.low:g}"
    return noun[setting.kind]
