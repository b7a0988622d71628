"""/search: what was said, done and answered in the caller's threads."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from threadmill.api import answers
from threadmill.api.found import Found
from threadmill.api.threads import STATUSES, known_id
from threadmill.api.wire import Body, Here, Me, Moment, Route, json
from threadmill.errors import Invalid
from threadmill.ids import stamp
from threadmill.search import LONGEST
from threadmill.threads import Filter
from threadmill_checkpoints.search.find import Hit, Wanted

router = APIRouter(tags=["Search"], route_class=Route)

KINDS = Literal["message", "tool_args", "tool_result", "title", "status"]


class Query(Body):
    query: str = Field(max_length=LONGEST)
    thread_ids: list[str] | None = Field(None, max_length=1000)
    metadata: dict[str, Any] | None = None
    status: STATUSES | None = None
    roles: list[str] | None = None
    kinds: list[KINDS] | None = None
    since: Moment | None = None
    until: Moment | None = None
    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = None


@router.post("/search", responses=answers.answers(Found, 400, 501))
async def search(body: Query, here: Here, me: Me) -> Response:
    """Newest first. `next_cursor` is null at the end."""
    before = _number(body.cursor)
    scope = await me.may("threads", "search", {"metadata": body.metadata or {}, "status": body.status})
    ids = None if body.thread_ids is None else [known_id(one) for one in body.thread_ids]
    wanted = Wanted(body.query, body.kinds, body.roles, _stamp(body.since), _stamp(body.until))
    among = Filter(metadata=body.metadata, status=body.status, ids=ids)
    found = await here.search.find(scope, wanted, among, limit=body.limit + 1, before=before)
    shown = found[: body.limit]
    more = len(found) > body.limit
    return json({"hits": [_shown(*one) for one in shown], "next_cursor": str(shown[-1][0].doc) if more else None})


def _shown(hit: Hit, title: str | None) -> dict[str, Any]:
    return {
        "thread_id": hit.thread_id,
        "title": title,
        "checkpoint_id": hit.checkpoint_id,
        "message_id": hit.message_id,
        "role": hit.role,
        "kind": hit.kind,
        "snippet": hit.snippet,
        "at": hit.at,
        "score": hit.score,
    }


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise Invalid("cursor: not one that a search has answered.")
    return int(cursor)


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else stamp(moment)
