"""Thinning out what is old: every checkpoint for some time, the ends of turns for longer, and some for ever.

For ever stay the newest checkpoint and the head, ends of branches and where they part, where other threads were forked
off, what has a name, and what waits for an answer; and with each, what its state is rebuilt from.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import forks, heads, pruning, rows
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.moments import made_at

Key = tuple[str, str]  # namespace, id
Decode = Callable[[tuple[str, bytes]], Any]


@dataclass(frozen=True, slots=True)
class Since:
    """Every checkpoint is kept from `everything` on, ends of turns from `turns` on."""

    everything: datetime
    turns: datetime


@dataclass(frozen=True, slots=True)
class Thinned:
    checkpoints: int
    bytes: int


def thin(tx: Tx, thread_id: str, since: Since, decode: Decode, keep: Collection[str] = ()) -> Thinned:
    """Of the thread's own checkpoints, but those to `keep`. Its forks lose nothing, and what is left has the nearest
    ancestor that is left for its parent."""
    keys = going(tx, thread_id, since, decode, keep)
    doomed = _sizes(tx, thread_id, keys)
    if keys:
        above = {
            (row["checkpoint_ns"], row["checkpoint_id"]): row["parent_checkpoint_id"] for row in _rows(tx, thread_id)
        }
        gone, before = set(keys), heads.head(tx, thread_id)
        forks.delete_checkpoints(tx, thread_id, keys)
        for (ns, checkpoint_id), parent in above.items():
            nearest = parent
            while nearest is not None and (ns, nearest) in gone:
                nearest = above[ns, nearest]
            if (ns, checkpoint_id) not in gone and nearest != parent:
                _relink(tx, thread_id, ns, checkpoint_id, nearest)
        heads.settle(tx, thread_id, before)
    return doomed


def report(tx: Tx, thread_id: str, since: Since, decode: Decode, keep: Collection[str] = ()) -> Thinned:
    """What would go. Bytes of parts that the writes which go still have, or that other threads have, do not count."""
    return _sizes(tx, thread_id, going(tx, thread_id, since, decode, keep))


def _sizes(tx: Tx, thread_id: str, keys: Collection[Key]) -> Thinned:
    if not keys:
        return Thinned(0, 0)
    params: Any = {"thread_id": thread_id, "keys": json.dumps([f"{ns} {id}" for ns, id in keys])}
    which = "checkpoint_ns || ' ' || checkpoint_id IN (SELECT value FROM json_each(:keys))"
    own = tx.one(
        "SELECT (SELECT coalesce(sum(length(checkpoint) + length(metadata) + coalesce(length(channels), 0)), 0) "
        f"FROM checkpoints WHERE thread_id = :thread_id AND {which}) + "
        f"(SELECT coalesce(sum(length(value)), 0) FROM writes WHERE thread_id = :thread_id AND {which}) AS bytes",
        **params,
    )
    kept = forks.made_of(tx, thread_id, f"NOT {which}", keys=params["keys"])
    parts = tx.one(
        "SELECT coalesce(sum(length(data) + coalesce(length(parts), 0)), 0) AS bytes FROM blobs WHERE blob_id IN "
        "(SELECT blob_id FROM blob_refs JOIN blob_owners USING (owner) WHERE thread_id = :thread_id) "
        "AND blob_id NOT IN (SELECT value FROM json_each(:kept)) AND (SELECT count(*) FROM blob_refs r "
        "WHERE r.blob_id = blobs.blob_id) = 1",
        thread_id=thread_id,
        kept=json.dumps(list(kept)),
    )
    assert own is not None and parts is not None
    return Thinned(len(keys), own["bytes"] + parts["bytes"])


def going(tx: Tx, thread_id: str, since: Since, decode: Decode, keep: Collection[str]) -> list[Key]:
    """Oldest first."""
    there = {(row["checkpoint_ns"], row["checkpoint_id"]): row for row in _rows(tx, thread_id)}
    roots = set(_kept_roots(tx, thread_id, [row for key, row in there.items() if not key[0]], since, keep))
    wanted, parents = {("", one) for one in roots}, View(tx, thread_id).parents()
    if nested := [row for key, row in there.items() if key[0]]:
        for one in roots:
            wanted |= pruning.under(nested, parents, one)
        wanted |= {(row["checkpoint_ns"], row["checkpoint_id"]) for row in nested if row["root_id"] in roots}
    kept = {(ns, ancestor) for ns, one in wanted for ancestor in pruning.rebuilt_from(tx, thread_id, ns, one, decode)}
    return sorted(there.keys() - kept, key=lambda key: key[1])


def _kept_roots(tx: Tx, thread_id: str, rows: list[Row], since: Since, keep: Collection[str]) -> Iterator[str]:
    below, named = defaultdict[str, list[Row]](list), needed(tx, thread_id) | set(keep)
    for row in rows:
        below[row["parent_checkpoint_id"] or ""].append(row)
    for row in rows:
        one, after = row["checkpoint_id"], below[row["checkpoint_id"]]
        at = made_at(one)
        # An end of a branch has nothing below it; where branches part, there are several.
        lasting = at is None or one in named or len(after) != 1
        turn = any(_begins_a_turn(child, row) for child in after)
        if lasting or (at and (at >= since.everything or (turn and at >= since.turns))):
            yield one


def _begins_a_turn(child: Row, row: Row) -> bool:
    """Of what was pruned between two ends of turns, nothing tells but that they are of two runs, or that steps lack."""
    steps_on = row["step"] is not None and child["step"] == row["step"] + 1
    return child["source"] != "loop" or child["run_id"] != row["run_id"] or not steps_on


def needed(tx: Tx, thread_id: str) -> set[str]:
    """Where the thread goes on, where others continue it, and what waits."""
    found = tx.all(
        "SELECT checkpoint_id FROM bases WHERE source = :thread_id "
        "UNION SELECT checkpoint_id FROM branches WHERE thread_id = :thread_id "
        "UNION SELECT checkpoint_id FROM heads WHERE thread_id = :thread_id",
        thread_id=thread_id,
    )
    return {row["checkpoint_id"] for row in found} | {heads.head(tx, thread_id) or ""} | _waiting(tx, thread_id)


def _waiting(tx: Tx, thread_id: str) -> set[str]:
    """Where tasks asked and nobody has answered."""
    counts = Counter[tuple[str, str]]()
    for row in tx.all(
        "SELECT checkpoint_id, task_id, channel FROM writes WHERE thread_id = :thread_id AND checkpoint_ns = '' "
        "AND channel IN ('__interrupt__', '__resume__')",
        thread_id=thread_id,
    ):
        counts[row["checkpoint_id"], row["task_id"]] += 1 if row["channel"] == "__interrupt__" else -1
    return {checkpoint_id for (checkpoint_id, _), count in counts.items() if count > 0}


def _rows(tx: Tx, thread_id: str) -> list[Row]:
    return tx.all(
        "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, root_id, run_id, "
        f"{rows.stored_at('checkpoints.root_id')} AS stored_at, "
        "json_extract(CAST(metadata AS TEXT), '$.source') AS source, "
        "json_extract(CAST(metadata AS TEXT), '$.step') AS step FROM checkpoints WHERE thread_id = :source "
        "ORDER BY checkpoint_id",
        source=thread_id,
    )


def _relink(tx: Tx, thread_id: str, ns: str, checkpoint_id: str, parent: str | None) -> None:
    tx.run(
        "UPDATE checkpoints SET parent_checkpoint_id = :parent WHERE thread_id = :thread_id AND checkpoint_ns = :ns "
        "AND checkpoint_id = :checkpoint_id",
        parent=parent,
        thread_id=thread_id,
        ns=ns,
        checkpoint_id=checkpoint_id,
    )
