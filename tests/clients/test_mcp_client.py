"""The official MCP client, over streamable HTTP."""

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from serving import Remote

pytestmark = [pytest.mark.anyio, pytest.mark.client("MCP")]


@asynccontextmanager
async def connected(server: Remote) -> AsyncIterator[ClientSession]:
    async with (
        streamable_http_client(f"{server.url}/mcp") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


@pytest.mark.shows("MCP")
async def test_it_finds_and_calls_tools(server: Remote) -> None:
    async with connected(server) as session:
        await session.send_ping()
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert {"echo", "hitl"} <= tools.keys()
        assert tools["echo"].inputSchema["required"] == ["messages"]
        answer = await session.call_tool("echo", {"messages": "hello"})
        said: Any = answer.structuredContent
        assert [one["content"] for one in said["messages"]] == ["hello", "1: hello"]


@pytest.mark.shows("MCP", "errors of a graph")
async def test_it_is_told_of_failures(server: Remote) -> None:
    async with connected(server) as session:
        answer = await session.call_tool("boom", {})
        assert answer.isError
        assert [one.text for one in answer.content if one.type == "text"] == ["ValueError: boom on purpose"]


@pytest.mark.shows("MCP", "interrupt and resume")
async def test_it_is_told_what_is_asked(server: Remote) -> None:
    async with connected(server) as session:
        said: Any = (await session.call_tool("hitl", {"n": 3})).structuredContent
        (question,) = said["__interrupt__"]
        assert question["value"] == {"question": "approve?", "n": 3}


def test_it_knows_one_address_only() -> None:
    assert [name for name in inspect.signature(streamable_http_client).parameters if "url" in name] == ["url"]
