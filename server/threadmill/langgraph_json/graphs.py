"""`graphs`, and whatever else in langgraph.json names an object in the project's code."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadmill.errors import ConfigError
from threadmill.langgraph_json.values import typed


@dataclass(frozen=True)
class GraphSpec:
    """One entry of `graphs`; exactly one of `module` (dotted name) and `file` (absolute) is set."""

    id: str
    module: str | None
    file: Path | None
    attribute: str
    description: str | None


def graphs(path: Path, raw: Any) -> dict[str, GraphSpec]:
    if not raw:
        raise ConfigError(f'{path}: graphs is missing or empty; name at least one, as {{"agent": "./agent.py:graph"}}.')
    entries = typed(path, "graphs", raw, dict)
    return {id: named(path, f"graphs.{id}", id, entry) for id, entry in entries.items()}


def named(path: Path, where: str, id: str, entry: Any) -> GraphSpec:
    description = None
    if isinstance(entry, dict):
        description = entry.get("description")
        if description is not None:
            typed(path, f"{where}.description", description, str)
        where, entry = f"{where}.path", entry.get("path")
    target, colon, attribute = typed(path, where, entry, str).rpartition(":")
    if re.search(r"\.[cm]?[jt]sx?$", target if colon else attribute):
        raise ConfigError(f"{path}: {where} is {entry!r}, but only Python graphs are supported.")
    is_file = "/" in target or "\\" in target or target.endswith(".py")
    valid = target and (is_file or all(part.isidentifier() for part in target.split(".")))
    if not (id and valid and attribute.isidentifier()):
        raise ConfigError(f"{path}: {where} must be './file.py:name' or 'package.module:name', not {entry!r}.")
    file = Path(os.path.normpath(path.parent / target)) if is_file else None
    return GraphSpec(id, None if file else target, file, attribute, description)
