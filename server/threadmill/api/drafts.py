"""/threads/{id}/draft: what the caller has begun to write there."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import StringConstraints

from threadmill import drafts
from threadmill.api import answers
from threadmill.api.feed import reader_of
from threadmill.api.wire import Body, Change, Here, Me, Read, Route, json
from threadmill.errors import TooLarge
from threadmill.jsonable import dumps

router = APIRouter(prefix="/threads/{thread_id}/draft", tags=["Threads"], route_class=Route)

LARGEST = 12_000_000  # bytes of JSON


class Put(Body):
    content: str | list[dict[str, Any]]
    revision: str | None = None
    device: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")] | None = None


@router.get("", responses=answers.answers(answers.Draft, 404, empty=304))
async def draft(
    thread: Read, here: Here, me: Me, if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None
) -> Response:
    """All null: there is none. A browser gets one that it knows already without its content."""
    found = await here.database.read(drafts.get, thread.scope, thread.thread_id, reader_of(me))
    if found is None:
        return json({"content": None, "revision": None, "updated_at": None})
    headers = {"etag": f'"{found.revision}"', "cache-control": "private, no-cache"}
    if if_none_match == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return json(found, headers=headers)


@router.put("", responses=answers.answers(answers.Revision, 404, 409))
async def put_draft(thread: Change, body: Put, here: Here, me: Me) -> Response:
    """Instead of the one with this `revision`, or of whatever there is."""
    if len(dumps(body.content)) > LARGEST:
        raise TooLarge(f"A draft has at most {LARGEST:,} bytes.")
    made = await here.database.write(
        drafts.put, thread.scope, thread.thread_id, reader_of(me), body.content, body.revision, body.device
    )
    return json({"revision": made.revision, "updated_at": made.updated_at})


@router.delete("", status_code=204, responses=answers.nothing(404, 409))
async def delete_draft(thread: Change, here: Here, me: Me, revision: Annotated[str | None, Query()] = None) -> Response:
    await here.database.write(drafts.delete, thread.scope, thread.thread_id, reader_of(me), revision)
    return Response(status_code=204)
