"""Asking the index. Newest first: what is new comes before every cursor, so no page repeats or misses anything.

A text of a blob belongs to every thread that holds the blob. It is one hit all the same, and names the first of those
threads that may be seen.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import blobs
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.search.words import expression, together

FEW = 20_000  # parts of states that one may see: so many are looked up before, more are looked at as they match
INHERITED = (
    "SELECT blob_id FROM json_each(:inherited) AS i CROSS JOIN blob_refs "
    "ON owner = i.value ->> 0 AND checkpoint_id = i.value ->> 1"
)
HELD = "threads CROSS JOIN blob_owners USING (thread_id) CROSS JOIN blob_refs USING (owner)"
WORDS = 24  # of a snippet; characters, in scripts without spaces


@dataclass(frozen=True, slots=True)
class Hit:
    """`checkpoint_id`: the first that has it; of what a subgraph said, the checkpoint of the root graph at whose step.
    None for what is the thread's own. `score`: how often, in how long a text."""

    doc: int
    thread_id: str
    checkpoint_id: str | None
    message_id: str | None
    kind: str
    role: str | None
    at: str
    snippet: str
    score: float

    @classmethod
    def from_row(cls, row: Row, thread_id: str, checkpoint_id: str | None) -> Self:
        kept = {name: row[name] for name in ("doc", "message_id", "kind", "role", "at")}
        return cls(
            **kept,
            thread_id=thread_id,
            checkpoint_id=checkpoint_id,
            snippet=together(row["snippet"]),
            score=round(row["matches"].count("\x1e") / (1 + row["text"].count(" ")) ** 0.5, 3),
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    query: str
    kinds: Sequence[str] | None = None
    roles: Sequence[str] | None = None
    since: str | None = None
    until: str | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        conditions, params = ["search_index MATCH :query"], dict[str, Any](query=expression(self.query))
        for column, values in (("kind", self.kinds), ("role", self.roles)):
            if values is not None:
                conditions.append(f"{column} IN (SELECT value FROM json_each(:{column}s))")
                params[f"{column}s"] = json.dumps(list(values))
        for name, at, way in (("since", self.since, ">="), ("until", self.until, "<")):
            if at is not None:
                conditions.append(f"at {way} :{name}")
                params[name] = at
        return " AND ".join(conditions), params


def find(
    tx: Tx,
    wanted: Wanted,
    visible: tuple[str, Mapping[str, Any]],
    *,
    everything: bool,
    limit: int,
    before: int | None = None,
    forks: Sequence[str] = (),
) -> list[Hit]:
    """`visible`: a condition on `threads` and its parameters; `everything`: it hides little. `forks`: threads whose
    inherited messages are looked through, too; they must be visible."""
    where, params = wanted.where()
    if not params["query"]:
        return []
    params |= visible[1]
    inherited = list(_inherited(tx, forks))
    found = tx.all(
        "SELECT doc, blob_id, thread_id, checkpoint_id, message_id, kind, role, at, text, "
        "highlight(search_index, 0, char(30), '') AS matches, "
        f"snippet(search_index, 0, '[[', ']]', '…', {WORDS}) AS snippet "
        "FROM search_index CROSS JOIN search_docs ON doc = search_index.rowid "
        f"WHERE {where}{'' if before is None else ' AND search_index.rowid < :before'} "
        f"AND {_seen(tx, visible, everything, bool(inherited))} ORDER BY search_index.rowid DESC LIMIT :limit",
        **params,
        **({} if before is None else {"before": before}),
        **({"inherited": json.dumps(inherited)} if inherited else {}),
        limit=limit,
    )
    return [_hit(tx, row, visible, inherited) for row in found]


def threads() -> str:
    """A condition on `threads`: something of it matches `:said`, an expression."""
    return (
        "threads.thread_id IN (SELECT coalesce(d.thread_id, o.thread_id) FROM search_index "
        "CROSS JOIN search_docs d ON d.doc = search_index.rowid LEFT JOIN blob_refs r ON r.blob_id = d.blob_id "
        "LEFT JOIN blob_owners o ON o.owner = r.owner WHERE search_index MATCH :said)"
    )


def _seen(tx: Tx, visible: tuple[str, Mapping[str, Any]], everything: bool, inherited: bool) -> str:
    """Whether a text is in one of the visible threads."""
    seen = visible[0]
    if everything or not _few(tx, visible):  # look at each that matches: the page is soon full
        held = "blob_id = search_docs.blob_id"
        found = (
            "CASE WHEN blob_id IS NULL THEN EXISTS (SELECT 1 FROM threads "
            f"WHERE threads.thread_id = search_docs.thread_id AND {seen}) "
            "ELSE EXISTS (SELECT 1 FROM blob_refs CROSS JOIN blob_owners USING (owner) "
            f"CROSS JOIN threads USING (thread_id) WHERE {held} AND {seen})"
        )
        return f"{found}{f' OR EXISTS (SELECT 1 FROM ({INHERITED}) WHERE {held})' if inherited else ''} END"
    docs = "CROSS JOIN search_docs USING (blob_id)"
    return (  # the plus: first all that match, then whether it is one of these; the other way round takes seconds
        f"+search_index.rowid IN (SELECT doc FROM {HELD} {docs} WHERE {seen} "
        "UNION ALL SELECT doc FROM threads CROSS JOIN search_docs "
        f"ON search_docs.thread_id = threads.thread_id WHERE {seen}"
        f"{f' UNION ALL SELECT doc FROM ({INHERITED}) {docs}' if inherited else ''})"
    )


def _few(tx: Tx, visible: tuple[str, Mapping[str, Any]]) -> bool:
    row = tx.one(
        f"SELECT count(*) AS n FROM (SELECT 1 FROM {HELD} WHERE {visible[0]} LIMIT {FEW + 1})",
        **visible[1],
    )
    return row is not None and row["n"] <= FEW


def _inherited(tx: Tx, forks: Sequence[str]) -> Iterator[tuple[int, str, str, str]]:
    """(owner, one of its checkpoints, the fork that has it from there, the owner's thread)"""
    for thread_id in forks:
        for source, _ in View(tx, thread_id).inherited:
            row = blobs.owner(tx, source)
            for _, checkpoint_id in View(tx, thread_id).places():
                if row is not None:
                    yield row["owner"], checkpoint_id, thread_id, source


def _hit(
    tx: Tx, row: Row, visible: tuple[str, Mapping[str, Any]], inherited: Sequence[tuple[int, str, str, str]]
) -> Hit:
    if row["blob_id"] is None:
        return Hit.from_row(row, row["thread_id"], row["checkpoint_id"])
    found = tx.one(
        "SELECT threads.thread_id, checkpoint_id, blob_owners.owner FROM blob_refs "
        "JOIN blob_owners ON blob_owners.owner = blob_refs.owner "
        "JOIN threads ON threads.thread_id = blob_owners.thread_id "
        f"WHERE blob_id = :blob_id AND {visible[0]} ORDER BY blob_refs.owner LIMIT 1",
        blob_id=row["blob_id"],
        **visible[1],
    )
    if found is not None:
        return Hit.from_row(row, found["thread_id"], _root(tx, found["thread_id"], found["checkpoint_id"]))
    refs = tx.all("SELECT owner, checkpoint_id FROM blob_refs WHERE blob_id = :blob_id", blob_id=row["blob_id"])
    held = {(ref["owner"], ref["checkpoint_id"]) for ref in refs}
    _, checkpoint_id, thread_id, source = next(one for one in inherited if one[:2] in held)
    return Hit.from_row(row, thread_id, _root(tx, source, checkpoint_id))


def _root(tx: Tx, thread_id: str, checkpoint_id: str) -> str:
    row = tx.one(
        "SELECT root_id FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns > '' "
        "AND checkpoint_id = :checkpoint_id",
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
    )
    return str(row["root_id"]) if row and row["root_id"] else checkpoint_id
