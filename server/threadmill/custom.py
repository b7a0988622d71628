"""The project's own web app (`http.app` of langgraph.json): its routes before ours, its middleware around all."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from threadmill.api import meta, page, shares
from threadmill.api.wire import identify, json
from threadmill.errors import ThreadmillError
from threadmill.langgraph_json.http import HttpConfig


def around(core: FastAPI, own: Starlette, http: HttpConfig) -> Starlette:
    """`own`, made to answer what only `core` knows too. Doing it twice changes nothing."""
    router = own.router
    routes = [route for route in router.routes if not isinstance(route, Core) and not _describes(own, route)]
    router.routes[:] = [Core(core, meta.health.routes), *routes, Core(core, core.routes)]
    router.default = core
    guard = Middleware(Guard, core=core, own=routes, own_too=http.custom_route_auth)
    others = [one for one in own.user_middleware if one.cls is not Guard]  # type: ignore[comparison-overlap]
    own.user_middleware = [guard, *others] if http.auth_first else [*others, guard]
    own.middleware_stack = None
    return own


class Core(BaseRoute):
    """Some of our routes as one of the project's. The last has them all: where both know a path and method, the
    project's wins. Only what says that the server is alive comes first.
    """

    def __init__(self, core: FastAPI, routes: Sequence[BaseRoute]) -> None:
        self._core = core
        self._routes = routes

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return _match(self._routes, scope), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._core(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        raise NoMatchFound(name, path_params)


class Guard:
    """Authenticates before or after the project's middleware; the project's own routes only if asked to."""

    def __init__(self, app: ASGIApp, core: FastAPI, own: Sequence[BaseRoute], own_too: bool) -> None:
        self._app = app
        self._core = core
        self._own = own
        self._own_too = own_too
        described = [one for one in core.routes if getattr(one, "path", "") == core.openapi_url]
        self._open: list[BaseRoute] = [*meta.router.routes, *page.router.routes, *shares.strangers.routes, *described]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and self._guards(scope):
            asked = Request(scope, receive) if scope["type"] == "http" else HTTPConnection(scope)
            try:
                await identify(asked, self._core.state.runtime)
            except ThreadmillError as error:
                await _refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _guards(self, scope: Scope) -> bool:
        if _match(meta.health.routes, scope) is Match.FULL:
            return False
        if _match(self._own, scope) is Match.FULL:
            return self._own_too
        if scope["type"] == "websocket":  # ours may say who they are in their first message
            return False
        return _match(self._core.routes, scope) is Match.FULL and _match(self._open, scope) is not Match.FULL


async def _refuse(error: ThreadmillError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": error.message[:120]})
    else:
        headers = getattr(error, "headers", None)
        await json({"detail": error.message}, status=error.status, headers=headers)(scope, receive, send)


def openapi(core: FastAPI, own: Starlette | None, security: dict[str, Any]) -> dict[str, Any]:
    """One description of both, with the security schemes that `auth.openapi` of langgraph.json tells of."""
    ours = FastAPI.openapi(core)
    theirs = own.openapi() if isinstance(own, FastAPI) else {}
    merged: dict[str, Any] = {**ours, "info": {**ours["info"], **theirs.get("info", {})}}
    merged["paths"] = {**ours["paths"]}
    for path, methods in theirs.get("paths", {}).items():
        merged["paths"][path] = {**ours["paths"].get(path, {}), **methods}
    parts = [one.get("components", {}) for one in (ours, theirs, security)]
    schemes = security.get("securitySchemes")
    parts += [{"securitySchemes": schemes}] if schemes else []
    names = {name for part in parts for name in part}
    merged["components"] = {name: {k: v for part in parts for k, v in part.get(name, {}).items()} for name in names}
    if security.get("security"):
        merged["security"] = security["security"]
    return merged


def _describes(own: Starlette, route: BaseRoute) -> bool:
    """A page of FastAPI's about the project's routes: ours tells of both."""
    if not isinstance(own, FastAPI):
        return False
    pages = {own.openapi_url, own.docs_url, own.redoc_url, own.swagger_ui_oauth2_redirect_url} - {None}
    return getattr(route, "path", None) in pages and not getattr(route, "include_in_schema", True)


def _match(routes: Sequence[BaseRoute], scope: Scope) -> Match:
    """As a router does: the first that fits wholly, else one that fits but for its method."""
    best = Match.NONE
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return match
        best = best if match is Match.NONE else match
    return best
