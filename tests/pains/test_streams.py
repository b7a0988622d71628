"""Streams that lose events, or cost more than they may."""

from typing import Any

import anyio
import httpx
import psutil
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server
from streaming.frames import frames, join

pytestmark = pytest.mark.anyio

STREAMS = 150


async def test_a_join_shows_the_subgraphs_that_the_run_was_asked_for(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    """S6: the JavaScript SDK does not repeat `stream_subgraphs` when it joins, and misses half of the events."""
    asked: dict[str, Any] = {"input": {"messages": [], "delay": 0.05}, "stream_mode": ["updates", "custom"]}
    run = await client.runs.create(thread, "sub", stream_subgraphs=True, stream_resumable=True, **asked)
    place = f"/threads/{thread}/runs/{run['run_id']}"
    for when in ("while it runs", "when it has ended"):
        names = {str(frame.event).split(":")[0] for frame in await join(http, place, "-1")}
        assert names == {"metadata", "updates", "updates|child", "custom|child"}, when


def database_files(server: Server) -> int:
    assert server.process is not None
    return sum("sqlite" in file.path for file in psutil.Process(server.process.pid).open_files())


async def test_streams_hold_no_connection_to_the_database(own_server: Server) -> None:
    """S10: every open stream keeps a connection, the pool is empty, and the whole API answers 500."""
    client = own_server.client()
    place = (await client.threads.create())["thread_id"]
    await client.runs.wait(place, "counter", input={"limit": 1})
    before = database_files(own_server)
    heard = 0
    opened = anyio.Semaphore(0)

    async def listen(http: httpx.AsyncClient) -> None:
        nonlocal heard
        async with http.stream("GET", f"/threads/{place}/stream", timeout=60) as answer:
            assert answer.status_code == 200
            opened.release()
            async for frame in frames(answer):
                if frame.data.get("status") == "run_done":
                    heard += 1
                    return

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=own_server.url, limits=limits) as http, anyio.create_task_group() as group:
        for _ in range(STREAMS):
            group.start_soon(listen, http)
        with anyio.fail_after(30):
            for _ in range(STREAMS):
                await opened.acquire()
        assert database_files(own_server) <= before + 1
        with anyio.fail_after(10):
            for _ in range(50):
                assert (await client.threads.get(place))["status"] == "idle"
                await client.threads.search(limit=1)
        await client.runs.wait(place, "counter", input={"limit": 1})
    assert heard == STREAMS
