"""/threads/{id}/snapshot: all that a page shows of a thread, and the cursor where its events go on."""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Response

from threadmill import feed, interrupts, threads
from threadmill.api import answers
from threadmill.api.feed import reader_of
from threadmill.api.queue import listed
from threadmill.api.wire import Here, Me, Read, Route, json
from threadmill.errors import NotFound
from threadmill.runs import run as runs
from threadmill.runtime import Runtime
from threadmill.scope import ALL, Scope
from threadmill.streaming import view
from threadmill.streaming.blocks import compact
from threadmill.streaming.projection import Envelope
from threadmill_checkpoints.database import Tx

router = APIRouter(prefix="/threads/{thread_id}", tags=["Threads"], route_class=Route)

TRIES = 4


@router.get("/snapshot", responses=answers.answers(answers.Snapshot, 404))
async def snapshot(thread: Read, here: Here, me: Me, messages: bool = True) -> Response:
    """Whoever applies the envelopes above `cursor` to it sees what one sees who has read them all. `messages` are those
    of `values` once more, which a long conversation makes twice as long."""
    now = await taken(here, thread.scope, thread.thread_id, reader_of(me))
    return json(now if messages else {**now, "messages": []})


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database has, read in one transaction: the state as it was before event `after + 1`.

    A run that is under way has not changed it yet, so the log from that run's first event on is all that is missing.
    `change` is the number of the thread's last change.
    """

    thread: dict[str, Any]
    view: view.View
    queue: list[dict[str, Any]]
    after: int
    change: int
    lost: bool  # the state is in the checkpoints only


async def taken(here: Runtime, scope: Scope, thread_id: str, reader: str) -> dict[str, Any]:
    """Raises NotFound. A run that begins or ends between the two reads makes us look again: the thread's status, its
    queue and the view are of the same moment, unless the thread is changed faster than it can be read.
    """
    for _ in range(TRIES):
        stored = await here.database.read(_stored, scope, thread_id, reader)
        told = await here.events.read(thread_id, stored.after, start=stored.after)
        if await here.database.read(feed.of_thread, thread_id) == stored.change:
            break
    base = stored.view
    if stored.lost:
        values = await here.on_state_loop(here.states.values(ALL, thread_id))
        base = {**base, "values": compact(orjson.loads(values)) if values else None}
    now = await asyncio.to_thread(_applied, base, told)
    return {"thread": stored.thread, **now, "messages": view.messages(now), "queue": stored.queue}


def _applied(base: view.View, told: list[Envelope]) -> view.View:
    for one in told:
        base = view.apply(base, orjson.loads(one.json()))
    return base


def _stored(tx: Tx, scope: Scope, thread_id: str, reader: str) -> _Stored:
    row = threads.get(tx, scope, thread_id, values=True, shown=True)
    shown = feed.get(tx, reader, thread_id)
    if shown is None:
        raise NotFound(f"Thread with ID {thread_id} not found")
    begun = [one.first_seq for one in runs.active(tx, thread_id) if one.first_seq is not None]
    highest, outcome = threads.left(tx, thread_id)
    after = min(begun) - 1 if begun else highest
    last = runs.last_ended(tx, thread_id)
    base = {
        **view.EMPTY,
        "values": compact(orjson.loads(row.values)) if row.values is not None else None,
        "status": _status(last, outcome),
        "error": _error(last) if last else None,
        "interrupts": [one.shown() for one in interrupts.of_thread(tx, thread_id)],
        "cursor": after,
    }
    lost = row.values is None and row.interrupts is not None
    return _Stored(shown, base, listed(tx, thread_id), after, feed.of_thread(tx, thread_id), lost)


def _failed(run: runs.Run) -> bool:
    return run.status in ("error", "timeout")


def _error(run: runs.Run) -> str | None:
    """As its end told it. A stop is told without."""
    if run.error is None or not (_failed(run) or run.crashed):
        return None
    return f"{run.error['error']}: {run.error['message']}"


def _status(last: runs.Run | None, outcome: str) -> str | None:
    if last is None:
        return None
    if last.status == "success":
        return "interrupted" if outcome == "interrupted" else "completed"
    return "failed" if _failed(last) else "interrupted"
