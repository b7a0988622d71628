"""What can be wrong with stored states, and what is done about it. Nothing that is there is taken away."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import ormsgpack
from langchain_core.messages import AIMessage

from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import blobs, forks
from threadmill_checkpoints.saver.blobs import NODE
from threadmill_checkpoints.serde import Serializer

LOST = "[this part of the state is lost]"


@dataclass(frozen=True, slots=True)
class Fault:
    """`mended` says what was done, or would be; None when nothing can be."""

    kind: str
    thread_id: str | None
    what: str
    mended: str | None


def check(tx: Tx, serde: Serializer, *, repair: bool) -> Iterator[Fault]:
    yield from _bases(tx, repair)
    yield from _missing(tx, serde, repair)
    yield from _refs(tx, repair)
    yield from _held(tx, repair)


def _bases(tx: Tx, repair: bool) -> Iterator[Fault]:
    for row in tx.all(
        "SELECT thread_id, source, checkpoint_id FROM bases WHERE NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE "
        "c.thread_id = bases.source AND c.checkpoint_ns = '' AND c.checkpoint_id = bases.checkpoint_id)"
    ):
        if repair:
            forks.cut(tx, row["thread_id"])
        what = f"what it continues is gone: checkpoint {row['checkpoint_id']} of thread {row['source']}"
        yield Fault("fork without base", row["thread_id"], what, "its history begins with its own checkpoints")


@dataclass(frozen=True, slots=True)
class _Gap:
    """A part that is named and not there. `height` 0 is a part, 1 a node of parts, …; `kind` as in `parts.Kind`, or
    `inside` of one that stands in another."""

    part: int
    height: int
    kind: str
    channel: str


def _missing(tx: Tx, serde: Serializer, repair: bool) -> Iterator[Fault]:
    there = {row["blob_id"]: row["parts"] for row in tx.all("SELECT blob_id, parts FROM blobs")}
    nodes = {row["blob_id"] for row in tx.all("SELECT blob_id FROM blobs WHERE type = :node", node=NODE)}
    seen: set[int] = set()
    for thread_id, gap in _gaps(tx, there, nodes):
        if gap.part in seen:
            continue
        seen.add(gap.part)
        if repair:
            _fill(tx, serde, gap)
        what = f"part {gap.part} of {gap.channel} is missing"
        yield Fault("missing part", thread_id, what, f"{LOST!r} stands in its place")


def _gaps(tx: Tx, there: dict[int, bytes | None], nodes: set[int]) -> Iterator[tuple[str, _Gap]]:
    done: set[int] = set()

    def below(part: int, height: int, kind: str, channel: str) -> Iterator[_Gap]:
        if part not in there:
            yield _Gap(part, height, kind, channel)
        elif part not in done:
            done.add(part)
            inner, lower = ("inside", 0) if part not in nodes else (kind, max(height - 1, 0))
            for one in ormsgpack.unpackb(there[part] or b"\x90"):
                yield from below(one, lower, inner, channel)

    for row in tx.all("SELECT thread_id, channels FROM checkpoints WHERE channels IS NOT NULL"):
        for channel, (kind, _, levels) in ormsgpack.unpackb(row["channels"]).items():
            for height, ids in enumerate(levels):
                for one in ids:
                    yield from ((row["thread_id"], gap) for gap in below(one, height, kind, channel))
    for row in tx.all("SELECT thread_id, channel, parts FROM writes WHERE parts IS NOT NULL"):
        for one in ormsgpack.unpackb(row["parts"]):
            yield from ((row["thread_id"], gap) for gap in below(one, 0, "inside", row["channel"]))


def _fill(tx: Tx, serde: Serializer, gap: _Gap) -> None:
    if gap.height:
        row = tx.one(
            "SELECT coalesce(max(blob_id), 0) + 1 AS free FROM (SELECT max(blob_id) AS blob_id FROM blobs "
            "UNION ALL SELECT seq FROM sqlite_sequence WHERE name = 'blobs')"
        )
        inner = max(row["free"] if row else 1, gap.part + 1)
        _fill(tx, serde, _Gap(inner, gap.height - 1, gap.kind, gap.channel))
        _insert(tx, gap.part, NODE, b"", ormsgpack.packb([inner]), None)
        return
    if gap.kind == "inside":
        kind, data = serde.closed("text", LOST.encode())
        _insert(tx, gap.part, kind, data, None, None)
        return
    value: object = LOST
    message_id = None
    if gap.channel == "messages" and gap.kind.endswith("list"):
        message_id = f"lost-{gap.part}"
        value = AIMessage(LOST, id=message_id)
    elif gap.kind.endswith("map"):
        value = (f"lost-{gap.part}", LOST)
    elif gap.kind.endswith("runs"):
        value = [LOST]
    _insert(tx, gap.part, *serde.dumps_typed(value), None, message_id)


def _insert(tx: Tx, part: int, kind: str, data: bytes, parts: bytes | None, message_id: str | None) -> None:
    tx.run(
        "INSERT INTO blobs (blob_id, hash, type, data, parts, message_id) "
        "VALUES (:part, :hash, :kind, :data, :parts, :message_id)",
        part=part,
        hash=secrets.token_bytes(16),
        kind=kind,
        data=data,
        parts=parts,
        message_id=message_id,
    )


def _refs(tx: Tx, repair: bool) -> Iterator[Fault]:
    row = tx.one(
        "SELECT count(*) AS count FROM blob_refs WHERE owner NOT IN (SELECT owner FROM blob_owners) "
        "OR blob_id NOT IN (SELECT blob_id FROM blobs)"
    )
    if row and row["count"]:
        if repair:
            blobs.drop_dangling(tx)
        yield Fault("ref of nothing", None, f"{row['count']} say that nobody, or nothing, is held", "deleted")


def _held(tx: Tx, repair: bool) -> Iterator[Fault]:
    needed: set[int] = set()
    for row in tx.all("SELECT DISTINCT thread_id FROM checkpoints UNION SELECT DISTINCT thread_id FROM writes"):
        made_of = set(forks.made_of(tx, row["thread_id"]))
        needed |= made_of
        # A fork's parts are held by what it continues: that one gives it its own before it lets go of any.
        holders = [row["thread_id"], *(source for source, _ in forks.View(tx, row["thread_id"]).inherited)]
        refs = tx.all(
            "SELECT DISTINCT blob_id FROM blob_refs JOIN blob_owners USING (owner) WHERE thread_id IN "
            "(SELECT value FROM json_each(:holders)) AND blob_id IN (SELECT value FROM json_each(:ids))",
            holders=json.dumps(holders),
            ids=json.dumps(list(made_of)),
        )
        known = {one["blob_id"] for one in tx.all("SELECT blob_id FROM blobs")} if len(refs) < len(made_of) else set()
        if loose := (made_of & known) - {one["blob_id"] for one in refs}:
            if repair:
                forks.hold(tx, row["thread_id"])
            yield Fault("part not held", row["thread_id"], f"{len(loose)} of its parts could be deleted", "held again")
    unheld = {
        row["blob_id"]
        for row in tx.all("SELECT blob_id FROM blobs WHERE blob_id NOT IN (SELECT blob_id FROM blob_refs)")
    }
    if nobodys := unheld - needed:
        if repair:
            blobs.collect(tx, list(nobodys))
        yield Fault("part that nobody holds", None, f"{len(nobodys)} parts", "deleted")
