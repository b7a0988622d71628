"""A checkpointer whose writes wait for a transaction of somebody else's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    copy_checkpoint,
)

from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver.sqlite import SqliteSaver


@dataclass(slots=True)
class _Kept:
    """What waits; one for all clones that `with_allowlist` makes."""

    puts: list[Callable[[Tx], None]] = field(default_factory=list)
    head: CheckpointTuple | None = None


class DeferredSaver(SqliteSaver):
    """Reads what is stored, and on top of it what was put here; `write` stores that.

    For a few checkpoints of one namespace that must commit together with something else.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept = _Kept()

    def write(self, tx: Tx) -> None:
        self.guard(tx)
        for put in self._kept.puts:
            put(tx)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        put, saved = self._put(config, checkpoint, metadata, new_versions)
        self._kept.puts.append(put)
        parent = config["configurable"].get("checkpoint_id")
        above: RunnableConfig | None = (
            {"configurable": {**saved["configurable"], "checkpoint_id": parent}} if parent else None
        )
        self._kept.head = CheckpointTuple(saved, copy_checkpoint(checkpoint), metadata, above, [])
        return saved

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._kept.puts.append(self._put_writes(config, writes, task_id, task_path))
        if self._kept.head is not None and self._is_head(config) and self._kept.head.pending_writes is not None:
            self._kept.head.pending_writes.extend((task_id, channel, value) for channel, value in writes)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if self._kept.head is not None and self._is_head(config):
            return self._kept.head
        return await super().aget_tuple(config)

    def _is_head(self, config: RunnableConfig) -> bool:
        assert self._kept.head is not None
        mine, asked = self._kept.head.config["configurable"], config["configurable"]
        same = mine["checkpoint_ns"] == asked.get("checkpoint_ns", "")
        return same and asked.get("checkpoint_id") in (None, mine["checkpoint_id"])
