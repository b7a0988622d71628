"""/threads: pruning, and what a thread takes."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import Field

from threadmill import retention
from threadmill.api import answers
from threadmill.api.wire import Body, Here, Me, Route, json
from threadmill.ids import parse_id

router = APIRouter(prefix="/threads", tags=["Threads"], route_class=Route)


class Prune(Body):
    thread_ids: list[str] = Field(max_length=1000)
    strategy: Literal["delete", "keep_latest"] = "delete"


@router.post("/prune", responses=answers.answers(answers.Pruned))
async def prune(body: Prune, here: Here, me: Me) -> Response:
    """Both strategies destroy, so both ask as a delete does, for each thread."""
    pruned = 0
    for thread_id in dict.fromkeys(parse_id(one, "thread") for one in body.thread_ids):
        scope = await me.may("threads", "delete", {"thread_id": thread_id})
        pruned += await here.retention.prune(scope, thread_id, body.strategy)
    return json({"pruned_count": pruned})


@router.get("/{thread_id}/storage", responses=answers.answers(answers.Storage, 404))
async def storage(thread_id: str, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    return json(await here.database.read(retention.storage, scope, thread_id))
