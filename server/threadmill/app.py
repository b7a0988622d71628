"""The ASGI application."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import perf_counter

import structlog
from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from threadmill.api import a2a, assistants, crons, mcp, meta, retention, runs, state, store, stream, threads
from threadmill.api.wire import caller, install_errors, json
from threadmill.ids import new_id
from threadmill.metrics import NO_ROUTE
from threadmill.runtime import Runtime


def create_app(
    runtime: Callable[[], AbstractAsyncContextManager[Runtime]], *, max_body_bytes: int = 32 << 20
) -> FastAPI:
    """`runtime` is opened when the server starts and closed when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with runtime() as opened:
            app.state.runtime = opened
            yield

    app = FastAPI(title="Threadmill", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None)
    app.include_router(meta.router)
    guarded = [
        assistants.router,
        retention.router,
        threads.router,
        state.router,
        stream.router,
        crons.router,
        runs.threaded,
        runs.stateless,
        store.router,
        mcp.router,
        a2a.router,
    ]
    for router in guarded:
        app.include_router(router, dependencies=[Depends(caller)])
    install_errors(app)
    app.add_middleware(Envelope, max_body_bytes=max_body_bytes)
    app.add_middleware(Measured)
    return app


class Envelope:
    """Around every request: an id for the logs, and a limit on the body."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"").decode("latin-1")[:128] or new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        left = self._max_body_bytes
        detail = f"The body is larger than {left} bytes."

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, detail)
            return message

        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > left:
            await json({"detail": detail}, status=413)(scope, receive, send)
            return
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, limited, send)


class Measured:
    """Counts every request, and how long it waited for the first byte of its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, answered = perf_counter(), False

        def begin(message: Message) -> Awaitable[None]:  # no coroutine of its own: every chunk of a stream passes here
            nonlocal answered
            if not answered:
                answered = True
                _count(scope, message["status"], perf_counter() - began)
            return send(message)

        try:
            await self._app(scope, receive, begin)
        except Exception:  # becomes a 500 further out
            if not answered:
                _count(scope, 500, perf_counter() - began)
            raise


def _count(scope: Scope, status: int, seconds: float) -> None:
    path = getattr(scope.get("route"), "path", NO_ROUTE)
    scope["app"].state.runtime.metrics.request(scope["method"], path, status, seconds)
