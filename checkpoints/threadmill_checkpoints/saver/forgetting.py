"""A message that is forgotten: out of every checkpoint, write and part of the threads that have it."""

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import ormsgpack

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import blobs, deltas, forks
from threadmill_checkpoints.saver.blobs import Holder, Ids, Reader
from threadmill_checkpoints.saver.erasing import TELLING, Erasure
from threadmill_checkpoints.saver.parts import Part, listed, repacked
from threadmill_checkpoints.search.texts import messages_in, plain
from threadmill_checkpoints.serde import Serializer

PAGE = 200  # parts read at a time


# Where a message is no part of its own: in whole states, and in what was written to a DeltaChannel. What is sealed is
# opened to see.
SEALED = "type LIKE '%+%'"
WHOLE = (
    f"SELECT rowid AS number FROM checkpoints WHERE channels IS NULL AND ({SEALED} OR instr(checkpoint, :id))",
    "SELECT thread_id, type, checkpoint AS data, NULL AS parts FROM checkpoints WHERE rowid = :number",
)
WRITTEN = (
    f"SELECT rowid AS number FROM writes WHERE CASE WHEN {SEALED} THEN thread_id IN (SELECT thread_id FROM checkpoints "
    "WHERE instr(metadata, 'counters_since_delta_snapshot')) ELSE instr(value, :id) END",
    "SELECT thread_id, type, value AS data, parts FROM writes WHERE rowid = :number",
)


def having(tx: Tx, serde: Serializer, message_id: str) -> list[str]:
    """The threads that hold the message."""
    rows = tx.all(
        "SELECT DISTINCT thread_id FROM blobs JOIN blob_refs USING (blob_id) JOIN blob_owners USING (owner) "
        "WHERE message_id = :message_id",
        message_id=message_id,
    )
    elsewhere = {thread_id for thread_id, message in _elsewhere(tx, serde, message_id) if message["id"] == message_id}
    return sorted({row["thread_id"] for row in rows} | elsewhere)


def _elsewhere(
    tx: Tx, serde: Serializer, id: str, among: Sequence[str] | None = None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(thread, message) of those that are no parts, in all that this id stands in."""
    reader, which = Reader(tx, serde), "" if among is None else " AND thread_id IN (SELECT value FROM json_each(:ids))"
    for find, get in (WHOLE, WRITTEN):
        for found in tx.all(find + which, id=id.encode(), **({"ids": json.dumps(among)} if among is not None else {})):
            row = tx.one(get, number=found["number"])
            assert row is not None
            kind, data = reader.data(row)
            if kind == "msgpack" and id.encode() in data:
                yield from ((row["thread_id"], one) for one in messages_in(plain(data)))


def with_forks(tx: Tx, thread_ids: Iterable[str]) -> list[str]:
    """These, and all that continue them."""
    found, new = dict[str, None](), list(thread_ids)
    while new:
        found |= dict.fromkeys(new)
        rows = tx.all(
            "SELECT thread_id FROM bases WHERE source IN (SELECT value FROM json_each(:ids))", ids=json.dumps(new)
        )
        new = [row["thread_id"] for row in rows if row["thread_id"] not in found]
    return list(found)


def wanted(tx: Tx, serde: Serializer, message_id: str, thread_ids: Sequence[str]) -> Erasure:
    """What to take out: the message in each of its forms, and the answers to the tools that it called."""
    erasure, reader = Erasure({message_id}), Reader(tx, serde)
    for row in tx.all("SELECT blob_id, type, data, parts FROM blobs WHERE message_id = :id", id=message_id):
        _learn(erasure, _plain(reader, row))
    for _, message in _elsewhere(tx, serde, message_id, thread_ids):
        if message["id"] == message_id:
            erasure.add(message)
    calls = set(erasure.calls)
    for thread_id in thread_ids if calls else ():
        for row in _held(tx, thread_id):
            if row["message_id"] is not None and row["message_id"] not in erasure.ids:
                message = _plain(reader, row)
                if isinstance(message, dict) and message.get("tool_call_id") in calls:
                    _learn(erasure, message)
    for call in calls:
        for _, message in _elsewhere(tx, serde, call, thread_ids):
            if message.get("tool_call_id") == call:
                erasure.add(message)
    return erasure


def erase(tx: Tx, serde: Serializer, thread_ids: Sequence[str], erasure: Erasure) -> Counter[str]:
    """Returns how many of what were changed."""
    done = Counter[str]()
    for thread_id in thread_ids:
        _parts(tx, serde, thread_id, thread_ids, erasure, done)
        _checkpoints(tx, serde, thread_id, erasure, done)
        _writes(tx, serde, thread_id, erasure, done)
    for thread_id in thread_ids:
        forks.hold(tx, thread_id)  # what was large in it goes
    return done


def _learn(erasure: Erasure, message: Any) -> None:
    if isinstance(message, dict) and message.get("id"):
        erasure.add(message)


def _plain(reader: Reader, row: Row) -> Any:
    kind, data = reader.data(row)
    return plain(data) if kind == "msgpack" else None


def _held(tx: Tx, thread_id: str) -> Iterator[Row]:
    by = blobs.owner(tx, thread_id)
    owner = by["owner"] if by else None
    ids = tx.all("SELECT blob_id FROM blob_refs WHERE owner = :owner", owner=owner)
    for start in range(0, len(ids), PAGE):
        yield from tx.all(
            "SELECT blob_id, type, data, parts, message_id, checkpoint_id AS since FROM blobs JOIN blob_refs "
            "USING (blob_id) WHERE owner = :owner AND type <> 'node' "
            "AND blob_id IN (SELECT value FROM json_each(:ids))",
            owner=owner,
            ids=json.dumps([row["blob_id"] for row in ids[start : start + PAGE]]),
        )


def _parts(
    tx: Tx, serde: Serializer, thread_id: str, thread_ids: Sequence[str], erasure: Erasure, done: Counter[str]
) -> None:
    by, reader, moved = blobs.holder(tx, thread_id), Reader(tx, serde), dict[int, int]()
    for row in _held(tx, thread_id):
        kind, data = reader.data(row)
        if kind != "msgpack" or not erasure.touches(data):
            continue
        before = erasure.count
        part = repacked(kind, erasure.packed(data), row["message_id"])
        if erasure.count == before:
            continue
        done["messages" if row["message_id"] in erasure.ids else "copies"] += 1
        if _shared(tx, row["blob_id"], thread_ids):
            (moved[row["blob_id"]],) = blobs.put(tx, by, serde, [part], row["since"])
        else:
            _replace(tx, by, serde, row, part)
    if moved:
        _move(tx, by, reader, thread_id, moved)


def _shared(tx: Tx, blob_id: int, thread_ids: Sequence[str]) -> bool:
    """With threads that only happen to have the same."""
    return bool(
        tx.one(
            "SELECT 1 FROM blob_refs JOIN blob_owners USING (owner) WHERE blob_id = :blob_id "
            "AND thread_id NOT IN (SELECT value FROM json_each(:ids))",
            blob_id=blob_id,
            ids=json.dumps(thread_ids),
        )
    )


def _replace(tx: Tx, by: Holder, serde: Serializer, row: Row, part: Part) -> None:
    inside = blobs.put(tx, by, serde, part.inside, row["since"])
    kind, data = serde.closed(part.kind, part.data)
    tx.run(
        "UPDATE blobs SET hash = :hash, type = :kind, data = :data, parts = :parts WHERE blob_id = :blob_id",
        hash=secrets.token_bytes(16),
        kind=kind,
        data=data,
        parts=ormsgpack.packb(inside) if inside else None,
        blob_id=row["blob_id"],
    )
    tx.run("DELETE FROM search_docs WHERE blob_id = :blob_id", blob_id=row["blob_id"])


def _move(tx: Tx, by: Holder, reader: Reader, thread_id: str, moved: dict[int, int]) -> None:
    """The thread's own checkpoints have other parts in place of these."""

    def changed(ids: Ids) -> Ids:
        return [moved.get(one, one) for one in ids]

    for row in tx.all(
        "SELECT checkpoint_ns, checkpoint_id, channels FROM checkpoints "
        "WHERE thread_id = :thread_id AND channels IS NOT NULL",
        thread_id=thread_id,
    ):
        entries = ormsgpack.unpackb(row["channels"])
        for channel, (kind, version, levels) in entries.items():
            ids = reader.ids(levels)
            if moved.keys() & set(ids):
                entries[channel] = (kind, version, blobs.grow(tx, by, changed(ids), row["checkpoint_id"]))
        tx.run(
            "UPDATE checkpoints SET channels = :channels WHERE thread_id = :thread_id AND checkpoint_ns = :ns "
            "AND checkpoint_id = :checkpoint_id",
            channels=ormsgpack.packb(entries),
            thread_id=thread_id,
            ns=row["checkpoint_ns"],
            checkpoint_id=row["checkpoint_id"],
        )


def _checkpoints(tx: Tx, serde: Serializer, thread_id: str, erasure: Erasure, done: Counter[str]) -> None:
    for found in tx.all("SELECT rowid AS number FROM checkpoints WHERE thread_id = :id", id=thread_id):
        row = tx.one("SELECT type, checkpoint, metadata FROM checkpoints WHERE rowid = :number", **dict(found))
        assert row is not None
        kind, data = serde.opened(row["type"], row["checkpoint"])
        before, about = erasure.count, bytes(row["metadata"] or b"{}")
        data = erasure.packed(data) if kind == "msgpack" and erasure.touches(data) else data
        about = erasure.json(about) if erasure.touches(about) else about
        if erasure.count > before:
            kind, data = serde.closed(kind, data)
            done["checkpoints"] += 1
            tx.run(
                "UPDATE checkpoints SET type = :kind, checkpoint = :data, metadata = :metadata WHERE rowid = :number",
                kind=kind,
                data=data,
                metadata=about,
                **dict(found),
            )


def _writes(tx: Tx, serde: Serializer, thread_id: str, erasure: Erasure, done: Counter[str]) -> None:
    by, reader = blobs.holder(tx, thread_id), Reader(tx, serde)
    for row in tx.all(
        "SELECT rowid AS number, checkpoint_id, channel, type, value, parts FROM writes WHERE thread_id = :thread_id",
        thread_id=thread_id,
    ):
        kind, data = serde.opened(row["type"], row["value"])
        parts = ormsgpack.unpackb(row["parts"]) if row["parts"] is not None else []
        if parts:
            data = reader.filled(data, parts)
        before = erasure.count
        if kind != "msgpack" or not erasure.touches(data):
            continue
        made = erasure.packed(data, erasure.quotes if row["channel"] in TELLING else ())
        if erasure.count == before:
            continue
        done["writes"] += 1
        part = listed(made) if deltas.inside(reader, parts) else repacked(kind, made)
        inside = blobs.put(tx, by, serde, part.inside, row["checkpoint_id"])
        kind, data = serde.closed(part.kind, part.data)
        tx.run(
            "UPDATE writes SET type = :kind, value = :data, parts = :parts WHERE rowid = :number",
            kind=kind,
            data=data,
            parts=ormsgpack.packb(inside) if inside else None,
            number=row["number"],
        )
