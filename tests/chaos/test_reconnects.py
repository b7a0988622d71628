"""Readers of every protocol that are cut off all the time: each has what it missed, once and in order."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest
from chaos.conftest import scaled
from chaos.metrics import metrics
from chaos.proxy import Proxy
from chaos.screen import Screen
from chaos.transports import CUTS, TRANSPORTS, Events, closed, command, each, telling
from crash.conftest import Victim
from streaming.frames import frames

pytestmark = pytest.mark.anyio

RECONNECTS = scaled(120, 1000)
KINDS = ("v1", *TRANSPORTS)
READERS = 2  # of each kind
EACH = RECONNECTS // (READERS * len(KINDS))
EVENTS = 6  # that a reader takes before it is cut, on average


class Reader:
    def __init__(self, kind: str, url: str, thread: str, run: str, chance: random.Random) -> None:
        self.kind, self.url, self.run, self.chance = kind, url, run, chance
        self.screen = Screen(thread, "w")
        self.reconnects = 0

    async def read(self) -> None:
        async with Proxy(self.url) as proxy:
            while not self.screen.ended:
                resumed = self.screen.cursor > 0
                left = self.chance.randrange(1, 2 * EVENTS) if self.reconnects < EACH else -1
                events = self._events(proxy.url)
                with suppress(*CUTS):
                    async for _ in each(events):
                        left -= 1
                        if left == 0:
                            proxy.cut()
                        if left == 0 or self.screen.ended:
                            break
                await closed(events)
                self.reconnects += resumed

    async def _events(self, url: str) -> AsyncIterator[Any]:
        if self.kind != "v1":
            async for envelope in TRANSPORTS[self.kind](url, self.screen.thread, self.screen.cursor):
                self.screen.take(envelope)
                yield envelope
            return
        async for frame in self._joined(url):
            self.screen.take_part(self.run, frame["event"], frame["data"], frame["id"])
            yield frame
        self.screen.ended[self.run] = "completed"

    async def _joined(self, url: str) -> Events:
        """By hand: the SDK would come back by itself, uncounted."""
        place = f"/threads/{self.screen.thread}/runs/{self.run}/stream"
        headers = {"Last-Event-ID": str(self.screen.cursor or -1)}
        async with (
            httpx.AsyncClient(base_url=url, timeout=30) as http,
            http.stream("GET", place, headers=headers) as response,
        ):
            async for frame in frames(response):
                yield {"event": frame.event, "data": frame.data, "id": frame.id}


async def test_every_reconnect_goes_on_where_it_was(
    server: Victim, chance: random.Random, tell: Callable[[str], None]
) -> None:
    thread = (await server.client().threads.create())["thread_id"]
    tokens = EACH * EVENTS * 2 + 100
    async with server.http as http:
        started = await command(
            http, thread, "run.start", assistant_id="book", input=telling("w", n_tokens=tokens, delay=0.012)
        )
    run = started["run_id"]
    readers = [Reader(kind, server.url, thread, run, random.Random(chance.random())) for kind in KINDS * READERS]
    async with anyio.create_task_group() as reading:
        for reader in readers:
            reading.start_soon(reader.read)
    state: Any = (await server.client().threads.get_state(thread))["values"]
    assert state["messages"][-1]["content"] == "".join(f"w.1.{n} " for n in range(tokens))
    whole = {}
    for kind in KINDS:
        whole[kind] = Reader(kind, server.url, thread, run, chance)
        whole[kind].reconnects = EACH
        await whole[kind].read()
    for reader in readers:
        reader.screen.agrees(state)
        assert reader.screen.meaning == whole[reader.kind].screen.meaning, "exactly what there is, once, in order"
    reconnects = sum(reader.reconnects for reader in readers)
    assert reconnects >= RECONNECTS
    numbers = await metrics(server)
    assert numbers["threadmill_stream_reconnects_total"] == reconnects
    broken = int(numbers["threadmill_stream_resumes_failed_total"] + numbers["threadmill_streams_broken_total"])
    assert broken == 0
    counts = {kind: sum(reader.reconnects for reader in readers if reader.kind == kind) for kind in KINDS}
    events = sum(reader.screen.count for reader in readers)
    tell(f"{reconnects} reconnects {counts}, {events} events, each once: context-break rate 0 ({broken} in /metrics)")


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_a_cursor_of_a_thread_that_had_the_same_id_starts_anew(server: Victim, kind: str) -> None:
    """Silence until the log has grown so far would be a hole."""
    client = server.client()
    thread = (await client.threads.create())["thread_id"]
    old = await told(server, kind, Screen(thread, "old"), chapters=20)
    await client.threads.delete(thread)
    await client.threads.create(thread_id=thread)
    await told(server, kind, Screen(thread, "new"), since=old.cursor)
    assert (await metrics(server))["threadmill_stream_resumes_failed_total"] == 1


async def told(server: Victim, kind: str, screen: Screen, since: int = 0, **more: Any) -> Screen:
    """After a run on its thread, all that there is above `since`."""
    async with server.http as http:
        given = telling(screen.word, **more)
        run = await command(http, screen.thread, "run.start", assistant_id="book", input=given)
    await server.client().runs.join(screen.thread, run["run_id"])
    events = TRANSPORTS[kind](server.url, screen.thread, since)
    async for envelope in each(events):
        screen.take(envelope)
        if screen.ended:
            break
    await closed(events)
    return screen


async def test_an_answered_command_is_no_cursor_beyond_what_was_read(server: Victim) -> None:
    """The SDKs go on from the number of an answer; a stream that is behind it would lose what lies between."""
    thread = (await server.client().threads.create())["thread_id"]
    async with server.http as http:
        given = telling("w", n_tokens=40, delay=0.02)
        await command(http, thread, "run.start", assistant_id="book", input=given)
        async for first in each(TRANSPORTS["sse"](server.url, thread, 0)):
            break
        answer = await http.post(f"/threads/{thread}/commands", json={"id": 1, "method": "agent.getTree", "params": {}})
    assert answer.json()["meta"]["applied_through_seq"] < first["seq"]
