"""/threads: create, read, change, list."""

import re
from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, Query, Response
from pydantic import Field, model_validator

from threadmill import branches, markers, retention, threads
from threadmill.api import answers
from threadmill.api.feed import reader_of
from threadmill.api.wire import Body, Here, Me, Route, json, listed, page, selected
from threadmill.errors import BadRequest, Conflict, Invalid, NotFound, ThreadmillError
from threadmill.ids import new_id, parse_id
from threadmill.langgraph_json.values import MAX_MINUTES
from threadmill.retention import Strategy
from threadmill.scope import ALL, Scope
from threadmill.search import LONGEST
from threadmill.threads import Filter, Thread
from threadmill_checkpoints.database import Tx

router = APIRouter(prefix="/threads", tags=["Threads"], route_class=Route)

FIELDS = Literal[
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "context", "status", "values",
    "interrupts", "error", "title", "preview", "message_count", "last_activity_at",
]  # fmt: skip
STATUSES = Literal["idle", "busy", "interrupted", "error"]
EXTRACT_ROOTS = ("config", "interrupts", "metadata", "values")


class Superstep(Body):
    updates: list[dict[str, Any]]


class Ttl(Body):
    """In minutes. A bare number means the same with `delete`."""

    ttl: float = Field(gt=0, le=MAX_MINUTES, strict=True)
    strategy: Strategy = "delete"

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"ttl": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class Create(Body):
    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    supersteps: list[Superstep] | None = None
    title: str | None = Field(None, max_length=1000)
    ttl: Ttl | None = None


class Patch(Body):
    metadata: dict[str, Any] | None = None
    title: str | None = Field(None, max_length=1000)
    ttl: Ttl | None = None


class Count(Body):
    metadata: dict[str, Any] | None = None
    values: dict[str, Any] | None = None
    status: STATUSES | None = None
    ids: list[str] | None = None
    query: str | None = Field(None, max_length=LONGEST)

    def filter(self) -> Filter:
        ids = [known_id(one) for one in self.ids] if self.ids else None
        return Filter(metadata=self.metadata, values=self.values, status=self.status, ids=ids, said=self.query)


class Search(Count):
    limit: int = Field(10, ge=1, le=1000)
    offset: int = Field(0, ge=0, le=2**31)
    sort_by: (
        Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at", "last_activity_at", "title"]
        | None
    ) = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[FIELDS] | None = None
    extract: dict[str, str] | None = Field(None, max_length=10)
    include: list[str] | None = None


@router.post(
    "",
    responses=answers.answers(answers.Thread, 400, 409)
    | {201: {"model": answers.Refusal, "description": "The thread is there, its state is not."}},
)
async def create(body: Create, here: Here, me: Me) -> Response:
    thread_id = parse_id(body.thread_id, "thread") if body.thread_id is not None else new_id()
    if_exists = body.if_exists or "raise"
    value: dict[str, Any] = {"thread_id": thread_id, "metadata": body.metadata or {}, "if_exists": if_exists}
    if body.ttl is not None:
        value["ttl"] = body.ttl.model_dump()
    scope = await me.may("threads", "create", value)
    ttl = Ttl.model_validate(value["ttl"]) if value.get("ttl") else None  # the handler may have its own idea
    thread, created = await here.database.write(
        _create, scope, thread_id, value["metadata"], if_exists, body.title, ttl
    )
    here.signals.notify("feed")
    if created and body.supersteps:
        try:
            steps = [{"updates": step.updates} for step in body.supersteps]
            await here.on_state_loop(here.states.supersteps(scope, thread_id, steps))
        except ThreadmillError as error:
            detail = f"Thread {thread_id} was created, but there were problems updating the state: {error.message}"
            return json({"detail": detail}, status=201)
        thread = await here.thread(scope, thread_id)
    return json(shown(thread))


def _create(
    tx: Tx, scope: Scope, thread_id: str, metadata: dict[str, Any], if_exists: str, title: str | None, ttl: Ttl | None
) -> tuple[Thread, bool]:
    """False when it was there before. One that the caller does not see, as somebody else's, is in the way."""
    if not threads.create(tx, thread_id, metadata=metadata, if_exists=if_exists):
        try:
            return threads.get(tx, scope, thread_id, values=True, shown=True), False
        except NotFound as error:
            raise Conflict(f"Thread with ID {thread_id} already exists") from error
    if title:
        threads.patch(tx, ALL, thread_id, metadata=None, title=title)
    if ttl is not None:
        retention.set_ttl(tx, ALL, thread_id, ttl.strategy, ttl.ttl)
    return threads.get(tx, ALL, thread_id), True


@router.post("/search", responses=answers.page(answers.ThreadPart, 400, 501))
async def search(body: Search, here: Here, me: Me) -> Response:
    if body.query is not None:
        await here.search.ready()
    value = {"metadata": body.metadata or {}, "values": body.values or {}, "status": body.status}
    scope = await me.may("threads", "search", value | {"limit": body.limit, "offset": body.offset})
    paths = {alias: _path(path) for alias, path in (body.extract or {}).items()}
    in_values = any(parts[0] == "values" for parts in paths.values())
    found, total = await here.database.read(
        threads.search,
        scope,
        body.filter(),
        sort_by=body.sort_by or "updated_at",
        sort_order=body.sort_order or "desc",
        limit=body.limit,
        offset=body.offset,
        values=in_values or not body.select or "values" in body.select,
    )
    rows = []
    for thread in found:
        row = shown(thread)
        kept = selected([row], body.select)[0]
        if paths:
            whole = row | {"values": orjson.loads(thread.values) if in_values and thread.values else None}
            kept["extracted"] = {alias: _extract(whole, parts) for alias, parts in paths.items()}
        rows.append(kept)
    if "unread" in (body.include or ()):
        reader = reader_of(me)
        new = await here.database.read(markers.unread, [one.thread_id for one in found], reader)
        rows = [{**row, "unread": one.thread_id in new} for row, one in zip(rows, found, strict=True)]
    return page(rows, total, body.limit, body.offset)


@router.post("/count", responses=answers.answers(int, 400, 501))
async def count(body: Count, here: Here, me: Me) -> Response:
    if body.query is not None:
        await here.search.ready()
    scope = await me.may("threads", "search", {"metadata": body.metadata or {}, "status": body.status})
    return json(await here.database.read(threads.count, scope, body.filter()))


@router.get("/{thread_id}", responses=answers.answers(answers.Thread, 404))
async def get(thread_id: str, here: Here, me: Me, include: Annotated[list[str] | None, Query()] = None) -> Response:
    """A name in `include` that means nothing here is ignored."""
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    row = shown(await here.thread(scope, thread_id))
    if "ttl" in listed(include):
        ttl = await here.database.read(retention.find, scope, thread_id)
        row["ttl"] = asdict(ttl) if ttl is not None else None
    if "lineage" in listed(include):
        row["lineage"] = await here.database.read(branches.lineage, scope, thread_id)
    return json(row)


@router.patch("/{thread_id}", responses=answers.answers(answers.Thread, 404, empty=204))
async def patch(
    thread_id: str, body: Patch, here: Here, me: Me, prefer: Annotated[str, Header(alias="Prefer")] = ""
) -> Response:
    thread_id = parse_id(thread_id, "thread")
    value: dict[str, Any] = {"thread_id": thread_id, "metadata": body.metadata or {}}
    scope = await me.may("threads", "update", value)
    await here.database.write(_patch, scope, thread_id, value["metadata"], body)
    here.signals.notify("feed")
    if "return=minimal" in prefer:
        return Response(status_code=204)
    return json(shown(await here.thread(ALL, thread_id)))


def _patch(tx: Tx, scope: Scope, thread_id: str, metadata: dict[str, Any], body: Patch) -> None:
    threads.patch(tx, scope, thread_id, metadata=metadata, title=body.title)
    if body.ttl is not None:
        retention.set_ttl(tx, ALL, thread_id, body.ttl.strategy, body.ttl.ttl)
    elif "ttl" in body.model_fields_set:  # null takes it away
        retention.clear_ttl(tx, ALL, thread_id)


@router.delete("/{thread_id}", status_code=204, responses=answers.nothing(404))
async def delete(thread_id: str, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    await here.delete_thread(await me.may("threads", "delete", {"thread_id": thread_id}), thread_id)
    return Response(status_code=204)


@router.post("/{thread_id}/copy", responses=answers.answers(answers.ThreadPart, 404, 409))
async def copy(thread_id: str, here: Here, me: Me) -> Response:
    source, target = parse_id(thread_id, "thread"), new_id()
    await me.may("threads", "create", {"thread_id": target, "metadata": {}})
    await here.database.write(threads.copy, await me.may("threads", "read", {"thread_id": source}), source, target)
    row = shown(await here.database.read(threads.get, ALL, target))
    return json({key: value for key, value in row.items() if key not in ("values", "error", "interrupts")})


def shown(thread: Thread) -> dict[str, Any]:
    """`error` and `interrupts` appear once there is a state."""
    row: dict[str, Any] = {
        "thread_id": thread.thread_id,
        "created_at": thread.created_at,
        "updated_at": thread.updated_at,
        "state_updated_at": thread.state_updated_at,
        "metadata": thread.metadata,
        "status": thread.status,
        "config": thread.config,
        "values": orjson.Fragment(thread.values) if thread.values is not None else None,
    }
    if thread.interrupts is not None:
        row |= {"error": thread.error, "interrupts": thread.interrupts}
    return row | {
        "title": thread.title,
        "preview": thread.preview,
        "message_count": thread.message_count,
        "last_activity_at": thread.last_activity_at,
    }


def known_id(value: str) -> str:
    try:
        return parse_id(value, "thread")
    except Invalid:
        raise BadRequest(f"Invalid thread ID {value}") from None


def _path(path: str) -> list[str | int]:
    """`values.log[-1]` as ["values", "log", -1]."""
    parts: list[str | int] = []
    for name, index in re.findall(r"([^.\[\]]+)|\[(-?\d+)\]", path):
        parts.append(int(index) if index else name)
    if not parts or parts[0] not in EXTRACT_ROOTS:
        raise Invalid(f"Extract path '{path}' must start with one of: {', '.join(EXTRACT_ROOTS)}")
    return parts


def _extract(value: Any, parts: list[str | int]) -> Any:
    for part in parts:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value
