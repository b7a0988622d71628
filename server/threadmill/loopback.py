"""`langgraph_sdk.get_client()` without a URL: inside a graph or a route of the project it reaches this very server.

No socket is involved, so there is no address that somebody else could use. In a run the call is made on behalf of the
run's user; anywhere else in the process it is the server's own, which nothing is forbidden.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import httpx
import langgraph_sdk._async.client
import langgraph_sdk._sync.client
import langgraph_sdk.client
from langchain_core.runnables.config import var_child_runnable_config
from langgraph_sdk import Auth
from starlette.types import ASGIApp, Message

from threadmill.auth import NOBODY, Caller, User
from threadmill.encryption import HEADER
from threadmill_checkpoints.sealing import CONTEXT


@dataclass(frozen=True)
class Server:
    """`app` has to be called on `loop`."""

    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    thread: int
    auth: Callable[[], Auth | None]


_servers: list[Server] = []  # of this process, the newest last: a client without a URL can mean no other


def prepare() -> None:
    """Before any of the project's code is imported: clients made from now on find their server when they call."""
    # Else the SDK tries to import langgraph-api first, which, where it is installed, is another server.
    os.environ["__LANGGRAPH_DEFER_LOOPBACK_TRANSPORT"] = "true"
    langgraph_sdk._async.client.get_asgi_transport = lambda: _Transport  # type: ignore[assignment,attr-defined]
    connect = langgraph_sdk._sync.client.get_sync_client
    if connect.__module__ != __name__:

        def get_sync_client(*, url: str | None = None, **options: Any) -> Any:
            client = connect(url=url or "http://api", **options)
            if url is None:
                client.http.client._transport = _SyncTransport()
            return client

        get_sync_client.__module__ = __name__
        for module in (langgraph_sdk, langgraph_sdk.client, langgraph_sdk._sync.client):
            setattr(module, "get_sync_client", get_sync_client)  # noqa: B010


@contextmanager
def reachable(app: ASGIApp, auth: Callable[[], Auth | None]) -> Iterator[None]:
    """On the event loop of the server, while it serves."""
    server = Server(app, asyncio.get_running_loop(), threading.get_ident(), auth)
    _servers.append(server)
    try:
        yield
    finally:
        _servers.remove(server)


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, app: None = None, root_path: str = "") -> None:
        """As the SDK makes one; it cannot know the app."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        server, loop = _server(), asyncio.get_running_loop()
        messages: asyncio.Queue[Message | BaseException] = asyncio.Queue()

        def put(message: Message | BaseException) -> None:
            loop.call_soon_threadsafe(messages.put_nowait, message)

        exchange = _Exchange(server, request, await request.aread(), put)
        try:
            start = _checked(await messages.get())
        except BaseException:
            exchange.leave()
            raise

        async def body() -> AsyncIterator[bytes]:
            try:
                more = True
                while more:
                    message = _checked(await messages.get())
                    more = message.get("more_body", False)
                    yield message.get("body", b"")
            finally:
                exchange.leave()

        return httpx.Response(start["status"], headers=start["headers"], stream=_AsyncBody(body()), request=request)


class _SyncTransport(httpx.BaseTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        server = _server()
        if threading.get_ident() == server.thread:
            raise httpx.ConnectError("The server would wait for itself: use get_client() in asynchronous routes.")
        messages: SimpleQueue[Message | BaseException] = SimpleQueue()
        exchange = _Exchange(server, request, request.read(), messages.put)
        start = _checked(messages.get())

        def body() -> Iterator[bytes]:
            try:
                more = True
                while more:
                    message = _checked(messages.get())
                    more = message.get("more_body", False)
                    yield message.get("body", b"")
            finally:
                exchange.leave()

        return httpx.Response(start["status"], headers=start["headers"], stream=_SyncBody(body()), request=request)


class _Exchange:
    """One request, served on the server's loop; `put` is told its messages, or what went wrong."""

    def __init__(
        self, server: Server, request: httpx.Request, body: bytes, put: Callable[[Message | BaseException], None]
    ) -> None:
        self._put = put
        self._left = asyncio.Event()
        self._loop = server.loop
        self._body: bytes | None = body
        self._ended = False
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "server": (request.url.host, request.url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
            "state": {"caller": _on_behalf_of(server), **_kept(request)},
        }
        # In a context of its own: in that of a graph, LangGraph takes what the server does for a part of the run.
        server.loop.call_soon_threadsafe(self._begin, server.app, scope, context=Context())

    def _begin(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        self._task = asyncio.ensure_future(self._serve(app, scope))
        self._task.add_done_callback(self._done)

    async def _serve(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            await self._left.wait()
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": False}

    def _send(self, message: Message) -> Awaitable[None]:
        self._ended = self._ended or (message["type"] == "http.response.body" and not message.get("more_body"))
        self._put(message)
        return asyncio.sleep(0)

    def _done(self, served: "asyncio.Task[None]") -> None:
        if not self._ended:
            error = None if served.cancelled() else served.exception()
            self._put(httpx.ReadError(f"The server did not finish its answer: {error!r}"))

    def leave(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._left.set)


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        await self._chunks.aclose()


class _SyncBody(httpx.SyncByteStream):
    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks  # type: ignore[no-any-return]

    def close(self) -> None:
        self._chunks.close()


def _server() -> Server:
    if not _servers:
        raise httpx.ConnectError("No Threadmill server runs in this process yet: get_client() needs a url here.")
    return _servers[-1]


def _checked(message: Message | BaseException) -> Message:
    if isinstance(message, BaseException):
        raise message
    return message


def _kept(request: httpx.Request) -> dict[str, Any]:
    """In a run, its encryption context goes on."""
    context = CONTEXT.get()
    return {} if context is None or HEADER in request.headers else {"encryption": context}


def _on_behalf_of(server: Server) -> Caller:
    config = var_child_runnable_config.get() or {}
    user = config.get("configurable", {}).get("langgraph_auth_user")
    return Caller(user, server.auth()) if isinstance(user, User) else NOBODY
