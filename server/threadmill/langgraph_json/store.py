"""`store`: the long-term memory's times to live and its semantic search."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadmill.errors import ConfigError
from threadmill.langgraph_json.graphs import GraphSpec, named
from threadmill.langgraph_json.values import minutes, typed

KEYS = (
    *("store.index", "store.index.dims", "store.index.embed", "store.index.fields"),
    *("store.ttl", "store.ttl.default_ttl", "store.ttl.refresh_on_read", "store.ttl.sweep_interval_minutes"),
)
RETENTION_KEYS = (
    *("checkpointer.ttl", "checkpointer.ttl.strategy", "checkpointer.ttl.default_ttl"),
    *("checkpointer.ttl.sweep_interval_minutes", "checkpointer.ttl.sweep_limit"),
)
MAX_MINUTES = 52_560_000  # a hundred years


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


def store(path: Path, raw: dict[str, Any]) -> StoreConfig:
    index = typed(path, "store.index", raw.get("index") or {}, dict)
    ttl = typed(path, "store.ttl", raw.get("ttl") or {}, dict)
    refresh = ttl.get("refresh_on_read", True)
    if not isinstance(refresh, bool):
        raise ConfigError(f"{path}: store.ttl.refresh_on_read must be true or false, not {json.dumps(refresh)[:80]}.")
    return StoreConfig(
        index=_index(path, index) if index else None,
        default_ttl=minutes(path, "store.ttl.default_ttl", ttl.get("default_ttl")),
        refresh_on_read=refresh,
        sweep_interval=minutes(path, "store.ttl.sweep_interval_minutes", ttl.get("sweep_interval_minutes")) or 5.0,
    )


def _index(path: Path, raw: dict[str, Any]) -> StoreIndex:
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
    function = named(path, f"{where}.embed", f"{where}.embed", embed) if is_file or is_name else None
    paths = typed(path, f"{where}.fields", ["$"] if fields is None else fields, list)
    return StoreIndex(dims, embed, function, tuple(typed(path, f"{where}.fields[]", one, str) for one in paths))
