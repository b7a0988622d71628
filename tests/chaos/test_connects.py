"""Thousands of connections that come and go, half of them without goodbye, and many that stay and say nothing."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

import anyio
import httpx
import orjson
import psutil
import pytest
from chaos import transports
from chaos.conftest import PROJECT, scaled
from chaos.metrics import Usage, open_streams, settled
from chaos.transports import CHANNELS, ask, command, each, socket_to, telling
from crash.conftest import Victim
from serving import until

pytestmark = pytest.mark.anyio

CONNECTS = scaled(600, 10_000)
AT_ONCE = 16
SILENT = scaled(20, 100)  # sockets whose peer does not answer any more
IDLE = scaled(200, 1000)
WATCH_S = scaled(2, 10)
PARTS = 5  # after each of which the memory is looked at
MB = 1 << 20


@dataclass
class Story:
    """A thread that is told on and on; who comes knows it up to `cursor`."""

    url: str
    thread: str
    cursor: int = 0

    async def tell(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            async for envelope in each(transports.sse(self.url, self.thread, 0)):
                self.cursor = envelope["seq"]
                if envelope["method"] == "lifecycle" and envelope["params"]["data"]["event"] == "completed":
                    await self.begin(http)

    async def begin(self, http: httpx.AsyncClient) -> None:
        given = telling("w", chapters=5, n_tokens=20, delay=0.02)
        await command(http, self.thread, "run.start", assistant_id="book", input=given)


async def sse(story: Story, goodbye: bool) -> None:
    """By hand: a client library costs more than the server here."""
    reader, writer = await _stream_to(story.url, story.thread, story.cursor)
    while b"event: " not in await reader.readline():
        pass
    if goodbye:
        writer.close()
        await writer.wait_closed()
    else:
        writer.transport.abort()


async def websocket(story: Story, goodbye: bool) -> None:
    async with socket_to(story.url, f"/threads/{story.thread}/stream/events") as socket:
        await ask(socket, "subscription.subscribe", channels=CHANNELS, since=story.cursor)
        await socket.recv()
        if not goodbye:
            socket.transport.abort()


async def multiplexed(story: Story, goodbye: bool) -> None:
    async with socket_to(story.url, "/ws") as socket:
        await ask(socket, "subscription.subscribe", channels=CHANNELS, cursors={story.thread: story.cursor})
        await socket.recv()
        if not goodbye:
            socket.transport.abort()


KINDS: list[Callable[[Story, bool], Awaitable[None]]] = [sse, websocket, multiplexed]
Plan = list[tuple[Callable[[Story, bool], Awaitable[None]], bool]]


async def _stream_to(url: str, thread: str, since: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    there, body = httpx.URL(url), orjson.dumps({"channels": CHANNELS, "since": since})
    reader, writer = await asyncio.open_connection(there.host, there.port)
    head = f"POST /threads/{thread}/stream/events HTTP/1.1\r\nHost: {there.netloc.decode()}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    assert b" 200 " in await reader.readline()
    return reader, writer


@asynccontextmanager
async def talking(server: Victim) -> AsyncIterator[Story]:
    story = Story(server.url, (await server.client().threads.create())["thread_id"])
    async with server.http as http, anyio.create_task_group() as group:
        await story.begin(http)
        group.start_soon(story.tell)
        yield story
        group.cancel_scope.cancel()
    # Its pages are free for the next one: else the page caches of the database grow with the file, up to their bound.
    await server.client().threads.delete(story.thread)


async def test_connections_leave_nothing_behind(
    victims: Callable[..., Victim], chance: random.Random, tell: Callable[[str], None]
) -> None:
    # With a small ring the story itself soon takes all the memory that it may.
    server = victims(PROJECT, THREADMILL_PING="1", THREADMILL_HEARTBEAT="1", THREADMILL_RING_BYTES="65536")
    server.cold = True
    server.start()
    plan: Plan = [(kind, goodbye) for kind in KINDS for goodbye in (True, False)] * (CONNECTS // 6 + 1)
    chance.shuffle(plan)
    first = plan[: CONNECTS // 10]
    async with talking(server) as story:
        await connect_all(story, first)
    before = await settled(server, lambda now: now.streams == 0)
    made, seconds, held = Counter[str](), 0.0, list[Usage]()
    for part in batched(plan[len(first) : CONNECTS], PARTS):
        async with talking(server) as story:
            began = time.monotonic()
            made += await connect_all(story, part)
            seconds += time.monotonic() - began
        held.append(await settled(server, lambda now: now.streams == 0 and now.tasks <= before.tasks))
    async with talking(server) as story:
        await vanish(server, story)
    after = await settled(
        server, lambda now: now.streams == 0 and now.tasks <= before.tasks and now.files <= before.files
    )
    # Caches fill in the beginning, and the system gives memory in large pieces; a leak goes on in every part.
    objects = held[-1].objects - held[0].objects
    lately = min(then.memory - first.memory for first, then in pairwise(held[-3:]))
    assert objects < CONNECTS // 2, f"{objects} objects more than after the first part"
    assert lately < 1 * MB, f"{lately} bytes in each of the last parts"
    assert after.wal < 32 * MB
    tell(
        f"{CONNECTS} connects ({made.total() / seconds:.0f}/s: {dict(made)}), half without goodbye, "
        f"{SILENT} silent peers dropped; "
        f"open streams {after.streams}, tasks {before.tasks} -> {after.tasks}, files {before.files} -> {after.files}; "
        f"after each part {[one.objects for one in held]} objects, "
        f"{' '.join(f'{one.memory / MB:.1f}' for one in held)} MB; WAL {after.wal / MB:.1f} MB"
    )


def batched(plan: Plan, parts: int) -> list[Plan]:
    size = -(-len(plan) // parts)
    return [plan[start : start + size] for start in range(0, len(plan), size)]


async def vanish(server: Victim, story: Story) -> None:
    """Peers that answer no ping any more; the server must find out."""
    async with AsyncExitStack() as stack:
        for _ in range(SILENT):
            socket = await stack.enter_async_context(socket_to(server.url, "/ws", close_timeout=0.1))
            await ask(socket, "subscription.subscribe", channels=CHANNELS, cursors={story.thread: story.cursor})
            socket.transport.pause_reading()

        async def dropped() -> bool:
            return await open_streams(server) <= 1  # the story's own

        await until(dropped, 30)


async def connect_all(story: Story, plan: Plan) -> Counter[str]:
    made: Counter[str] = Counter()
    left = iter(plan)

    async def connect_some() -> None:
        for connect, goodbye in left:
            with anyio.fail_after(20):
                await connect(story, goodbye)
            made[connect.__name__] += 1

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(connect_some)
    assert made.total() == len(plan)
    return made


@pytest.mark.parametrize("kind", ["sse", "/ws"])
async def test_who_only_waits_costs_nothing(
    victims: Callable[..., Victim], tell: Callable[[str], None], kind: str
) -> None:
    """Each waits for a thread of its own, with the default heartbeat and ping."""
    server = victims(PROJECT)
    server.cold = True
    server.start()
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    threads = [f"00000000-0000-4000-8000-{number:012}" for number in range(IDLE)]
    await Usage.of(server)
    memory = process.memory_info().rss
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    async with AsyncExitStack() as stack:
        for thread in threads:
            if kind == "sse":
                streams.append(await _stream_to(server.url, thread))  # asyncio closes what nobody holds
                stack.callback(streams[-1][1].transport.abort)
            else:
                socket = await stack.enter_async_context(socket_to(server.url, "/ws", ping_interval=None))
                await ask(socket, "subscription.subscribe", channels=CHANNELS, cursors={thread: 0})
                stack.callback(socket.transport.abort)
        assert await open_streams(server) == IDLE
        each_kb = (process.memory_info().rss - memory) / IDLE / 1024
        before = process.cpu_times()
        await anyio.sleep(WATCH_S)  # what is measured is this time
        after = process.cpu_times()
    await settled(server, lambda now: now.streams == 0)
    used = (sum(after[:2]) - sum(before[:2])) / WATCH_S
    assert used < 0.02 + IDLE * 0.00002, f"{used:.1%} of a core for {IDLE} that wait"
    assert each_kb < 150
    tell(f"{IDLE} idle {kind} connections: {used:.1%} of a core over {WATCH_S} s, {each_kb:.0f} kB each")
