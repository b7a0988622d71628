"""/threads/{id}/fork, /branches and /head: where a conversation went, and where it goes on."""

from typing import Annotated, Any, NotRequired

from fastapi import APIRouter, Query, Response
from pydantic import Field
from typing_extensions import TypedDict

from threadmill import branches
from threadmill.api import answers
from threadmill.api.threads import shown
from threadmill.api.wire import Body, Here, Me, Route, json
from threadmill.ids import new_id, parse_id
from threadmill.scope import ALL

router = APIRouter(prefix="/threads/{thread_id}", tags=["Branches"], route_class=Route)


class Fork(Body):
    checkpoint_id: str | None = None
    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    title: str | None = Field(None, max_length=1000)


class Head(Body):
    checkpoint_id: str


class Source(TypedDict):
    thread_id: str
    checkpoint_id: str


class Forked(answers.Thread):
    forked_from: Source


class Tree(TypedDict):
    """`checkpoints` are rows of `columns`; see docs/branches.md."""

    head: str | None
    places: int
    total: int
    columns: list[str]
    runs: list[str]
    checkpoints: list[list[Any]]
    next_before: str | None


class Sibling(TypedDict):
    checkpoint_id: str
    message_id: str | None
    preview: str | None
    head: str


class Said(TypedDict):
    message: Any
    checkpoint_id: str
    fork_from: str | None
    shown: NotRequired[int]
    siblings: NotRequired[list[Sibling]]


class Path(TypedDict):
    head: str | None
    at: str | None
    forked_from: Source | None
    messages: list[Said]


class Moved(TypedDict):
    head: str


@router.post("/fork", responses=answers.answers(Forked, 404, 409))
async def fork(thread_id: str, body: Fork, here: Here, me: Me) -> Response:
    source = parse_id(thread_id, "thread")
    target = parse_id(body.thread_id, "thread") if body.thread_id is not None else new_id()
    value: dict[str, Any] = {"thread_id": target, "metadata": body.metadata or {}}
    await me.may("threads", "create", value)
    scope = await me.may("threads", "read", {"thread_id": source})
    at = await here.database.write(
        branches.fork,
        scope,
        source,
        body.checkpoint_id,
        target,
        serde=here.states.serde,
        metadata=value["metadata"],
        title=body.title,
    )
    await here.on_state_loop(here.states.refresh(target))
    here.signals.notify("feed")
    row = shown(await here.thread(ALL, target))
    return json({**row, "forked_from": {"thread_id": source, "checkpoint_id": at}})


@router.get("/branches", responses=answers.answers(Tree, 404))
async def branches_of(
    thread_id: str,
    here: Here,
    me: Me,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    before: str | None = None,
) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    return json(await here.database.read(branches.page, scope, thread_id, here.states.serde, limit, before))


@router.get("/branches/messages", responses=answers.answers(Path, 404))
async def messages(thread_id: str, here: Here, me: Me, at: str | None = None, ids: bool = False) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    return json(await here.database.read(branches.messages, scope, thread_id, here.states.serde, at, ids))


@router.put("/head", responses=answers.answers(Moved, 404, 409))
async def go_to(thread_id: str, body: Head, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id})
    head = await here.database.write(branches.go_to, scope, thread_id, body.checkpoint_id, here.states.serde)
    await here.on_state_loop(here.states.refresh(thread_id))
    here.signals.notify("feed")
    return json({"head": head})
