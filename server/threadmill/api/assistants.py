"""/assistants"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from threadmill import assistants
from threadmill.api.wire import Body, Route, json, page, runtime, selected
from threadmill.assistants import Assistant
from threadmill.ids import parse_id
from threadmill.runtime import Runtime

router = APIRouter(prefix="/assistants", tags=["Assistants"], route_class=Route)
Here = Annotated[Runtime, Depends(runtime)]

FIELDS = Literal[
    "assistant_id", "graph_id", "config", "context", "metadata", "name", "created_at", "updated_at", "version",
    "description",
]  # fmt: skip


class Search(Body):
    metadata: dict[str, Any] | None = None
    graph_id: str | None = None
    name: str | None = None
    limit: int = Field(10, ge=1, le=1000)
    offset: int = Field(0, ge=0)
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[FIELDS] | None = None


@router.post("/search")
async def search(body: Search, here: Here) -> Response:
    found, total = await here.database.read(
        assistants.search,
        metadata=body.metadata,
        graph_id=body.graph_id,
        name=body.name,
        sort_by=body.sort_by or "created_at",
        sort_order=body.sort_order or "desc",
        limit=body.limit,
        offset=body.offset,
    )
    return page(selected([shown(one) for one in found], body.select), total, body.limit, body.offset)


@router.get("/{assistant_id}")
async def get(assistant_id: str, here: Here) -> Response:
    return json(shown(await here.database.read(assistants.get, parse_id(assistant_id, "assistant"))))


def shown(assistant: Assistant) -> dict[str, Any]:
    return {name: getattr(assistant, name) for name in Assistant.__slots__}
