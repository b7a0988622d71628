"""CORS, groups of routes, the prefix and headers: the rest of `http` in langgraph.json."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from serving import Server

from threadmill.errors import ConfigError
from threadmill.langgraph_json.project import load_project

pytestmark = pytest.mark.anyio

EVIL, HERE, UI = "https://evil.example", "http://localhost:3000", "https://ui.example"


@pytest.fixture(scope="module")
def bare(serve: Callable[..., Server]) -> Server:
    return serve()


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "x-api-key"}


async def test_pages_of_this_machine_may_call_and_others_may_not(bare: Server) -> None:
    async with bare.http as http:
        for origin in (HERE, "http://127.0.0.1:5173", "https://localhost", "http://[::1]:80"):
            allowed = await http.options("/threads", headers=preflight(origin, "PATCH"))
            assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, origin)
        for origin in (EVIL, "http://localhost.evil.example", "https://evil.example/?http://localhost:1", "null"):
            refused = await http.options("/threads", headers=preflight(origin))
            assert refused.status_code == 400
            assert "access-control-allow-origin" not in refused.headers
            answer = await http.get("/info", headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers


async def test_streams_and_errors_have_the_headers_too(bare: Server) -> None:
    async with bare.http as http:
        body = {"assistant_id": "who", "input": {}}
        answers = [
            await http.post("/runs/stream", json=body, headers={"Origin": HERE}),
            await http.post("/runs/wait", json=body, headers={"Origin": HERE}),
            await http.get("/threads/x", headers={"Origin": HERE}),
            await http.get("/nothing", headers={"Origin": HERE}),
        ]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == HERE
        assert "content-location" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]


async def test_cors_as_it_is_configured(serve: Callable[..., Server]) -> None:
    cors = {
        "allow_origins": [UI],
        "allow_origin_regex": "https://[a-z]+\\.preview\\.example",
        "allow_methods": ["GET", "POST"],
        "allow_headers": ["x-api-key"],
        "allow_credentials": True,
        "expose_headers": ["x-mine"],
        "max_age": 33,
    }
    server = serve(http={"app": "./web.py:app", "cors": cors})
    async with server.http as http:
        for origin in (UI, "https://one.preview.example"):
            allowed = await http.options("/threads", headers=preflight(origin))
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == origin
            assert allowed.headers["access-control-allow-credentials"] == "true"
            assert allowed.headers["access-control-max-age"] == "33"
        for headers in (preflight(HERE), preflight(UI, "DELETE"), {**preflight(UI), **preflight("http://ui.example")}):
            assert (await http.options("/threads", headers=headers)).status_code == 400
        crash = await http.get("/crash", headers={"Origin": UI})
        assert (crash.status_code, crash.headers["access-control-allow-origin"]) == (500, UI)
        assert crash.headers["access-control-expose-headers"] == "x-mine"


async def test_credentials_are_never_for_everybody(serve: Callable[..., Server]) -> None:
    server = serve(http={"cors": {"allow_origins": ["*"], "allow_credentials": True}})
    assert "http.cors.allow_credentials is ignored" in server.log
    async with server.http as http:
        for answer in (
            await http.get("/info", headers={"Origin": EVIL, "Cookie": "session=1"}),
            await http.options("/threads", headers=preflight(EVIL)),
        ):
            assert "access-control-allow-credentials" not in answer.headers


GROUPS = {
    "assistants": ("POST", "/assistants/search"),
    "threads": ("POST", "/threads/search"),
    "runs": ("POST", "/runs"),
    "store": ("POST", "/store/items/search"),
    "mcp": ("POST", "/mcp"),
    "a2a": ("GET", "/.well-known/agent-card.json"),
    "meta": ("GET", "/info"),
}


async def test_groups_of_routes_can_be_left_out(serve: Callable[..., Server]) -> None:
    server = serve(http={f"disable_{group}": True for group in [*GROUPS, "ui"]})
    async with server.http as http:
        more = [("GET", path) for path in ("/docs", "/openapi.json", "/metrics")]
        more += [("POST", "/runs/crons/search"), ("GET", "/threads/01a1fc2b-5f4e-7575-b684-250167de9406/state")]
        for method, path in [*GROUPS.values(), *more]:
            assert (await http.request(method, path, json={})).status_code == 404, path
        assert (await http.get("/ok")).json() == {"ok": True, "services": {}}


async def test_webhooks_can_be_left_out(serve: Callable[..., Server]) -> None:
    server = serve(http={"disable_webhooks": True})
    body = {"assistant_id": "who", "input": {}, "webhook": "https://example.com/told"}
    async with server.http as http:
        answer = await http.post("/runs", json=body)
        assert answer.status_code == 200
        assert answer.json()["kwargs"]["webhook"] is None, "the run goes on without"
        assert (await http.get("/webhooks/deliveries")).status_code == 404


async def test_one_group_takes_no_other_with_it(serve: Callable[..., Server]) -> None:
    server = serve(http={"disable_assistants": True, "disable_store": True})
    assert (await server.client().runs.wait(None, "who", input={}))["said"]["graph_id"] == "who"
    async with server.http as http:
        assert (await http.post("/assistants/search", json={})).status_code == 404
        assert "/assistants/search" not in (await http.get("/openapi.json")).json()["paths"]


@pytest.mark.parametrize("how", ["http", "env"])
async def test_everything_below_a_prefix(serve: Callable[..., Server], how: str) -> None:
    server = serve({"MOUNT_PREFIX": "/agent"}) if how == "env" else serve(http={"mount_prefix": "/agent/"})
    async with server.http as http:
        assert (await http.get("/ok")).status_code == 200
        for path in ("/info", "/docs", "/threads", "/agents/info"):
            assert (await http.get(path)).status_code == 404, path
        assert (await http.get("/agent")).headers["location"] == "agent/", "where the page is"
        assert (await http.get("/agent/docs")).status_code == 200
        assert {"url": "/agent"} in (await http.get("/agent/openapi.json")).json()["servers"]
    client = get_client(url=f"{server.url}/agent")
    thread_id = (await client.threads.create())["thread_id"]
    created: list[Any] = []
    async for part in client.runs.stream(
        thread_id, "who", input={}, stream_mode="updates", stream_resumable=True, on_run_created=created.append
    ):
        assert part.event in ("metadata", "updates")
    (made,) = created  # the SDK has it from Content-Location
    joined = client.runs.join_stream(thread_id, made["run_id"], last_event_id="-1")
    assert [part.event async for part in joined] == ["metadata", "updates"]
    async with httpx.AsyncClient() as http:
        url = f"{server.url}/agent/threads/{thread_id}/runs/stream"
        answer = await http.post(url, json={"assistant_id": "who", "input": {}}, timeout=20)
        # As the SDKs want it, which put the address of the server, prefix and all, before it.
        assert answer.headers["location"].startswith(f"/threads/{thread_id}/runs/")
        assert (await http.get(f"{server.url}/agent{answer.headers['location']}")).text.startswith("event: metadata")


async def test_headers_become_configuration(serve: Callable[..., Server]) -> None:
    server = serve(
        http={
            "configurable_headers": {
                "includes": ["X-Tenant-*", "x-plan", "*-id", "x-api-key"],
                "excludes": ["x-tenant-no"],
            },
            "logging_headers": {"includes": ["x-tenant-*"]},
        }
    )
    headers = {
        "X-Tenant-Name": "acme", "x-tenant-no": "1", "x-plan": "free", "x-api-key": "k", "authorization": "Bearer b",
        "cookie": "a=b", "thread_id": "evil", "run-id": "r", "langgraph_auth_user_id": "root",
    }  # fmt: skip
    async with server.http as http:
        body = {"assistant_id": "who", "input": {}, "config": {"configurable": {"x-plan": "paid"}}}
        said = (await http.post("/runs/wait", json=body, headers=headers)).json()["said"]
    assert {key: said.get(key) for key in ("x-tenant-name", "x-plan", "x-api-key", "run-id")} == {
        "x-tenant-name": "acme", "x-plan": "free", "x-api-key": "k", "run-id": "r",
    }  # fmt: skip
    assert not {"x-tenant-no", "authorization", "cookie"} & said.keys()
    assert said["thread_id"] != "evil"
    assert said["langgraph_auth_user_id"] == ""


async def test_no_header_becomes_configuration_unasked_and_secrets_only_by_name(serve: Callable[..., Server]) -> None:
    server = serve(http={"configurable_headers": {"includes": ["*"]}})
    sent = {"authorization": "Bearer b", "x-api-key": "k", "cookie": "c=1", "x-other": "o"}
    async with server.http as http:
        said = (await http.post("/runs/wait", json={"assistant_id": "who", "input": {}}, headers=sent)).json()["said"]
    assert said["x-other"] == "o"
    assert not {"authorization", "x-api-key", "cookie"} & said.keys()


async def test_the_environment_configures_assistants(serve: Callable[..., Server]) -> None:
    server = serve({"LANGGRAPH_CONFIG": json.dumps({"who": {"configurable": {"model": "small"}}})})
    said = (await server.client().runs.wait(None, "who", input={}))["said"]
    assert said["model"] == "small"


@pytest.mark.parametrize(
    ("http", "reason"),
    [
        ({"middleware_order": "last"}, "http.middleware_order must be auth_first or middleware_first"),
        ({"mount_prefix": "agent"}, "http.mount_prefix must be a path such as /agent"),
        ({"cors": {"allow_origins": "*"}}, "http.cors.allow_origins must be a list"),
        ({"cors": {"allow_origin_regex": "("}}, "http.cors.allow_origin_regex is no regular expression"),
        ({"cors": {"max_age": "1"}}, "http.cors.max_age must be a number of seconds"),
        ({"disable_runs": "yes"}, "http.disable_runs must be true or false"),
        ({"configurable_headers": ["x"]}, "http.configurable_headers must be an object"),
        ({"app": "web"}, "http.app must be './file.py:name'"),
    ],
)
def test_what_cannot_be_right_is_named(tmp_path: Path, http: dict[str, Any], reason: str) -> None:
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./a.py:a"}, "http": http}))
    with pytest.raises(ConfigError, match=reason.replace(".", r"\.")):
        load_project(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"who": 1}'])
def test_a_config_in_the_environment_that_cannot_be_right_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("LANGGRAPH_CONFIG", text)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./a.py:a"}}))
    with pytest.raises(ConfigError, match="LANGGRAPH_CONFIG"):
        load_project(tmp_path)


def test_keys_nobody_knows_are_named(tmp_path: Path) -> None:
    http = {"cors": {"allow_origin": []}, "disable_thread": True}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./a.py:a"}, "http": http}))
    warnings = "\n".join(load_project(tmp_path).warnings)
    assert "'http.cors.allow_origin' is ignored; did you mean 'http.cors.allow_origins'?" in warnings
    assert "'http.disable_thread' is ignored; did you mean 'http.disable_threads'?" in warnings


async def test_a_page_that_was_led_here_by_a_name_reaches_no_tools(bare: Server) -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    own = bare.url.removeprefix("http://")
    named = f"evil.example:{bare.port}"
    async with bare.http as http:
        for origin, host, status in (
            (None, own, 200),
            (HERE, own, 200),
            (bare.url, own, 200),
            ("http://192.168.1.7:1", "192.168.1.7:1", 200),
            (EVIL, own, 403),
            (f"http://{named}", named, 403),  # DNS rebinding: the name is the page's, the address is ours
            ("null", own, 403),
        ):
            headers = {"host": host} | ({"origin": origin} if origin else {})
            answer = await http.post("/mcp", json=ping, headers=headers)
            assert answer.status_code == status, (origin, host)


async def test_a_page_cannot_start_a_run_behind_the_browsers_back(bare: Server) -> None:
    """A form's request needs no preflight, and no server looks at its content type."""
    form = {
        "content": '{"assistant_id": "who", "input": {}}',
        "headers": {"content-type": "text/plain", "origin": EVIL},
    }
    async with bare.http as http:
        refused = await http.post("/runs/wait", **form)  # type: ignore[arg-type]
        assert refused.status_code == 403
        form["headers"] = {"content-type": "text/plain", "origin": HERE}
        assert (await http.post("/runs/wait", **form)).status_code == 200  # type: ignore[arg-type]
