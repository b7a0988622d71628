"""The log on disk: a row is what one run of a thread produced in one flush window."""

from itertools import groupby

from threadmill.events.event import Event, pack, unpack
from threadmill_checkpoints.database import Tx

PAGE_ROWS = 16  # read at a time


def insert(tx: Tx, thread_id: str, events: list[Event]) -> None:
    at = tx.now.isoformat(timespec="microseconds")
    groups = [list(group) for _, group in groupby(events, lambda event: event.run_id)]
    tx.many(
        "INSERT INTO events (thread_id, first_seq, last_seq, run_id, at, data) SELECT ?, ?, ?, ?, ?, ? "
        # else it was deleted under a run that is about to notice
        "WHERE EXISTS (SELECT 1 FROM threads WHERE thread_id = ?)",
        [(thread_id, g[0].seq, g[-1].seq, g[0].run_id, at, pack(g), thread_id) for g in groups],
    )


def page(tx: Tx, thread_id: str, after: int) -> list[Event]:
    rows = tx.all(
        "SELECT run_id, data FROM events WHERE thread_id = :thread_id AND last_seq > :after "
        "ORDER BY first_seq LIMIT :rows",
        thread_id=thread_id,
        after=after,
        rows=PAGE_ROWS,
    )
    return [event for row in rows for event in unpack(row["run_id"], row["data"]) if event.seq > after]


def of_run(tx: Tx, thread_id: str, run_id: str, after: int = 0) -> list[Event]:
    """What is on disk of the run, numbered above `after`."""
    found, more = list[Event](), page(tx, thread_id, after)
    while more:
        found += [event for event in more if event.run_id == run_id]
        more = page(tx, thread_id, more[-1].seq)
    return found


def within(tx: Tx, thread_id: str, run_id: str, first: int, last: int) -> list[bytes]:
    """What a run has between two numbers, packed."""
    rows = tx.all(
        "SELECT data FROM events WHERE thread_id = :thread_id AND first_seq BETWEEN :first AND :last "
        "AND run_id = :run_id ORDER BY first_seq",
        thread_id=thread_id,
        run_id=run_id,
        first=first,
        last=last,
    )
    return [row["data"] for row in rows]
