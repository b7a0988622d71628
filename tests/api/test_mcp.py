"""Each assistant is a tool, for the official MCP client and on the wire."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import PaginatedRequestParams
from serving import Remote, Server

pytestmark = pytest.mark.anyio

GUARDED = Path(__file__).parents[1] / "auth" / "langgraph.json"
HELLO = {"messages": [{"role": "user", "content": "hello"}]}


@asynccontextmanager
async def connected(server: Remote, **headers: str) -> AsyncIterator[ClientSession]:
    async with (
        create_mcp_http_client(headers) as http,
        streamable_http_client(f"{server.url}/mcp", http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


async def every_tool(session: ClientSession) -> dict[str, Any]:
    page = await session.list_tools()
    found = list(page.tools)
    while page.nextCursor:
        page = await session.list_tools(params=PaginatedRequestParams(cursor=page.nextCursor))
        found += page.tools
    assert len({tool.name for tool in found}) == len(found)
    return {tool.name: tool for tool in found}


async def rpc(http: httpx.AsyncClient, method: str, params: Any = None) -> dict[str, Any]:
    answer = await http.post("/mcp", json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    assert answer.status_code == 200, answer.text
    value = answer.json()
    assert (value.pop("jsonrpc"), value.pop("id")) == ("2.0", 7)
    return value


async def test_a_client_finds_each_assistant_as_a_tool(server: Remote) -> None:
    async with connected(server) as session:
        await session.send_ping()
        tools = await every_tool(session)
    assert {"echo", "chat", "hitl", "functional"} <= tools.keys()
    assert tools["chat"].description == "Streams scripted tokens from a fake chat model."
    assert tools["echo"].inputSchema["required"] == ["messages"]
    assert tools["echo"].inputSchema["properties"]["messages"]["type"] == "string"
    assert "$defs" not in tools["echo"].inputSchema
    assert tools["hitl"].inputSchema["properties"].keys() == {"log", "n"}
    for tool in tools.values():
        assert tool.inputSchema["type"] == "object", tool.name


async def test_a_tool_answers_with_the_output_of_a_run(server: Remote) -> None:
    async with connected(server) as session:
        answer = await session.call_tool("echo", HELLO)
    assert not answer.isError
    assert answer.structuredContent is not None
    assert answer.structuredContent["messages"][-1]["content"] == "1: hello"
    (content,) = answer.content
    assert content.type == "text"
    assert json.loads(content.text) == answer.structuredContent


async def test_messages_may_be_a_text(server: Remote) -> None:
    async with connected(server) as session:
        answer = await session.call_tool("echo", {"messages": "hello"})
    assert answer.structuredContent is not None
    assert [one["content"] for one in answer.structuredContent["messages"]] == ["hello", "1: hello"]


async def test_a_graph_whose_input_is_no_object_takes_it_as_input(server: Remote) -> None:
    async with connected(server) as session:
        schema = (await every_tool(session))["functional"].inputSchema
        answer = await session.call_tool("functional", {"input": [1, 2]})
    assert schema["required"] == ["input"]
    assert schema["properties"]["input"]["type"] == "array"
    assert not answer.isError


async def test_a_run_that_pauses_says_what_it_asks(server: Remote) -> None:
    async with connected(server) as session:
        answer = await session.call_tool("hitl", {"n": 3})
    assert answer.structuredContent is not None
    (question,) = answer.structuredContent["__interrupt__"]
    assert question["value"] == {"question": "approve?", "n": 3}


async def test_a_run_that_fails_is_an_error_for_the_model_to_read(server: Remote) -> None:
    async with connected(server) as session:
        answer = await session.call_tool("boom", {})
    assert answer.isError
    assert [one.text for one in answer.content if one.type == "text"] == ["ValueError: boom on purpose"]


async def test_what_is_not_there_has_its_code(server: Remote, http: httpx.AsyncClient) -> None:
    async with connected(server) as session:
        with pytest.raises(McpError, match="Unknown tool: nope") as unknown:
            await session.call_tool("nope", {})
        assert unknown.value.error.code == -32602
        with pytest.raises(McpError, match="Method not found: prompts/list") as missing:
            await session.list_prompts()
        assert missing.value.error.code == -32601
    assert (await rpc(http, "tools/call", {"name": "echo", "arguments": 5}))["error"]["code"] == -32602
    assert (await rpc(http, "tools/list", {"cursor": "nonsense"}))["error"]["code"] == -32602


async def test_a_version_that_nobody_knows_becomes_the_newest(http: httpx.AsyncClient) -> None:
    known = (await rpc(http, "initialize", {"protocolVersion": "2025-03-26"}))["result"]
    assert known["protocolVersion"] == "2025-03-26"
    assert (await rpc(http, "initialize"))["result"]["protocolVersion"] == "2025-11-25"


async def test_what_is_no_message_is_400(http: httpx.AsyncClient) -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accept = await http.post("/mcp", json=ping, headers={"accept": "text/html"})
    assert (accept.status_code, accept.json()["error"][:13]) == (400, "Accept header")
    version = await http.post("/mcp", json=ping, headers={"mcp-protocol-version": "1999-01-01"})
    assert (version.status_code, "error" in version.json()) == (400, True)
    for content in (b"{", b'"\\ud800"', b"[" * 3000):
        answer = await http.post("/mcp", content=content)
        assert (answer.status_code, answer.json()) == (400, {"error": "Invalid JSON"}), content[:10]
    bad: list[Any] = [[], [ping], 5, {"id": 1, "method": "ping"}, ping | {"id": {}}, ping | {"params": 5}]
    for value in bad:
        answer = await http.post("/mcp", json=value)
        assert (answer.status_code, list(answer.json())) == (400, ["error"]), value


async def test_notifications_and_other_verbs(http: httpx.AsyncClient) -> None:
    for message in ({"method": "notifications/initialized"}, {"method": "what/ever"}, {"id": 1, "result": {}}):
        answer = await http.post("/mcp", json={"jsonrpc": "2.0", **message})
        assert (answer.status_code, answer.content) == (202, b""), message
    assert (await http.get("/mcp")).status_code == 405
    assert (await http.delete("/mcp")).status_code == 404
    slash = await http.post("/mcp/", json={})
    assert (slash.status_code, httpx.URL(slash.headers["location"]).path) == (307, "/mcp")


async def test_assistants_of_one_name_are_different_tools_and_pages_hold_them_all(own_server: Server) -> None:
    client: LangGraphClient = own_server.client()
    for _ in range(60):
        await client.assistants.create("ctx", name="Help desk / 客服", context={"name": "Ada"})
    await client.assistants.create("echo", name="客服")
    async with connected(own_server) as session:
        assert (await session.list_tools()).nextCursor
        tools = await every_tool(session)
        answer = await session.call_tool("Help_desk", {"question": "why"})
    named = [name for name in tools if tools[name].title == "Help desk / 客服"]
    assert len(named) == 60
    assert "Help_desk" in named
    assert {len(name) for name in named} == {len("Help_desk"), len("Help_desk_12345678")}
    assert sorted(name[:4] for name in tools if tools[name].title == "客服") == ["echo"]
    assert answer.structuredContent == {"reply": "Ada/None/vanilla"}


async def test_a_new_version_shows_its_own_input(own_server: Server) -> None:
    client = own_server.client()
    made = await client.assistants.create("echo", name="changing")
    async with connected(own_server) as session:
        before = (await every_tool(session))["changing"].inputSchema
        await client.assistants.update(made["assistant_id"], graph_id="hitl")
        after = (await every_tool(session))["changing"].inputSchema
    assert (before["properties"].keys(), after["properties"].keys()) == ({"messages"}, {"log", "n"})


# Auth


@pytest.fixture
def guarded(tmp_path: Path) -> Any:
    own = Server(tmp_path / "data", GUARDED).start()
    yield own
    own.kill()


async def test_a_tool_runs_as_who_calls_it(guarded: Server) -> None:
    async with connected(guarded, Authorization="Bearer alice") as session:
        assert (await every_tool(session)).keys() == {"echo", "slow", "who"}
        answer = await session.call_tool("who", {})
    assert answer.structuredContent is not None
    assert answer.structuredContent["said"]["id"] == "alice"
    async with guarded.http as http:
        assert (await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})).status_code == 401


async def test_only_the_assistants_a_caller_may_see_are_tools(tmp_path: Path) -> None:
    anybody = """    return ctx.action in ("read", "search")\n"""
    own = """    value["metadata"]["owner"] = ctx.user.identity\n    return {"owner": ctx.user.identity}\n"""
    guard = (GUARDED.parent / "guard.py").read_text()
    assert anybody in guard
    (tmp_path / "guard.py").write_text(guard.replace(anybody, own))
    kit = GUARDED.parents[1] / "kit"
    config = {"graphs": {"echo": f"{kit}/graphs.py:echo"}, "auth": {"path": "./guard.py:auth"}}
    (tmp_path / "langgraph.json").write_text(json.dumps(config))
    server = Server(tmp_path / "data", tmp_path / "langgraph.json").start()
    try:
        alice = get_client(url=server.url, headers={"Authorization": "Bearer alice"})
        made = await alice.assistants.create("echo", name="private")
        async with connected(server, Authorization="Bearer alice") as session:
            assert (await every_tool(session)).keys() == {"private"}
            assert not (await session.call_tool("private", HELLO)).isError
        async with connected(server, Authorization="Bearer bob") as session:
            assert not await every_tool(session)
            with pytest.raises(McpError, match="Unknown tool: private"):
                await session.call_tool("private", HELLO)
        async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": "Bearer bob"}) as bob:
            seen = await bob.get("/.well-known/agent-card.json", params={"assistant_id": made["assistant_id"]})
            assert seen.status_code == 400
            assert "private" not in seen.text
    finally:
        server.kill()
