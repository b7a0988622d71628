"""/assistants: create, read, change, versions, list; what their graphs look like."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar, cast

from fastapi import APIRouter, Response
from langchain_core.runnables import RunnableConfig
from pydantic import BeforeValidator, Field

from threadmill import assistants, schemas, threads
from threadmill.api import answers
from threadmill.api.run_requests import Config
from threadmill.api.wire import Body, Here, Me, Route, json, page, selected
from threadmill.assistants import Assistant, Version
from threadmill.auth import Caller
from threadmill.errors import Invalid, NotFound
from threadmill.graphs import Graph
from threadmill.ids import new_id, parse_id
from threadmill.runtime import Runtime
from threadmill.scope import Scope

router = APIRouter(prefix="/assistants", tags=["Assistants"], route_class=Route)
T = TypeVar("T")

FIELDS = Literal[
    "assistant_id", "graph_id", "config", "context", "metadata", "name", "created_at", "updated_at", "version",
    "description",
]  # fmt: skip
BIGGEST = 2**63 - 1


class Patch(Body):
    graph_id: str | None = None
    config: Config | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    name: str | None = Field(None, max_length=1000)
    description: str | None = Field(None, max_length=10_000)

    def fields(self) -> dict[str, Any]:
        config = self.config.model_dump(exclude_unset=True) if self.config is not None else None
        named = {name: getattr(self, name) for name in ("graph_id", "context", "metadata", "name", "description")}
        return named | {"config": config}


class Create(Patch):
    graph_id: str
    assistant_id: str | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None


class Count(Body):
    metadata: dict[str, Any] | None = None
    graph_id: str | None = None
    name: str | None = None

    def filter(self) -> assistants.Filter:
        return assistants.Filter(self.metadata, self.graph_id, self.name)


class Search(Count):
    limit: int = Field(10, ge=1, le=1000)
    offset: int = Field(0, ge=0, le=BIGGEST)
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[FIELDS] | None = None


class Versions(Body):
    metadata: dict[str, Any] | None = None
    limit: int = Field(10, ge=1, le=1000)
    offset: int = Field(0, ge=0, le=BIGGEST)


def _whole(number: Any) -> Any:
    """JSON has one kind of numbers: 1.0 is 1."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


class Latest(Body):
    version: Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=BIGGEST)]


@router.post("", responses=answers.answers(answers.Assistant, 400, 404, 409))
async def create(body: Create, here: Here, me: Me) -> Response:
    assistant_id = parse_id(body.assistant_id, "assistant") if body.assistant_id is not None else new_id()
    here.graphs.spec(body.graph_id)
    if_exists = body.if_exists or "raise"
    value = {"assistant_id": assistant_id, "if_exists": if_exists, **body.fields()}
    value["metadata"] = value["metadata"] or {}
    scope = await me.may("assistants", "create", value)
    fields = body.fields() | {"metadata": value["metadata"]}
    created = await here.database.write(assistants.create, scope, assistant_id, if_exists=if_exists, **fields)
    return json(shown(created))


@router.post("/search", responses=answers.page(answers.AssistantPart, 404))
async def search(body: Search, here: Here, me: Me) -> Response:
    found, total = await here.database.read(
        assistants.search,
        await me.may("assistants", "search", _asked(body)),
        body.filter(),
        sort_by=body.sort_by or "created_at",
        sort_order=body.sort_order or "desc",
        limit=body.limit,
        offset=body.offset,
    )
    _unless_none(here, body.graph_id, total)
    return page(selected([shown(one) for one in found], body.select), total, body.limit, body.offset)


@router.post("/count", responses=answers.answers(int, 404))
async def count(body: Count, here: Here, me: Me) -> Response:
    scope = await me.may("assistants", "search", _asked(body))
    total = await here.database.read(assistants.count, scope, body.filter())
    _unless_none(here, body.graph_id, total)
    return json(total)


@router.get("/{assistant_id}", responses=answers.answers(answers.Assistant, 404))
async def get(assistant_id: str, here: Here, me: Me) -> Response:
    return json(shown(await _find(here, me, parse_id(assistant_id, "assistant"))))


@router.patch("/{assistant_id}", responses=answers.answers(answers.Assistant, 400, 404))
async def patch(assistant_id: str, body: Patch, here: Here, me: Me) -> Response:
    assistant_id = parse_id(assistant_id, "assistant")
    if body.graph_id is not None:
        here.graphs.spec(body.graph_id)
    value = {"assistant_id": assistant_id, **body.fields()}
    value["metadata"] = value["metadata"] or {}
    scope = await me.may("assistants", "update", value)
    fields = body.fields() | {"metadata": value["metadata"] or None}
    return json(shown(await here.database.write(assistants.patch, scope, assistant_id, **fields)))


@router.delete("/{assistant_id}", status_code=204, responses=answers.nothing(404))
async def delete(assistant_id: str, here: Here, me: Me, delete_threads: bool = False) -> Response:
    assistant_id = parse_id(assistant_id, "assistant")
    scope = await me.may("assistants", "delete", {"assistant_id": assistant_id})
    if delete_threads:
        await here.database.read(assistants.get, scope, assistant_id)
        await _delete_threads(here, await me.may("threads", "delete", {"assistant_id": assistant_id}), assistant_id)
    await here.database.write(assistants.delete, scope, assistant_id)
    return Response(status_code=204)


async def _delete_threads(here: Runtime, scope: Scope, assistant_id: str) -> None:
    """Before the assistant, so that who was interrupted half-way can ask again."""
    wanted = threads.Filter(metadata={"assistant_id": assistant_id})
    while True:
        found, _ = await here.database.read(
            threads.search, scope, wanted, sort_by="thread_id", sort_order="asc", limit=100, offset=0, values=False
        )
        if not found:
            return
        for thread in found:
            with suppress(NotFound):
                await here.delete_thread(scope, thread.thread_id)


@router.post("/{assistant_id}/versions", responses=answers.answers(list[answers.Version], 404))
async def versions(assistant_id: str, body: Versions, here: Here, me: Me) -> Response:
    assistant_id = parse_id(assistant_id, "assistant")
    found = await here.database.read(
        assistants.versions,
        await me.may("assistants", "read", {"assistant_id": assistant_id, "metadata": body.metadata or {}}),
        assistant_id,
        metadata=body.metadata,
        limit=body.limit,
        offset=body.offset,
    )
    return json([shown(one) for one in found])


@router.post("/{assistant_id}/latest", responses=answers.answers(answers.Assistant, 404))
async def set_latest(assistant_id: str, body: Latest, here: Here, me: Me) -> Response:
    assistant_id = parse_id(assistant_id, "assistant")
    scope = await me.may("assistants", "update", {"assistant_id": assistant_id, "version": body.version})
    return json(shown(await here.database.write(assistants.set_latest, scope, assistant_id, body.version)))


# The graph


@router.get("/{assistant_id}/graph", responses=answers.answers(answers.Drawing, 404, 503))
async def get_graph(assistant_id: str, here: Here, me: Me, xray: str = "false") -> Response:
    levels = _xray(xray)
    known = assistants.default_id(assistant_id) if assistant_id in here.graphs else parse_id(assistant_id, "assistant")
    assistant = await _find(here, me, known)
    return json(await look_at(here, me, assistant, lambda graph: schemas.drawing(graph, levels)))


@router.get("/{assistant_id}/schemas", responses=answers.answers(answers.GraphSchemas, 404, 503))
async def get_schemas(assistant_id: str, here: Here, me: Me) -> Response:
    async def look(graph: Graph) -> schemas.Schemas:
        return schemas.schemas(graph)

    assistant = await _find(here, me, parse_id(assistant_id, "assistant"))
    return json({"graph_id": assistant.graph_id, **await look_at(here, me, assistant, look)})


@router.get("/{assistant_id}/subgraphs", responses=answers.answers(dict[str, answers.Schemas], 404, 503))
async def get_subgraphs(assistant_id: str, here: Here, me: Me, recurse: bool = False) -> Response:
    return await _subgraphs(here, me, assistant_id, None, recurse)


@router.get(
    "/{assistant_id}/subgraphs/{namespace:path}", responses=answers.answers(dict[str, answers.Schemas], 404, 503)
)
async def get_subgraph(assistant_id: str, namespace: str, here: Here, me: Me, recurse: bool = False) -> Response:
    return await _subgraphs(here, me, assistant_id, namespace, recurse)


async def _subgraphs(here: Runtime, me: Caller, assistant_id: str, namespace: str | None, recurse: bool) -> Response:
    async def look(graph: Graph) -> dict[str, schemas.Schemas]:
        return schemas.subgraphs(graph, namespace, recurse=recurse)

    assistant = await _find(here, me, parse_id(assistant_id, "assistant"))
    return json(await look_at(here, me, assistant, look))


def _asked(body: Count) -> dict[str, Any]:
    return {"graph_id": body.graph_id, "metadata": body.metadata or {}}


async def _find(here: Runtime, me: Caller, assistant_id: str) -> Assistant:
    scope = await me.may("assistants", "read", {"assistant_id": assistant_id, "metadata": {}})
    return await here.database.read(assistants.get, scope, assistant_id)


async def look_at(here: Runtime, me: Caller, assistant: Assistant, look: Callable[[Graph], Awaitable[T]]) -> T:
    """At the graph as this assistant configures it: a factory may make a different one for each."""

    async def opened() -> T:
        named = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
        configurable = assistant.config.get("configurable", {}) | named
        config = cast("RunnableConfig", assistant.config | {"configurable": configurable})
        async with here.graphs.open(
            assistant.graph_id,
            config,
            access="assistants.read",
            context=assistant.context,
            user=me.user,
            store=here.states.store,
        ) as graph:
            return await look(graph)

    return await here.on_state_loop(opened())


def shown(one: Assistant | Version) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def _unless_none(here: Runtime, graph_id: str | None, total: int) -> None:
    """A graph that left langgraph.json may have assistants still; one that was never there is an error."""
    if graph_id is not None and not total:
        here.graphs.spec(graph_id)


def _xray(value: str) -> bool | int:
    if value.lower() in ("true", "false", ""):
        return value.lower() == "true"
    if value.isascii() and value.isdigit() and 0 < int(value) <= BIGGEST:
        return int(value)
    raise Invalid("Invalid xray value")
