"""/threads/{id}/stream"""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from threadmill.api import answers
from threadmill.api.wire import Here, Me, Route, Stream, listed, one_of
from threadmill.ids import parse_id
from threadmill.scope import ALL
from threadmill.streaming import sse

router = APIRouter(prefix="/threads/{thread_id}", tags=["Threads"], route_class=Route)

MODES = ("run_modes", "lifecycle", "state_update")


@router.get("/stream", responses=answers.events(*answers.THREAD_EVENTS, 404))
async def stream(
    thread_id: str,
    here: Here,
    me: Me,
    stream_modes: Annotated[list[str] | None, Query()] = None,
    stream_mode: Annotated[list[str] | None, Query()] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """All that happens on the thread, over its runs. The SDK says `stream_mode`, the reference `stream_modes`."""
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    found = await here.thread(scope, thread_id)
    given = listed(stream_modes or stream_mode)
    for mode in given:
        one_of("stream_modes", mode, MODES)

    async def state() -> bytes:
        return (await here.thread(ALL, found.thread_id)).values or b"null"

    after = await here.reader.place(thread_id, last_event_id)
    frames = here.reader.follow_thread(thread_id, after, modes=frozenset(given or ["run_modes"]), state=state)
    return Stream(frames, sse.HEADERS)
