"""Where everything that can be configured comes from: the process environment and langgraph.json, read nowhere else."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from threadmill.errors import ConfigError

NOT_YET = ("encryption", "http", "webhooks", "ui", "ui_config", "checkpointer.path")
BUILD_TIME = (
    *("$schema", "api_version", "base_image", "dockerfile_lines", "image_distro", "internal_docker_tag", "source"),
    *("keep_pkg_tools", "node_version", "pip_config_file", "pip_installer", "python_version"),
)
SUPPORTED = ("graphs", "dependencies", "env", "checkpointer", "store", "auth", "threadmill")
STORE_KEYS = (
    *("store.index", "store.index.dims", "store.index.embed", "store.index.fields"),
    *("store.ttl", "store.ttl.default_ttl", "store.ttl.refresh_on_read", "store.ttl.sweep_interval_minutes"),
)
RETENTION_KEYS = (
    *("checkpointer.ttl", "checkpointer.ttl.strategy", "checkpointer.ttl.default_ttl"),
    *("checkpointer.ttl.sweep_interval_minutes", "checkpointer.ttl.sweep_limit"),
)
MAX_MINUTES = 52_560_000  # a hundred years


@dataclass(frozen=True)
class GraphSpec:
    """One entry of `graphs`; exactly one of `module` (dotted name) and `file` (absolute) is set."""

    id: str
    module: str | None
    file: Path | None
    attribute: str
    description: str | None


@dataclass(frozen=True)
class StoreIndex:
    """What semantic search needs: `embed` as it is written, and where that may be a function of the project's."""

    dims: int
    embed: str
    function: GraphSpec | None = None
    fields: tuple[str, ...] = ("$",)


@dataclass(frozen=True)
class StoreConfig:
    """`store` of langgraph.json; times are in minutes."""

    index: StoreIndex | None = None
    default_ttl: float | None = None
    refresh_on_read: bool = True
    sweep_interval: float = 5.0


@dataclass(frozen=True)
class RetentionConfig:
    """`checkpointer.ttl` of langgraph.json: what new threads get, and how often and how many are looked at."""

    strategy: str = "delete"
    default_ttl: float | None = None  # minutes
    sweep_interval: float = 5.0  # minutes
    sweep_limit: int = 1000  # threads


@dataclass(frozen=True)
class Project:
    """langgraph.json, checked. `dependencies` are the local folders for sys.path, `warnings` are sentences to show."""

    path: Path
    root: Path
    graphs: dict[str, GraphSpec]
    env: dict[str, str]
    dependencies: tuple[Path, ...]
    raw: dict[str, Any]
    warnings: tuple[str, ...]
    allowed_types: tuple[tuple[str, str], ...]
    auth: GraphSpec | None = None  # where the `langgraph_sdk.Auth` object is
    store: StoreConfig = StoreConfig()
    retention: RetentionConfig = RetentionConfig()


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
    max_concurrent_runs: int = _setting(
        256, "THREADMILL_MAX_CONCURRENT_RUNS", "Runs executed at the same time; more wait in the queue.", low=1
    )
    run_timeout_s: float = _setting(
        3600.0, "THREADMILL_RUN_TIMEOUT", "Seconds after which a run is stopped with status timeout.", low=0.1
    )
    max_attempts: int = _setting(
        3, "THREADMILL_MAX_ATTEMPTS", "How often a run is started, again after each crash, before it fails.", low=1
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
    flush_ms: int = _setting(
        20, "THREADMILL_FLUSH_MS", "Longest time in milliseconds an event is not yet on disk.", low=1, high=25
    )
    max_body_bytes: int = _setting(
        32 * 1024 * 1024, "THREADMILL_MAX_BODY_BYTES", "Largest request body in bytes.", low=1024
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
        "FULL survives a power cut; NORMAL is faster and survives a crash of the process only.",
        choices=("FULL", "NORMAL"),
    )
    ring_bytes: int = _setting(
        4 * 1024 * 1024, "THREADMILL_RING_BYTES", "Bytes of newest events in memory per active thread.", low=4096
    )
    stall_s: float = _setting(
        1.0, "THREADMILL_STALL", "Seconds a node may block the graphs' event loop before it is reported.", low=0.01
    )


_KINDS = {bool: "bool", int: "int", float: "float", str: "text", type(Path()): "path"}
SETTINGS: tuple[Setting, ...] = tuple(
    Setting(
        f.name, kind="choice" if "choices" in f.metadata else _KINDS[type(f.default)], default=f.default, **f.metadata
    )
    for f in fields(Settings)
)


def load_settings(project: Project, **overrides: Any) -> Settings:
    """Precedence: `overrides` not None, environment, `env` of langgraph.json, its `threadmill` section, default."""
    if unknown := overrides.keys() - {s.name for s in SETTINGS}:
        raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
    environment = {**project.env, **os.environ}
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        source, value = _find(setting, overrides, environment, project)
        values[setting.name] = _parse(setting, source, value)
    values["data_dir"] = (project.root / values["data_dir"].expanduser()).resolve()
    return Settings(**values)


def _find(setting: Setting, overrides: Any, environment: Mapping[str, str], project: Project) -> tuple[str, Any]:
    section = project.raw.get("threadmill", {})
    if overrides.get(setting.name) is not None:
        return f"--{setting.name.replace('_', '-')}", overrides[setting.name]
    for variable in (setting.env, setting.fallback_env):
        if variable and environment.get(variable, "") != "":
            return variable, environment[variable]
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
    if setting.kind == "text" and isinstance(text, str) and text:
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


def load_project(path: Path) -> Project:
    """Read and check langgraph.json; `path` may be the file or its folder. Imports nothing of the project."""
    path = Path(os.path.abspath(path.expanduser()))
    path = path / "langgraph.json" if path.is_dir() else path
    raw = _read_json(path)
    warnings = list(_unknown_keys(path, raw))
    dependencies, missing = _dependencies(path, raw.get("dependencies", []))
    if missing:
        warnings.append(
            f"{path}: dependencies names {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed here; Threadmill installs nothing itself."
        )
    return Project(
        path=path,
        root=path.parent,
        graphs=_graphs(path, raw.get("graphs")),
        env=_env(path, raw.get("env", {})),
        dependencies=dependencies,
        raw=raw,
        warnings=tuple(warnings),
        allowed_types=_allowed_types(path, raw),
        auth=_auth(path, raw.get("auth")),
        store=_store(path, raw.get("store") or {}),
        retention=_retention(path, _lookup(raw, "checkpointer.ttl") or {}),
    )


def apply_environment(project: Project) -> None:
    """Make the process ready to import the project's code; applying it twice changes nothing.

    `env` fills in variables only: one that the process already has wins, so that a deployment can override a file.
    Dependency folders and the project root lead sys.path; each graph file's folder, and the folder above its package,
    come last, so that a graph can import its neighbours without hiding an installed package.
    """
    for name, value in project.env.items():
        os.environ.setdefault(name, value)
    first = dict.fromkeys(str(folder) for folder in (*project.dependencies, project.root))
    sys.path[:0] = [folder for folder in first if folder not in sys.path]
    for spec in project.graphs.values():
        if spec.file is not None:
            for folder in (spec.file.parent, package_parent(spec.file, project.root)):
                if str(folder) not in sys.path:
                    sys.path.append(str(folder))


def package_parent(file: Path, root: Path) -> Path:
    """The nearest folder above `file` that is no package itself, never above `root`."""
    folder = file.parent
    while folder != root and (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{path}: invalid JSON at {where}: {error.msg}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}.") from None
    content: dict[str, Any] = _typed(path, "the file", raw, dict)
    return content


def _typed(path: Path, where: str, value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    noun = {"dict": "an object", "list": "a list", "str": "a string"}[kind.__name__]
    raise ConfigError(f"{path}: {where} must be {noun}, not {json.dumps(value)[:80]}.")


def _unknown_keys(path: Path, raw: dict[str, Any]) -> Iterator[str]:
    section = _typed(path, "threadmill", raw.get("threadmill", {}), dict)
    checkpointer = _typed(path, "checkpointer", raw.get("checkpointer", {}) or {}, dict)
    present = [*raw, *(f"checkpointer.{key}" for key in checkpointer), *_store_keys(path, raw.get("store") or {})]
    ttl = checkpointer.get("ttl")
    present += [f"checkpointer.ttl.{key}" for key in ttl] if isinstance(ttl, dict) else []
    if unsupported := [key for key in present if key in NOT_YET and _lookup(raw, key) is not None]:
        yield f"{path}: not supported yet and ignored: {', '.join(unsupported)}."
    known = {*SUPPORTED, *BUILD_TIME, *NOT_YET, *STORE_KEYS, *RETENTION_KEYS, "checkpointer.serde"}
    settings = {f"threadmill.{setting.name}" for setting in SETTINGS}
    for key in [*present, *(f"threadmill.{key}" for key in section)]:
        names = settings if key.startswith("threadmill.") else known
        if key not in names:
            close = difflib.get_close_matches(key, names, n=1)
            yield f"{path}: unknown key {key!r} is ignored" + (f"; did you mean {close[0]!r}?" if close else ".")


def _lookup(raw: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


def _graphs(path: Path, raw: Any) -> dict[str, GraphSpec]:
    if not raw:
        raise ConfigError(f'{path}: graphs is missing or empty; name at least one, as {{"agent": "./agent.py:graph"}}.')
    entries = _typed(path, "graphs", raw, dict)
    return {id: _graph(path, f"graphs.{id}", id, entry) for id, entry in entries.items()}


def _auth(path: Path, raw: Any) -> GraphSpec | None:
    """Never ignored: a server that its owner believes guarded must not start open."""
    if raw is None:
        return None
    return _graph(path, "auth.path", "auth", _typed(path, "auth", raw, dict).get("path"))


def _graph(path: Path, where: str, id: str, entry: Any) -> GraphSpec:
    description = None
    if isinstance(entry, dict):
        description = entry.get("description")
        if description is not None:
            _typed(path, f"{where}.description", description, str)
        where, entry = f"{where}.path", entry.get("path")
    target, colon, attribute = _typed(path, where, entry, str).rpartition(":")
    if re.search(r"\.[cm]?[jt]sx?$", target if colon else attribute):
        raise ConfigError(f"{path}: {where} is {entry!r}, but only Python graphs are supported.")
    is_file = "/" in target or "\\" in target or target.endswith(".py")
    valid = target and (is_file or all(part.isidentifier() for part in target.split(".")))
    if not (id and valid and attribute.isidentifier()):
        raise ConfigError(f"{path}: {where} must be './file.py:name' or 'package.module:name', not {entry!r}.")
    file = Path(os.path.normpath(path.parent / target)) if is_file else None
    return GraphSpec(id, None if file else target, file, attribute, description)


def _env(path: Path, raw: Any) -> dict[str, str]:
    if isinstance(raw, str):
        file = path.parent / raw
        if not file.is_file():
            raise ConfigError(f"{path}: env names {raw!r}, but {file} does not exist.")
        try:
            values = dotenv_values(file)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{file}: not UTF-8 text at byte {error.start}.") from None
        return {name: value for name, value in values.items() if value is not None}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: env must be a file name or an object, not {json.dumps(raw)[:80]}.")
    for name, value in raw.items():
        if not isinstance(value, (str, int, float)):
            raise ConfigError(f"{path}: env.{name} must be a string, not {json.dumps(value)[:80]}.")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in raw.items()}


def _dependencies(path: Path, raw: Any) -> tuple[tuple[Path, ...], list[str]]:
    folders: list[Path] = []
    missing: list[str] = []
    for index, entry in enumerate(_typed(path, "dependencies", raw, list)):
        _typed(path, f"dependencies[{index}]", entry, str)
        if entry.startswith("."):
            folder = Path(os.path.normpath(path.parent / entry))
            if not folder.is_dir():
                raise ConfigError(f"{path}: dependencies[{index}] is {entry!r}, but {folder} is not a folder.")
            folders += [folder, *(src for src in [folder / "src"] if src.is_dir())]
        elif not _installed(entry):
            missing.append(entry)
    return tuple(dict.fromkeys(folders)), missing


def _installed(requirement: str) -> bool:
    name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    try:
        return name is not None and metadata.distribution(name[0]) is not None
    except metadata.PackageNotFoundError:
        return False


def _allowed_types(path: Path, raw: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    where = "checkpointer.serde.allowed_msgpack_modules"
    pairs = _lookup(raw, where)
    for pair in _typed(path, where, [] if pairs is None else pairs, list):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise ConfigError(f'{path}: {where} must hold ["module", "Name"] pairs, not {json.dumps(pair)[:80]}.')
    return tuple((module, name) for module, name in pairs or ())


def _store_keys(path: Path, raw: Any) -> Iterator[str]:
    for key, value in _typed(path, "store", raw, dict).items():
        yield f"store.{key}"
        if isinstance(value, dict):
            yield from (f"store.{key}.{inner}" for inner in value)


def _store(path: Path, raw: dict[str, Any]) -> StoreConfig:
    index = _typed(path, "store.index", raw.get("index") or {}, dict)
    ttl = _typed(path, "store.ttl", raw.get("ttl") or {}, dict)
    refresh = ttl.get("refresh_on_read", True)
    if not isinstance(refresh, bool):
        raise ConfigError(f"{path}: store.ttl.refresh_on_read must be true or false, not {json.dumps(refresh)[:80]}.")
    return StoreConfig(
        index=_store_index(path, index) if index else None,
        default_ttl=_minutes(path, "store.ttl.default_ttl", ttl.get("default_ttl")),
        refresh_on_read=refresh,
        sweep_interval=_minutes(path, "store.ttl.sweep_interval_minutes", ttl.get("sweep_interval_minutes")) or 5.0,
    )


def _retention(path: Path, raw: Any) -> RetentionConfig:
    where, ttl = "checkpointer.ttl", _typed(path, "checkpointer.ttl", raw, dict)
    strategy, limit = ttl.get("strategy", "delete"), ttl.get("sweep_limit", RetentionConfig.sweep_limit)
    if strategy not in ("delete", "keep_latest"):
        raise ConfigError(f"{path}: {where}.strategy must be delete or keep_latest, not {json.dumps(strategy)[:80]}.")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigError(f"{path}: {where}.sweep_limit must be a number of threads, not {json.dumps(limit)[:80]}.")
    interval = _minutes(path, f"{where}.sweep_interval_minutes", ttl.get("sweep_interval_minutes"))
    return RetentionConfig(
        strategy=strategy,
        default_ttl=_minutes(path, f"{where}.default_ttl", ttl.get("default_ttl")),
        sweep_interval=interval or RetentionConfig.sweep_interval,
        sweep_limit=limit,
    )


def _store_index(path: Path, raw: dict[str, Any]) -> StoreIndex:
    where, dims, embed, fields = "store.index", raw.get("dims"), raw.get("embed"), raw.get("fields")
    if isinstance(dims, bool) or not isinstance(dims, int) or dims < 1:
        raise ConfigError(f"{path}: {where}.dims must be the length of the vectors, not {json.dumps(dims)[:80]}.")
    target, _, name = str(embed).rpartition(":")
    if not (isinstance(embed, str) and target and name):
        raise ConfigError(
            f"{path}: {where}.embed must be 'provider:model', './file.py:function' or 'package.module:function', "
            f"not {json.dumps(embed)[:80]}."
        )
    is_file = "/" in target or "\\" in target or target.endswith(".py")
    is_name = all(part.isidentifier() for part in [*target.split("."), name])
    function = _graph(path, f"{where}.embed", f"{where}.embed", embed) if is_file or is_name else None
    paths = _typed(path, f"{where}.fields", ["$"] if fields is None else fields, list)
    return StoreIndex(dims, embed, function, tuple(_typed(path, f"{where}.fields[]", one, str) for one in paths))


def _minutes(path: Path, where: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MAX_MINUTES:
        raise ConfigError(f"{path}: {where} must be a number of minutes above 0, not {json.dumps(value)[:80]}.")
    return float(value)
