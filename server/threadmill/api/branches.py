"""/threads/{id}/fork, /branches and /head: where a conversation went, and where it goes on."""

from datetime import datetime
from typing import Annotated, Any, NotRequired

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field
from typing_extensions import TypedDict

from threadmill import branches
from threadmill.api import answers
from threadmill.api.threads import shown
from threadmill.api.wire import Body, Here, Me, Read, Route, json
from threadmill.errors import Invalid
from threadmill.ids import new_id, parse_id
from threadmill.runtime import Runtime
from threadmill.scope import ALL
from threadmill_checkpoints.saver import heads

router = APIRouter(prefix="/threads/{thread_id}", tags=["Branches"], route_class=Route)


class Fork(Body):
    checkpoint_id: str | None = None
    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    title: str | None = Field(None, max_length=1000)


class Head(Body):
    """One of them."""

    checkpoint_id: str | None = None
    branch: str | None = None


Name = Annotated[str, Path(min_length=1, max_length=200)]


class Put(Body):
    checkpoint_id: str | None = None
    pinned: bool = False


class Change(Body):
    name: str | None = Field(None, min_length=1, max_length=200)
    pinned: bool | None = None


class Source(TypedDict):
    thread_id: str
    checkpoint_id: str


class Forked(answers.Thread):
    forked_from: Source


class Branch(TypedDict):
    name: str
    pinned: bool
    head: str
    created_at: datetime


class Deleted(TypedDict):
    head: str | None
    deleted: list[str]


class Tree(TypedDict):
    """`checkpoints` are rows of `columns`; see docs/branches.md."""

    head: str | None
    places: int
    total: int
    columns: list[str]
    runs: list[str]
    checkpoints: list[list[Any]]
    next_before: str | None
    branches: list[Branch]


class Named(TypedDict):
    name: str
    pinned: bool


class Piece(TypedDict):
    above: int | None
    preview: str | None
    messages: int
    shown: bool
    now: bool
    head: str
    time: int
    names: list[Named]


class Map(TypedDict):
    head: str | None
    total: int
    pieces: list[Piece]


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


class Conversation(TypedDict):
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
    await moved(here, target)
    row = shown(await here.thread(ALL, target))
    return json({**row, "forked_from": {"thread_id": source, "checkpoint_id": at}})


@router.get("/branches", responses=answers.answers(Tree, 404))
async def branches_of(
    thread: Read, here: Here, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000, before: str | None = None
) -> Response:
    found = await here.database.read(branches.page, thread.scope, thread.thread_id, here.states.serde, limit, before)
    return json(found)


@router.get("/branches/map", responses=answers.answers(Map, 404))
async def outline(thread: Read, here: Here, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> Response:
    """All branches of the conversation at a glance."""
    return json(await here.database.read(branches.outline, thread.scope, thread.thread_id, here.states.serde, limit))


@router.get("/branches/messages", responses=answers.answers(Conversation, 404))
async def messages(thread: Read, here: Here, at: str | None = None, ids: bool = False) -> Response:
    return json(await here.database.read(branches.messages, thread.scope, thread.thread_id, here.states.serde, at, ids))


@router.put("/head", responses=answers.answers(Moved, 404, 409))
async def go_to(thread_id: str, body: Head, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id})
    if (body.checkpoint_id is None) == (body.branch is None):
        raise Invalid("Name either checkpoint_id or branch.")
    head = await here.database.write(
        branches.go_to, scope, thread_id, body.checkpoint_id, here.states.serde, branch=body.branch
    )
    await moved(here, thread_id)
    return json({"head": head})


@router.put("/branches/{name}", responses=answers.answers(Branch, 404))
async def put(thread_id: str, name: Name, body: Put, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id})
    return json(await here.database.write(branches.put, scope, thread_id, name, body.checkpoint_id, body.pinned))


@router.patch("/branches/{name}", responses=answers.answers(Branch, 404, 409))
async def change(thread_id: str, name: Name, body: Change, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id})
    return json(
        await here.database.write(branches.change, scope, thread_id, name, new_name=body.name, pinned=body.pinned)
    )


@router.delete("/branches/{name}", responses=answers.answers(Deleted, 404, 409))
async def delete(thread_id: str, name: Name, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id})
    deleted = await here.database.write(branches.delete, scope, thread_id, name, here.states.serde)
    await moved(here, thread_id)
    return json({"head": await here.database.read(heads.head, thread_id), "deleted": deleted})


async def moved(here: Runtime, thread_id: str) -> None:
    await here.on_state_loop(here.states.refresh(thread_id))
    here.signals.notify("feed")
