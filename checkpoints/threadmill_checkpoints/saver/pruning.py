"""What a thread loses: what a run wrote that is undone, and all but its newest state."""

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import deltas, forks, lines, memories, rows
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.heads import head as head_of

Key = tuple[str, str, str]  # thread, namespace, checkpoint


def delete_for_runs(tx: Tx, run_ids: Sequence[str], thread_id: str | None = None) -> None:
    """What these runs wrote: their checkpoints, the writes on them, and their writes on earlier checkpoints. In one
    thread (its forks keep what they have of it), or in all. What later delta channels are rebuilt from stays."""
    where = "thread_id = :thread_id" if thread_id else ":thread_id IS NULL"
    which = f"{where} AND run_id IN (SELECT value FROM json_each(:ids))"
    params: Any = {"ids": json.dumps(list(run_ids)), "thread_id": thread_id}
    found = f"SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints WHERE {which}"
    if thread_id is None:  # a fork may have them from a thread, and gets its own when that one loses them
        for row in tx.all(f"SELECT DISTINCT thread_id FROM ({found})", **params):
            forks.detach_all(tx, row["thread_id"])
    doomed: set[Key] = {
        (row["thread_id"], row["checkpoint_ns"], row["checkpoint_id"]) for row in tx.all(found, **params)
    }
    needed = _rebuilding(tx, doomed)
    tx.run(
        f"DELETE FROM writes WHERE {which} AND (thread_id, checkpoint_ns, checkpoint_id) NOT IN "
        "(SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:needed))",
        **params,
        needed=json.dumps(list(needed)),
    )
    for thread in {one for one, _, _ in doomed}:
        forks.delete_checkpoints(tx, thread, [(ns, at) for one, ns, at in doomed - needed if one == thread])


def _rebuilding(tx: Tx, doomed: Collection[Key]) -> set[Key]:
    """The checkpoints from which the delta channels of those are rebuilt that follow one of these and stay."""
    following = tx.all(
        f"SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, metadata FROM checkpoints "
        f"WHERE instr(metadata, '{deltas.COUNTERS}') AND (thread_id, checkpoint_ns, parent_checkpoint_id) IN "
        "(SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:doomed))",
        doomed=json.dumps(list(doomed)),
    )
    found = set[Key]()
    for child in following:
        if (child["thread_id"], child["checkpoint_ns"], child["checkpoint_id"]) in doomed:
            continue
        row: Row | None = child
        channels = {*deltas.counted(json.loads(child["metadata"]))}
        while row is not None and channels and row["parent_checkpoint_id"]:
            key = (row["thread_id"], row["checkpoint_ns"], row["parent_checkpoint_id"])
            found.add(key)
            if (row := rows.get_checkpoint(tx, *key)) is not None:
                channels &= {*deltas.counted(json.loads(row["metadata"]))}
    return found


def keep_latest(tx: Tx, thread_id: str, decode: Callable[[tuple[str, bytes]], Any], keep: Collection[str] = ()) -> int:
    """Remove all but the head, and those of the root graph that are to be kept, and what they need, with the writes;
    returns how many went.

    Needed are the newest checkpoint of each subgraph that the newest step has begun, or that has a memory of its own,
    and the ancestors from which a DeltaChannel is rebuilt. `decode` is a serializer's `loads_typed`.
    """
    forks.own(tx, thread_id)
    there = tx.all(
        f"SELECT checkpoint_ns, checkpoint_id, root_id, {rows.stored_at('checkpoints.root_id')} AS stored_at "
        "FROM checkpoints WHERE thread_id = :source ORDER BY checkpoint_ns, checkpoint_id",
        source=thread_id,
    )
    parents, head = View(tx, thread_id).parents(), head_of(tx, thread_id)
    nested = [row for row in there if row["checkpoint_ns"]]
    roots = parents.keys() & {head, *keep}
    ends = {("", one) for one in roots}
    for one in roots:  # if only one is left, nobody has to tell its way from others
        ends |= {key for key in under(nested, parents, one) if key[0] or len(roots) > 1}
    if not parents:  # nothing of the root graph tells which of them it needs
        ends = set({row["checkpoint_ns"]: row["checkpoint_id"] for row in there}.items())
    kept = {(ns, at) for ns, end in ends for at in rebuilt_from(tx, thread_id, ns, end, decode)}
    doomed = [(row["checkpoint_ns"], row["checkpoint_id"]) for row in there if tuple(row)[:2] not in kept]
    forks.detach(tx, thread_id)  # they go on from what is now cut off
    _cut_off(tx, thread_id, parents, {at for ns, at in kept if not ns}, {at for ns, at in kept - ends if not ns})
    forks.delete_checkpoints(tx, thread_id, doomed)
    forks.begin_anew(tx, thread_id)
    return len(doomed)


def under(nested: Sequence[Row], parents: lines.Parents, root: str) -> set[tuple[str, str]]:
    """What a checkpoint of the root graph needs of subgraphs, whose rows come in the order of their ids: the newest of
    each that its own step has begun; and of each that has a memory of its own, with where that was written."""
    line = set(lines.ancestors(parents, root))
    newest, written = dict[str, str](), dict[str, str]()
    for row in nested:
        ns, kept = row["checkpoint_ns"], memories.kept(row["checkpoint_ns"])
        at = (row["stored_at"] if kept else row["root_id"]) or root
        if kept and at in line:
            newest[ns], written[ns] = row["checkpoint_id"], at
        elif at == root:
            newest[ns] = row["checkpoint_id"]
    return set(newest.items()) | {("", at) for at in written.values()}


def _cut_off(
    tx: Tx, thread_id: str, parents: lines.Parents, kept: Collection[str], rebuilding: Collection[str]
) -> None:
    """What was done from a checkpoint on that is kept, and led to one that is not, goes with that one; and each that is
    kept follows the nearest ancestor that is."""
    followed = {parent for parent in parents.values() if parent is not None}
    for one in kept:
        above = next((other for other in lines.ancestors(parents, one)[1:] if other in kept), None)
        if above != parents[one]:
            rows.set_parent(tx, thread_id, one, above)
        if one in followed and one not in rebuilding:
            rows.delete_writes(tx, thread_id, one)


def rebuilt_from(
    tx: Tx, thread_id: str, ns: str, head: str, decode: Callable[[tuple[str, bytes]], Any]
) -> Sequence[str]:
    """The checkpoint, and its ancestors back to where each of its delta channels has a snapshot."""
    # Other channels, too, may have no value; only these have counters somewhere in the metadata.
    counters = tx.all(
        "SELECT DISTINCT counter.key AS channel FROM checkpoints, "
        f"json_each(CAST(metadata AS TEXT), '$.{deltas.COUNTERS}') AS counter "
        "WHERE thread_id = :thread_id AND checkpoint_ns = :ns",
        thread_id=thread_id,
        ns=ns,
    )
    missing, kept, at = {row["channel"] for row in counters}, list[str](), head
    while missing and at not in kept and (row := rows.get_checkpoint(tx, thread_id, ns, at)):
        kept.append(at)
        checkpoint = decode((row["type"], row["checkpoint"]))
        if at == head:
            missing &= checkpoint["channel_versions"].keys()
        missing -= checkpoint["channel_values"].keys()
        at = row["parent_checkpoint_id"]
        if not at:
            break
    return kept or [head]
