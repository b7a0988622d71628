"""/threads/{id}/state and /history"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from threadmill.api import answers
from threadmill.api.wire import Body, Here, Me, Read, Readable, Route, json, listed, one_of, selected
from threadmill.ids import parse_id
from threadmill.runtime import Runtime
from threadmill.state import EMPTY, Checkpoint

router = APIRouter(prefix="/threads/{thread_id}", tags=["Threads"], route_class=Route)
Select = Annotated[list[str] | None, Query()]
ONE_VALUE = "values."


class AtCheckpoint(Body):
    checkpoint: dict[str, Any]
    subgraphs: bool = False
    select: list[str] | None = None


class Update(Body):
    values: dict[str, Any] | list[Any] | None = None
    as_node: str | None = None
    checkpoint: dict[str, Any] | None = None
    checkpoint_id: str | None = None


class History(Body):
    limit: int = Field(1, ge=1, le=1000)
    before: dict[str, Any] | str | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: dict[str, Any] | None = None
    select: list[str] | None = None


@router.get("/state", responses=answers.answers(answers.State, 400, 404, 503))
async def get_state(thread: Read, here: Here, subgraphs: bool = False, select: Select = None) -> Response:
    return await _get(here, thread, Checkpoint(), subgraphs, listed(select))


@router.post("/state/checkpoint", responses=answers.answers(answers.State, 400, 404, 503))
async def get_state_at(thread: Read, body: AtCheckpoint, here: Here) -> Response:
    return await _get(here, thread, place(body.checkpoint) or Checkpoint(), body.subgraphs, body.select or [])


@router.get("/state/{checkpoint_id}", responses=answers.answers(answers.State, 400, 404, 503))
async def get_state_by_id(
    thread: Read, checkpoint_id: str, here: Here, subgraphs: bool = False, select: Select = None
) -> Response:
    return await _get(here, thread, Checkpoint(checkpoint_id), subgraphs, listed(select))


@router.post("/state", responses=answers.answers(answers.Updated, 400, 404, 409, 503))
async def update_state(thread_id: str, body: Update, here: Here, me: Me) -> Response:
    at = place(body.checkpoint) or Checkpoint(body.checkpoint_id)
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id, "action": "interrupt"})
    return json(await here.on_state_loop(here.states.update(scope, thread_id, at, body.values, body.as_node)))


@router.get("/history", responses=answers.answers(list[answers.State], 400, 404, 503))
async def get_history(
    thread: Read,
    here: Here,
    limit: Annotated[int, Query(ge=0, le=1000)] = 10,
    before: str | None = None,
    select: Select = None,
) -> Response:
    earlier = Checkpoint(before) if before else None
    return await _history(here, thread, Checkpoint(), listed(select), limit=limit, before=earlier)


@router.post("/history", responses=answers.answers(list[answers.State], 400, 404, 503))
async def post_history(thread: Read, body: History, here: Here) -> Response:
    at, earlier = place(body.checkpoint) or Checkpoint(), place(body.before)
    only = body.select or []
    return await _history(here, thread, at, only, limit=body.limit, before=earlier, metadata=body.metadata)


def place(checkpoint: dict[str, Any] | str | None) -> Checkpoint | None:
    """A checkpoint in any form clients send: its id, flat, or as a config with `configurable`."""
    if not checkpoint:
        return None
    if isinstance(checkpoint, str):
        return Checkpoint(checkpoint)
    flat = checkpoint.get("configurable") or checkpoint
    return Checkpoint(flat.get("checkpoint_id"), flat.get("checkpoint_ns") or "")


async def _get(here: Runtime, thread: Readable, at: Checkpoint, subgraphs: bool, select: list[str]) -> Response:
    _check(select)
    state = await here.on_state_loop(here.states.get(thread.scope, thread.thread_id, at, subgraphs=subgraphs))
    return json(_only(state, select))


async def _history(here: Runtime, thread: Readable, at: Checkpoint, select: list[str], **options: Any) -> Response:
    _check(select)
    states = await here.on_state_loop(here.states.history(thread.scope, thread.thread_id, at, **options))
    return json([_only(state, select) for state in states])


def _check(select: list[str]) -> None:
    for name in select:
        if not name.startswith(ONE_VALUE):
            one_of("select", name, (*EMPTY, f"{ONE_VALUE}<key>"))


def _only(state: dict[str, Any], select: list[str]) -> dict[str, Any]:
    """The fields named; `values.<key>` names one value, and one that the state does not have is left out."""
    keys = [name.removeprefix(ONE_VALUE) for name in select if name.startswith(ONE_VALUE)]
    if keys and "values" not in select:
        values = state["values"] if isinstance(state["values"], dict) else {}
        state = {**state, "values": {key: values[key] for key in keys if key in values}}
    return selected([state], [name.partition(".")[0] for name in select])[0]
