"""Threads: one row per conversation, and what a list of conversations shows.

A thread's status is derived here, in one expression, from its runs and from what the last finished run left.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from threadmill import interrupts
from threadmill.errors import Conflict, NotFound
from threadmill.ids import stamp
from threadmill.interrupts import Pending
from threadmill.jsonable import dumps_text
from threadmill.scope import ALL, Scope
from threadmill.summary import Summary, summarise
from threadmill_checkpoints import sealing
from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import forks
from threadmill_checkpoints.search import find
from threadmill_checkpoints.search.words import expression

Outcome = Literal["idle", "interrupted", "error"]
STATUSES = ("idle", "busy", "interrupted", "error")
SORTS = ("thread_id", "status", "created_at", "updated_at", "state_updated_at", "last_activity_at", "title")

COUNTED = 2000

BUSY = "EXISTS (SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.status IN ('pending', 'running'))"
STATUS = f"CASE WHEN {BUSY} THEN 'busy' ELSE outcome END"
COLUMNS = (
    "threads.thread_id, created_at, updated_at, state_updated_at, metadata, config, error, title, title_source, "
    f"preview, message_count, last_activity_at, {STATUS} AS status, "
    f"CASE WHEN has_state THEN {interrupts.LISTED} END AS interrupts"
)
VALUES = "(SELECT data FROM thread_values WHERE thread_values.thread_id = threads.thread_id) AS data"


@dataclass(frozen=True, slots=True)
class Thread:
    """`values` is the newest state as JSON bytes, None when not read or not there yet.

    `interrupts` is what the thread waits for, task id → [{id, value}]; None before there is a state.
    """

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: dict[str, Any]
    status: str
    config: dict[str, Any]
    values: bytes | None
    error: dict[str, Any] | None
    interrupts: dict[str, Any] | None
    title: str | None
    title_source: str | None
    preview: str | None
    message_count: int
    last_activity_at: str

    @classmethod
    def from_row(cls, row: Row) -> Self:
        fields = {name: row[name] for name in cls.__slots__ if name != "values"}
        for name in ("metadata", "config", "error"):
            fields[name] = json.loads(fields[name]) if fields[name] is not None else None
        if fields["interrupts"] is not None:
            fields["interrupts"] = interrupts.by_task(fields["interrupts"])
        return cls(**fields, values=row["data"] if "data" in row.keys() else None)  # noqa: SIM118


def create(
    tx: Tx,
    thread_id: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    if_exists: str = "raise",
    ephemeral: bool = False,
) -> bool:
    """True when it was created, False when it was there and `if_exists` is "do_nothing"."""
    now = stamp(tx.now)
    created = tx.run(
        "INSERT INTO threads (thread_id, created_at, updated_at, state_updated_at, last_activity_at, metadata, config, "
        "ephemeral) VALUES (:thread_id, :now, :now, :now, :now, '{}', '{}', :ephemeral) "
        "ON CONFLICT (thread_id) DO NOTHING",
        thread_id=thread_id,
        now=now,
        ephemeral=ephemeral,
    )
    if created:
        _put_metadata(tx, thread_id, dict(metadata or {}))
    elif if_exists != "do_nothing":
        raise Conflict(f"Thread with ID {thread_id} already exists")
    return bool(created)


def get(tx: Tx, scope: Scope, thread_id: str, *, values: bool = False, shown: bool = False) -> Thread:
    """`shown`: as a client sees it, to whom a stateless run's thread is gone when the run is."""
    columns = f"{COLUMNS}, {VALUES}" if values else COLUMNS
    row = tx.one(
        f"SELECT ephemeral, {columns} FROM threads WHERE thread_id = :thread_id AND {scope.condition(tx)}",
        thread_id=thread_id,
        **scope.params,
    )
    if row is None or (shown and row["ephemeral"] and row["status"] != "busy"):
        raise NotFound(f"Thread with ID {thread_id} not found")
    return Thread.from_row(row)


def exists(tx: Tx, scope: Scope, thread_id: str) -> bool:
    sql = f"SELECT 1 FROM threads WHERE thread_id = :thread_id AND {scope.condition(tx)}"
    return tx.one(sql, thread_id=thread_id, **scope.params) is not None


def titles(tx: Tx, thread_ids: Sequence[str]) -> dict[str, str | None]:
    rows = tx.all(
        "SELECT thread_id, title FROM threads WHERE thread_id IN (SELECT value FROM json_each(:ids))",
        ids=json.dumps(list(thread_ids)),
    )
    return {row["thread_id"]: row["title"] for row in rows}


def require(tx: Tx, scope: Scope, thread_id: str) -> None:
    if not exists(tx, scope, thread_id):
        raise NotFound(f"Thread with ID {thread_id} not found")


def patch(
    tx: Tx, scope: Scope, thread_id: str, *, metadata: Mapping[str, Any] | None, title: str | None = None
) -> None:
    """Merge metadata; a title given here is the user's and no longer made from the messages."""
    thread = get(tx, scope, thread_id)
    if metadata:
        _put_metadata(tx, thread_id, {**thread.metadata, **metadata})
    tx.run(
        "UPDATE threads SET updated_at = :now, title = coalesce(:title, title), "
        "title_source = CASE WHEN :title IS NULL THEN title_source ELSE 'user' END WHERE thread_id = :thread_id",
        thread_id=thread_id,
        title=title,
        now=stamp(tx.now),
    )


def delete(tx: Tx, scope: Scope, thread_id: str) -> None:
    """The thread with its runs, events, values, metadata (by foreign key) and checkpoints."""
    require(tx, scope, thread_id)
    if not tx.run("DELETE FROM threads WHERE thread_id = :thread_id", thread_id=thread_id):
        raise NotFound(f"Thread with ID {thread_id} not found")
    forks.delete_thread(tx, thread_id)


def copy(tx: Tx, scope: Scope, source: str, target: str) -> None:
    """A new thread with the same metadata, state and whole history; runs and events stay with the source."""
    if not exists(tx, scope, source):
        raise Conflict("Conflict")
    thread = get(tx, scope, source)
    with sealing.under(sealing.CONTEXT.get() or tx.context_of(thread_id=source)):
        create(tx, target, metadata=thread.metadata)
    inherit(tx, source, target)
    tx.run(
        "INSERT INTO thread_values (thread_id, data) SELECT :target, data FROM thread_values WHERE thread_id = :source",
        source=source,
        target=target,
    )
    interrupts.copy(tx, source, target)
    forks.copy_thread(tx, source, target)


def inherit(tx: Tx, source: str, target: str) -> None:
    """A new thread shows what another one does."""
    tx.run(
        "UPDATE threads SET (config, outcome, error, has_state, title, title_source, preview, message_count) = "
        "(SELECT config, outcome, error, has_state, title, title_source, preview, message_count FROM threads AS s "
        "WHERE s.thread_id = :source) WHERE thread_id = :target",
        source=source,
        target=target,
    )


def announce_run(
    tx: Tx, thread: Thread, *, graph_id: str, assistant_id: str, config: Mapping[str, Any], messages: Any
) -> None:
    """A run was accepted: the thread's metadata names its graph and assistant, its config is kept for later reads,
    and lists show its question at once, before any state has it.
    """
    metadata = thread.metadata | {"graph_id": graph_id, "assistant_id": assistant_id}
    if metadata != thread.metadata:
        _put_metadata(tx, thread.thread_id, metadata)
    said = summarise(messages)
    tx.run(
        "UPDATE threads SET updated_at = :now, last_activity_at = :now, config = :config, "
        "title_source = CASE WHEN title IS NULL AND :title IS NOT NULL THEN 'auto' ELSE title_source END, "
        "title = coalesce(title, :title), preview = coalesce(:preview, preview) WHERE thread_id = :thread_id",
        thread_id=thread.thread_id,
        config=dumps_text(config),
        title=said.title,
        preview=said.preview if said.title else None,
        now=stamp(tx.now),
    )


def set_state(
    tx: Tx,
    thread_id: str,
    *,
    outcome: Outcome,
    values: bytes | None,
    pending: Sequence[Pending] = (),
    error: Mapping[str, Any] | None = None,
    summary: Summary | None = None,
) -> None:
    """What a finished run or a state update leaves. `values` None keeps the ones there are."""
    now = stamp(tx.now)
    tx.run(
        "UPDATE threads SET outcome = :outcome, has_state = 1, error = :error, updated_at = :now, "
        "state_updated_at = :now, last_activity_at = :now WHERE thread_id = :thread_id",
        thread_id=thread_id,
        outcome=outcome,
        error=None if error is None else dumps_text(error),
        now=now,
    )
    interrupts.put(tx, thread_id, pending)
    if values is not None:
        tx.run(
            "INSERT INTO thread_values (thread_id, data) VALUES (:thread_id, :data) "
            "ON CONFLICT (thread_id) DO UPDATE SET data = excluded.data",
            thread_id=thread_id,
            data=values,
        )
    if summary is not None:
        tx.run(
            "UPDATE threads SET preview = :preview, message_count = :count, open_calls = :open_calls, "
            "title = CASE WHEN title_source = 'user' THEN title ELSE :title END, "
            "title_source = CASE WHEN title_source = 'user' THEN 'user' WHEN :title IS NULL THEN NULL ELSE 'auto' END "
            "WHERE thread_id = :thread_id",
            thread_id=thread_id,
            preview=summary.preview,
            count=summary.message_count,
            open_calls=summary.open_calls,
            title=summary.title,
        )


def left(tx: Tx, thread_id: str) -> tuple[int, Outcome]:
    """The highest number of its log, and what its last run left."""
    row = tx.one("SELECT seq, outcome FROM threads WHERE thread_id = :thread_id", thread_id=thread_id)
    return (row["seq"], row["outcome"]) if row else (0, "idle")


def may_have_open_calls(tx: Tx, thread_id: str) -> bool:
    """Whether the state must be looked at before a new turn."""
    row = tx.one("SELECT open_calls, has_state FROM threads WHERE thread_id = :thread_id", thread_id=thread_id)
    return row is not None and bool(row["has_state"]) and row["open_calls"] != 0


def forget_open_calls(tx: Tx, thread_id: str) -> None:
    """A run changes the state from here on, and may end without telling."""
    tx.run("UPDATE threads SET open_calls = NULL WHERE thread_id = :thread_id", thread_id=thread_id)


def forget_values(tx: Tx, thread_id: str) -> None:
    """They are behind the checkpoints; whoever wants them reads the state."""
    tx.run("DELETE FROM thread_values WHERE thread_id = :thread_id", thread_id=thread_id)


def forget_words(tx: Tx, thread_id: str, told: Callable[[str], str]) -> None:
    """Some were erased from the state: what is shown and found of it is read again. Of a title that a user gave stays
    what `told` leaves of it."""
    forget_values(tx, thread_id)
    thread = get(tx, ALL, thread_id)
    title = told(thread.title) if thread.title and thread.title_source == "user" else None
    tx.run(
        "UPDATE threads SET preview = NULL, title = :title, title_source = :source WHERE thread_id = :thread_id",
        thread_id=thread_id,
        title=title,
        source=title and "user",
    )
    tx.run("DELETE FROM search_docs WHERE thread_id = :thread_id", thread_id=thread_id)
    if tx.run("DELETE FROM changes WHERE thread_id = :thread_id", thread_id=thread_id):  # a stateless run's has none
        tx.run("INSERT INTO changes (thread_id) VALUES (:thread_id)", thread_id=thread_id)


def undo_run(tx: Tx, thread_id: str, error: Mapping[str, Any], pending: Sequence[Pending]) -> None:
    """A run was rolled back: the state is what it was before, and so is what the thread waits for."""
    interrupts.put(tx, thread_id, pending)
    tx.run(
        "UPDATE threads SET outcome = :outcome, error = :error, updated_at = :now WHERE thread_id = :thread_id",
        thread_id=thread_id,
        outcome="interrupted" if pending else "idle",
        error=dumps_text(error),
        now=stamp(tx.now),
    )


def forget_run(tx: Tx, thread_id: str, pending: Sequence[Pending], *, newest: bool) -> None:
    """A run was deleted with its checkpoints: the thread waits for what is `pending` without it. What the `newest` one
    left is told no longer."""
    interrupts.put(tx, thread_id, pending)
    forget_values(tx, thread_id)
    if newest:
        tx.run(
            "UPDATE threads SET outcome = :outcome, error = NULL WHERE thread_id = :thread_id",
            thread_id=thread_id,
            outcome="interrupted" if pending else "idle",
        )


def delete_ephemeral(tx: Tx, before: str) -> int:
    """Threads of stateless runs whose last run ended before `before`."""
    rows = tx.all(
        f"SELECT thread_id FROM threads WHERE ephemeral = 1 AND last_activity_at < :before AND NOT {BUSY}",
        before=before,
    )
    for row in rows:
        delete(tx, ALL, row["thread_id"])
    return len(rows)


# Lists


@dataclass(frozen=True, slots=True)
class Filter:
    metadata: Mapping[str, Any] | None = None
    values: Mapping[str, Any] | None = None
    status: str | None = None
    ids: Sequence[str] | None = None
    said: str | None = None  # what people type into a search

    def where(self, tx: Tx, scope: Scope) -> tuple[str, dict[str, Any]]:
        conditions, params = ["ephemeral = 0", scope.condition(tx)], dict[str, Any](scope.params)
        for number, (key, value) in enumerate(_leaves(self.metadata or {})):
            params |= {f"k{number}": key, f"v{number}": value, f"w{number}": _otherwise(value)}
            match = f"FROM thread_metadata m WHERE m.key = :k{number} AND m.value IN (:v{number}, :w{number})"
            many = tx.one(
                "SELECT count(*) AS n FROM "
                "(SELECT 1 FROM thread_metadata WHERE key = :key AND value IN (:value, :otherwise) LIMIT 1000)",
                key=key,
                value=value,
                otherwise=_otherwise(value),
            )
            # A value that many threads share is checked along the sorted list; a rare one leads to its threads.
            if many and many["n"] == 1000:
                conditions.append(f"EXISTS (SELECT 1 {match} AND m.thread_id = threads.thread_id)")
            else:
                conditions.append(f"threads.thread_id IN (SELECT m.thread_id {match})")
        if self.metadata and _needs_document(self.metadata):
            conditions.append(tx.dialect.contains("metadata", "metadata"))
            params["metadata"] = json.dumps(self.metadata)
        if self.values:
            contains = tx.dialect.contains("CAST(data AS TEXT)", "values", sealed=True)
            conditions.append(f"threads.thread_id IN (SELECT thread_id FROM thread_values WHERE {contains})")
            params["values"] = json.dumps(self.values)
        if self.status is not None:  # the same as `STATUS = :status`, led by the few runs that are active
            active = "threads.thread_id IN (SELECT thread_id FROM runs WHERE status IN ('pending', 'running'))"
            conditions.append(active if self.status == "busy" else f"outcome = :status AND NOT {active}")
            params["status"] = self.status
        if self.ids is not None:
            conditions.append("threads.thread_id IN (SELECT value FROM json_each(:ids))")
            params["ids"] = json.dumps(list(self.ids))
        if self.said is not None:
            conditions.append(find.threads() if (query := expression(self.said)) else "FALSE")
            params |= {"said": query} if query else {}
        return " AND ".join(conditions), params


def search(
    tx: Tx, scope: Scope, wanted: Filter, *, sort_by: str, sort_order: str, limit: int, offset: int, values: bool
) -> tuple[list[Thread], int]:
    """A page and the total, which is exact up to COUNTED and a lower bound beyond: a list must not count everything.

    `sort_by` is one of SORTS. States are read only when `values`.
    """
    where, params = wanted.where(tx, scope)
    columns = f"{COLUMNS}, {VALUES}" if values else COLUMNS
    key = STATUS if sort_by == "status" else f"threads.{SORTS[SORTS.index(sort_by)]}"
    order = f"{key} {'ASC' if sort_order == 'asc' else 'DESC'}, threads.thread_id DESC"
    rows = tx.all(  # the page first: what is shown of a thread is not looked up for all that must be sorted
        f"SELECT {columns} FROM (SELECT thread_id AS found FROM threads WHERE {where} ORDER BY {order} "
        f"LIMIT :limit OFFSET :offset) CROSS JOIN threads ON threads.thread_id = found ORDER BY {order}",
        **params,
        limit=limit,
        offset=offset,
    )
    found = [Thread.from_row(row) for row in rows]
    if len(found) < limit and (found or not offset):
        return found, offset + len(found)
    return found, count(tx, scope, wanted, at_most=max(COUNTED, offset + limit + 1))


def count(tx: Tx, scope: Scope, wanted: Filter, at_most: int = -1) -> int:
    where, params = wanted.where(tx, scope)
    row = tx.one(
        f"SELECT count(*) AS n FROM (SELECT 1 FROM threads WHERE {where} LIMIT :at_most)", **params, at_most=at_most
    )
    return row["n"] if row else 0


def _put_metadata(tx: Tx, thread_id: str, metadata: Mapping[str, Any]) -> None:
    row = tx.one(  # by another name it comes as it is stored
        "UPDATE threads SET metadata = :metadata WHERE thread_id = :thread_id RETURNING metadata AS stored",
        thread_id=thread_id,
        metadata=dumps_text(metadata),
    )
    found = sealing.searched(row["stored"]) if row else {}
    tx.run("DELETE FROM thread_metadata WHERE thread_id = :thread_id", thread_id=thread_id)
    tx.many(
        "INSERT OR IGNORE INTO thread_metadata (key, value, thread_id) VALUES (?, ?, ?)",
        [(key, value, thread_id) for key, value in _leaves(found)],
    )


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(JSON path, JSON scalar) of every scalar that is not inside a list: what the index holds and is asked for."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    elif not isinstance(value, list):
        yield json.dumps(path), json.dumps(value)


def _otherwise(scalar: str) -> str:
    """The other text of the same number, as clients in other languages write it: 1 and 1.0; else the same text."""
    if scalar[0] not in "-0123456789":
        return scalar
    number = json.loads(scalar)
    other = float(number) if isinstance(number, int) else int(number) if number.is_integer() else number
    return json.dumps(other) if other == number else scalar


def _needs_document(wanted: Any) -> bool:
    """Whether leaves alone do not say it: lists, and objects that must merely be there."""
    if isinstance(wanted, Mapping):
        return not wanted or any(_needs_document(item) for item in wanted.values())
    return isinstance(wanted, list)
