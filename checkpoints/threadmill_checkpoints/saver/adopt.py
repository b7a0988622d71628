"""A thread takes over what a fork of it has done since."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import forks, heads, lines, memories, rows
from threadmill_checkpoints.saver.forks import Unknown, View


def adopt(tx: Tx, serde: SerializerProtocol, source: str, target: str) -> str:
    """`target` gets the checkpoints that lead to the head of `source`, a fork of it or of a fork, and goes on from
    there; returns its head. Raises Unknown if they have no checkpoint in common."""
    there, own = View(tx, source), View(tx, target).parents()
    head = heads.head(tx, source)
    line = lines.ancestors(there.parents(), head) if head is not None else []
    since = next((at for at, one in enumerate(line) if one in own), None)
    if since is None:
        raise Unknown(f"Thread {source} is no fork of thread {target}")
    begin, new = line[since], line[:since]
    if not new:
        return begin
    everything = there.list(limit=-1, checkpoint_ns=None, checkpoint_id=None, metadata={}, before=None)
    found = {(row["checkpoint_ns"], row["checkpoint_id"]): row for row in everything if _root(row) in new}
    first = found["", new[-1]]
    begun, at = there.get("", begin), begin
    assert begun is not None
    if rows.writes_of(tx, begun["thread_id"], "", [begin]):  # what was done there is not what was done here
        at = begin[:-12] + secrets.token_hex(6)  # beside it in time, before what follows
        checkpoint = serde.loads_typed((begun["type"], begun["checkpoint"]))
        kind, data = serde.dumps_typed({**checkpoint, "id": at})
        _put(tx, target, {**dict(begun), "type": kind, "checkpoint": data}, checkpoint_id=at)
        _writes(tx, begun["thread_id"], target, "", begin, at)
        first = {**dict(first), "parent_checkpoint_id": at}
    remembered = [row for row in everything if row["root_id"] == begin and memories.kept(row["checkpoint_ns"])]
    for row in remembered:  # what subgraphs did in that step; what they had done before the fork is at home
        if rows.get_checkpoint(tx, target, row["checkpoint_ns"], row["checkpoint_id"]) is None:
            _put(tx, target, row, root_id=at)
    for key, row in found.items():
        _put(tx, target, first if key == ("", new[-1]) else row)
        _writes(tx, row["thread_id"], target, *key, key[1])
    forks.hold(tx, target)
    heads.put(tx, target, new[0])
    return new[0]


def _root(row: Row) -> str | None:
    """The checkpoint of the root graph that it is, or whose step it belongs to."""
    found: str | None = row["root_id"] if row["checkpoint_ns"] else row["checkpoint_id"]
    return found


def _put(tx: Tx, target: str, row: Mapping[str, Any], **other: Any) -> None:
    about = json.loads(row["metadata"] or b"{}")
    if "thread_id" in about:
        about["thread_id"] = target
    rows.put_checkpoint(
        tx,
        {
            **dict(row),
            "parent": row["parent_checkpoint_id"],
            "thread_id": target,
            "metadata": json.dumps(about, ensure_ascii=False).encode(),
            **other,
        },
    )


def _writes(tx: Tx, source: str, target: str, ns: str, at: str, to: str) -> None:
    """Of one checkpoint."""
    found = rows.writes_of(tx, source, ns, [at])
    rows.put_writes(tx, [[target, ns, to, *tuple(row)[3:]] for row in found])
