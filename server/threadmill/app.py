"""The ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import structlog
from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from threadmill.api import assistants, meta, runs, state, threads
from threadmill.api.wire import caller, install_errors, json
from threadmill.ids import new_id
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
    for router in (assistants.router, threads.router, state.router, runs.threaded, runs.stateless):
        app.include_router(router, dependencies=[Depends(caller)])
    install_errors(app)
    app.add_middleware(Envelope, max_body_bytes=max_body_bytes)
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
