"""What all routes share: bodies in, JSON and event streams out, errors as `{"detail": "..."}`."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, cast

import orjson
import structlog
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict
from starlette.authentication import AuthCredentials
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from threadmill.auth import Call, Caller, authenticate
from threadmill.encryption import HEADER
from threadmill.errors import Forbidden, Invalid, ThreadmillError
from threadmill.ids import parse_id
from threadmill.jsonable import dumps
from threadmill.langgraph_json.http import Cors
from threadmill.metrics import Metrics
from threadmill.runtime import Runtime
from threadmill.scope import Scope as Visible
from threadmill.webhooks import LOOPBACK
from threadmill_checkpoints.database import NoRoom
from threadmill_checkpoints.sealing import CONTEXT

logger = structlog.get_logger("threadmill.api")

INVALID_JSON = "Invalid JSON in request body"
UNTRUSTED = "Pages of this origin may not call this server; name it in http.cors.allow_origins."
LEVELS = 128  # of a body; JSON in an answer ends at 254, and what was sent lies some levels down in it
DETAIL = 2000  # characters


class Body(BaseModel):
    """A request body. Fields that are not named are ignored, as clients are ahead of servers at times."""

    model_config = ConfigDict(extra="ignore")


def in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("there is no such year in UTC.") from None


Moment = Annotated[AwareDatetime, AfterValidator(in_utc)]


def read_json(data: bytes) -> Any:
    """Raises orjson.JSONDecodeError, and 422 for what is too deep to be stored and shown again."""
    value = orjson.loads(data)
    if data.count(b"[") + data.count(b"{") > LEVELS:
        level, depth = [value], 0
        while level := [one for one in level if isinstance(one, dict | list)]:
            depth += 1
            if depth > LEVELS:
                raise HTTPException(422, f"The body is nested more than {LEVELS} levels deep.")
            level = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
    return value


class _JsonRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = read_json(await self.body())
        return self._json


class Route(APIRoute):
    """Reads every body as JSON, whatever its content type says. Where it answers GET it answers HEAD, which asks for
    the headers: the body is left out by the HTTP server, and by Stream, which may have no end."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL and self._heads(scope) else match), found

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.app if self._heads(scope) else super().handle)(scope, receive, send)

    def _heads(self, scope: Scope) -> bool:
        return scope["method"] == "HEAD" and "GET" in (self.methods or ())

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if self.body_field is not None:
                headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
                request.scope["headers"] = [*headers, (b"content-type", b"application/json")]
                request = _JsonRequest(request.scope, request.receive)
            return await handler(request)

        return handle


async def runtime(request: Request) -> Runtime:
    # async: FastAPI sends a plain function to a thread for every request
    return runtime_of(request)


async def caller(request: Request) -> Caller:
    """Who calls; refused with 401 here, before any route looks at the request."""
    if LOOPBACK in request.scope.get("state", {}):  # a webhook to ourselves comes from nobody
        raise HTTPException(404)
    here = runtime_of(request)
    if request.method not in ("GET", "HEAD") and not _guarded(here) and not trusts(here, request):
        # To what looks like a form's request a browser does not ask first: any page could run graphs here.
        raise Forbidden(UNTRUSTED)
    return await identify(request, here)


def trusts(here: Runtime, request: HTTPConnection) -> bool:
    """Whether the page that asks, if it is one, may."""
    cors = here.project.http.cors or Cors()
    return cors.trusts(request.headers.get("origin"), request.headers.get("host"), guarded=_guarded(here))


def _guarded(here: Runtime) -> bool:
    return here.auth is not None or here.settings.insecure


async def identify(request: HTTPConnection, here: Runtime) -> Caller:
    """Asked once per request. Also tells Starlette, so that `request.user` is there for the project's own code; and
    under which encryption context the request stores what it stores."""
    known = request.scope.setdefault("state", {}).get("caller")
    if known is None:
        call = Call(
            request=request,
            path=request.url.path,
            method=request.scope.get("method", "GET"),  # a WebSocket has none
            path_params=request.path_params,
            query_params=dict(request.query_params),
            headers=dict(request.headers.raw),
            body=None,
            scope=request.scope,
        )
        known = request.scope["state"]["caller"] = await authenticate(here.auth, call)
    if known.user is not None:
        request.scope["user"] = known.user
        request.scope["auth"] = AuthCredentials(["authenticated", *known.user.permissions])
    if here.vault is not None:
        state = request.scope["state"]
        if "encryption" not in state:
            state["encryption"] = await here.vault.context(request.headers.get(HEADER), known.user)
        CONTEXT.set(state["encryption"])
    return cast("Caller", known)


def runtime_of(request: Request) -> Runtime:
    return cast("Runtime", request.app.state.runtime)


Here = Annotated[Runtime, Depends(runtime)]
Me = Annotated[Caller, Depends(caller)]


class Readable(NamedTuple):
    """The thread of a path, which the caller may read if it is there."""

    thread_id: str
    scope: Visible


async def readable(thread_id: str, me: Me) -> Readable:
    thread_id = parse_id(thread_id, "thread")
    return Readable(thread_id, await me.may("threads", "read", {"thread_id": thread_id}))


async def changeable(thread_id: str, me: Me) -> Readable:
    """One that the caller may change, too."""
    thread_id = parse_id(thread_id, "thread")
    return Readable(thread_id, await me.may("threads", "update", {"thread_id": thread_id}))


Read = Annotated[Readable, Depends(readable)]
Change = Annotated[Readable, Depends(changeable)]


def json(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(dumps(value), status, dict(headers or {}), "application/json")


def page(rows: Sequence[Any], total: int, limit: int, offset: int) -> Response:
    headers = {"x-pagination-total": str(total)}
    if offset + limit < total:
        headers["x-pagination-next"] = str(offset + limit)
    return json(rows, headers=headers)


def selected(rows: Sequence[dict[str, Any]], select: Sequence[str] | None) -> list[dict[str, Any]]:
    if not select:
        return list(rows)
    return [{key: row[key] for key in select if key in row} for row in rows]


def listed(values: Sequence[str] | None) -> list[str]:
    """A list of names in a query: repeated, with commas, or one JSON array, as JavaScript SDKs before 1.12 write it."""
    return [name for value in values or () for name in re.findall(r'[^\s,"\[\]]+', value)]


def one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    """For values whose set is known only here; raises Invalid."""
    if value is not None and value not in allowed:
        raise Invalid(f"{name}: '{value}' is not one of {', '.join(allowed)}")


class Stream(Response):
    """Bytes as they come, written to the connection without a layer between.

    Nothing is collected: a client that reads slowly is waited for here, and nowhere else. `left` is called when the
    client goes before the end, `close` in any case.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        headers: Mapping[str, str],
        left: Callable[[], Awaitable[None]] | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self._kind = "events" if headers["content-type"].startswith("text/event-stream") else "wait"
        self._chunks = chunks
        self._left = left
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            self._close()
            return
        metrics = cast("Runtime", scope["app"].state.runtime).metrics
        with metrics.stream(self._kind):
            await self._run(receive, send, metrics)

    async def _run(self, receive: Receive, send: Send, metrics: Metrics) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        body = asyncio.create_task(self._send(send, metrics))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({body, gone}, return_when=asyncio.FIRST_COMPLETED)
            complete = body.done()
        finally:
            body.cancel()
            gone.cancel()
            await asyncio.gather(body, gone, return_exceptions=True)
            self._close()
        if not complete and self._left is not None:
            await self._left()

    async def _send(self, send: Send, metrics: Metrics) -> None:
        try:
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            pass  # the client went away between two looks
        except Exception:
            logger.exception("a stream failed")
            metrics.stream_broke()
            raise
        finally:
            close = getattr(self._chunks, "aclose", None)
            if close is not None:
                await close()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def install_errors(app: FastAPI) -> None:
    async def known(_: Request, error: Exception) -> Response:
        assert isinstance(error, ThreadmillError)
        return refusal(error.message, error.status, getattr(error, "headers", None))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        nowhere = error.status_code == 405 or (error.status_code == 404 and "route" not in request.scope)
        if nowhere and all(route.matches(request.scope)[0] is Match.NONE for route in request.app.state.open):
            try:  # where no route asks who calls
                await identify(request, runtime_of(request))
            except ThreadmillError as refused:
                return await known(request, refused)
        methods = request.app.state.methods.get(getattr(request.scope.get("route"), "path", None))
        headers = {"allow": ", ".join(methods)} if error.status_code == 405 and methods else error.headers
        return refusal(str(error.detail), error.status_code, headers)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return refusal(explain(error), 422)

    async def no_room(_: Request, error: Exception) -> Response:
        return refusal(str(error), 507)

    async def unknown(request: Request, error: Exception) -> Response:
        request_id = request.scope.get("state", {}).get("request_id")
        path = request.url.path.replace(request.path_params.get("token") or "\0", "…")  # it opens a conversation
        logger.error("request failed", path=path, request_id=request_id, exc_info=error)
        return Response("Internal Server Error", 500, media_type="text/plain")

    app.add_exception_handler(ThreadmillError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(NoRoom, no_room)
    app.add_exception_handler(Exception, unknown)


def refusal(detail: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """A sentence may repeat what was sent, which may be long."""
    shown = detail if len(detail) <= DETAIL else f"{detail[:DETAIL]}…"
    return json({"detail": shown}, status=status, headers=headers)


def explain(error: RequestValidationError) -> str:
    """One sentence about the first fault."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "json_invalid" or (place == ["body"] and first["type"] == "missing"):
        return INVALID_JSON
    name = ".".join(place[1:]) or place[0]
    if first["type"] == "missing":
        return f"'{name}' is a required property"
    return f"{name}: {first['msg']}"
