"""How a checkpoint's values are taken apart on their way into the database, and put together on the way out.

In the row stays a skeleton: the checkpoint with its small values. `channels` says for each other channel how its value
is made of blobs: {channel: [kind, version, levels]}.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, cast

import ormsgpack
from langgraph.checkpoint.base import ChannelVersions, Checkpoint
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import blobs, rows
from threadmill_checkpoints.saver.blobs import Holder, Levels, Reader
from threadmill_checkpoints.saver.hot import Hot
from threadmill_checkpoints.saver.parts import Kind, Part, join, part, split
from threadmill_checkpoints.serde import Serializer

THREADS = 64  # of which it is remembered what they hold
WIDTH = 32  # digits of the number in LangGraph's versions
Entry = tuple[Kind, str, Levels]
Place = tuple[str, str]  # thread, namespace
Channel = tuple[Any, str, tuple[Kind, list[Part]] | None]  # value, version, parts; None: those of the parent


@dataclass(slots=True)
class Memory:
    """What is known of the newest checkpoints, so that what has not changed is neither packed nor looked up again. All
    of it may be forgotten at any time."""

    told: OrderedDict[Place, tuple[str, dict[str, str]]] = field(default_factory=OrderedDict)  # when a put is made
    entries: OrderedDict[Place, tuple[str, dict[str, Entry]]] = field(default_factory=OrderedDict)  # when it is written
    holders: OrderedDict[str, Holder] = field(default_factory=OrderedDict)
    hot: Hot = field(default_factory=Hot)

    def forget(self, thread_id: str) -> None:
        """Also what a transaction that is rolled back has told: its numbers of blobs come again."""
        for known in (self.told, self.entries):
            for place in [one for one in list(known) if one[0] == thread_id]:
                known.pop(place, None)
        self.holders.pop(thread_id, None)
        self.hot.forget(thread_id)

    def reader(self, tx: Tx, serde: SerializerProtocol, thread_id: str) -> Reader:
        """Of the newest state of a thread."""
        owner = blobs.owner(tx, thread_id)
        if owner is None:
            return Reader(tx, serde)
        by = self.holders.get(thread_id)
        if by is None or (by.owner, by.generation) != (owner["owner"], owner["generation"]):
            by = Holder(owner["owner"], owner["generation"])
            _remember(self.holders, thread_id, by)

        def learn(blob_id: int, value: Any, size: int) -> None:
            part = Part(b"", "", message_id=getattr(value, "id", None), at=(by, blob_id))
            part.size = size
            self.hot.keep(thread_id, value, part)

        reader = Reader(tx, serde, learn, partial(self.hot.values, thread_id))
        reader.known = by.known
        return reader


def _remember(where: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    where[key] = value
    where.move_to_end(key)
    while len(where) > THREADS:
        where.popitem(last=False)


def take_apart(
    memory: Memory,
    serde: SerializerProtocol,
    place: Place,
    parent: str | None,
    checkpoint: Checkpoint,
    new_versions: ChannelVersions,
    items: Callable[[list[Any]], list[Part]] | None = None,
) -> tuple[Checkpoint, "Apart"]:
    """The skeleton, and the rest. `items`: of a list, if the caller knows them."""
    versions = checkpoint["channel_versions"]
    items = items or partial(memory.hot.parts, place[0], make=partial(part, cast("Serializer", serde)))
    above, known = memory.told.get(place, (None, {}))
    found, values = dict[str, Channel](), dict[str, Any]()
    for channel, value in checkpoint["channel_values"].items():
        version = str(versions.get(channel, ""))
        if version and above == parent and channel not in new_versions and known.get(channel) == version:
            found[channel] = (value, version, None)  # as the parent has it
        elif (parts := split(serde, value, items)) is not None:
            found[channel] = (value, version, parts)
        values[channel] = None if channel in found else value
    _remember(memory.told, place, (checkpoint["id"], {channel: version for channel, (_, version, _) in found.items()}))
    skeleton = cast("Checkpoint", {**checkpoint, "channel_values": values, **_each_version(checkpoint, _strip)})
    return skeleton, Apart(memory, serde, place, parent, checkpoint["id"], found)


@dataclass(slots=True)
class Apart:
    """What of a checkpoint is not in its skeleton. Many wait for one commit, and as long as they do, the garbage
    collector walks over what they hold: this is no closure, which would be some thirty objects."""

    memory: Memory
    serde: SerializerProtocol
    place: Place
    parent: str | None
    checkpoint_id: str
    found: dict[str, Channel]

    def store(self, tx: Tx) -> bytes:
        """Returns `channels`."""
        if not self.found:
            return ormsgpack.packb({})
        memory, thread_id = self.memory, self.place[0]
        tx.on_rollback(partial(memory.forget, thread_id))
        before = memory.holders.get(thread_id)
        by = blobs.holder(tx, thread_id, before)
        if by is not before:  # the thread has lost something since
            memory.entries.pop(self.place, None)
        _remember(memory.holders, thread_id, by)
        unchanged = any(parts is None for _, _, parts in self.found.values())
        old = _entries_of(tx, memory, self.place, self.parent) if unchanged else {}
        entries: dict[str, Entry] = {}
        for channel, (value, version, parts) in self.found.items():
            if parts is None and channel in old and old[channel][1] == version:
                entries[channel] = old[channel]
                continue
            # The parent is not what it was thought to be: its own transaction failed.
            kind, parted = parts or self._again(value)
            try:
                ids = blobs.put(tx, by, self.serde, parted, self.checkpoint_id)
            except blobs.Stale:
                memory.hot.forget(thread_id)
                kind, parted = self._again(value)
                ids = blobs.put(tx, by, self.serde, parted, self.checkpoint_id)
            entries[channel] = (kind, version, blobs.grow(tx, by, ids, self.checkpoint_id))
        _remember(memory.entries, self.place, (self.checkpoint_id, entries))
        return ormsgpack.packb(entries)

    def _again(self, value: Any) -> tuple[Kind, list[Part]]:
        return split(self.serde, value) or ("one", [])


def _entries_of(tx: Tx, memory: Memory, place: Place, checkpoint_id: str | None) -> dict[str, Entry]:
    at, entries = memory.entries.get(place, (None, {}))
    if at == checkpoint_id:
        return entries
    row = rows.get_checkpoint(tx, *place, checkpoint_id) if checkpoint_id else None
    return entries_of(row) if row is not None else {}


def entries_of(row: Row) -> dict[str, Entry]:
    return {} if row["channels"] is None else cast("dict[str, Entry]", ormsgpack.unpackb(row["channels"]))


def put_together(serde: SerializerProtocol, row: Row, reader: Reader) -> Checkpoint:
    checkpoint = cast("Checkpoint", serde.loads_typed((row["type"], row["checkpoint"])))
    if row["channels"] is None:
        return checkpoint
    for channel, (kind, _, levels) in entries_of(row).items():
        checkpoint["channel_values"][channel] = join(kind, reader.values(reader.ids(levels)))
    return cast("Checkpoint", {**checkpoint, **_each_version(checkpoint, _fill)})


def learn(memory: Memory, place: Place, row: Row) -> None:
    """From the checkpoint that a run begins at."""
    if row["channels"] is not None and place not in memory.told:
        entries = entries_of(row)
        _remember(memory.told, place, (row["checkpoint_id"], {channel: one[1] for channel, one in entries.items()}))


# Versions are numbers of 32 digits with a fraction; the zeros before them are not stored.


def _each_version(checkpoint: Checkpoint, change: Callable[[str], str]) -> dict[str, Any]:
    def changed(versions: Mapping[str, Any]) -> dict[str, Any]:
        return {name: change(one) if isinstance(one, str) else one for name, one in versions.items()}

    seen = checkpoint["versions_seen"]
    return {
        "channel_versions": changed(checkpoint["channel_versions"]),
        "versions_seen": {node: changed(versions) for node, versions in seen.items()},
    }


@lru_cache(4096)  # most versions are those of the checkpoint before
def _strip(version: str) -> str:
    number, dot, _ = version.partition(".")
    if len(number) != WIDTH or not dot or not number.isdigit():
        return version
    return version.lstrip("0") or version


def _fill(version: str) -> str:
    number, dot, _ = version.partition(".")
    return version.rjust(len(version) + WIDTH - len(number), "0") if dot and len(number) < WIDTH else version
