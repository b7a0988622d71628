"""Messages that are forgotten everywhere."""

from typing import Any

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from threadmill.api import answers
from threadmill.api.wire import Here, Me, Route, json
from threadmill.ids import parse_id
from threadmill.runtime import Runtime
from threadmill.scope import Scope

router = APIRouter(tags=["Messages"], route_class=Route)


class Erased(TypedDict):
    """How many of each were changed."""

    messages: int
    copies: int
    checkpoints: int
    writes: int
    events: int
    inputs: int
    metadata: int
    injections: int
    receipts: int
    drafts: int
    errors: int
    titles: int
    webhooks: int


class Forgotten(TypedDict):
    message_ids: list[str]
    threads: list[str]
    erased: Erased


@router.post("/threads/{thread_id}/messages/{message_id}/forget", responses=answers.answers(Forgotten, 404, 409))
async def forget(thread_id: str, message_id: str, here: Here, me: Me) -> Response:
    """In the thread, and in all that share the message with it."""
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "delete", {"thread_id": thread_id})
    return json(await _forgotten(here, scope, message_id, thread_id))


@router.post("/messages/{message_id}/forget", responses=answers.answers(Forgotten, 404, 409))
async def forget_everywhere(message_id: str, here: Here, me: Me) -> Response:
    """In all of the caller's threads."""
    scope = await me.may("threads", "delete", {})
    return json(await _forgotten(here, scope, message_id, None))


async def _forgotten(here: Runtime, scope: Scope, message_id: str, thread_id: str | None) -> dict[str, Any]:
    done = await here.forgetting.forget(scope, message_id, thread_id)
    for one in done.threads:
        await here.on_state_loop(here.states.refresh(one))
    here.signals.notify("feed")
    erased = {name: done.counts[name] for name in Erased.__annotations__}
    return {"message_ids": done.message_ids, "threads": done.threads, "erased": erased}
