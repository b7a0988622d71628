"""Every way to follow a thread, as an endless stream of its events after a cursor. A cut raises one of CUTS."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx
import orjson
from chaos.screen import Screen
from crash.conversations import Gate
from serving import Server
from streaming.frames import frames
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

CUTS = (httpx.TransportError, ConnectionClosed, InvalidMessage, OSError, EOFError)
GOING = (*CUTS, InvalidHandshake)  # while a server comes and goes
CHANNELS = ["values", "messages", "lifecycle", "custom"]
WITHIN = 15.0  # seconds for the next event, where one must come

Events = AsyncIterator[dict[str, Any]]
Follow = Callable[[str, str, int], Events]
NOBODY: dict[str, str] = {}


async def sse(url: str, thread: str, since: int, headers: dict[str, str] = NOBODY) -> Events:
    asked = {"channels": CHANNELS, "since": since}
    async with (
        httpx.AsyncClient(base_url=url, timeout=30, headers=headers) as http,
        http.stream("POST", f"/threads/{thread}/stream/events", json=asked) as response,
    ):
        assert response.status_code == 200, await response.aread()
        async for frame in frames(response):
            assert frame.id == str(frame.data["seq"])
            yield frame.data


async def websocket(url: str, thread: str, since: int) -> Events:
    async with socket_to(url, f"/threads/{thread}/stream/events") as socket:
        await ask(socket, "subscription.subscribe", channels=CHANNELS, since=since)
        async for frame in socket:
            yield orjson.loads(frame)


async def multiplexed(url: str, thread: str, since: int) -> Events:
    async with socket_to(url, "/ws") as socket:
        await ask(socket, "subscription.subscribe", channels=CHANNELS, cursors={thread: since})
        async for frame in socket:
            yield orjson.loads(frame)


async def merged(url: str, thread: str, since: int) -> Events:
    asked = {"channels": CHANNELS, "cursors": {thread: since}}
    async with (
        httpx.AsyncClient(base_url=url, timeout=30) as http,
        http.stream("POST", "/events", json=asked) as response,
    ):
        assert response.status_code == 200, await response.aread()
        async for frame in frames(response):
            if frame.data["type"] == "event":
                yield frame.data


TRANSPORTS: dict[str, Follow] = {"sse": sse, "websocket": websocket, "ws": multiplexed, "events": merged}


@asynccontextmanager
async def socket_to(url: str, path: str, **more: Any) -> AsyncIterator[ClientConnection]:
    """A clean end by the server is a cut too: nobody here is done before the run is."""
    # With a bounded queue, a client that stops to read would not see the answer to its farewell.
    async with connect(f"ws{url.removeprefix('http')}{path}", max_size=None, max_queue=None, **more) as socket:
        yield socket


async def ask(socket: ClientConnection, method: str, **params: Any) -> Any:
    """Send a command as the first of a socket and return its result; events cannot come before."""
    await socket.send(orjson.dumps({"id": 1, "method": method, "params": params}).decode())
    while True:
        reply = orjson.loads(await socket.recv())
        if reply["type"] != "ready":
            assert reply["type"] == "success", reply
            return reply["result"]


async def each(events: Events, within: float = WITHIN) -> Events:
    """The same, but a silence of `within` seconds fails: somebody is stuck."""
    while True:
        with anyio.fail_after(within):
            event = await anext(events, None)
        if event is None:
            raise EOFError
        yield event


async def command(http: httpx.AsyncClient, thread: str, method: str, **params: Any) -> Any:
    answer = await http.post(f"/threads/{thread}/commands", json={"id": 1, "method": method, "params": params})
    reply = answer.json()
    assert reply["type"] == "success", reply
    return reply["result"]


def telling(word: str, **more: Any) -> dict[str, Any]:
    """The input of graph `book`."""
    return {"messages": [{"role": "user", "content": "go on"}], "word": word, **more}


async def closed(events: Events) -> None:
    with suppress(*CUTS):
        await events.aclose()  # type: ignore[attr-defined]


async def keep_reading(server: Server, gate: Gate, follow: Follow, screen: Screen) -> AsyncIterator[None]:
    """Over as many servers as it takes, always from where it was cut; endless."""
    while True:
        await gate.passed()
        events = follow(server.url, screen.thread, screen.cursor)
        try:
            with suppress(*GOING):
                async for envelope in each(events):
                    screen.take(envelope)
                    yield
        finally:
            await closed(events)
