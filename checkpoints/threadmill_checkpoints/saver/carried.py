"""A thread's states as they leave a database, and come into another: records of JSON, in the clear.

What is shared stays shared: a part is one record, however many checkpoints have it, with a number that means something
only within the records. What comes is looked at as if anybody had written it: every value must be one that the
serializer reads, and by what a part is known is made from its content here.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ormsgpack
from langchain_core.messages import BaseMessage

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import blobs, deltas, rows
from threadmill_checkpoints.saver.blobs import NODE, Holder, Reader
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.parts import OUTSIDE_MARK, Part, filled, opened
from threadmill_checkpoints.serde import Serializer, Unreadable

Record = dict[str, Any]
Change = Callable[[Any], Any]  # what stands for a value that leaves; the same object if nothing is to be changed
Name = Callable[[str | None], str | None]
INSIDE = ("text", "bytes")  # what is large in a part
LONGEST = 1_000_000  # items of a list: a tree of few nodes can stand for any number
REPEATED = 64 << 20  # bytes that one part may make of those inside it, beyond their own
SECRET = "langgraph_auth"  # who was logged in is nobody else's business, and never taken from a file


class Broken(ValueError):
    """Records that are no thread; the message says why."""


@dataclass(slots=True)
class Carried:
    parts: list[Record] = field(default_factory=list)
    checkpoints: list[Record] = field(default_factory=list)
    writes: list[Record] = field(default_factory=list)


# Leaving


def leave(tx: Tx, serde: Serializer, thread_id: str, change: Change | None = None) -> Carried:
    """All of the thread's states, those that it has from others included."""
    found = Carried()
    leaving = _Leaving(tx, serde, change)
    view = View(tx, thread_id)
    for ns, checkpoint_id in sorted(view.places(), key=lambda place: place[::-1]):
        row = view.get(ns, checkpoint_id)
        assert row is not None
        found.checkpoints.append(leaving.checkpoint(row))
        for write in rows.writes_of(tx, row["thread_id"], ns, [checkpoint_id]):
            found.writes.append(leaving.write(write))
    found.parts = [leaving.records[one] for one in sorted(leaving.records)]
    return found


class _Leaving:
    def __init__(self, tx: Tx, serde: Serializer, change: Change | None) -> None:
        self._tx, self._serde, self._change = tx, serde, change
        self._reader = Reader(tx, serde)
        self.records: dict[int, Record] = {}

    def checkpoint(self, row: Row) -> Record:
        at = row["checkpoint_id"]
        kind, data = self._serde.opened(row["type"], row["checkpoint"])
        if self._change is not None:
            checkpoint = self._serde.unpack(kind, data)
            kind, data = self._serde.pack(
                {**checkpoint, "channel_values": _changed(checkpoint["channel_values"], self._change)}
            )
        channels = None if row["channels"] is None else ormsgpack.unpackb(row["channels"])
        for _, _, levels in (channels or {}).values():
            self._take((one for ids in levels for one in ids), at)
        about = json.loads(row["metadata"] or b"{}")
        about = _discreet(about)
        return {
            "checkpoint_ns": row["checkpoint_ns"],
            "checkpoint_id": at,
            "parent": row["parent_checkpoint_id"],
            "kind": kind,
            "data": _text(data),
            "channels": channels,
            "metadata": self._change(about) if self._change is not None else about,
            "run_id": row["run_id"],
            "root_id": row["root_id"],
        }

    def write(self, row: Row) -> Record:
        kind, data = self._serde.opened(row["type"], row["value"])
        inside = _ids(row["parts"])
        if deltas.inside(self._reader, inside):  # each where it was written
            data, inside = self._reader.filled(data, inside), []
        if self._change is not None:
            value = self._serde.unpack(kind, self._reader.filled(data, inside) if inside else data)
            if (other := self._change(value)) is not value:
                (kind, data), inside = self._serde.pack(other), []
        self._take(inside, row["checkpoint_id"])
        names = ("checkpoint_ns", "checkpoint_id", "task_id", "task_path", "idx", "channel", "run_id")
        return {name: row[name] for name in names} | {"kind": kind, "data": _text(data), "parts": inside}

    def _take(self, ids: Iterable[int], since: str) -> None:
        """With all that they are made of, each once."""
        new = [one for one in dict.fromkeys(ids) if one not in self.records]
        while new:
            below: list[int] = []
            for one, row in self._reader.rows(new).items():
                record = self._record(one, row, since)
                self.records[one] = record
                below += record["parts"]
            new = [one for one in dict.fromkeys(below) if one not in self.records]

    def _record(self, number: int, row: Row, since: str) -> Record:
        kind, data, inside = row["type"], row["data"], _ids(row["parts"])
        if kind != NODE:
            kind, data = self._serde.opened(kind, data)
            if self._change is not None and kind not in INSIDE:  # what is inside goes with what it is inside of
                value = self._serde.unpack(kind, self._reader.filled(data, inside) if inside else data)
                if (other := self._change(value)) is not value:
                    (kind, data), inside = self._serde.pack(other), []
        return {"part": number, "kind": kind, "data": _text(data), "parts": inside, "since": since}


def _changed(values: Mapping[str, Any], change: Change) -> dict[str, Any]:
    return {name: change({name: value})[name] for name, value in values.items()}


# Arriving


def arrive(tx: Tx, serde: Serializer, thread_id: str, carried: Carried, name: Name = lambda one: one) -> None:
    """Into a thread that has no states. `name` gives runs their ids here. Raises Broken."""
    try:
        _arrive(tx, serde, thread_id, carried, name)
    except Broken:
        raise
    except Unreadable as error:
        raise Broken(str(error)) from error
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise Broken(f"a record is not as it must be: {type(error).__name__}: {error}") from error


def _arrive(tx: Tx, serde: Serializer, thread_id: str, carried: Carried, name: Name) -> None:
    by = blobs.holder(tx, thread_id)
    arriving = _Arriving(tx, serde, by)
    inner = {one for record in carried.parts if record["kind"] != NODE for one in record["parts"]}
    inner |= {one for record in carried.writes for one in record["parts"]}
    for record in carried.parts:
        arriving.part(record, inside=record["part"] in inner)
    for record in carried.checkpoints:
        kind, data = str(record["kind"]), _bytes(record["data"])
        checkpoint = serde.unpack(kind, data)
        if not isinstance(checkpoint, dict) or checkpoint.get("id") != record["checkpoint_id"]:
            raise Broken(f"checkpoint {record['checkpoint_id']} is none")
        about = _discreet(dict(record["metadata"]))
        about |= {"thread_id": thread_id} if "thread_id" in about else {}
        about |= {"run_id": name(about["run_id"])} if isinstance(about.get("run_id"), str) else {}
        stored = serde.closed(kind, data)
        rows.put_checkpoint(
            tx,
            {
                "thread_id": thread_id,
                "checkpoint_ns": str(record["checkpoint_ns"]),
                "checkpoint_id": str(record["checkpoint_id"]),
                "parent": record["parent"],
                "type": stored[0],
                "checkpoint": stored[1],
                "metadata": json.dumps(about, ensure_ascii=False).encode("utf-8", "ignore"),
                "channels": arriving.channels(record["channels"]),
                "run_id": name(record["run_id"]),
                "root_id": record["root_id"],
            },
        )
    rows.put_writes(tx, [_write(arriving, serde, thread_id, record, name) for record in carried.writes])
    deltas.of_thread(tx, serde, thread_id)


def _write(arriving: "_Arriving", serde: Serializer, thread_id: str, record: Record, name: Name) -> Sequence[Any]:
    kind, data, inside = str(record["kind"]), _bytes(record["data"]), record["parts"]
    serde.unpack(kind, arriving.filled(data, inside))
    place = [str(record[one]) for one in ("checkpoint_ns", "checkpoint_id", "task_id", "task_path")]
    ids = ormsgpack.packb([arriving.ids[one] for one in inside]) if inside else None
    return (
        *(thread_id, *place, int(record["idx"]), str(record["channel"])),
        *(*serde.closed(kind, data), name(record["run_id"]), ids),
    )


class _Arriving:
    """`ids`: the number of a part here, by its number in the records."""

    def __init__(self, tx: Tx, serde: Serializer, by: Holder) -> None:
        self._tx, self._serde, self._by = tx, serde, by
        self.ids: dict[int, int] = {}
        self._parts: dict[int, Part] = {}
        self._items: dict[int, int] = {}

    def part(self, record: Record, *, inside: bool) -> None:
        """After those that it is made of."""
        number, kind, since = int(record["part"]), str(record["kind"]), str(record["since"])
        if kind == NODE:
            self._items[number] = sum(self._items.get(one, 1) for one in record["parts"])
            if self._items[number] > LONGEST:
                raise Broken(f"a list has more than {LONGEST} items")
            self.ids[number] = blobs.node(self._tx, self._by, [self.ids[one] for one in record["parts"]], since)
            return
        data = _bytes(record["data"])
        if inside:
            if kind not in INSIDE or record["parts"]:
                raise Broken(f"part {number} cannot be inside another")
            data.decode() if kind == "text" else data
            part = Part(data, kind, data)
        else:
            value = self._serde.unpack(kind, self.filled(data, record["parts"]))
            parts = tuple(self._parts[one] for one in record["parts"])
            message_id = value.id if isinstance(value, BaseMessage) else None
            part = Part(data + b"".join(one.digest for one in parts), kind, data, parts, message_id)
        self._parts[number] = part
        self.ids[number] = blobs.put(self._tx, self._by, self._serde, [part], since)[0]

    def filled(self, data: bytes, inside: Sequence[int]) -> bytes:
        if not inside:
            return data
        found = [self._parts[one] for one in inside]
        if data.count(OUTSIDE_MARK) * max(len(one.data) for one in found) > REPEATED + sum(one.size for one in found):
            raise Broken("a part repeats what is inside it too often")
        return filled(data, [opened(one.kind, one.data) for one in found])

    def channels(self, found: Mapping[str, Any] | None) -> bytes | None:
        if found is None:
            return None
        entries = {
            str(channel): (str(kind), str(version), [[self.ids[one] for one in ids] for ids in levels])
            for channel, (kind, version, levels) in found.items()
        }
        return ormsgpack.packb(entries)


def places(carried: Carried) -> Iterator[tuple[str, str]]:
    return ((str(one.get("checkpoint_ns")), str(one.get("checkpoint_id"))) for one in carried.checkpoints)


def _discreet(about: dict[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in about.items() if not (one and key.startswith(SECRET))}


def _ids(packed: bytes | None) -> list[int]:
    return [] if packed is None else list(ormsgpack.unpackb(packed))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
