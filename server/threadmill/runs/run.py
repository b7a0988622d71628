"""A run: one execution of an assistant's graph on a thread."""

import json
from dataclasses import dataclass
from typing import Any, Literal, Self

from threadmill import threads
from threadmill.errors import NotFound
from threadmill.scope import Scope
from threadmill_checkpoints.database import Row, Tx

Status = Literal["pending", "running", "success", "error", "timeout", "interrupted"]
STATUSES = ("pending", "running", "success", "error", "timeout", "interrupted")
ACTIVE = ("pending", "running")
CRASHED = "RunCrashed"  # the error of a run whose server died
Action = Literal["interrupt", "rollback", "stop"]  # a stop keeps what was said, and ends the turn
REASONS: dict[Action, str] = {  # for who knows no better one
    "interrupt": "interrupt requested",
    "rollback": "rollback requested",
    "stop": "stopped by the user",
}
FIELDS = (
    "run_id", "thread_id", "assistant_id", "metadata", "status", "kwargs", "multitask_strategy", "created_at",
    "updated_at",
)  # fmt: skip
NEVER_SET: dict[str, Any] = {"langsmith_session_name": None}


@dataclass(frozen=True, slots=True)
class Run:
    """`kwargs` is the request as the wire shows it; `attempt` counts claims and is the fencing token.

    `first_seq` is the number of its first event, None before the first attempt; `last_seq` that of the last one,
    None until it ended.
    """

    run_id: str
    thread_id: str
    assistant_id: str
    metadata: dict[str, Any]
    status: Status
    kwargs: dict[str, Any]
    multitask_strategy: str
    created_at: str
    updated_at: str
    attempt: int
    stop: Action | None
    error: dict[str, Any] | None
    first_seq: int | None
    last_seq: int | None
    crashed: bool  # its server died, and it was not begun again

    @classmethod
    def from_row(cls, row: Row) -> Self:
        decoded: dict[str, Any] = {name: json.loads(row[name]) for name in ("metadata", "kwargs")}
        decoded["error"] = json.loads(row["error"]) if row["error"] else None
        decoded["crashed"] = bool(row["crashed"])
        return cls(**{name: decoded[name] if name in decoded else row[name] for name in cls.__slots__})

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def graph_id(self) -> str:
        return str(self.kwargs["config"]["configurable"]["graph_id"])


def shown(run: Run) -> dict[str, Any]:
    """As the wire has it."""
    return {name: getattr(run, name) for name in FIELDS} | NEVER_SET


def get(tx: Tx, scope: Scope, thread_id: str, run_id: str) -> Run:
    """A run belongs to whom its thread belongs to."""
    row = tx.one(
        "SELECT * FROM runs WHERE run_id = :run_id AND thread_id = :thread_id", run_id=run_id, thread_id=thread_id
    )
    if row is None or not threads.exists(tx, scope, thread_id):
        raise NotFound("Run not found")
    return Run.from_row(row)


def find(tx: Tx, scope: Scope, run_id: str) -> Run | None:
    row = tx.one("SELECT * FROM runs WHERE run_id = :run_id", run_id=run_id)
    if row is not None and scope.filter and not threads.exists(tx, scope, row["thread_id"]):
        return None
    return Run.from_row(row) if row else None


def at(tx: Tx, thread_id: str, seq: int) -> Run | None:
    """The run that had begun and not ended at event `seq` of the thread."""
    row = tx.one(
        "SELECT * FROM runs WHERE thread_id = :thread_id AND first_seq <= :seq "
        "AND (last_seq IS NULL OR last_seq > :seq) ORDER BY position DESC LIMIT 1",
        thread_id=thread_id,
        seq=seq,
    )
    return Run.from_row(row) if row else None


def first_seq_before(tx: Tx, thread_id: str, seq: int) -> int:
    """Where the log of the thread's run begins that event `seq` may belong to; 1 if there is none."""
    row = tx.one(
        "SELECT max(first_seq) AS first FROM runs WHERE thread_id = :thread_id AND first_seq <= :seq",
        thread_id=thread_id,
        seq=seq,
    )
    return (row["first"] if row else None) or 1


def last_ended(tx: Tx, thread_id: str) -> Run | None:
    """Whose end is the newest in the thread's log."""
    row = tx.one(
        "SELECT * FROM runs WHERE thread_id = :thread_id AND last_seq IS NOT NULL ORDER BY last_seq DESC LIMIT 1",
        thread_id=thread_id,
    )
    return Run.from_row(row) if row else None


def of_thread(
    tx: Tx, scope: Scope, thread_id: str, *, status: str | None = None, limit: int = 10, offset: int = 0
) -> list[Run]:
    """Newest first."""
    threads.require(tx, scope, thread_id)
    rows = tx.all(
        "SELECT * FROM runs WHERE thread_id = :thread_id AND (:status IS NULL OR status = :status) "
        "ORDER BY position DESC LIMIT :limit OFFSET :offset",
        thread_id=thread_id,
        status=status,
        limit=limit,
        offset=offset,
    )
    return [Run.from_row(row) for row in rows]


def active(tx: Tx, thread_id: str) -> list[Run]:
    """Running and pending, in their order."""
    rows = tx.all(
        "SELECT * FROM runs WHERE thread_id = :thread_id AND status IN ('pending', 'running') ORDER BY position",
        thread_id=thread_id,
    )
    return [Run.from_row(row) for row in rows]


def active_where(
    tx: Tx, scope: Scope, *, thread_id: str | None, run_ids: list[str] | None, status: str | None
) -> dict[str, list[str]]:
    """Ids of the active runs that match, by thread; None matches all."""
    rows = tx.all(
        "SELECT thread_id, run_id FROM runs WHERE status IN ('pending', 'running') "
        "AND (:status IS NULL OR status = :status) AND (:thread_id IS NULL OR thread_id = :thread_id) "
        "AND (:ids IS NULL OR run_id IN (SELECT value FROM json_each(:ids)))",
        thread_id=thread_id,
        status=status,
        ids=json.dumps(run_ids) if run_ids is not None else None,
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["thread_id"], []).append(row["run_id"])
    return {thread: ids for thread, ids in found.items() if threads.exists(tx, scope, thread)}
