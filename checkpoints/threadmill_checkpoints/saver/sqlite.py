"""A LangGraph checkpointer whose statements run on the shared group-committing writer.

Tables and semantics are those of `langgraph-checkpoint-sqlite`. What differs: reads use reader connections and
fetch before they yield, and a graph need not wait for the commit of a checkpoint (`wait=False`): the writer
commits in order, so whatever is submitted later, such as the end of the run, commits after it or with it. And a
task's newest answers and errors are kept also when they come with its other writes (`rows.put_writes`), as LangGraph's
saver in memory does.
"""

import asyncio
import builtins
import contextlib
import json
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.sqlite._delta import (
    DELTA_STAGE1_SQL,
    build_delta_channels_writes_history,
    build_delta_stage2_sql,
    step_walk_with_row,
)

from threadmill_checkpoints.database import Database, DatabaseError, Row, Tx
from threadmill_checkpoints.saver import rows
from threadmill_checkpoints.serde import Serializer
from threadmill_checkpoints.sqlite import SqliteTx

T = TypeVar("T")

AHEAD = 64  # writes a run may be ahead of the disk before it waits
TOGETHER_S = 0.02  # how long a write that nobody waits for may wait for others
PAGE = 50  # checkpoints read at once by `list`


async def _done(future: "Future[None]") -> None:
    """Wait for it, whatever came of it; it cannot be cancelled from here."""
    with contextlib.suppress(Exception):
        await asyncio.shield(asyncio.wrap_future(future))


@dataclass(slots=True)
class _Ahead:
    """Writes that a graph did not wait for."""

    puts: list[Callable[[Tx], None]] = field(default_factory=list)
    written: "Future[None] | None" = None
    failure: BaseException | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class SqliteSaver(BaseCheckpointSaver[str]):
    """Checkpoints of any number of threads in `database`.

    `guard` is called first in every writing transaction; what it raises refuses the write (a run that lost
    its lease must not write). With `wait=False` a put returns when it is queued: it commits within TOGETHER_S, and
    before or with whatever is submitted after it. `settled` waits for the disk; `verify` raises if a write failed.
    """

    def __init__(
        self,
        database: Database,
        *,
        serde: SerializerProtocol | None = None,
        guard: Callable[[Tx], None] = lambda _: None,
        wait: bool = True,
    ) -> None:
        super().__init__(serde=serde or Serializer())
        self.database = database
        self.guard = guard
        self.wait = wait
        self.ahead = _Ahead()  # shared with the clones that `with_allowlist` makes

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        number = int(str(current).split(".")[0]) if current is not None else 0
        return f"{number + 1:032}.{random.random():016}"

    # Writing

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        put, saved = self._put(config, checkpoint, metadata)
        await self._write(put)
        return saved

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        put, saved = self._put(config, checkpoint, metadata)
        self._submit(put).result()
        return saved

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._write(self._put_writes(config, writes, task_id, task_path))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._submit(self._put_writes(config, writes, task_id, task_path)).result()

    async def adelete_thread(self, thread_id: str) -> None:
        await self.database.write(rows.delete_thread, thread_id)

    def delete_thread(self, thread_id: str) -> None:
        self.database.submit(lambda tx: rows.delete_thread(tx, thread_id)).result()

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self.database.write(rows.copy_thread, source_thread_id, target_thread_id)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.database.submit(lambda tx: rows.copy_thread(tx, source_thread_id, target_thread_id)).result()

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self.database.write(rows.delete_for_runs, run_ids)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self.database.submit(lambda tx: rows.delete_for_runs(tx, run_ids)).result()

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self.database.write(self._prune, thread_ids, strategy)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keeps the ancestors that a DeltaChannel is rebuilt from."""
        self.database.submit(lambda tx: self._prune(tx, thread_ids, strategy)).result()

    def _prune(self, tx: Tx, thread_ids: Sequence[str], strategy: str) -> None:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"strategy must be keep_latest or delete, not {strategy!r}")
        for thread_id in thread_ids:
            if strategy == "delete":
                rows.delete_thread(tx, thread_id)
            else:
                rows.keep_latest(tx, thread_id, self.serde.loads_typed)

    async def settled(self) -> None:
        """Wait until every queued write is on disk; raise the first failure."""
        if self.ahead.written is not None and not self.ahead.written.done():
            self.database.hurry()
            await _done(self.ahead.written)
        self.verify()

    def verify(self) -> None:
        """In a transaction submitted after the writes: raise the first failure among them."""
        if self.ahead.failure is not None:
            raise self.ahead.failure

    def _put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[Callable[[Tx], None], RunnableConfig]:
        place = config["configurable"]
        kind, blob = self.serde.dumps_typed(checkpoint)
        # Lone surrogates are dropped, as the official saver does: JSON text must be UTF-8.
        text = json.dumps(get_checkpoint_metadata(config, metadata), ensure_ascii=False, default=str)
        row = {
            "thread_id": str(place["thread_id"]),
            "checkpoint_ns": place.get("checkpoint_ns", ""),
            "checkpoint_id": checkpoint["id"],
            "parent": place.get("checkpoint_id"),
            "type": kind,
            "checkpoint": blob,
            "metadata": text.encode("utf-8", "ignore"),
        }
        saved = {key: row[key] for key in ("thread_id", "checkpoint_ns", "checkpoint_id")}
        return lambda tx: rows.put_checkpoint(tx, row), {"configurable": saved}

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Callable[[Tx], None]:
        place = config["configurable"]
        key = (str(place["thread_id"]), str(place.get("checkpoint_ns", "")), str(place["checkpoint_id"]), task_id)
        run_id = place.get("run_id")
        values = [
            (*key, task_path, WRITES_IDX_MAP.get(channel, index), channel, *self.serde.dumps_typed(value), run_id)
            for index, (channel, value) in enumerate(writes)
        ]
        return lambda tx: rows.put_writes(tx, values)

    def _submit(self, put: Callable[[Tx], None]) -> "Future[None]":
        def guarded(tx: Tx) -> None:
            self.guard(tx)
            put(tx)

        return self.database.submit(guarded)

    async def _write(self, put: Callable[[Tx], None]) -> None:
        if self.wait:
            await asyncio.wrap_future(self._submit(put))
            return
        self.verify()
        with self.ahead.lock:
            self.ahead.puts.append(put)
            waiting = len(self.ahead.puts)
            if waiting == 1:  # the writes of a superstep, and what else comes in that time, are one transaction
                self.ahead.written = self.database.submit(self._write_ahead, TOGETHER_S)
        if waiting >= AHEAD:
            await self.settled()

    def _write_ahead(self, tx: Tx) -> None:
        with self.ahead.lock:
            puts, self.ahead.puts = self.ahead.puts, []
        tx.on_rollback(self._lost)
        try:
            self.guard(tx)
            for put in puts:
                put(tx)
        except BaseException as error:
            self.ahead.failure = self.ahead.failure or error
            raise

    def _lost(self) -> None:
        """The commit failed, maybe for another's sake; the graph has gone on by now."""
        self.ahead.failure = self.ahead.failure or DatabaseError("A checkpoint could not be written.")

    # Reading

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        await self.settled()
        return await self.database.read(self._get_tuple, config)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._read(lambda tx: self._get_tuple(tx, config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        await self.settled()
        cursor, left = before, limit
        if config is None:  # ids repeat across threads, so they make no cursor
            size = -1 if limit is None else limit
            for found in await self.database.read(self._list_page, config, filter, before, size):
                yield found
            return
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = await self.database.read(self._list_page, config, filter, cursor, size)
            for found in page:
                yield found
            if len(page) < size:
                return
            cursor, left = page[-1].config, None if left is None else left - size

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        size = -1 if limit is None else limit
        yield from self._read(lambda tx: self._list_page(tx, config, filter, before, size))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        await self.settled()
        return await self.database.read(self._delta_history, config, list(channels))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self._read(lambda tx: self._delta_history(tx, config, list(channels)))

    def _read(self, fn: Callable[[Tx], T]) -> T:
        """From a synchronous node: it runs beside the event loop, so it may block."""
        if self.ahead.written is not None:
            self.database.hurry()
            self.ahead.written.result()
        return self.database.query(fn).result()

    def _get_tuple(self, tx: Tx, config: RunnableConfig) -> CheckpointTuple | None:
        place = config["configurable"]
        thread_id, ns = str(place["thread_id"]), place.get("checkpoint_ns", "")
        row = rows.get_checkpoint(tx, thread_id, ns, get_checkpoint_id(config))
        if row is None:
            return None
        return self._tuple(row, rows.writes_of(tx, thread_id, ns, [row["checkpoint_id"]]))

    def _list_page(
        self,
        tx: Tx,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int,
    ) -> Sequence[CheckpointTuple]:
        place = config["configurable"] if config else {}
        found = rows.list_checkpoints(
            tx,
            thread_id=place.get("thread_id"),
            checkpoint_ns=place.get("checkpoint_ns"),
            checkpoint_id=get_checkpoint_id(config) if config else None,
            metadata=filter or {},
            before=get_checkpoint_id(before) if before else None,
            limit=limit,
        )
        writes: builtins.list[Row] = []
        for thread_id, ns in {(row["thread_id"], row["checkpoint_ns"]) for row in found}:
            ids = [r["checkpoint_id"] for r in found if r["thread_id"] == thread_id and r["checkpoint_ns"] == ns]
            writes += rows.writes_of(tx, thread_id, ns, ids)
        return [self._tuple(row, writes) for row in found]

    def _tuple(self, row: Row, writes: Sequence[Row]) -> CheckpointTuple:
        key = ("thread_id", "checkpoint_ns", "checkpoint_id")
        place = {name: row[name] for name in key}
        mine = [w for w in writes if all(w[name] == row[name] for name in key)]
        mine.sort(key=lambda w: writes_sort_key(w["task_path"], w["task_id"], w["idx"]))
        pending: list[PendingWrite] = [
            (w["task_id"], w["channel"], self.serde.loads_typed((w["type"], w["value"]))) for w in mine
        ]
        parent = row["parent_checkpoint_id"]
        return CheckpointTuple(
            {"configurable": place},
            self.serde.loads_typed((row["type"], row["checkpoint"])),
            cast("CheckpointMetadata", json.loads(row["metadata"]) if row["metadata"] else {}),
            {"configurable": {**place, "checkpoint_id": parent}} if parent else None,
            pending,
        )

    def _delta_history(
        self, tx: Tx, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Writes since each channel's last snapshot, by the official saver's own walk over the same tables."""
        if not channels:
            return {}
        place = config["configurable"]
        thread_id, ns = str(place["thread_id"]), place.get("checkpoint_ns", "")
        target = get_checkpoint_id(config)
        if not target:
            head = rows.get_checkpoint(tx, thread_id, ns, None)
            if head is None:
                return {channel: {"writes": []} for channel in channels}
            target = head["checkpoint_id"]
        connection = cast(SqliteTx, tx).connection
        chains: dict[str, Any] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        seeded: set[str] = set()
        state: dict[str, Any] = {}
        for cid, kind, blob in connection.execute(DELTA_STAGE1_SQL, (thread_id, ns, target, thread_id, ns)):
            if step_walk_with_row(
                cid=cid,
                type_tag=kind,
                blob=blob,
                target_id=target,
                serde=self.serde,
                chain_by_ch=chains,
                seed_val_by_ch=seeds,
                walk_state=state,
                seeded=seeded,
                channels=channels,
            ):
                break
        chained = [channel for channel in channels if chains[channel]]
        sql = build_delta_stage2_sql(has_task_path=True, chain_lens=[len(chains[channel]) for channel in chained])
        params = [part for channel in chained for part in (thread_id, ns, channel, *chains[channel])]
        found = [tuple(row) for row in connection.execute(sql, params)] if sql else []
        return build_delta_channels_writes_history(
            channels=channels,
            chain_by_ch=chains,
            seed_val_by_ch=seeds,
            seeded=seeded,
            stage2_rows=found,
            serde=self.serde,
        )
