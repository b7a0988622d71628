"""The project's own web app around ours: `http.app` of langgraph.json, with tests/http/own/web.py."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from serving import Server, until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

pytestmark = pytest.mark.anyio

APP = {"app": "./web.py:app"}
GUARD = {"path": "./guard.py:auth"}
BOB = {"Authorization": "Bearer bob"}


@pytest.fixture(scope="module")
def served(serve: Callable[..., Server]) -> Server:
    return serve(http=APP)


@pytest.fixture
async def http(served: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with served.http as raw:
        yield raw


async def test_routes_of_the_project_come_first_and_have_its_lifespan(http: httpx.AsyncClient) -> None:
    assert (await http.get("/hello")).json() == {"user": None, "pool": "open"}
    assert (await http.get("/info")).json() == {"info": "the project's"}
    assert (await http.post("/ok")).json() == {"ok": "posted"}


async def test_a_path_of_both_keeps_the_methods_of_both(http: httpx.AsyncClient) -> None:
    assert (await http.get("/ok")).json() == {"ok": True, "services": {}}  # ours, whatever the project has
    assert (await http.put("/hello")).status_code == 405
    missing = await http.get("/nothing/here")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"})


async def test_its_middleware_sees_our_routes_and_may_rewrite_bodies(http: httpx.AsyncClient) -> None:
    for path in ("/hello", "/ok", "/nothing", "/threads/not-a-uuid"):
        assert (await http.get(path)).headers["x-signed"] == "by nobody"
    made = await http.post("/threads", json={"metadata": {"mine": 1}}, headers={"x-rewrite": "1"})
    assert made.json()["metadata"] == {"rewritten": True}


async def test_streams_pass_its_middleware_as_they_come(served: Server) -> None:
    client = served.client()
    thread = await client.threads.create()
    parts = [part async for part in client.runs.stream(thread["thread_id"], "who", input={"ask": "me"})]
    assert [part.event for part in parts] == ["metadata", "values", "values"]


async def test_who_leaves_a_stream_behind_its_middleware_is_noticed(served: Server) -> None:
    client = served.client()
    thread_id = (await client.threads.create())["thread_id"]
    body = {"assistant_id": "who", "input": {"ask": "wait"}, "on_disconnect": "cancel"}
    async with served.http as http:
        async with http.stream("POST", f"/threads/{thread_id}/runs/stream", json=body) as stream:
            assert await anext(stream.aiter_lines()) == "event: metadata"

        async def stopped() -> bool:
            return [run["status"] for run in await client.runs.list(thread_id)] == ["interrupted"]

        assert await until(stopped)


async def test_its_errors_are_its_own_and_ours_stay_ours(http: httpx.AsyncClient) -> None:
    teapot = await http.get("/teapot")
    assert (teapot.status_code, teapot.json()) == (418, {"teapot": "short and stout"})
    crash = await http.get(
        "/crash", headers={"Connection": "close"}
    )  # the server closes it after that, sooner or later
    assert (crash.status_code, crash.text) == (500, "Internal Server Error")
    assert (await http.get("/threads/x")).json() == {"detail": "Invalid thread ID: must be a UUID"}


async def test_one_description_tells_of_both(http: httpx.AsyncClient) -> None:
    api = (await http.get("/openapi.json")).json()
    assert api["info"]["title"] == "Project"
    assert api["paths"]["/hello"]["get"]["description"] == "Says hello."
    assert {"get", "post"} <= api["paths"]["/ok"].keys()
    assert "/threads/{thread_id}/runs/stream" in api["paths"]
    assert "openapi.json" in (await http.get("/docs")).text


@pytest.mark.parametrize("ask", ["itself", "stream"])
async def test_a_client_without_a_url_reaches_this_server(served: Server, ask: str) -> None:
    said = (await served.client().runs.wait(None, "who", input={"ask": ask}))["said"]
    if ask == "stream":
        assert said == ["metadata", "updates"]
    else:
        assert said["inner"]["graph_id"] == "who"
        assert (await served.client().threads.get(said["thread"]["thread_id"]))["metadata"] == {"made": "inside"}


async def test_it_reads_streams_as_they_come_and_its_leaving_is_noticed(served: Server) -> None:
    client = served.client()
    thread_id = (await client.runs.wait(None, "who", input={"ask": "leave"}))["said"]

    async def stopped() -> bool:
        return [run["status"] for run in await client.runs.list(thread_id)] == ["interrupted"]

    assert await until(stopped)


async def test_a_synchronous_client_reaches_it_too(served: Server) -> None:
    said = (await served.client().runs.wait(None, "blocking", input={}))["said"]
    assert said["graph_id"] == "who"


async def test_a_route_of_the_project_reaches_it_too(http: httpx.AsyncClient) -> None:
    assert (await http.get("/threads/mine/list")).json()["said"]["graph_id"] == "who"


async def test_nothing_of_that_can_be_reached_from_outside(http: httpx.AsyncClient) -> None:
    for path in ("/noauth/info", "/noauth/threads/search"):
        assert (await http.get(path)).status_code == 404


async def test_a_webhook_may_lead_to_a_route_of_the_project_and_to_none_of_ours(serve: Callable[..., Server]) -> None:
    server = serve(http=APP, webhooks={"url": {"disable_loopback": False}})
    client = server.client()
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "who", input={}, webhook="/threads")
    await client.runs.wait(thread_id, "who", input={}, webhook="/told")
    async with server.http as http:

        async def told() -> Any:
            return (await http.get("/told")).json()

        assert await until(told) == ["success"]
    assert len(await client.threads.search(limit=100)) == 1


async def test_its_lifespan_ends_with_the_server(serve: Callable[..., Server]) -> None:
    server = serve(http=APP)
    assert server.term() == 0
    assert re.search(r"web: up.*\n(.*\n)+.*web: down", server.log)


async def test_a_lifespan_that_fails_stops_the_start_with_a_sentence(serve: Callable[..., Server]) -> None:
    with pytest.raises(
        RuntimeError, match=r"exited with 1\n(.*\n)*.*lifespan of .*broken.py:app failed: OSError: no pool"
    ):
        serve(http={"app": "./broken.py:app"})
    with pytest.raises(RuntimeError, match=r"http.app: builder is a StateGraph, not a starlette.Starlette object"):
        serve(http={"app": "./graph.py:builder"})


# Authentication


@pytest.mark.parametrize("order", ["middleware_first", "auth_first"])
async def test_own_routes_are_guarded_when_asked_to(serve: Callable[..., Server], order: str) -> None:
    sections: dict[str, Any] = {**APP, "enable_custom_route_auth": True, "middleware_order": order}
    server = serve(http=sections, auth=GUARD)
    async with server.http as http:
        for path in ("/hello", "/threads/mine/list"):
            refused = await http.get(path)
            assert (refused.status_code, refused.json()) == (401, {"detail": "Say who you are."})
            assert ("x-signed" in refused.headers) == (order == "middleware_first")
        assert (await http.get("/hello", headers=BOB)).json() == {"user": "bob", "pool": "open"}
        assert (await http.get("/ok")).status_code == 200
        assert (await http.get("/shared/unknown")).status_code == 404
        url = f"{server.url.replace('http', 'ws')}/socket"
        with pytest.raises(InvalidStatus, match="403"):
            async with connect(url):
                pass
        async with connect(url, additional_headers=BOB) as socket:
            assert await socket.recv() == "hello"
        refused = await http.post("/threads", json={})
        assert (refused.status_code, "x-signed" in refused.headers) == (401, order == "middleware_first")


async def test_own_routes_are_open_else_and_runs_call_for_their_user(serve: Callable[..., Server]) -> None:
    openapi = {"securitySchemes": {"name": {"type": "http", "scheme": "bearer"}}, "security": [{"name": []}]}
    server = serve(http=APP, auth={**GUARD, "openapi": openapi, "disable_studio_auth": True})
    async with server.http as http:
        assert (await http.get("/hello")).json()["user"] is None
        assert (await http.get("/threads/mine/list")).json()["said"]["langgraph_auth_user_id"] == ""
        assert (await http.post("/threads", json={})).status_code == 401
        api = (await http.get("/openapi.json")).json()
        assert api["components"]["securitySchemes"] == openapi["securitySchemes"]
        assert api["security"] == openapi["security"]
    bob = get_client(url=server.url, headers=BOB)
    said = (await bob.runs.wait(None, "who", input={"ask": "itself"}))["said"]
    assert said["inner"]["langgraph_auth_user_id"] == "bob"
    assert said["thread"]["metadata"] == {"made": "inside", "owner": "bob"}
