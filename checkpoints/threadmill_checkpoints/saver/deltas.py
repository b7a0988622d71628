"""Messages of a DeltaChannel. They stand in no checkpoint but in what was written since one; each is a part, too.

So it is stored once, also when a snapshot has it, and is held since the first checkpoint whose state has it. It becomes
one when that checkpoint is put; what was written by LangGraph's own saver, or before this was so, when somebody asks.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import blobs
from threadmill_checkpoints.saver.blobs import Holder, Reader
from threadmill_checkpoints.saver.parts import listed
from threadmill_checkpoints.serde import Serializer

COUNTERS = "counters_since_delta_snapshot"  # in the metadata: of each such channel that has no snapshot there
TOGETHER = 50  # checkpoints in one transaction
FOUND = (
    "SELECT rowid AS number, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, metadata FROM checkpoints "
    f"WHERE instr(metadata, '{COUNTERS}')"
)


def counted(metadata: Mapping[str, Any]) -> Iterable[str]:
    """The channels that have counters; what a client gives a run may have their name."""
    found = metadata.get(COUNTERS)
    return found if isinstance(found, dict) else ()


def take_apart(
    tx: Tx, serde: SerializerProtocol, by: Holder, place: tuple[str, str], since: str, channels: Iterable[str]
) -> None:
    """What was written to these channels since a checkpoint, once another follows."""
    if not isinstance(serde, Serializer) or serde.sealing:  # what is sealed cannot be found, and is shared by nobody
        return
    written = tx.all(
        "SELECT rowid AS number, type, value AS data, parts FROM writes "
        "WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :since "
        "AND idx >= 0 AND channel IN (SELECT value FROM json_each(:channels))",
        thread_id=place[0],
        ns=place[1],
        since=since,
        channels=json.dumps(list(channels)),
    )
    first = _first(tx, place, since) if written else None
    if first is None:
        return
    reader = Reader(tx, serde)
    for row in written:
        kind, data = reader.data(row)
        if kind != "msgpack" or not (part := listed(data)).inside:
            continue
        ids = blobs.put(tx, by, serde, part.inside, first)
        blobs.hold_since(tx, by.owner, ids, first)
        tx.run(
            "UPDATE writes SET value = :data, parts = :parts WHERE rowid = :number",
            data=part.data,
            parts=ormsgpack.packb(ids),
            number=row["number"],
        )


def inside(reader: Reader, ids: Iterable[int]) -> bool:
    """Whether such messages are among the parts of a write."""
    return any(row["type"].startswith("msgpack") for row in reader.rows(ids).values())


def of_thread(tx: Tx, serde: SerializerProtocol, thread_id: str) -> None:
    """Of one that has come from elsewhere."""
    _each(tx, serde, tx.all(f"{FOUND} AND thread_id = :thread_id", thread_id=thread_id))


@dataclass(frozen=True, slots=True)
class Earlier:
    """Checkpoints from before; `left`: what is to be looked at after them."""

    found: Sequence[Row]
    left: int


def waiting(tx: Tx) -> Earlier | None:
    """The next of what was there before messages of a DeltaChannel were parts; None if nothing is left."""
    mark = tx.one("SELECT number FROM search_marks WHERE name = 'deltas'")
    if mark is None or not mark["number"]:
        return None
    found = tx.all(f"{FOUND} AND rowid <= :mark ORDER BY rowid DESC LIMIT {TOGETHER}", mark=mark["number"])
    return Earlier(found, found[-1]["number"] - 1 if len(found) == TOGETHER else 0)


def put(tx: Tx, serde: SerializerProtocol, earlier: Earlier) -> None:
    _each(tx, serde, earlier.found)
    tx.run("UPDATE search_marks SET number = min(number, :left) WHERE name = 'deltas'", left=earlier.left)


def _each(tx: Tx, serde: SerializerProtocol, found: Iterable[Row]) -> None:
    for row in found:
        by, place = blobs.holder(tx, row["thread_id"]), (row["thread_id"], row["checkpoint_ns"])
        channels = counted(json.loads(row["metadata"]))
        # What follows it may be a snapshot, which has no counters.
        for since in (row["parent_checkpoint_id"], row["checkpoint_id"]):
            if since is not None:
                take_apart(tx, serde, by, place, since, channels)


def _first(tx: Tx, place: tuple[str, str], parent: str) -> str | None:
    """The first checkpoint that follows another."""
    row = tx.one(
        "SELECT checkpoint_id FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = :ns "
        "AND checkpoint_id > :parent AND parent_checkpoint_id = :parent ORDER BY checkpoint_id LIMIT 1",
        thread_id=place[0],
        ns=place[1],
        parent=parent,
    )
    return row["checkpoint_id"] if row else None
