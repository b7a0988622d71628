"""/threads/{id}/timings: how long answers and tools took."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from threadmill.api import answers
from threadmill.api.wire import Here, Read, Route, json
from threadmill.ids import parse_id
from threadmill.runs import timings as runs

router = APIRouter(prefix="/threads/{thread_id}", tags=["Threads"], route_class=Route)


@router.get("/timings", responses=answers.answers(answers.Timings, 404))
async def timings(
    thread: Read, here: Here, limit: Annotated[int, Query(ge=1, le=1000)] = 100, before: str | None = None
) -> Response:
    """Of the runs that have ended, the newest first."""
    after = parse_id(before, "run") if before is not None else None
    return json(await here.database.read(runs.page, thread.scope, thread.thread_id, limit, after))
