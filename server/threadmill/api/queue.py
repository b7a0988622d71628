"""The queue of a thread: what runs, what waits behind it, and in which order."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from threadmill import threads
from threadmill.api import answers
from threadmill.api.wire import Body, Here, Me, Read, Route, json
from threadmill.errors import Conflict, Invalid, NotFound
from threadmill.ids import parse_id
from threadmill.runs import run as runs
from threadmill.runs import steering
from threadmill.scope import ALL, Scope
from threadmill.summary import summarise
from threadmill_checkpoints.database import Tx

router = APIRouter(prefix="/threads/{thread_id}", tags=["Thread Runs"], route_class=Route)


class Change(Body):
    position: int | None = Field(None, ge=0, le=2**31, strict=True)
    paused: bool | None = Field(None, strict=True)


@router.get("/queue", responses=answers.answers(list[answers.QueuedRun], 404))
async def queue(thread: Read, here: Here) -> Response:
    """The run that is under way, then those that wait, the next one first."""
    return json(await here.database.read(_queue, thread.scope, thread.thread_id))


@router.patch("/runs/{run_id}", responses=answers.answers(list[answers.QueuedRun], 404, 409))
async def change(thread_id: str, run_id: str, body: Change, here: Here, me: Me) -> Response:
    """Move a waiting run, or hold up a run at its next safe point, or let it go on. Answers the queue as it is then."""
    thread_id, run_id = parse_id(thread_id, "thread"), parse_id(run_id, "run")
    scope = await me.may("threads", "update", {"thread_id": thread_id, "run_id": run_id})
    found = await here.database.read(runs.get, scope, thread_id, run_id)
    if body.position is None and body.paused is None:
        raise Invalid("'position' or 'paused' is a required property")
    if not found.active:
        raise Conflict(f"Run {run_id} has ended: it has no place in the queue.")
    if body.position is not None:
        await here.move(scope, thread_id, run_id, body.position)
    if body.paused is not None:
        await (here.pause if body.paused else here.resume)(thread_id, run_id)
    return json(await here.database.read(_queue, scope, thread_id))


@router.post("/stop", responses=answers.answers(answers.Run, 404))
async def stop(thread_id: str, here: Here, me: Me) -> Response:
    """Stop what runs, whatever its id, and keep all that was said; answers the run when it has ended."""
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id, "action": "stop"})
    await here.database.read(threads.require, scope, thread_id)
    stopped = await here.stop_turn(thread_id)
    if stopped is None:
        raise NotFound(f"Thread {thread_id} has no active run.")
    await here.ended(stopped.run_id)
    now = await here.database.read(runs.find, ALL, stopped.run_id)
    return json(runs.shown(now if now is not None else stopped))


def _queue(tx: Tx, scope: Scope, thread_id: str) -> list[dict[str, Any]]:
    threads.require(tx, scope, thread_id)
    return listed(tx, thread_id)


def listed(tx: Tx, thread_id: str) -> list[dict[str, Any]]:
    """`position` is what a waiting run can be moved to, 0 being the next; the running one has none."""
    shown: list[dict[str, Any]] = []
    waiting = 0
    for run, paused in steering.queue_of(tx, thread_id):
        running = run.status == "running"
        shown.append(
            {
                "run_id": run.run_id,
                "position": None if running else waiting,
                "status": run.status,
                "paused": paused,
                "created_at": run.created_at,
                "asked": _asked(run),
                "attempt": run.attempt,
            }
        )
        waiting += not running
    return shown


def _asked(run: runs.Run) -> str | None:
    """The first thing that its input says."""
    given = run.kwargs["input"]
    return summarise(given.get("messages")).title if isinstance(given, dict) else None
