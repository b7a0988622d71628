"""Readers and runs are independent: who leaves, who is slow, who sees only a part."""

import socket
from typing import Any

import anyio
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Remote, status_is
from streaming.frames import Frame, events, frames, join, only, run, stream

pytestmark = pytest.mark.anyio

MODES = ["values", "updates", "custom"]


@pytest.fixture
async def place(http: httpx.AsyncClient, thread: str) -> str:
    """A finished, resumable run that counted to 3."""
    given: Any = {"input": {"limit": 3}, "stream_mode": MODES, "stream_resumable": True}
    read = await run(http, thread, "counter", **given)
    return f"/threads/{thread}/runs/{read[0].data['run_id']}"


async def test_a_join_can_ask_for_one_mode(http: httpx.AsyncClient, place: str) -> None:
    read = await join(http, place, "-1", stream_mode="custom")
    assert events(read) == [("custom", {"n": 1}), ("custom", {"n": 2}), ("custom", {"n": 3})]


async def test_an_empty_filter_is_no_filter(http: httpx.AsyncClient, place: str) -> None:
    assert await join(http, place, "-1", stream_mode="") == await join(http, place, "-1")


@pytest.mark.beyond_reference
@pytest.mark.parametrize("asked", [["values", "custom"], "values,custom"], ids=["repeated", "comma"])
async def test_a_join_can_ask_for_several_modes(http: httpx.AsyncClient, place: str, asked: Any) -> None:
    read = await join(http, place, "-1", stream_mode=asked)
    assert {frame.event for frame in read} - {"metadata"} == {"values", "custom"}
    assert len(only(read, "custom")) == 3
    assert len(only(read, "values")) == 4


async def test_joining_an_unknown_run_is_an_error_event(http: httpx.AsyncClient, thread: str) -> None:
    unknown = "00000000-0000-7000-8000-000000000000"
    read = await join(http, f"/threads/{thread}/runs/{unknown}")
    assert events(read) == [("error", {"error": "HTTPException", "message": "404: Run not found"})]


async def test_two_readers_see_the_same(http: httpx.AsyncClient, thread: str) -> None:
    given: Any = {"input": {"steps": 6, "delay": 0.02}, "stream_mode": MODES, "stream_resumable": True}
    async with stream(http, thread, "slow", **given) as (response, live):
        first = await anext(live)
        other = await join(http, response.headers["content-location"], "-1")
        mine = [first] + [frame async for frame in live]
    assert mine == other
    assert only(mine, "custom") == [{"step": i + 1} for i in range(6)]


async def leave_early(http: httpx.AsyncClient, thread: str, **given: Any) -> str:
    """Start a run, read until its second step, hang up; returns the run's id."""
    asked: Any = {"input": {"steps": 30, "delay": 0.03}, "stream_mode": "custom", **given}
    async with stream(http, thread, "slow", **asked) as (response, live):
        async for frame in live:
            if frame.data == {"step": 2}:
                break
        return str(response.headers["content-location"].rsplit("/", 1)[1])


@pytest.mark.parametrize("given", [{}, {"on_disconnect": "continue"}], ids=["default", "continue"])
async def test_a_reader_that_leaves_does_not_stop_the_run(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str, given: Any
) -> None:
    left = await leave_early(http, thread, **given)
    output: Any = await client.runs.join(thread, left)
    assert output["done"] == 30
    assert (await client.runs.get(thread, left))["status"] == "success"


async def test_on_disconnect_cancel_stops_the_run_with_its_reader(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    left = await leave_early(http, thread, on_disconnect="cancel")
    assert await status_is(client, thread, left, "interrupted", "success") == "interrupted"
    state: Any = await client.threads.get_state(thread)
    assert 1 <= state["values"]["done"] < 30
    assert state["next"] == ["step"]


async def test_on_disconnect_cancel_does_not_touch_a_run_read_to_its_end(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    read = await run(http, thread, "counter", input={"limit": 2}, on_disconnect="cancel")
    assert (await client.runs.get(thread, read[0].data["run_id"]))["status"] == "success"


async def test_on_disconnect_cancel_works_for_wait(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    body = {"assistant_id": "slow", "input": {"steps": 100, "delay": 0.03}, "on_disconnect": "cancel"}
    async with http.stream("POST", f"/threads/{thread}/runs/wait", json=body) as response:
        waited = response.headers["content-location"].rsplit("/", 1)[1]
        await status_is(client, thread, waited, "running")
    assert await status_is(client, thread, waited, "interrupted", "success") == "interrupted"


@pytest.mark.parametrize(("cancel", "ends"), [("false", "success"), ("true", "interrupted")])
async def test_a_join_stops_the_run_only_if_it_asked_to(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str, cancel: str, ends: str
) -> None:
    made = await client.runs.create(thread, "slow", input={"steps": 30, "delay": 0.03}, stream_mode="custom")
    path = f"/threads/{thread}/runs/{made['run_id']}/stream?cancel_on_disconnect={cancel}"
    async with http.stream("GET", path) as response:
        async for frame in frames(response):
            if frame.event == "custom":
                break
    assert await status_is(client, thread, made["run_id"], "interrupted", "success") == ends


async def test_a_reader_that_does_not_read_does_not_slow_the_run(
    server: Remote, client: LangGraphClient, thread: str
) -> None:
    """Its socket takes 64 kB; the run makes megabytes, ends, and the reader then still gets all of it."""
    narrow = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
    said = {"messages": [{"role": "user", "content": "talk"}], "n_tokens": 800}
    async with (
        httpx.AsyncClient(base_url=server.url, transport=narrow, timeout=30) as lazy,
        stream(lazy, thread, "chat", input=said, stream_mode="messages") as (response, read),
    ):
        run_id = response.headers["content-location"].rsplit("/", 1)[1]
        assert await status_is(client, thread, run_id, "success", "error") == "success"
        late: list[Frame] = [frame async for frame in read]
    assert late[0].data == {"run_id": run_id, "attempt": 1}
    assert late[-1].data[0]["content"] == "".join(f"t{i} " for i in range(800))


async def test_many_threads_are_read_at_once_without_mixing(http: httpx.AsyncClient, client: LangGraphClient) -> None:
    tags = [f"t{i}-" for i in range(12)]
    seen: dict[str, Any] = {}

    async def read(tag: str) -> None:
        thread = (await client.threads.create())["thread_id"]
        asked: Any = {"input": {"steps": 4, "delay": 0.02, "tag": tag}, "stream_mode": "values"}
        seen[tag] = only(await run(http, thread, "slow", **asked), "values")[-1]["log"]

    async with anyio.create_task_group() as group:
        for tag in tags:
            group.start_soon(read, tag)
    assert seen == {tag: [f"{tag}{i + 1}" for i in range(4)] for tag in tags}
