"""Values of langgraph.json, checked; a wrong one raises ConfigError that names its place."""

import json
from pathlib import Path
from typing import Any

from threadmill.errors import ConfigError

MAX_MINUTES = 52_560_000  # a hundred years


def typed(path: Path, where: str, value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    noun = {"dict": "an object", "list": "a list", "str": "a string"}[kind.__name__]
    raise ConfigError(f"{path}: {where} must be {noun}, not {json.dumps(value)[:80]}.")


def lookup(raw: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


def minutes(path: Path, where: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MAX_MINUTES:
        raise ConfigError(f"{path}: {where} must be a number of minutes above 0, not {json.dumps(value)[:80]}.")
    return float(value)
