"""A LangGraph checkpointer whose statements run on the shared group-committing writer.

Semantics are those of `langgraph-checkpoint-sqlite`, and its databases are read. What differs: what states have in
common is stored once (`states.py`); a thread may share its beginning with another (`forks.py`); reads use reader
connections and fetch before they yield; a graph need not wait for the commit of a checkpoint (`wait=False`): the
writer commits in order, so whatever is submitted later, such as the end of the run, commits after it or with it; and
a task's newest answers and errors are kept also when they come with its other writes (`rows.put_writes`), as
LangGraph's saver in memory does.
"""

import asyncio
import builtins
import contextlib
import json
import random
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONFIG_KEY_RUNTIME
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
    writes_sort_key,
)
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.constants import START

from threadmill_checkpoints.database import Database, DatabaseError, Row, Tx
from threadmill_checkpoints.saver import blobs, deltas, forks, heads, memories, pruning, rows
from threadmill_checkpoints.saver.blobs import Reader
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.metadata import encoded, gathered
from threadmill_checkpoints.saver.named import give_ids
from threadmill_checkpoints.saver.parts import Part, packed
from threadmill_checkpoints.saver.states import THREADS, Apart, Memory, learn, put_together, take_apart
from threadmill_checkpoints.serde import Serializer

T = TypeVar("T")

AHEAD = 64  # writes a run may be ahead of the disk before it waits
TOGETHER_S = 0.02  # how long a write that nobody waits for may wait for others
JOINED_S = 0.002  # how long what a task wrote may wait for the checkpoint that its superstep ends with
PAGE = 50  # checkpoints read at once by `list`


KEY = ("thread_id", "checkpoint_ns", "checkpoint_id")


def _key(row: Row) -> tuple[str, str, str]:
    return row["thread_id"], row["checkpoint_ns"], row["checkpoint_id"]


def _asking(config: RunnableConfig) -> str | None:
    """The checkpoint of the root graph whose task reads; None if nobody runs."""
    root: str | None = config["configurable"].get("checkpoint_map", {}).get("")
    return root


async def _done(future: "Future[None]") -> None:
    """Wait for it, whatever came of it; it cannot be cancelled from here."""
    with contextlib.suppress(Exception):
        await asyncio.shield(asyncio.wrap_future(future))


@dataclass(slots=True)
class _Ahead:
    """Writes that a graph did not wait for."""

    puts: list[Callable[[Tx], None]] = field(default_factory=list)
    of: Counter[str] = field(default_factory=Counter)  # how many of them, by thread
    written: "Future[None] | None" = None
    failure: BaseException | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    # At the last read by which a run of the root graph begins, by thread.
    began: OrderedDict[str, memories.Began] = field(default_factory=OrderedDict)


# What waits for its commit are not closures, as those are many objects: the garbage collector looks at all that wait.


@dataclass(slots=True)
class _Put:
    saver: "SqliteSaver"
    row: Row
    apart: Apart
    deltas: Iterable[str] | None

    def __call__(self, tx: Tx) -> None:
        row, memory, serde = self.row, self.saver.memory, self.saver.serde
        rows.put_checkpoint(tx, {**row, "channels": self.apart.store(tx)})
        if row["parent"] and self.deltas:
            place = (row["thread_id"], row["checkpoint_ns"])
            tx.on_rollback(partial(memory.forget, place[0]))
            by = blobs.holder(tx, place[0], memory.holders.get(place[0]))
            deltas.take_apart(tx, serde, by, place, row["parent"], self.deltas)


@dataclass(slots=True)
class _PutWrites:
    serde: SerializerProtocol
    rows: Sequence[tuple[Any, ...]]  # as they are stored, but for what is large in them: parts that come last

    def __call__(self, tx: Tx) -> None:
        rows.put_writes(
            tx,
            [
                (*row[:-1], blobs.inside(tx, self.serde, row[-1], thread_id=row[0], checkpoint_id=row[2]))
                for row in self.rows
            ],
        )


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
        memory: Memory | None = None,
    ) -> None:
        super().__init__(serde=serde or Serializer())
        self.database = database
        self.guard = guard
        self.wait = wait
        self.about: Mapping[str, Any] = {}  # goes into the metadata of each checkpoint
        self.ahead = _Ahead()  # this and the next are shared with the clones that `with_allowlist` makes
        self.memory = memory or Memory()  # may be that of other savers of the same database

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
        put, saved = self._put(config, checkpoint, metadata, new_versions)
        await self._write(config, put)
        return saved

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        put, saved = self._put(config, checkpoint, metadata, new_versions)
        self._submit(put).result()
        return saved

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._write(config, self._put_writes(config, writes, task_id, task_path), within=JOINED_S)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._submit(self._put_writes(config, writes, task_id, task_path), within=JOINED_S).result()

    async def adelete_thread(self, thread_id: str) -> None:
        await self.database.write(forks.delete_thread, thread_id)

    def delete_thread(self, thread_id: str) -> None:
        self.database.submit(lambda tx: forks.delete_thread(tx, thread_id)).result()

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self.database.write(forks.copy_thread, source_thread_id, target_thread_id)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.database.submit(lambda tx: forks.copy_thread(tx, source_thread_id, target_thread_id)).result()

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self.database.write(pruning.delete_for_runs, run_ids)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self.database.submit(lambda tx: pruning.delete_for_runs(tx, run_ids)).result()

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
                forks.delete_thread(tx, thread_id)
            else:
                pruning.keep_latest(tx, thread_id, self.serde.loads_typed)

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
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> tuple[Callable[[Tx], None], RunnableConfig]:
        at = config["configurable"]
        place, parent = (str(at["thread_id"]), str(at.get("checkpoint_ns", ""))), at.get("checkpoint_id")
        skeleton, apart = take_apart(self.memory, self.serde, place, parent, checkpoint, new_versions)
        kind, blob = self.serde.dumps_typed(skeleton)
        about = {**gathered(config, metadata), **self.about}
        row = {
            "thread_id": place[0],
            "checkpoint_ns": place[1],
            "checkpoint_id": checkpoint["id"],
            "parent": parent,
            "type": kind,
            "checkpoint": blob,
            "metadata": encoded(about),
            "run_id": about.get("run_id"),
            "root_id": (about.get("parents") or {}).get("") if place[1] else None,
        }
        saved = {key: row[key] for key in ("thread_id", "checkpoint_ns", "checkpoint_id")}

        return _Put(self, row, apart, deltas.counted(about)), {"configurable": saved}

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Callable[[Tx], None]:
        at = config["configurable"]
        key = (str(at["thread_id"]), str(at.get("checkpoint_ns", "")), str(at["checkpoint_id"]), task_id)
        run_id = at.get("run_id")
        if not task_path.endswith(START):  # what came in keeps what it has
            for _, value in writes:
                give_ids(value)
        found = [
            (WRITES_IDX_MAP.get(channel, index), channel, packed(self.serde, value))
            for index, (channel, value) in enumerate(writes)
        ]
        return _PutWrites(
            self.serde,
            [
                (*key, task_path, index, channel, *self._closed(one), run_id, one.inside)
                for index, channel, one in found
            ],
        )

    def _closed(self, part: Part) -> tuple[str, bytes]:
        serde = self.serde
        return serde.closed(part.kind, part.data) if isinstance(serde, Serializer) else (part.kind, part.data)

    def _submit(self, put: Callable[[Tx], None], within: float = 0) -> "Future[None]":
        def guarded(tx: Tx) -> None:
            self.guard(tx)
            put(tx)

        return self.database.submit(guarded, within)

    async def _write(self, config: RunnableConfig, put: Callable[[Tx], None], within: float = 0) -> None:
        if self.wait:
            await asyncio.wrap_future(self._submit(put, within))
            return
        self.verify()
        thread_id = str(config["configurable"]["thread_id"])
        with self.ahead.lock:
            if not self.ahead.puts:  # the writes of a superstep, and what else comes in that time, are one transaction
                self.ahead.written = self.database.submit(self._write_ahead, TOGETHER_S)
            self.ahead.puts.append(put)
            self.ahead.of[thread_id] += 1
            waiting = self.ahead.of[thread_id]
        if waiting >= AHEAD:
            await self.settled()

    def _write_ahead(self, tx: Tx) -> None:
        with self.ahead.lock:
            puts, self.ahead.puts = self.ahead.puts, []
            self.ahead.of.clear()
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
        at = config["configurable"]
        place = (str(at["thread_id"]), str(at.get("checkpoint_ns", "")))
        row = self._row(View(tx, place[0]), place[1], config)
        if row is None:
            return None
        # By a run that begins, not by who looks on. None as its id: one that begins elsewhere looks for the newest.
        if place[1] == "" and CONFIG_KEY_RUNTIME in at and at.get("checkpoint_id", "newest"):
            self._began(place[0], row["checkpoint_id"])
        learn(self.memory, place, row)
        reader = self.memory.reader(tx, self.serde, place[0])
        writes = rows.writes_of(tx, row["thread_id"], place[1], [row["checkpoint_id"]])
        return self._tuple(place[0], row, writes, reader)

    def _row(self, view: View, ns: str, config: RunnableConfig) -> Row | None:
        checkpoint_id = get_checkpoint_id(config)
        if checkpoint_id or not memories.kept(ns) or not (_asking(config) or heads.chosen(view.tx, view.thread_id)):
            return view.get(ns, checkpoint_id)
        return next(memories.of(view, ns, self._way(view, config)), None)

    def _way(self, view: View, config: RunnableConfig) -> memories.Way:
        root = _asking(config)
        return memories.way(view, root, self.ahead.began.get(view.thread_id) if root else None)

    def _began(self, thread_id: str, checkpoint_id: str) -> None:
        began = self.ahead.began
        began[thread_id] = memories.Began(checkpoint_id, str(uuid6()))
        began.move_to_end(thread_id)
        while len(began) > THREADS:
            began.popitem(last=False)

    def _list_page(
        self,
        tx: Tx,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int,
    ) -> Sequence[CheckpointTuple]:
        at = config["configurable"] if config else {}
        wanted: dict[str, Any] = {
            "checkpoint_ns": at.get("checkpoint_ns"),
            "checkpoint_id": get_checkpoint_id(config) if config else None,
            "metadata": filter or {},
            "before": get_checkpoint_id(before) if before else None,
            "limit": limit,
        }
        thread_id = at.get("thread_id")
        if thread_id is None:
            found = rows.list_checkpoints(tx, thread_id=None, **wanted)
        else:
            view, ns = View(tx, str(thread_id)), wanted["checkpoint_ns"]
            if config and _asking(config) and ns and memories.kept(ns):  # a run that repeats what was done
                remembered = memories.of(view, ns, self._way(view, config), wanted["before"])
                found = list(islice(remembered, None if limit < 0 else limit))
            else:
                found = view.list(**wanted)
        places: dict[tuple[str, str], builtins.list[str]] = defaultdict(list)
        for row in found:
            places[row["thread_id"], row["checkpoint_ns"]].append(row["checkpoint_id"])
        writes: dict[tuple[str, str, str], builtins.list[Row]] = defaultdict(list)
        for place, ids in places.items():
            for write in rows.writes_of(tx, *place, ids):
                writes[_key(write)].append(write)
        reader = Reader(tx, self.serde, here=partial(self.memory.hot.values, str(thread_id)))
        return [self._tuple(str(thread_id or row["thread_id"]), row, writes[_key(row)], reader) for row in found]

    def _tuple(self, thread_id: str, row: Row, writes: Sequence[Row], reader: Reader) -> CheckpointTuple:
        mine = sorted(writes, key=lambda w: writes_sort_key(w["task_path"], w["task_id"], w["idx"]))
        pending: list[PendingWrite] = [(w["task_id"], w["channel"], reader.write(w)) for w in mine]
        place = {name: row[name] for name in KEY} | {"thread_id": thread_id}
        parent = row["parent_checkpoint_id"]
        about = json.loads(row["metadata"]) if row["metadata"] else {}
        if row["thread_id"] != thread_id and about.get("thread_id") == row["thread_id"]:
            about["thread_id"] = thread_id
        return CheckpointTuple(
            {"configurable": place},
            put_together(self.serde, row, reader),
            cast("CheckpointMetadata", about),
            {"configurable": {**place, "checkpoint_id": parent}} if parent else None,
            pending,
        )

    def _delta_history(
        self, tx: Tx, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What was written to each channel since its last snapshot, oldest first, along the checkpoint's ancestors."""
        at = config["configurable"]
        view, ns = View(tx, str(at["thread_id"])), str(at.get("checkpoint_ns", ""))
        reader = Reader(tx, self.serde)
        written: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        row = self._row(view, ns, config)
        while len(seeds) < len(written) and row is not None and row["parent_checkpoint_id"]:
            row = view.get(ns, row["parent_checkpoint_id"])
            if row is None:
                break
            held, values = self.serde.loads_typed((row["type"], row["checkpoint"]))["channel_values"], None
            mine = rows.writes_of(tx, row["thread_id"], ns, [row["checkpoint_id"]])
            mine.sort(key=lambda w: writes_sort_key(w["task_path"], w["task_id"], w["idx"]), reverse=True)
            for channel in written.keys() - seeds.keys():
                written[channel] += [(w["task_id"], channel, reader.write(w)) for w in mine if w["channel"] == channel]
                if channel in held:
                    values = values or put_together(self.serde, row, reader)["channel_values"]
                    seeds[channel] = values[channel]
        history: dict[str, DeltaChannelHistory] = {}
        for channel, found in written.items():
            history[channel] = {"writes": found[::-1]}
            if channel in seeds:
                history[channel]["seed"] = seeds[channel]
        return history
