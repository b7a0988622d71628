"""`langgraph_sdk.get_client`: every method of every part of it."""

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any, Literal

import pytest
from clients.scenario import human, texts
from clients.scenarios import SCENARIOS, streams
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient
from serving import Remote

pytestmark = pytest.mark.anyio

PARTS = ("assistants", "threads", "runs", "crons", "store", "http")


@pytest.mark.client("Python")
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.shows(*s.shows)) for n, s in SCENARIOS.items()])
async def test_scenario(name: str, client: LangGraphClient) -> None:
    await SCENARIOS[name].story(client)


@pytest.mark.client("Python")
@pytest.mark.shows("a connection that breaks off")
async def test_a_stream_that_is_cut_goes_on(server: Remote, client: LangGraphClient) -> None:
    await streams.goes_on_when_cut(client, server.url, lambda url: get_client(url=url))


@pytest.mark.client("Python")
@pytest.mark.shows("event protocol: messages, values, output")
@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_the_event_protocol(client: LangGraphClient, transport: Literal["sse", "websocket"]) -> None:
    async with client.threads.stream(assistant_id="chat", transport=transport) as thread:
        await thread.run.start(input=human("hi"))
        values, output = await asyncio.gather(_all(thread.values), thread.output)
    assert texts(output) == ["hi", "t0 t1 t2 "]
    assert values[-1]["messages"][-1]["content"][0]["text"] == "t0 t1 t2 "
    async with client.threads.stream(thread.thread_id, assistant_id="chat", transport="sse") as again:
        told = [one["params"]["data"]["event"] async for one in again.subscribe(["lifecycle"])]
    assert told == ["running", "completed"]


async def _all(stream: Any) -> list[Any]:
    return [one async for one in stream]


@pytest.mark.parametrize("client", [get_client(url="http://x"), get_sync_client(url="http://x")], ids=["async", "sync"])
def test_scenarios_use_every_method(client: Any) -> None:
    files = [*Path(__file__).with_name("scenarios").glob("*.py"), Path(__file__)]
    told = "\n".join(file.read_text("utf-8") for file in files)
    used = {".".join(call) for call in re.findall(r"\bclient\.(\w+)\.(\w+)\(", told)}
    there = {
        f"{part}.{name}"
        for part in PARTS
        for name, _ in inspect.getmembers(type(getattr(client, part)), inspect.isfunction)
        if not name.startswith("_")
    }
    assert there - used == set()
