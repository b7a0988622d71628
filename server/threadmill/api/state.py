"""/threads/{id}/state and /history"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from threadmill.api.wire import Body, Here, Me, Route, json
from threadmill.auth import Caller
from threadmill.ids import parse_id
from threadmill.runtime import Runtime
from threadmill.state import Checkpoint

router = APIRouter(prefix="/threads/{thread_id}", tags=["Threads"], route_class=Route)


class AtCheckpoint(Body):
    checkpoint: dict[str, Any]
    subgraphs: bool = False


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


@router.get("/state")
async def get_state(thread_id: str, here: Here, me: Me, subgraphs: bool = False) -> Response:
    return await _get(here, me, thread_id, Checkpoint(), subgraphs)


@router.post("/state/checkpoint")
async def get_state_at(thread_id: str, body: AtCheckpoint, here: Here, me: Me) -> Response:
    return await _get(here, me, thread_id, place(body.checkpoint) or Checkpoint(), body.subgraphs)


@router.get("/state/{checkpoint_id}")
async def get_state_by_id(thread_id: str, checkpoint_id: str, here: Here, me: Me, subgraphs: bool = False) -> Response:
    return await _get(here, me, thread_id, Checkpoint(checkpoint_id), subgraphs)


@router.post("/state")
async def update_state(thread_id: str, body: Update, here: Here, me: Me) -> Response:
    at = place(body.checkpoint) or Checkpoint(body.checkpoint_id)
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id, "action": "interrupt"})
    return json(await here.on_state_loop(here.states.update(scope, thread_id, at, body.values, body.as_node)))


@router.get("/history")
async def get_history(
    thread_id: str, here: Here, me: Me, limit: Annotated[int, Query(ge=0, le=1000)] = 10, before: str | None = None
) -> Response:
    return await _history(here, me, thread_id, Checkpoint(), limit=limit, before=Checkpoint(before) if before else None)


@router.post("/history")
async def post_history(thread_id: str, body: History, here: Here, me: Me) -> Response:
    at = place(body.checkpoint) or Checkpoint()
    return await _history(here, me, thread_id, at, limit=body.limit, before=place(body.before), metadata=body.metadata)


def place(checkpoint: dict[str, Any] | str | None) -> Checkpoint | None:
    """A checkpoint in any form clients send: its id, flat, or as a config with `configurable`."""
    if not checkpoint:
        return None
    if isinstance(checkpoint, str):
        return Checkpoint(checkpoint)
    flat = checkpoint.get("configurable") or checkpoint
    return Checkpoint(flat.get("checkpoint_id"), flat.get("checkpoint_ns") or "")


async def _get(here: Runtime, me: Caller, thread_id: str, at: Checkpoint, subgraphs: bool) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    return json(await here.on_state_loop(here.states.get(scope, thread_id, at, subgraphs=subgraphs)))


async def _history(here: Runtime, me: Caller, thread_id: str, at: Checkpoint, **options: Any) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    return json(await here.on_state_loop(here.states.history(scope, thread_id, at, **options)))
