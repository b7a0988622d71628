"""`checkpointer`: how long threads are kept, and which types may come back from disk."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadmill.errors import ConfigError
from threadmill.langgraph_json.values import lookup, minutes, typed

KEYS = (
    *("checkpointer.serde", "checkpointer.serde.allowed_msgpack_modules"),
    *("checkpointer.ttl", "checkpointer.ttl.strategy", "checkpointer.ttl.default_ttl"),
    *("checkpointer.ttl.sweep_interval_minutes", "checkpointer.ttl.sweep_limit"),
)
MAX_MINUTES = 52_560_000  # a hundred years


@dataclass(frozen=True)
class RetentionConfig:
    """`checkpointer.ttl` of langgraph.json: what new threads get, and how often and how many are looked at."""

    strategy: str = "delete"
    default_ttl: float | None = None  # minutes
    sweep_interval: float = 5.0  # minutes
    sweep_limit: int = 1000  # threads


def retention(path: Path, raw: Any) -> RetentionConfig:
    where, ttl = "checkpointer.ttl", typed(path, "checkpointer.ttl", raw, dict)
    strategy, limit = ttl.get("strategy", "delete"), ttl.get("sweep_limit", RetentionConfig.sweep_limit)
    if strategy not in ("delete", "keep_latest"):
        raise ConfigError(f"{path}: {where}.strategy must be delete or keep_latest, not {json.dumps(strategy)[:80]}.")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigError(f"{path}: {where}.sweep_limit must be a number of threads, not {json.dumps(limit)[:80]}.")
    interval = minutes(path, f"{where}.sweep_interval_minutes", ttl.get("sweep_interval_minutes"))
    return RetentionConfig(
        strategy=strategy,
        default_ttl=minutes(path, f"{where}.default_ttl", ttl.get("default_ttl")),
        sweep_interval=interval or RetentionConfig.sweep_interval,
        sweep_limit=limit,
    )


def allowed_types(path: Path, raw: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    where = "checkpointer.serde.allowed_msgpack_modules"
    pairs = lookup(raw, where)
    for pair in typed(path, where, [] if pairs is None else pairs, list):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise ConfigError(f'{path}: {where} must hold ["module", "Name"] pairs, not {json.dumps(pair)[:80]}.')
    return tuple((module, name) for module, name in pairs or ())
