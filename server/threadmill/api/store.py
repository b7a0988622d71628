"""/store: items that outlive threads. Graphs and this API see the same ones."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Request, Response
from langgraph.store.base import NOT_PROVIDED, InvalidNamespaceError, Item, NotProvided, SearchItem
from langgraph_sdk import schema as sdk
from pydantic import AfterValidator, Field

from threadmill.api import answers
from threadmill.api.wire import Body, Here, Me, Route, json
from threadmill.errors import BadRequest, Invalid, Unavailable
from threadmill.ids import stamp
from threadmill_checkpoints.filters import UnknownOperator
from threadmill_checkpoints.vectors import EmbeddingError

logger = structlog.get_logger("threadmill.api.store")

LABELS, LABEL, KEY, PATHS = 32, 256, 1024, 100
DEEP, FILTERS, PAGE, QUERY, MINUTES, MOST = 16, 100, 10_000, 100_000, 52_560_000, 10**9


PLAIN = {"schema": {"title": "Text", "type": "string"}}
REFUSED = {"schema": {"$ref": "#/components/schemas/Refusal"}}
WRONG = answers.WHY[422]
BAD_LABEL: answers.Responses = {
    422: {"description": WRONG, "content": {"text/plain": PLAIN, "application/json": REFUSED}}
}
NO_KEY: answers.Responses = {400: {"model": answers.KeyRequired | answers.Refusal, "description": answers.WHY[400]}}


class BadLabel(ValueError):
    """Answered as bare text, as the reference does."""


class StoreRoute(Route):
    """Says what is wrong with an item's address or a filter."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except BadLabel as error:
                return Response(str(error), 422, media_type="text/plain")
            except (InvalidNamespaceError, UnknownOperator) as error:
                raise BadRequest(str(error)) from None
            except EmbeddingError as error:
                logger.error("embedding failed", exc_info=error)
                raise Unavailable("The texts could not be embedded; the log of the server says why.") from None

        return handle


router = APIRouter(prefix="/store", tags=["Store"], route_class=StoreRoute)


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL")
    return text


Key = Annotated[str, Field(min_length=1, max_length=KEY), AfterValidator(_without_nul)]
Namespace = Annotated[list[Annotated[str, Field(max_length=LABEL)]], Field(max_length=LABELS)]
Path = Annotated[str, Field(max_length=KEY)]


class Address(Body):
    namespace: Namespace = Field(default_factory=list)
    key: str = Field(max_length=KEY)


class Put(Body):
    namespace: Namespace
    key: Key
    value: dict[str, Any]
    index: Literal[False] | Annotated[list[Path], Field(max_length=PATHS)] | None = None
    ttl: float | None = Field(None, gt=0, le=MINUTES)


class Search(Body):
    namespace_prefix: Namespace | None = None
    filter: dict[str, Any] | None = None
    limit: int = Field(10, ge=1, le=PAGE)
    offset: int = Field(0, ge=0, le=MOST)
    query: str | None = Field(None, max_length=QUERY)
    refresh_ttl: bool | None = None


class Namespaces(Body):
    prefix: Namespace | None = None
    suffix: Namespace | None = None
    max_depth: int | None = Field(None, ge=1, le=MOST)
    limit: int = Field(100, ge=1, le=PAGE)
    offset: int = Field(0, ge=0, le=MOST)


@router.put("/items", status_code=204, responses=answers.nothing(400, 503) | BAD_LABEL)
async def put(body: Put, here: Here, me: Me) -> Response:
    value: dict[str, Any] = {
        "namespace": _labels(body.namespace),
        "key": body.key,
        "value": body.value,
        "index": body.index,
        "ttl": body.ttl,
    }
    await me.may("store", "put", value)
    ttl: float | NotProvided = NOT_PROVIDED if value["ttl"] is None else value["ttl"]
    await here.store.aput(tuple(value["namespace"]), value["key"], value["value"], value["index"], ttl=ttl)
    return Response(status_code=204)


@router.get("/items", responses=answers.answers(sdk.Item | None) | NO_KEY | BAD_LABEL)
async def get(here: Here, me: Me, namespace: str = "", key: str = "", refresh_ttl: bool | None = None) -> Response:
    """`namespace` with dots between its labels. An item that is not there is null."""
    if not key:
        return json({"error": "Key is required"}, status=400)
    value: dict[str, Any] = {"namespace": _labels(namespace.split(".")), "key": key, "refresh_ttl": refresh_ttl}
    await me.may("store", "get", value)
    item = await here.store.aget(tuple(value["namespace"]), value["key"], refresh_ttl=value["refresh_ttl"])
    return json(None if item is None else shown(item))


@router.delete("/items", status_code=204, responses=answers.nothing(400) | BAD_LABEL)
async def delete(body: Address, here: Here, me: Me) -> Response:
    value: dict[str, Any] = {"namespace": _labels(body.namespace), "key": body.key}
    await me.may("store", "delete", value)
    await here.store.adelete(tuple(value["namespace"]), value["key"])
    return Response(status_code=204)


@router.post("/items/search", responses=answers.answers(sdk.SearchItemsResponse, 400, 503) | BAD_LABEL)
async def search(body: Search, here: Here, me: Me) -> Response:
    _check_filter(body.filter)
    value: dict[str, Any] = {
        "namespace": _labels(body.namespace_prefix or []),
        "filter": body.filter,
        "limit": body.limit,
        "offset": body.offset,
        "query": body.query,
        "refresh_ttl": body.refresh_ttl,
    }
    # As the reference has it: what a handler answers is a filter here, and nothing elsewhere; it owns by namespace.
    scope = await me.may("store", "search", value)
    found = await here.store.asearch(
        tuple(value["namespace"]),
        query=value["query"],
        filter={**(value["filter"] or {}), **(scope.filter or {})},
        limit=value["limit"],
        offset=value["offset"],
        refresh_ttl=value["refresh_ttl"],
    )
    return json({"items": [shown(item) for item in found]})


@router.post("/namespaces", responses=answers.answers(sdk.ListNamespaceResponse, 400) | BAD_LABEL)
async def namespaces(body: Namespaces, here: Here, me: Me) -> Response:
    value: dict[str, Any] = {
        "namespace": _labels(body.prefix) if body.prefix else None,
        "suffix": _labels(body.suffix) if body.suffix else None,
        "max_depth": body.max_depth,
        "limit": body.limit,
        "offset": body.offset,
    }
    await me.may("store", "list_namespaces", value)
    found = await here.store.alist_namespaces(
        prefix=tuple(value["namespace"] or ()),
        suffix=tuple(value["suffix"] or ()),
        max_depth=value["max_depth"],
        limit=value["limit"],
        offset=value["offset"],
    )
    return json({"namespaces": found})


def shown(item: Item) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": stamp(item.created_at),
        "updated_at": stamp(item.updated_at),
    }
    return fields | {"score": item.score} if isinstance(item, SearchItem) else fields


def _labels(namespace: list[str]) -> tuple[str, ...]:
    for label in namespace:
        if not label or "." in label:
            raise BadLabel(f"Namespace label '{label}' must be a non-empty string without periods")
    return tuple(namespace)


def _check_filter(wanted: Any, depth: int = 1) -> None:
    """Keys are compared as data, never as SQL; what is refused here cannot be a key of a value worth searching."""
    if depth > DEEP:
        raise Invalid(f"filter: nested more than {DEEP} deep")
    if isinstance(wanted, dict):
        if len(wanted) > FILTERS:
            raise Invalid(f"filter: more than {FILTERS} keys")
        if any(len(key) > KEY or "\x00" in key for key in wanted):
            raise Invalid(f"filter: a key is longer than {KEY} characters or contains NUL")
    for inner in wanted.values() if isinstance(wanted, dict) else wanted if isinstance(wanted, list) else ():
        _check_filter(inner, depth + 1)
