"""The bytes: headers, encoding, compression, heartbeats, framing."""

import json
from collections.abc import Callable

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server
from streaming.frames import frames

pytestmark = pytest.mark.anyio

COUNT = {"assistant_id": "counter", "input": {"limit": 3}, "stream_resumable": True}


@pytest.fixture(params=["stream", "join"])
async def streamed(request: pytest.FixtureRequest, http: httpx.AsyncClient, thread: str) -> httpx.Response:
    """The complete response of a stream, from the creation of the run or from joining it."""
    accept = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    response = await http.post(f"/threads/{thread}/runs/stream", json=COUNT, headers=accept)
    if request.param == "join":
        place = response.headers["location"]
        response = await http.get(place, headers={**accept, "Last-Event-ID": "-1"})
    assert response.status_code == 200
    return response


async def test_a_stream_is_marked_as_one_that_nobody_may_store_or_buffer(streamed: httpx.Response) -> None:
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "no-store" in streamed.headers["cache-control"]
    assert streamed.headers["x-accel-buffering"] == "no"


@pytest.mark.beyond_reference
async def test_a_stream_may_not_be_transformed(streamed: httpx.Response) -> None:
    assert "no-transform" in streamed.headers["cache-control"]


async def test_a_stream_is_never_compressed(streamed: httpx.Response) -> None:
    assert "content-encoding" not in streamed.headers
    assert streamed.content.startswith(b"event: metadata")


async def test_every_event_is_name_and_one_line_of_json(streamed: httpx.Response) -> None:
    text = streamed.text.replace("\r\n", "\n")
    assert text.endswith("\n\n")
    for block in text.strip("\n").split("\n\n"):
        name, data, identifier = block.split("\n")
        assert name.startswith("event: ") and identifier.startswith("id: ")
        json.loads(data.removeprefix("data: "))


async def test_there_is_no_end_event(streamed: httpx.Response) -> None:
    """SDKs learn the end from the connection, and then read the run."""
    assert "event: end" not in streamed.text


async def test_text_is_raw_utf8(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "odd", "input": {"want": ["unicode"]}}
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert "grüß Gott, 你好, 🧵".encode() in response.content
    state = await http.get(f"/threads/{thread}/state")
    assert "grüß Gott, 你好, 🧵".encode() in state.content


async def test_line_ends_inside_a_value_do_not_end_a_line(client: LangGraphClient, thread: str) -> None:
    parts = [p async for p in client.runs.stream(thread, "odd", input={"want": ["separator"]}, stream_mode="updates")]
    assert parts[-1].data == {"give": {"got": {"separator": "line\u2028separator\r\nnext"}}}


@pytest.mark.beyond_reference
async def test_an_idle_stream_is_kept_open_by_comments(start_server: Callable[..., Server]) -> None:
    server = start_server(THREADMILL_HEARTBEAT="0.2")
    thread = (await server.client().threads.create())["thread_id"]
    body = {"assistant_id": "slow", "input": {"steps": 1, "delay": 1.0}, "stream_mode": "updates"}
    async with server.http as http, http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as response:
        read = [frame async for frame in frames(response, comments=True)]
    beats = [i for i, frame in enumerate(read) if frame.event is None]
    assert {read[i].data for i in beats} == {"heartbeat"}
    assert 2 <= len(beats) <= 8
    assert read[-1].data == {"step": {"log": ["1"], "done": 1}}


@pytest.mark.beyond_reference
async def test_an_idle_wait_is_kept_open_too(start_server: Callable[..., Server]) -> None:
    server = start_server(THREADMILL_HEARTBEAT="0.2")
    thread = (await server.client().threads.create())["thread_id"]
    body = {"assistant_id": "slow", "input": {"steps": 1, "delay": 1.0}}
    async with server.http as http:
        response = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert response.text.startswith("\n\n"), "white space, which JSON allows in front"
    assert response.json()["log"] == ["1"]
