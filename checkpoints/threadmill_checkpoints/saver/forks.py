"""Threads that share their beginning with another.

A fork costs a few rows: a copy of the checkpoint it begins at, and where that one's parent lies (`bases`). Whatever
takes checkpoints from a thread first gives its forks what they need (`detach`), so a fork never loses anything.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import ormsgpack

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import blobs, heads, rows

CHAIN = """WITH RECURSIVE chain (checkpoint_id, parent) AS (
    SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints
    WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id = :begin
    UNION ALL
    SELECT c.checkpoint_id, c.parent_checkpoint_id FROM chain JOIN checkpoints AS c
    ON c.thread_id = :thread_id AND c.checkpoint_ns = '' AND c.checkpoint_id = chain.parent)
SELECT checkpoint_id, parent FROM chain"""


# Of what subgraphs remember (`rows.REMEMBERED`) what lies at one checkpoint.
REMEMBERED_AT = """instr(checkpoint_ns, ':') = 0 AND root_id < :at AND root_id > coalesce(
    (SELECT max(one.checkpoint_id) FROM checkpoints AS one
    WHERE one.thread_id = :source AND one.checkpoint_ns = '' AND one.checkpoint_id < :at), '')"""


class Unknown(LookupError):
    """There is no such checkpoint."""


class View:
    """The checkpoints of a thread: its own, and those of other threads that it continues. Rows say where they lie."""

    def __init__(self, tx: Tx, thread_id: str) -> None:
        self.tx, self.thread_id = tx, thread_id

    @cached_property
    def inherited(self) -> list[tuple[str, list[str]]]:
        """(thread, its checkpoints of the root graph that are this one's), the nearest thread first."""
        found: list[tuple[str, list[str]]] = []
        at = base(self.tx, self.thread_id)
        while at is not None:
            source, begin = at
            chain = self.tx.all(CHAIN, thread_id=source, begin=begin)
            if chain:
                found.append((source, [row["checkpoint_id"] for row in chain]))
                begin = chain[-1]["parent"]
            above = base(self.tx, source)
            at = (above[0], begin) if above and begin else None  # it may have left its own base before the end of that
        return found

    def get(self, ns: str, checkpoint_id: str | None) -> Row | None:
        """The named checkpoint; or the thread's head, or the newest of a subgraph."""
        row = rows.get_checkpoint(self.tx, self.thread_id, ns, checkpoint_id)
        if row is not None or (checkpoint_id is None and ns == ""):  # a fork's head is its own
            return row
        for source, ids in self.inherited:
            row = self.tx.one(
                f"SELECT {rows.COLUMNS} FROM checkpoints WHERE thread_id = :source AND checkpoint_ns = :ns "
                f"AND {rows.WITH_THEM} AND (:checkpoint_id IS NULL OR checkpoint_id = :checkpoint_id) "
                "ORDER BY checkpoint_id DESC LIMIT 1",
                source=source,
                ns=ns,
                ids=json.dumps(ids),
                checkpoint_id=checkpoint_id,
            )
            if row is not None:
                return row
        return None

    def parent(self, checkpoint_id: str) -> str | None:
        """Of one of the root graph."""
        row = self._root(checkpoint_id)
        return row["parent_checkpoint_id"] if row else None

    def has(self, checkpoint_id: str) -> bool:
        """Of the root graph."""
        return self._root(checkpoint_id) is not None

    def _root(self, checkpoint_id: str) -> Row | None:
        """Without its state."""
        for source, ids in [(self.thread_id, None), *self.inherited]:
            if ids is None or checkpoint_id in ids:
                row = self.tx.one(
                    "SELECT parent_checkpoint_id FROM checkpoints WHERE thread_id = :source AND checkpoint_ns = '' "
                    "AND checkpoint_id = :checkpoint_id",
                    source=source,
                    checkpoint_id=checkpoint_id,
                )
                if row is not None:
                    return row
        return None

    def places(self) -> list[tuple[str, str]]:
        """(namespace, id) of each."""
        found: list[tuple[str, str]] = []
        for source, ids in [(self.thread_id, None), *self.inherited]:
            which = "TRUE" if ids is None else rows.WITH_THEM
            found += [
                (row["checkpoint_ns"], row["checkpoint_id"])
                for row in self.tx.all(
                    f"SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = :source AND {which}",
                    source=source,
                    **({} if ids is None else {"ids": json.dumps(ids)}),
                )
            ]
        return found

    def parents(self) -> dict[str, str | None]:
        """Of those of the root graph, oldest first."""
        found: dict[str, str | None] = {}
        for source, ids in [(self.thread_id, None), *self.inherited]:
            which = "TRUE" if ids is None else "checkpoint_id IN (SELECT value FROM json_each(:ids))"
            rows = self.tx.all(
                "SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints "
                f"WHERE thread_id = :source AND checkpoint_ns = '' AND {which}",
                source=source,
                **({} if ids is None else {"ids": json.dumps(ids)}),
            )
            found |= {row["checkpoint_id"]: row["parent_checkpoint_id"] for row in rows}
        return dict(sorted(found.items()))

    def line(self) -> list[Row]:
        """Those of the root graph, oldest first, with `source` and `step` of their metadata."""
        found: list[Row] = []
        for source, ids in [(self.thread_id, None), *self.inherited]:
            which = "TRUE" if ids is None else "checkpoint_id IN (SELECT value FROM json_each(:ids))"
            found += self.tx.all(
                "SELECT checkpoint_id, parent_checkpoint_id, type, checkpoint, channels, run_id, "
                "json_extract(CAST(metadata AS TEXT), '$.source') AS source, "
                "json_extract(CAST(metadata AS TEXT), '$.step') AS step "
                f"FROM checkpoints WHERE thread_id = :source AND checkpoint_ns = '' AND {which}",
                source=source,
                **({} if ids is None else {"ids": json.dumps(ids)}),
            )
        found.sort(key=lambda row: row["checkpoint_id"])
        return found

    def list(self, *, limit: int, **wanted: Any) -> list[Row]:
        """Newest first, as `rows.list_checkpoints` has it."""
        found: list[Row] = []
        for source, ids in [(self.thread_id, None), *self.inherited]:
            found += rows.list_checkpoints(self.tx, thread_id=source, within=ids, limit=limit, **wanted)
        found.sort(key=lambda row: row["checkpoint_id"], reverse=True)
        return found if limit < 0 else found[:limit]


def base(tx: Tx, thread_id: str) -> tuple[str, str] | None:
    row = tx.one("SELECT source, checkpoint_id FROM bases WHERE thread_id = :thread_id", thread_id=thread_id)
    return (row["source"], row["checkpoint_id"]) if row else None


def fork(tx: Tx, source: str, checkpoint_id: str, target: str) -> None:
    """`target`, which has no checkpoints yet, begins at a checkpoint of `source` with all that is before it.

    What has been done since that checkpoint, and so leads to the next one, is not in the fork: its tasks are to be done
    again. What was done since the newest checkpoint of a branch is: answers, and tasks that have ended.
    """
    found = View(tx, source).get("", checkpoint_id)
    if found is None:
        raise Unknown(f"Checkpoint {checkpoint_id} not found")
    lies_in = found["thread_id"]
    blobs.holder(tx, target)
    _copy(tx, lies_in, target, "checkpoint_ns = '' AND checkpoint_id = :at", at=checkpoint_id)
    _copy(tx, lies_in, target, REMEMBERED_AT, at=checkpoint_id)
    tip = tx.one(
        "SELECT 1 FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '' "
        "AND checkpoint_id > :at AND parent_checkpoint_id = :at LIMIT 1",
        thread_id=lies_in,
        at=checkpoint_id,
    )
    if tip is None:
        under = (
            "(checkpoint_ns, checkpoint_id) IN (SELECT checkpoint_ns, checkpoint_id FROM checkpoints "
            "WHERE thread_id = :source AND root_id = :at)"
        )
        _copy(tx, lies_in, target, "root_id = :at", at=checkpoint_id)
        _copy_writes(tx, lies_in, target, "checkpoint_ns = '' AND checkpoint_id = :at", at=checkpoint_id)
        _copy_writes(tx, lies_in, target, under, at=checkpoint_id)
    if found["parent_checkpoint_id"] and View(tx, lies_in).get("", found["parent_checkpoint_id"]):
        at = rows.get_checkpoint(tx, lies_in, "", found["parent_checkpoint_id"])
        inherited = base(tx, lies_in)
        if at is None:
            assert inherited is not None
            lies_in = inherited[0]
        tx.run(
            "INSERT INTO bases (thread_id, source, checkpoint_id) VALUES (:target, :source, :at)",
            target=target,
            source=lies_in,
            at=found["parent_checkpoint_id"],
        )
        nested = made_of(tx, target, "checkpoint_ns > ''")
        tx.many(
            "INSERT OR IGNORE INTO blob_refs (owner, blob_id, checkpoint_id) VALUES (?, ?, ?)",
            [(blobs.holder(tx, target).owner, one, since) for one, since in nested.items()],
        )
    else:
        hold(tx, target)


def detach(tx: Tx, thread_id: str) -> None:
    """Its forks get what they have of it: from now on it may lose checkpoints."""
    for row in tx.all("SELECT thread_id FROM bases WHERE source = :source", source=thread_id):
        own(tx, row["thread_id"])


def detach_all(tx: Tx, thread_id: str) -> None:
    """So do the forks of its forks."""
    for row in tx.all("SELECT thread_id FROM bases WHERE source = :source", source=thread_id):
        detach_all(tx, row["thread_id"])
        own(tx, row["thread_id"])


def own(tx: Tx, thread_id: str) -> None:
    """The thread gets copies of all that it has from others. Content is not copied."""
    view = View(tx, thread_id)
    inherited, own = view.inherited, list(view.parents())
    for source, ids in inherited:
        _copy(tx, source, thread_id, rows.THEIRS, ids=json.dumps(ids))
        _copy(tx, source, thread_id, rows.REMEMBERED, ids=json.dumps(own))
        _copy_writes(
            tx,
            source,
            thread_id,
            "(checkpoint_ns, checkpoint_id) IN (SELECT checkpoint_ns, checkpoint_id FROM checkpoints "
            f"WHERE thread_id = :source AND {rows.WITH_THEM})",
            ids=json.dumps(ids),
        )
    if inherited:
        tx.run("DELETE FROM bases WHERE thread_id = :thread_id", thread_id=thread_id)
        hold(tx, thread_id)


def copy_thread(tx: Tx, source: str, target: str) -> None:
    """The whole history, same checkpoint ids; the thread id inside the metadata is rewritten."""
    _copy(tx, source, target, "TRUE")
    _copy_writes(tx, source, target, "TRUE")
    if (at := base(tx, source)) is not None:
        tx.run(
            "INSERT INTO bases (thread_id, source, checkpoint_id) VALUES (:target, :source, :at)",
            target=target,
            source=at[0],
            at=at[1],
        )
    heads.copy(tx, source, target)
    blobs.share(tx, source, target)


def delete_thread(tx: Tx, thread_id: str) -> None:
    detach(tx, thread_id)
    for table in ("checkpoints", "writes", "bases", "heads"):
        tx.run(f"DELETE FROM {table} WHERE thread_id = :thread_id", thread_id=thread_id)
    blobs.release(tx, thread_id)


def delete_checkpoints(tx: Tx, thread_id: str, keys: Sequence[tuple[str, str]]) -> None:
    """Of the thread's own: (namespace, id) of each. Their writes go with them."""
    if not keys:
        return
    detach(tx, thread_id)
    before = heads.head(tx, thread_id)
    for table in ("checkpoints", "writes"):
        tx.many(
            f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
            [(thread_id, *key) for key in keys],
        )
    heads.settle(tx, thread_id, before)
    hold(tx, thread_id)


def cut(tx: Tx, thread_id: str) -> None:
    """A fork whose base is gone begins with what is its own."""
    tx.run("DELETE FROM bases WHERE thread_id = :thread_id", thread_id=thread_id)
    begin_anew(tx, thread_id)
    hold(tx, thread_id)


def begin_anew(tx: Tx, thread_id: str) -> None:
    """The oldest that is left begins the history."""
    tx.run(
        "UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE thread_id = :thread_id AND NOT EXISTS "
        "(SELECT 1 FROM checkpoints p WHERE p.thread_id = checkpoints.thread_id "
        "AND p.checkpoint_ns = checkpoints.checkpoint_ns AND p.checkpoint_id = checkpoints.parent_checkpoint_id)",
        thread_id=thread_id,
    )


def hold(tx: Tx, thread_id: str) -> None:
    """Exactly what the thread's own checkpoints and writes are made of."""
    blobs.settle(tx, thread_id, made_of(tx, thread_id))


def made_of(tx: Tx, thread_id: str, which: str = "TRUE", **params: Any) -> dict[int, str]:
    """Blob → the first checkpoint that has it: of the thread's own checkpoints, as `which` says, and all its writes."""
    written = defaultdict[tuple[str, str], list[int]](list)
    for row in tx.all(
        "SELECT checkpoint_ns, checkpoint_id, parts FROM writes WHERE thread_id = :thread_id AND parts IS NOT NULL",
        thread_id=thread_id,
    ):
        written[row["checkpoint_ns"], row["checkpoint_id"]] += ormsgpack.unpackb(row["parts"])
    found: dict[int, str] = {}

    def has(since: str, ids: list[int]) -> None:
        found.update(dict.fromkeys(blobs.used(tx, {*ids} - found.keys()) - found.keys(), since))

    for row in tx.all(
        f"SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, channels FROM checkpoints "
        f"WHERE thread_id = :thread_id AND {which} ORDER BY checkpoint_id",
        thread_id=thread_id,
        **params,
    ):
        entries = ormsgpack.unpackb(row["channels"]).values() if row["channels"] is not None else ()
        new = [one for _, _, levels in entries for ids in levels for one in ids]
        new += written.pop((row["checkpoint_ns"], row["parent_checkpoint_id"]), ())  # it begins with what was written
        has(row["checkpoint_id"], new)
    for (_, checkpoint_id), ids in written.items():
        has(checkpoint_id, ids)
    return found


def _copy(tx: Tx, source: str, target: str, which: str, **params: Any) -> None:
    tx.run(
        f"INSERT OR IGNORE INTO checkpoints ({rows.COLUMNS}) "
        "SELECT :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, "
        "CAST(CASE WHEN json_extract(CAST(metadata AS TEXT), '$.thread_id') IS NULL THEN CAST(metadata AS TEXT) "
        "ELSE json_set(CAST(metadata AS TEXT), '$.thread_id', :target) END AS BLOB), channels, run_id, root_id "
        f"FROM checkpoints WHERE thread_id = :source AND {which}",
        source=source,
        target=target,
        **params,
    )


def _copy_writes(tx: Tx, source: str, target: str, which: str, **params: Any) -> None:
    tx.run(
        f"INSERT OR IGNORE INTO writes ({rows.WRITE_COLUMNS}) "
        "SELECT :target, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value, run_id, parts "
        f"FROM writes WHERE thread_id = :source AND {which}",
        source=source,
        target=target,
        **params,
    )
