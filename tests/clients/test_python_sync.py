"""`langgraph_sdk.get_sync_client`, with the scenarios of the asynchronous one."""

from typing import Literal

import pytest
from clients.awaited import Awaited
from clients.scenario import human, texts
from clients.scenarios import SCENARIOS, streams
from langgraph_sdk import get_sync_client
from serving import Remote

pytestmark = [pytest.mark.anyio, pytest.mark.client("Python, sync")]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.shows(*s.shows)) for n, s in SCENARIOS.items()])
async def test_scenario(name: str, server: Remote) -> None:
    with get_sync_client(url=server.url) as client:
        await SCENARIOS[name].story(Awaited(client))


@pytest.mark.shows("event protocol: messages, values, output")
@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_the_event_protocol(server: Remote, transport: Literal["sse", "websocket"]) -> None:
    with (
        get_sync_client(url=server.url) as client,
        client.threads.stream(assistant_id="chat", transport=transport) as thread,
    ):
        thread.run.start(input=human("hi"))
        assert list(thread.values)[-1]["messages"][-1]["content"][0]["text"] == "t0 t1 t2 "
        assert texts(thread.output) == ["hi", "t0 t1 t2 "]


@pytest.mark.shows("a connection that breaks off")
async def test_a_stream_that_is_cut_goes_on(server: Remote) -> None:
    def through(url: str) -> Awaited:
        return Awaited(get_sync_client(url=url))

    await streams.goes_on_when_cut(Awaited(get_sync_client(url=server.url)), server.url, through)
