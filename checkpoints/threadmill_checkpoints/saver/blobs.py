"""The `blobs` table: every part of every state once, by its content; and which threads hold it.

The ids of a long list are not written anew with each checkpoint: they form a tree of nodes of FAN ids, so that lists
with a common beginning share their nodes, and one more item costs a few ids at whatever length.

A thread holds a part from the first checkpoint on that has it. What no thread holds any more is deleted.
"""

import copy
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import ormsgpack
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver.parts import Part, filled, opened
from threadmill_checkpoints.serde import Serializer, Unreadable

FAN = 64
KNOWN = 10_000  # parts of one thread that are remembered
NODE = "node"
Ids = list[int]
Levels = list[Ids]  # ids of parts, of nodes, of nodes of nodes, … that are not yet in a full node


@dataclass(slots=True, eq=False)
class Holder:
    """What a thread holds, as far as it is known: part → id. Not valid any more when `generation` has moved on."""

    owner: int
    generation: int
    known: dict[bytes, int] = field(default_factory=dict)


def holder(tx: Tx, thread_id: str, at: Holder | None = None) -> Holder:
    """`at` if that is still right; made when there is none. For a writing transaction."""
    row = owner(tx, thread_id)
    if row is None:
        row = tx.one(  # the number may be that of a thread that was deleted, which a `Holder` may still know
            "INSERT INTO blob_owners (thread_id, generation) VALUES (:thread_id, :generation) "
            "RETURNING owner, generation",
            thread_id=thread_id,
            generation=secrets.randbits(48),
        )
        assert row is not None
    if at is not None and (at.owner, at.generation) == (row["owner"], row["generation"]):
        return at
    return Holder(row["owner"], row["generation"])


class Stale(Exception):
    """A part that was read is not held any more."""


def owner(tx: Tx, thread_id: str) -> Row | None:
    return tx.one("SELECT owner, generation FROM blob_owners WHERE thread_id = :thread_id", thread_id=thread_id)


def put(tx: Tx, by: Holder, serde: SerializerProtocol, found: Iterable[Part], checkpoint_id: str) -> Ids:
    """The ids of parts, which are stored if they are new and held by the thread from this checkpoint on."""
    return [
        one.at[1] if one.at is not None and one.at[0] is by else _put(tx, by, serde, one, checkpoint_id)
        for one in found
    ]


def _put(tx: Tx, by: Holder, serde: SerializerProtocol, part: Part, checkpoint_id: str) -> int:
    if not part.key:
        raise Stale
    found = _find(tx, by, serde, part, checkpoint_id)
    part.at = (by, found)
    return found


def _find(tx: Tx, by: Holder, serde: SerializerProtocol, part: Part, checkpoint_id: str) -> int:
    key = part.kind.encode() + b":" + part.key
    if (known := by.known.get(key)) is not None:
        return known
    inside = put(tx, by, serde, part.inside, checkpoint_id)
    # A hash would tell whoever can guess the content; sealed content is only shared within a thread, by `known`.
    digest = secrets.token_bytes(16) if isinstance(serde, Serializer) and serde.sealing else part.digest
    row = tx.one("SELECT blob_id FROM blobs WHERE hash = :hash", hash=digest)
    if row is None:
        kind, data = serde.closed(part.kind, part.data) if isinstance(serde, Serializer) else (part.kind, part.data)
        row = tx.one(
            "INSERT INTO blobs (hash, type, data, parts, message_id) VALUES (:hash, :type, :data, :parts, :message_id) "
            "RETURNING blob_id",
            hash=digest,
            type=kind,
            data=data,
            parts=ormsgpack.packb(inside) if inside else None,
            message_id=part.message_id,
        )
        assert row is not None
    found: int = row["blob_id"]
    hold(tx, by.owner, [found], checkpoint_id)
    if len(by.known) < KNOWN:
        by.known[key] = found
    return found


def inside(
    tx: Tx, serde: SerializerProtocol, large: Sequence[Part], thread_id: str, checkpoint_id: str
) -> bytes | None:
    """What is large in a part, stored: the `parts` of its row. None when nothing is."""
    return ormsgpack.packb(put(tx, holder(tx, thread_id), serde, large, checkpoint_id)) if large else None


def hold(tx: Tx, owner: int, ids: Iterable[int], checkpoint_id: str) -> None:
    tx.many(
        "INSERT OR IGNORE INTO blob_refs (owner, blob_id, checkpoint_id) VALUES (?, ?, ?)",
        [(owner, one, checkpoint_id) for one in ids],
    )


def hold_since(tx: Tx, owner: int, ids: Iterable[int], checkpoint_id: str) -> None:
    """That they are held is known already, from a later checkpoint on."""
    tx.many(
        "UPDATE blob_refs SET checkpoint_id = ?1 WHERE owner = ?2 AND blob_id = ?3 AND checkpoint_id > ?1",
        [(checkpoint_id, owner, one) for one in ids],
    )


def grow(tx: Tx, by: Holder, ids: Sequence[int], checkpoint_id: str) -> Levels:
    """A list of ids as levels; full nodes are stored."""
    levels: Levels = []
    below = list(ids)
    while True:
        full = len(below) - len(below) % FAN
        levels.append(below[full:])
        if not full:
            return levels
        below = [node(tx, by, below[at : at + FAN], checkpoint_id) for at in range(0, full, FAN)]


def node(tx: Tx, by: Holder, ids: Ids, checkpoint_id: str) -> int:
    packed = ormsgpack.packb(ids)
    key = b"node:" + packed
    if (known := by.known.get(key)) is not None:
        return known
    digest = Part(key, NODE, b"").digest
    row = tx.one("SELECT blob_id FROM blobs WHERE hash = :hash", hash=digest) or tx.one(
        "INSERT INTO blobs (hash, type, data, parts) VALUES (:hash, 'node', x'', :parts) RETURNING blob_id",
        hash=digest,
        parts=packed,
    )
    assert row is not None
    found: int = row["blob_id"]
    hold(tx, by.owner, [found], checkpoint_id)
    by.known[key] = found
    return found


class Reader:
    """Reads parts in one transaction, each once: states that share a part share the object that it becomes."""

    def __init__(
        self,
        tx: Tx,
        serde: SerializerProtocol,
        learn: Callable[[int, Any, int], None] = lambda *_: None,
        here: Callable[[Iterable[int]], dict[int, Any]] = lambda _: {},
    ) -> None:
        """`here` knows some values already; `learn` gets (blob, value, bytes) of the others."""
        self._learn, self._here = learn, here
        self.known: dict[bytes, int] = {}  # as in Holder: all that was read
        self._tx, self._serde = tx, serde
        self._nodes: dict[int, Ids] = {}
        self._values: dict[int, Any] = {}

    def ids(self, levels: Levels) -> Ids:
        """Of the parts of a list, in order."""
        above: Ids = []
        for ids in reversed(levels):
            above = [*self._opened(above), *ids]
        return above

    def values(self, ids: Sequence[int]) -> list[Any]:
        if missing := [one for one in dict.fromkeys(ids) if one not in self._values]:
            self._values |= self._here(missing)
            if missing := [one for one in missing if one not in self._values]:
                self._values |= zip(missing, self._read(missing), strict=True)
        seen, found = set[int](), list[Any]()
        for one in ids:  # what stands in a list twice is two objects
            found.append(copy.deepcopy(self._values[one]) if one in seen else self._values[one])
            seen.add(one)
        return found

    def write(self, row: Row) -> Any:
        """The value of a row of `writes`."""
        if row["parts"] is None:
            return self._serde.loads_typed((row["type"], row["value"]))
        serde = cast("Serializer", self._serde)
        kind, data = serde.opened(row["type"], row["value"])
        return serde.unpack(kind, self.filled(data, ormsgpack.unpackb(row["parts"])))

    def _opened(self, nodes: Ids) -> Ids:
        if missing := [one for one in nodes if one not in self._nodes]:
            for one, row in self.rows(missing).items():
                self._nodes[one] = ormsgpack.unpackb(row["parts"])
                self.known[b"node:" + row["parts"]] = one
        return [one for node in nodes for one in self._nodes[node]]

    def _read(self, ids: Ids) -> list[Any]:
        rows = self.rows(ids)
        plain, packed = True, list[tuple[str, bytes]]()
        for one in ids:
            row = rows[one]
            kind, data = self.data(row)
            plain = plain and kind == "msgpack"
            packed.append((kind, data))
            if row["parts"] is None and len(self.known) < KNOWN:
                self.known[kind.encode() + b":" + data] = one
        found = self._unpacked(packed, plain)
        for one, value, (_, data) in zip(ids, found, packed, strict=True):
            self._learn(one, value, len(data))
        return found

    def _unpacked(self, packed: list[tuple[str, bytes]], plain: bool) -> list[Any]:
        if not isinstance(self._serde, Serializer):
            return [self._serde.loads_typed(one) for one in packed]
        if plain:  # an array of them is read in one go
            head = b"\xdd" + len(packed).to_bytes(4, "big")
            found: list[Any] = self._serde.unpack("msgpack", head + b"".join([data for _, data in packed]))
            return found
        return [self._serde.unpack(*one) for one in packed]

    def data(self, row: Row) -> tuple[str, bytes]:
        """As packed, with all that is large in it."""
        kind, data = row["type"], row["data"]
        if isinstance(self._serde, Serializer):
            kind, data = self._serde.opened(kind, data)
        return kind, data if row["parts"] is None else self.filled(data, ormsgpack.unpackb(row["parts"]))

    def filled(self, data: bytes, inside: Ids) -> bytes:
        rows = self.rows(inside)
        found = [self.data(rows[one]) for one in inside]
        return filled(data, [opened(*one) for one in found])

    def rows(self, ids: Iterable[int]) -> Mapping[int, Row]:
        wanted = list(ids)
        rows = self._tx.all(
            "SELECT blob_id, type, data, parts FROM blobs WHERE blob_id IN (SELECT value FROM json_each(:ids))",
            ids=json.dumps(wanted),
        )
        found = {row["blob_id"]: row for row in rows}
        if lost := [one for one in wanted if one not in found]:
            raise Unreadable(f"Parts of a stored state are missing: blobs {lost[:5]}.")
        return found


def message_ids(tx: Tx, ids: Iterable[int]) -> dict[int, str | None]:
    rows = tx.all(
        "SELECT blob_id, message_id FROM blobs WHERE blob_id IN (SELECT value FROM json_each(:ids))",
        ids=json.dumps(list(ids)),
    )
    return {row["blob_id"]: row["message_id"] for row in rows}


# Who holds what


def used(tx: Tx, ids: Iterable[int]) -> set[int]:
    """These parts, and all that they are made of."""
    found, new = set[int](), set(ids)
    while new:
        found |= new
        rows = tx.all(
            "SELECT parts FROM blobs WHERE parts IS NOT NULL AND blob_id IN (SELECT value FROM json_each(:ids))",
            ids=json.dumps(list(new)),
        )
        new = {one for row in rows for one in ormsgpack.unpackb(row["parts"])} - found
    return found


def settle(tx: Tx, thread_id: str, wanted: Mapping[int, str]) -> None:
    """The thread holds these, each from that checkpoint on, and nothing else; what nobody holds then is deleted."""
    by = holder(tx, thread_id).owner
    rows = tx.all("SELECT blob_id, checkpoint_id FROM blob_refs WHERE owner = :owner", owner=by)
    held = {row["blob_id"]: row["checkpoint_id"] for row in rows}
    tx.many(
        "INSERT OR REPLACE INTO blob_refs (owner, blob_id, checkpoint_id) VALUES (?, ?, ?)",
        [(by, one, since) for one, since in wanted.items() if held.get(one) != since],
    )
    gone = [one for one in held if one not in wanted]
    tx.many("DELETE FROM blob_refs WHERE owner = ? AND blob_id = ?", [(by, one) for one in gone])
    tx.run("UPDATE blob_owners SET generation = generation + 1 WHERE owner = :owner", owner=by)
    collect(tx, gone)


def release(tx: Tx, thread_id: str) -> None:
    """The thread holds nothing any more."""
    rows = tx.all(
        "DELETE FROM blob_refs WHERE owner = (SELECT owner FROM blob_owners WHERE thread_id = :thread_id) "
        "RETURNING blob_id",
        thread_id=thread_id,
    )
    tx.run("DELETE FROM blob_owners WHERE thread_id = :thread_id", thread_id=thread_id)
    collect(tx, [row["blob_id"] for row in rows])


def share(tx: Tx, source: str, target: str) -> None:
    """The target holds, too, what the source holds."""
    tx.run(
        "INSERT OR IGNORE INTO blob_refs (owner, blob_id, checkpoint_id) SELECT :owner, blob_id, checkpoint_id "
        "FROM blob_refs WHERE owner = (SELECT owner FROM blob_owners WHERE thread_id = :source)",
        owner=holder(tx, target).owner,
        source=source,
    )


def collect(tx: Tx, ids: Sequence[int]) -> None:
    """Delete those that nobody holds."""
    if ids:
        tx.run(
            "DELETE FROM blobs WHERE blob_id IN (SELECT value FROM json_each(:ids)) "
            "AND NOT EXISTS (SELECT 1 FROM blob_refs WHERE blob_refs.blob_id = blobs.blob_id)",
            ids=json.dumps(list(ids)),
        )


def collect_all(tx: Tx) -> int:
    """Delete all that nobody holds; how many parts it were."""
    drop_dangling(tx)
    return tx.run("DELETE FROM blobs WHERE blob_id NOT IN (SELECT blob_id FROM blob_refs)")


def drop_dangling(tx: Tx) -> None:
    """What says that nobody, or nothing, is held."""
    tx.run(
        "DELETE FROM blob_refs WHERE owner NOT IN (SELECT owner FROM blob_owners) "
        "OR blob_id NOT IN (SELECT blob_id FROM blobs)"
    )
