"""The metadata of a checkpoint, in which may be anything."""

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import EXCLUDED_METADATA_KEYS, CheckpointMetadata, get_checkpoint_metadata

from threadmill_checkpoints.saver import deltas

JSON = json.JSONEncoder(ensure_ascii=False, default=str, skipkeys=True)


def gathered(config: RunnableConfig, metadata: CheckpointMetadata) -> dict[str, Any]:
    return {**_nested(config), **get_checkpoint_metadata(config, metadata)}


def encoded(metadata: Mapping[str, Any]) -> bytes:
    """As JSON that SQLite reads: what is no number becomes null, and lone surrogates are dropped, as the official saver
    does: JSON text must be UTF-8."""
    text = JSON.encode(metadata)
    if "NaN" in text or "Infinity" in text:
        text = JSON.encode(json.loads(text, parse_constant=lambda _: None))
    return text.encode("utf-8", "ignore")


def _nested(config: RunnableConfig) -> dict[str, Any]:
    """Lists, objects and nulls of a config's metadata, which LangGraph leaves out of a checkpoint's."""
    return {
        key: value
        for key, value in (config.get("metadata") or {}).items()
        if (value is None or isinstance(value, list | dict))
        and key not in EXCLUDED_METADATA_KEYS
        and key != deltas.COUNTERS
        and not key.startswith("__")
    }
