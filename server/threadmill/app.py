"""The ASGI application: our routes, the project's around them, and what stands before both."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context
from pathlib import Path
from time import perf_counter
from typing import Any

import structlog
from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from threadmill import custom, loopback, owned, posts
from threadmill.api import (
    a2a,
    answers,
    assistants,
    branches,
    bundles,
    compare,
    crons,
    drafts,
    feed,
    forgetting,
    mcp,
    meta,
    page,
    protocol,
    queue,
    retention,
    runs,
    search,
    shares,
    snapshot,
    sockets,
    state,
    store,
    stream,
    subscriptions,
    threads,
    timings,
    webhooks,
)
from threadmill.api.wire import caller, install_errors, json
from threadmill.assembly import open_runtime
from threadmill.config import Settings, load_settings
from threadmill.errors import ConfigError
from threadmill.graphs import Graphs, load_object
from threadmill.ids import new_id
from threadmill.langgraph_json.http import Cors, Headers, HttpConfig
from threadmill.langgraph_json.project import Project, apply_environment, load_project
from threadmill.metrics import NO_ROUTE
from threadmill.runtime import Runtime

GROUPS = {
    "assistants": [assistants.router],
    "threads": [
        branches.router,
        bundles.router,
        compare.router,
        retention.router,
        threads.router,
        state.router,
        stream.router,
        feed.router,
        drafts.router,
        snapshot.router,
        timings.router,
        search.router,
        shares.router,
        forgetting.router,
    ],
    "runs": [crons.router, runs.threaded, runs.stateless, protocol.router, subscriptions.router, queue.router],
    "store": [store.router],
    "mcp": [mcp.router],
    "a2a": [a2a.router],
    "webhooks": [webhooks.router],
}


class App:
    """An ASGI application: a server of its own, or mounted in another one, which then has to run `lifespan`.

    Its graphs are loaded; `runtime` is there while `lifespan` is entered.
    """

    runtime: Runtime

    def __init__(
        self, project: Project, settings: Settings, graphs: Graphs, *, user: Callable[[Scope], Any] | None = None
    ) -> None:
        http, spec = project.http, project.http.app
        self._project = project
        self._settings = settings
        self._graphs = graphs
        self._user = user
        self._own = None if spec is None else load_object(project, spec, Starlette, "http.app")
        self._core = _core(http, project.security, self._own)
        routes: ASGIApp = self._core if self._own is None else custom.around(self._core, self._own, http)
        inner: ASGIApp = Envelope(routes, settings.max_body_bytes, http.logging_headers)
        self._stack: ASGIApp = Measured(inner, self._core)
        inner = self._inner
        if http.cors is not None or not _has_cors(self._own):
            inner = _with_cors(inner, http.cors or Cors())
        self._app = Prefixed(inner, http.mount_prefix) if http.mount_prefix else inner
        self._own_state: Mapping[str, Any] = {}
        self._served_alone = Starlette(lifespan=self.lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._served_alone(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _inner(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Behind CORS and the prefix: where the process's own calls begin."""
        if self._own_state:
            scope["state"] = {**self._own_state, **scope.get("state", {})}
        await self._stack(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """Serves while it is entered: `FastAPI(lifespan=agent.lifespan)`. Raises ConfigError."""
        async with AsyncExitStack() as stack:
            if self._own is not None:
                self._own_state = await self._begin(stack, self._own)
            stack.enter_context(loopback.reachable(self._inner, lambda: self.runtime.auth))
            try:
                self.runtime = await stack.enter_async_context(
                    open_runtime(self._project, self._settings, self._graphs)
                )
            except OSError as error:
                raise ConfigError(
                    f"{self._settings.data_dir} cannot be used as the data directory: {error.strerror or error}."
                ) from error
            if self._user is not None:
                self.runtime.auth = owned.auth(self._user, self.runtime.auth)
            self._core.state.runtime = self.runtime
            if self._own is not None:
                self.runtime.webhooks.app = self._inner
            yield

    async def _begin(self, stack: AsyncExitStack, own: Starlette) -> Mapping[str, Any]:
        try:
            return await stack.enter_async_context(own.router.lifespan_context(own)) or {}
        except Exception as error:
            spec = self._project.http.app
            assert spec is not None
            raise ConfigError(
                f"{self._project.path}: http.app: the lifespan of {spec.file or spec.module}:{spec.attribute} failed: "
                f"{type(error).__name__}: {error}"
            ) from error

    async def post_message(
        self,
        thread_id: str,
        message: str | Mapping[str, Any],
        *,
        author: str | None = None,
        as_node: str | None = None,
        wait: bool = False,
    ) -> dict[str, Any]:
        """Append to the thread's `messages` without a run; returns the message as it is stored.

        A text is what a user says. `author` is kept with it, as `additional_kwargs.author`. While the thread has a
        run, it raises Conflict, or with `wait` waits until it has none. It may be called from any event loop. Raises
        NotFound, and BadRequest where the graph does not say which node the message is from: name it with `as_node`.
        """
        posting = posts.post(self.runtime, thread_id, message, author=author, as_node=as_node, wait=wait)
        # In a context of its own: called in a graph, LangGraph would take the update for a part of the run.
        done = Context().run(asyncio.run_coroutine_threadsafe, posting, self.runtime.state_loop)
        return await asyncio.wrap_future(done)


def create_app(config: Path | str | Project, *, user: Callable[[Scope], Any] | None = None, **settings: Any) -> App:
    """The application of a langgraph.json (or its folder), to be mounted in another one or served by itself.

    `settings` are those of `docs/configuration.md`, such as `data_dir`. With `user`, the host says who calls: it gets
    the ASGI scope and returns None for nobody (401), an identity, or a mapping or object that has an `identity`;
    threads, crons and store items then belong to the user who made them, unless handlers of `auth.path` decide.
    Raises ConfigError.
    """
    project = config if isinstance(config, Project) else load_project(Path(config))
    values = load_settings(project, **settings)
    apply_environment(project)
    loopback.prepare()
    graphs = Graphs(project)
    graphs.load()
    return App(project, values, graphs, user=user)


def _core(http: HttpConfig, security: dict[str, Any], own: Starlette | None) -> FastAPI:
    """Our routes, without the groups that are disabled."""
    shown = "meta" not in http.disabled
    core = FastAPI(
        title="Threadmill",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if shown else None,
        default_response_class=Response,  # what routes answer is described by each, never made from a model
        generate_unique_id_function=answers.operation_id,
    )
    core.include_router(meta.health)
    if shown:
        core.include_router(meta.router)
    for group, routers in GROUPS.items():
        for router in routers if group not in http.disabled else ():
            core.include_router(router, dependencies=[Depends(caller)], responses=answers.COMMON)
    if "threads" not in http.disabled:
        core.include_router(shares.strangers)  # who has a link needs no login
    if "runs" not in http.disabled:
        core.include_router(sockets.router)  # who calls is asked by the socket itself
    if "ui" not in http.disabled:
        core.include_router(page.router)  # open to all, as it holds nothing: what it shows it asks for
    core.state.sockets = Counter()
    opened = (meta.health, meta.router, shares.strangers, page.router)
    core.state.open = [route for router in opened for route in router.routes]
    core.state.methods = _methods(router for routers in GROUPS.values() for router in (*routers, *opened))
    install_errors(core)
    if own is not None or security:
        core.openapi = lambda: custom.openapi(core, own, security)  # type: ignore[method-assign]
    return core


def _methods(routers: Iterable[APIRouter]) -> dict[str, list[str]]:
    """Of each path, by all of its routes: Starlette names those of one."""
    found: dict[str, set[str]] = defaultdict(set)
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                found[route.path] |= route.methods or set()
    return {path: sorted(methods) for path, methods in found.items()}


def _with_cors(app: ASGIApp, cors: Cors) -> ASGIApp:
    every = "*" in cors.allow_origins
    return CORSMiddleware(
        app,
        allow_origins=cors.allow_origins,
        allow_methods=cors.allow_methods,
        allow_headers=cors.allow_headers,
        allow_credentials=cors.allow_credentials and not every,
        allow_origin_regex=cors.allow_origin_regex,
        allow_private_network=True,
        expose_headers=cors.expose_headers,
        max_age=cors.max_age,
    )


def _has_cors(own: Starlette | None) -> bool:
    return own is not None and any(one.cls is CORSMiddleware for one in own.user_middleware)  # type: ignore[comparison-overlap]


class Envelope:
    """Around every request: an id and the wanted headers for the logs, and a limit on the body."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, logged: Headers) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._logged = logged

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
        shown = self._logged.chosen(scope["headers"])
        with structlog.contextvars.bound_contextvars(request_id=request_id, **({"headers": shown} if shown else {})):
            await self._app(scope, limited, send)


class Measured:
    """Counts every request, and how long it waited for the first byte of its answer."""

    def __init__(self, app: ASGIApp, core: FastAPI) -> None:
        self._app = app
        self._core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, answered = perf_counter(), False

        def begin(message: Message) -> Awaitable[None]:  # no coroutine of its own: every chunk of a stream passes here
            nonlocal answered
            if not answered:
                answered = True
                self._count(scope, message["status"], perf_counter() - began)
            return send(message)

        try:
            await self._app(scope, receive, begin)
        except Exception:  # becomes a 500 further out
            if not answered:
                self._count(scope, 500, perf_counter() - began)
            raise

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", NO_ROUTE)
        self._core.state.runtime.metrics.request(scope["method"], path, status, seconds)


class Prefixed:
    """Everything below a path; health checks also find /ok where they look for it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        below = scope["path"].removeprefix(root)
        if below == self._prefix and scope["type"] == "http":
            start = f"{self._prefix.rpartition('/')[2]}/"  # relative: a proxy may have added a prefix of its own
            await Response(status_code=307, headers={"location": start})(scope, receive, send)
        elif below.startswith(f"{self._prefix}/"):
            await self._app({**scope, "root_path": root + self._prefix}, receive, send)
        elif below == "/ok" or scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            await json({"detail": "Not Found"}, status=404)(scope, receive, send)
