"""`langgraph_sdk.get_sync_client`, with the scenarios of the asynchronous one."""

import pytest
from clients.awaited import Awaited
from clients.scenarios import SCENARIOS, streams
from langgraph_sdk import get_sync_client
from serving import Remote

pytestmark = [pytest.mark.anyio, pytest.mark.client("Python, sync")]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.shows(*s.shows)) for n, s in SCENARIOS.items()])
async def test_scenario(name: str, server: Remote) -> None:
    with get_sync_client(url=server.url) as client:
        await SCENARIOS[name].story(Awaited(client))


@pytest.mark.shows("a connection that breaks off")
async def test_a_stream_that_is_cut_goes_on(server: Remote) -> None:
    def through(url: str) -> Awaited:
        return Awaited(get_sync_client(url=url))

    await streams.goes_on_when_cut(Awaited(get_sync_client(url=server.url)), server.url, through)
