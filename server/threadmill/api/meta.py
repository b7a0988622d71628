"""/ok, /info, /metrics, /docs"""

import asyncio
from importlib import resources
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from threadmill.api import answers
from threadmill.api.wire import Route, json, runtime
from threadmill.runtime import Runtime

health = APIRouter(tags=["System"], route_class=Route)
METRICS = answers.text(CONTENT_TYPE_LATEST, "The numbers for Prometheus.")
METRICS[200]["content"]["application/json"] = {"schema": {"title": "Metrics", "type": "object"}}

router = APIRouter(tags=["System"], route_class=Route)
Here = Annotated[Runtime, Depends(runtime)]


@health.get("/ok", responses=answers.answers(answers.Health, 422))
async def ok(here: Here, check_db: bool = False) -> Response:
    """Alive; with `check_db` also that the database answers."""
    if check_db:
        await here.database.read(lambda tx: tx.one("SELECT 1"))
    return json({"ok": True, "services": {}})


@router.get("/info", responses=answers.answers(answers.Info))
async def info(here: Here) -> Response:
    flags: dict[str, Any] = {"assistants": True, "crons": True, "langsmith": False, "strict_resume": True}
    flags["sharing"] = here.settings.sharing
    host = {"kind": "self-hosted", "project_id": None, "host_revision_id": None, "revision_id": None, "tenant_id": None}
    return json(
        {"version": version("threadmill"), "langgraph_py_version": version("langgraph"), "flags": flags, "host": host}
    )


@router.get("/metrics", responses=METRICS | answers.refusals(422))
async def metrics(here: Here, format: Literal["prometheus", "json"] = "prometheus") -> Response:
    """For Prometheus; or, as JSON, what the Agent Server tells."""
    now = await here.snapshot()
    if format == "json":
        return json(here.metrics.plain(now))
    text = await asyncio.to_thread(here.metrics.text, now)  # some milliseconds, which are the event loop's
    return Response(text, media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
async def reference() -> Response:
    """Our own page: the usual ones load their scripts from somebody else's server."""
    page = (resources.files("threadmill.api") / "reference.html").read_text("utf-8")
    return Response(page, media_type="text/html")
