"""`langgraph_sdk.get_client`: every method of every part of it."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from clients.scenarios import SCENARIOS, streams
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient
from serving import Remote

pytestmark = pytest.mark.anyio

PARTS = ("assistants", "threads", "runs", "crons", "store", "http")
NOT_YET = {"threads.stream"}  # the second streaming protocol


@pytest.mark.client("Python")
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.shows(*s.shows)) for n, s in SCENARIOS.items()])
async def test_scenario(name: str, client: LangGraphClient) -> None:
    await SCENARIOS[name].story(client)


@pytest.mark.client("Python")
@pytest.mark.shows("a connection that breaks off")
async def test_a_stream_that_is_cut_goes_on(server: Remote, client: LangGraphClient) -> None:
    await streams.goes_on_when_cut(client, server.url, lambda url: get_client(url=url))


@pytest.mark.parametrize("client", [get_client(url="http://x"), get_sync_client(url="http://x")], ids=["async", "sync"])
def test_scenarios_use_every_method(client: Any) -> None:
    told = "\n".join(file.read_text("utf-8") for file in Path(__file__).with_name("scenarios").glob("*.py"))
    used = {".".join(call) for call in re.findall(r"\bclient\.(\w+)\.(\w+)\(", told)}
    there = {
        f"{part}.{name}"
        for part in PARTS
        for name, _ in inspect.getmembers(type(getattr(client, part)), inspect.isfunction)
        if not name.startswith("_")
    }
    assert there - used == NOT_YET
