"""Steering a run: what is said to it while it runs, its pause, and its place in the thread's queue.

A message joins the state at the next superstep; it has its id from the beginning, so that a repeated attempt that adds
it again changes nothing. What comes too late for the run is the input of another one.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from threadmill.errors import Conflict
from threadmill.ids import stamp
from threadmill.jsonable import dumps_text
from threadmill.runs import queue
from threadmill.runs import run as runs
from threadmill.runs.run import Run
from threadmill_checkpoints.database import Tx

ONCE = ("recovers", "strict_resume", "if_interrupted")  # of a run's kwargs, those that its successor has not


def heard(tx: Tx, thread_id: str, message_id: str, active: Sequence[Run]) -> Run | None:
    """The run of the thread that the message was said to, or of its `active` ones that which it begins."""
    row = tx.one(
        "SELECT runs.* FROM injections JOIN runs USING (run_id) WHERE message_id = :id AND thread_id = :thread_id",
        id=message_id,
        thread_id=thread_id,
    )
    if row is not None:
        return Run.from_row(row)
    return next((one for one in active if message_id in _asked(one)), None)


def _asked(run: Run) -> list[Any]:
    """The ids of the messages in its input."""
    given = run.kwargs["input"]
    messages = given.get("messages") if isinstance(given, dict) else None
    listed = messages if isinstance(messages, list) else [messages]
    return [one.get("id") for one in listed if isinstance(one, dict)]


def inject(tx: Tx, run_id: str, message: Mapping[str, Any]) -> None:
    """`message` has an id, and was not said before."""
    tx.run(
        "INSERT INTO injections (run_id, message_id, message, created_at) VALUES (:run_id, :id, :message, :now)",
        run_id=run_id,
        id=message["id"],
        message=dumps_text(message),
        now=stamp(tx.now),
    )


def injected(tx: Tx, run_id: str) -> list[dict[str, Any]]:
    """All that was said to the run, in order."""
    rows = tx.all("SELECT message FROM injections WHERE run_id = :run_id ORDER BY created_at, rowid", run_id=run_id)
    return [json.loads(row["message"]) for row in rows]


def follow_up(tx: Tx, run: Run, heard: Sequence[str], *, paused: bool) -> None:
    """A run ended: what was said to it and came too late is the input of the next one, which waits if `paused`."""
    late = [message for message in injected(tx, run.run_id) if message["id"] not in heard]
    if not late:
        return
    created = queue.follow(tx, run, _next_turn(run.kwargs) | {"input": {"messages": late}})
    if paused:
        pause(tx, created)


def _next_turn(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """How a turn was asked for, without what was meant for that one: where it began, whom it answered, what it
    recovered. What was acknowledged is not refused for a question either."""
    config = kwargs["config"]
    place = {key: value for key, value in config["configurable"].items() if not key.startswith("checkpoint")}
    kept = {key: value for key, value in kwargs.items() if key not in ONCE}
    return {**kept, "config": {**config, "configurable": place}, "command": None}


def pause(tx: Tx, run: Run) -> None:
    """A pending run stays where it is; a running one becomes pending again when it has come to a safe point."""
    tx.run("UPDATE runs SET paused = 1, updated_at = :now WHERE run_id = :id", id=run.run_id, now=stamp(tx.now))


def resume(tx: Tx, run_id: str) -> bool:
    """False when it was not paused."""
    return bool(
        tx.run(
            "UPDATE runs SET paused = 0, updated_at = :now WHERE run_id = :id AND paused = 1",
            id=run_id,
            now=stamp(tx.now),
        )
    )


def queue_of(tx: Tx, thread_id: str) -> list[tuple[Run, bool]]:
    """The running run and those that wait, in their order; and whether each is paused."""
    paused = {
        row["run_id"]
        for row in tx.all("SELECT run_id FROM runs WHERE thread_id = :thread_id AND paused = 1", thread_id=thread_id)
    }
    there = sorted(runs.active(tx, thread_id), key=lambda one: one.status != "running")
    return [(one, one.run_id in paused) for one in there]


def move(tx: Tx, thread_id: str, run_id: str, to: int) -> None:
    """Give a pending run the place `to` among the pending ones, 0 being the next. Raises Conflict."""
    waiting = [one.run_id for one in runs.active(tx, thread_id) if one.status == "pending"]
    if run_id not in waiting:
        raise Conflict(f"Run {run_id} does not wait: it has no place in the queue.")
    places = [
        row["position"]
        for row in tx.all(
            "SELECT position FROM runs WHERE run_id IN (SELECT value FROM json_each(:ids)) ORDER BY position",
            ids=json.dumps(waiting),
        )
    ]
    waiting.remove(run_id)
    waiting.insert(to, run_id)
    order = list(zip(places, waiting, strict=True))
    # Positions are unique at every moment: out of the way first.
    tx.many("UPDATE runs SET position = -? - 1 WHERE run_id = ?", order)
    tx.many("UPDATE runs SET position = ? WHERE run_id = ?", order)
