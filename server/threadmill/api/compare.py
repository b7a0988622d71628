"""/threads/{id}/diff, /compare, /promote and /merge: in what branches differ, and which one is to stay."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi import Request as HTTPRequest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import Field, model_validator
from typing_extensions import TypedDict

from threadmill import branches, merge, threads
from threadmill.api import answers
from threadmill.api.branches import moved
from threadmill.api.run_requests import ThreadRun
from threadmill.api.runs import allowed
from threadmill.api.wire import Body, Here, Me, Route, json
from threadmill.diff import diff
from threadmill.errors import Invalid
from threadmill.ids import new_id, parse_id
from threadmill.runtime import Variant
from threadmill.scope import ALL
from threadmill.state import Checkpoint
from threadmill_checkpoints.saver import heads

router = APIRouter(prefix="/threads/{thread_id}", tags=["Branches"], route_class=Route)


class Compared(Body):
    """One way to go on; as the body of a run, and a `title` for its thread."""

    assistant_id: str
    input: Any = None
    command: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    title: str | None = Field(None, max_length=1000)


class Compare(Body):
    checkpoint_id: str | None = None
    variants: list[Compared] = Field(min_length=1, max_length=16)


class Place(Body):
    """One of the two."""

    from_thread_id: str | None = None
    checkpoint_id: str | None = None


class Promote(Place):
    @model_validator(mode="after")
    def _one(self) -> "Promote":
        if (self.from_thread_id is None) == (self.checkpoint_id is None):
            raise ValueError("name either from_thread_id or checkpoint_id")
        return self


class Merge(Place):
    messages: list[str] | None = Field(None, min_length=1, max_length=1000)
    summary: str | None = Field(None, min_length=1)
    role: Literal["user", "assistant"] = "assistant"
    as_node: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "Merge":
        if (self.messages is None) == (self.summary is None):
            raise ValueError("give either messages or a summary")
        return self


class Call(TypedDict):
    id: str | None
    name: str
    args: answers.Json
    status: str | None


class Side(TypedDict):
    checkpoint_id: str
    messages: list[Any]
    tools: list[Call]
    tokens: dict[str, int]
    steps: int
    seconds: float


class Diff(TypedDict):
    base: str | None
    common_messages: int
    channels: dict[str, answers.Json]
    a: Side
    b: Side


class Begun(TypedDict):
    thread_id: str
    run_id: str
    assistant_id: str
    title: str | None


class Comparison(TypedDict):
    compare_id: str
    checkpoint_id: str
    runs: list[Begun]


class Moved(TypedDict):
    head: str


@router.get("/diff", responses=answers.answers(Diff, 404))
async def compare_states(
    thread_id: str,
    here: Here,
    me: Me,
    a: str | None = None,
    b: str | None = None,
    b_thread_id: Annotated[str | None, Query()] = None,
) -> Response:
    left = parse_id(thread_id, "thread")
    right = parse_id(b_thread_id, "thread") if b_thread_id is not None else left
    scopes = [await me.may("threads", "read", {"thread_id": one}) for one in (left, right)]

    def read(tx: Any) -> dict[str, Any]:
        for scope, one in zip(scopes, (left, right), strict=True):
            threads.get(tx, scope, one, shown=True)
        places = ((left, a or heads.head(tx, left)), (right, b or heads.head(tx, right)))
        return diff(tx, here.states.serde, *((one, at or "") for one, at in places))

    return json(await here.database.read(read))


@router.post("/compare", responses=answers.answers(Comparison, 400, 404, 409))
async def compare(thread_id: str, body: Compare, here: Here, me: Me, http: HTTPRequest) -> Response:
    source, compare_id = parse_id(thread_id, "thread"), new_id()
    scope = await me.may("threads", "read", {"thread_id": source})
    await here.database.read(threads.require, scope, source)
    at = body.checkpoint_id or await here.database.read(heads.head, source)
    variants = []
    for one in body.variants:
        value: dict[str, Any] = {"thread_id": new_id(), "metadata": {"compare_id": compare_id}}
        await me.may("threads", "create", value)
        run = ThreadRun(**one.model_dump(exclude={"title"}, exclude_none=True)).on_thread(None)
        _, request = await allowed(here, me, run, value["thread_id"])
        variants.append(Variant(value["thread_id"], value["metadata"], one.title, request))
    begun = await here.compare(scope, source, at, variants, http.scope["state"]["request_id"])
    here.signals.notify("feed")
    runs = [
        {"thread_id": run.thread_id, "run_id": run.run_id, "assistant_id": run.assistant_id, "title": one.title}
        for run, one in zip(begun, variants, strict=True)
    ]
    return json({"compare_id": compare_id, "checkpoint_id": at, "runs": runs})


@router.post("/promote", responses=answers.answers(Moved, 404, 409))
async def promote(thread_id: str, body: Promote, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id})
    await here.database.read(threads.require, scope, thread_id)
    if body.from_thread_id is not None:
        fork = parse_id(body.from_thread_id, "thread")
        await here.database.read(threads.require, await me.may("threads", "read", {"thread_id": fork}), fork)
        head = await here.database.write(merge.promote, here.states.serde, thread_id, fork)
    else:
        head = await here.database.write(branches.go_to, scope, thread_id, body.checkpoint_id, here.states.serde)
    await moved(here, thread_id)
    return json({"head": head})


@router.post("/merge", responses=answers.answers(answers.Updated, 400, 404, 409, 503))
async def bring_home(thread_id: str, body: Merge, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    source = parse_id(body.from_thread_id, "thread") if body.from_thread_id is not None else thread_id
    scope = await me.may("threads", "update", {"thread_id": thread_id, "action": "merge"})
    readable = await me.may("threads", "read", {"thread_id": source})
    await here.database.read(threads.require, scope, thread_id)
    await here.database.read(threads.require, readable, source)
    if body.messages is None and body.from_thread_id is None and body.checkpoint_id is None:
        raise Invalid("Name the branch that the summary is of: from_thread_id or checkpoint_id.")
    at = body.checkpoint_id or await here.database.read(heads.head, source)
    if body.summary is not None:
        kind = HumanMessage if body.role == "user" else AIMessage
        found: list[BaseMessage] = [kind(content=body.summary, id=new_id())]
    else:
        found = await here.database.read(merge.chosen, readable, here.states.serde, source, at, body.messages or [])
    said = merge.marked(found, {"thread_id": source, "checkpoint_id": at})
    place = await here.on_state_loop(here.states.update(ALL, thread_id, Checkpoint(), {"messages": said}, body.as_node))
    here.signals.notify("feed")
    return json(place)
