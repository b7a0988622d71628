"""langgraph.json: read and checked; nothing of the project is imported."""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from threadmill.config import SETTINGS, environment
from threadmill.errors import ConfigError
from threadmill.langgraph_json import checkpointer, http, store, webhooks
from threadmill.langgraph_json.checkpointer import RetentionConfig
from threadmill.langgraph_json.graphs import GraphSpec, graphs, named
from threadmill.langgraph_json.http import HttpConfig
from threadmill.langgraph_json.store import StoreConfig
from threadmill.langgraph_json.values import lookup, typed
from threadmill.langgraph_json.webhooks import WebhooksConfig

NOT_YET = ("ui", "ui_config", "checkpointer.path")
BUILD_TIME = (
    *("$schema", "api_version", "base_image", "dockerfile_lines", "image_distro", "internal_docker_tag", "source"),
    *("keep_pkg_tools", "node_version", "pip_config_file", "pip_installer", "python_version"),
)
SUPPORTED = (
    *("graphs", "dependencies", "env", "checkpointer", "store", "auth", "http", "encryption", "threadmill"),
    *("auth.path", "auth.disable_studio_auth", "auth.openapi", "auth.cache", "encryption.path"),
    *(*store.KEYS, *checkpointer.KEYS, *http.KEYS, *webhooks.KEYS, *(f"threadmill.{one.name}" for one in SETTINGS)),
)
KNOWN = frozenset((*SUPPORTED, *BUILD_TIME, *NOT_YET))


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
    store: StoreConfig
    retention: RetentionConfig
    webhooks: WebhooksConfig
    http: HttpConfig
    assistant_configs: dict[str, dict[str, Any]]  # of the assistants that are made from graphs, by graph
    security: dict[str, Any]  # what /openapi.json says of authentication
    auth: GraphSpec | None = None  # where the `langgraph_sdk.Auth` object is
    encryption: GraphSpec | None = None  # where the `langgraph_sdk.Encryption` object is


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
    env = _env(path, raw.get("env", {}))
    variables = environment(env)
    wanted = http.http(path, raw.get("http"), variables.get("MOUNT_PREFIX"))
    warnings += http.warnings(path, wanted)
    return Project(
        path=path,
        root=path.parent,
        graphs=graphs(path, raw.get("graphs")),
        env=env,
        dependencies=dependencies,
        raw=raw,
        warnings=tuple(warnings),
        allowed_types=checkpointer.allowed_types(path, raw),
        http=wanted,
        assistant_configs=_assistant_configs(variables.get("LANGGRAPH_CONFIG")),
        security=typed(path, "auth.openapi", lookup(raw, "auth.openapi") or {}, dict),
        auth=_object(path, "auth", raw.get("auth")),
        encryption=_object(path, "encryption", raw.get("encryption")),
        store=store.store(path, typed(path, "store", raw.get("store") or {}, dict)),
        retention=checkpointer.retention(path, lookup(raw, "checkpointer.ttl") or {}),
        webhooks=replace(
            webhooks.webhooks(path, raw.get("webhooks"), variables), enabled="webhooks" not in wanted.disabled
        ),
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
    content: dict[str, Any] = typed(path, "the file", raw, dict)
    return content


def _unknown_keys(path: Path, raw: dict[str, Any]) -> Iterator[str]:
    for section in ("threadmill", "checkpointer"):
        typed(path, section, {} if raw.get(section) is None else raw[section], dict)
    present = list(_present(raw))
    if unsupported := [key for key in present if key in NOT_YET and lookup(raw, key) is not None]:
        yield f"{path}: not supported yet and ignored: {', '.join(unsupported)}."
    for key in present:
        if key not in KNOWN:
            close = difflib.get_close_matches(key, KNOWN, n=1)
            yield f"{path}: unknown key {key!r} is ignored" + (f"; did you mean {close[0]!r}?" if close else ".")


def _present(raw: dict[str, Any], above: str = "") -> Iterator[str]:
    """The dotted names of all keys; what is below a key that has no known ones below is the project's own."""
    for key, value in raw.items():
        yield f"{above}{key}"
        if isinstance(value, dict) and any(known.startswith(f"{above}{key}.") for known in KNOWN):
            yield from _present(value, f"{above}{key}.")


def _object(path: Path, section: str, raw: Any) -> GraphSpec | None:
    """Never ignored: a server that its owner believes guarded must not start open."""
    if raw is None:
        return None
    return named(path, f"{section}.path", section, typed(path, section, raw, dict).get("path"))


def _assistant_configs(text: str | None) -> dict[str, dict[str, Any]]:
    where = "LANGGRAPH_CONFIG"
    try:
        configs = json.loads(text) if text else {}
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: invalid JSON at column {error.colno}: {error.msg}.") from None
    if not isinstance(configs, dict) or not all(isinstance(one, dict) for one in configs.values()):
        raise ConfigError(f'{where} must be {{"graph": {{"configurable": {{...}}}}}}, not {str(text)[:80]}.')
    return configs


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
    for index, entry in enumerate(typed(path, "dependencies", raw, list)):
        typed(path, f"dependencies[{index}]", entry, str)
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
