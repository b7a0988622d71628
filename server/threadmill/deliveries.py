"""The table of webhooks that are to be sent, or were."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from threadmill.errors import Conflict, NotFound
from threadmill.ids import stamp
from threadmill.scope import Scope
from threadmill_checkpoints.database import Row, Tx

STATUSES = ("pending", "delivered", "dead")
DELIVERED, DEAD = timedelta(days=1), timedelta(days=30)  # how long rows are kept

# Whose it is says the thread, as long as it is there.
METADATA = (
    "coalesce((SELECT threads.metadata FROM threads WHERE threads.thread_id = webhook_deliveries.thread_id), "
    "webhook_deliveries.metadata)"
)
COLUMNS = "run_id, thread_id, url, status, attempts, next_attempt_at, response_status, error, created_at, updated_at"


@dataclass(frozen=True, slots=True)
class Delivery:
    """`response_status` and `error` are of the last attempt; `updated_at` is when it was made."""

    run_id: str
    thread_id: str
    url: str
    status: str
    attempts: int
    next_attempt_at: str | None
    response_status: int | None
    error: str | None
    created_at: str
    updated_at: str

    @classmethod
    def from_row(cls, row: Row) -> Self:
        return cls(**{name: row[name] for name in cls.__slots__})


def enqueue(tx: Tx, *, run_id: str, thread_id: str, url: str, body: bytes) -> None:
    """`body` is a JSON object. A run ends once, and is told of once."""
    tx.run(
        "INSERT INTO webhook_deliveries (run_id, thread_id, metadata, url, body, next_attempt_at, created_at, "
        "updated_at) VALUES (:run_id, :thread_id, "
        "coalesce((SELECT metadata FROM threads WHERE threads.thread_id = :thread_id), '{}'), :url, :body, :now, :now, "
        ":now) ON CONFLICT (run_id) DO NOTHING",
        run_id=run_id,
        thread_id=thread_id,
        url=url,
        body=body,
        now=stamp(tx.now),
    )


def search(
    tx: Tx, scope: Scope, *, status: str | None = None, limit: int = 10, offset: int = 0
) -> tuple[list[Delivery], int]:
    """A page, newest first, and the total."""
    where = f"(:status IS NULL OR status = :status) AND {scope.condition(tx, METADATA)}"
    rows = tx.all(
        f"SELECT {COLUMNS} FROM webhook_deliveries WHERE {where} ORDER BY created_at DESC, run_id DESC "
        "LIMIT :limit OFFSET :offset",
        status=status,
        limit=limit,
        offset=offset,
        **scope.params,
    )
    total = tx.one(f"SELECT count(*) AS n FROM webhook_deliveries WHERE {where}", status=status, **scope.params)
    return [Delivery.from_row(row) for row in rows], total["n"] if total else 0


def retry(tx: Tx, scope: Scope, run_id: str) -> Delivery:
    """A dead one gets all its attempts again. Conflict for another."""
    found = tx.one(
        f"SELECT status FROM webhook_deliveries WHERE run_id = :run_id AND {scope.condition(tx, METADATA)}",
        run_id=run_id,
        **scope.params,
    )
    if found is None:
        raise NotFound(f"No webhook of run {run_id} found")
    if found["status"] != "dead":
        raise Conflict(f"The webhook of run {run_id} is {found['status']}; only a dead one can be sent again.")
    row = tx.one(
        "UPDATE webhook_deliveries SET status = 'pending', attempts = 0, next_attempt_at = :now "
        f"WHERE run_id = :run_id RETURNING {COLUMNS}",
        run_id=run_id,
        now=stamp(tx.now),
    )
    assert row is not None
    return Delivery.from_row(row)


def due_in(tx: Tx) -> float | None:
    """Seconds until one is to be sent; None when none waits."""
    row = tx.one("SELECT min(next_attempt_at) AS at FROM webhook_deliveries WHERE status = 'pending'")
    return None if row is None or row["at"] is None else (datetime.fromisoformat(row["at"]) - tx.now).total_seconds()


def claim(tx: Tx, limit: int, lease_s: float) -> list[tuple[Delivery, bytes]]:
    """Take what is due, with its body. It is due again after the lease, should nobody say what became of it."""
    rows = tx.all(
        "UPDATE webhook_deliveries SET attempts = attempts + 1, next_attempt_at = :lease, updated_at = :now "
        "WHERE run_id IN (SELECT run_id FROM webhook_deliveries WHERE status = 'pending' AND next_attempt_at <= :now "
        f"ORDER BY next_attempt_at LIMIT :limit) RETURNING body, {COLUMNS}",
        lease=stamp(tx.now + timedelta(seconds=lease_s)),
        now=stamp(tx.now),
        limit=limit,
    )
    return [(Delivery.from_row(row), row["body"]) for row in rows]


def finish(
    tx: Tx, taken: Delivery, status: str, *, answer: int | None, error: str | None, again_s: float | None = None
) -> bool:
    """What became of an attempt. False if another attempt has been made since: its word counts."""
    return bool(
        tx.run(
            "UPDATE webhook_deliveries SET status = :status, response_status = :answer, error = :error, "
            "next_attempt_at = :again, body = CASE WHEN :status = 'delivered' THEN NULL ELSE body END "
            "WHERE run_id = :run_id AND status = 'pending' AND attempts = :attempts",
            run_id=taken.run_id,
            attempts=taken.attempts,
            status=status,
            answer=answer,
            error=error,
            again=None if again_s is None else stamp(tx.now + timedelta(seconds=again_s)),
        )
    )


def sweep(tx: Tx) -> int:
    return sum(
        tx.run(
            "DELETE FROM webhook_deliveries WHERE status = :status AND updated_at < :before",
            status=status,
            before=stamp(tx.now - kept),
        )
        for status, kept in (("delivered", DELIVERED), ("dead", DEAD))
    )
