"""People who switch between threads, lose their network and reload, while every thread goes on talking."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from chaos.conftest import scaled
from chaos.proxy import Proxy
from chaos.screen import Screen
from chaos.transports import CUTS, TRANSPORTS, Follow, closed, each, telling
from crash.conftest import Victim
from langgraph_sdk import get_client

pytestmark = pytest.mark.anyio

ACTIONS = scaled(8, 50)  # of each reader
THREADS, READERS = 3, 2
TOKENS, DELAY = 30, 0.008


@dataclass
class Story:
    """A thread that talks until it is told that it is enough."""

    thread: str
    word: str
    runs: list[str] = field(default_factory=list)
    _more: anyio.Event = field(default_factory=anyio.Event)

    def began(self, run: str) -> None:
        self.runs.append(run)
        self._more.set()
        self._more = anyio.Event()

    async def run(self, number: int) -> str:
        while len(self.runs) <= number:
            await self._more.wait()
        return self.runs[number]

    async def talk_v2(self, url: str, transport: Any, enough: anyio.Event) -> None:
        while not enough.is_set():
            async with get_client(url=url).threads.stream(
                self.thread, assistant_id="book", transport=transport
            ) as stream:
                started = await stream.run.start(input=telling(self.word, n_tokens=TOKENS, delay=DELAY))
                self.began(started["run_id"])
                with anyio.fail_after(15):
                    assert (await stream.output)["word"] == self.word
                    # It reads the thread from the beginning, and takes the end of an earlier run for that of this one.
                    await get_client(url=url).runs.join(self.thread, started["run_id"])

    async def talk_v1(self, url: str, enough: anyio.Event) -> None:
        client = get_client(url=url)
        while not enough.is_set():
            run = await client.runs.create(
                self.thread,
                "book",
                input=telling(self.word, n_tokens=TOKENS, delay=DELAY),
                stream_mode=["messages-tuple", "values"],
                stream_resumable=True,
            )
            self.began(run["run_id"])
            with anyio.fail_after(15):
                await client.runs.join(self.thread, run["run_id"])


class Tab:
    """Shows one thread at a time, remembers the others, and has bad luck."""

    def __init__(self, stories: list[Story], at: int, chance: random.Random, proxy: Proxy) -> None:
        self.stories, self.at, self.chance, self.proxy = stories, at, chance, proxy
        self.screens = {story.thread: Screen(story.thread, story.word) for story in stories}
        self.done = {"switch": 0, "cut": 0, "reload": 0}
        self.seen = 0

    async def browse(self) -> None:
        for _ in range(ACTIONS):
            action = self.chance.choice(list(self.done))
            self.proxy.limit = self.chance.randrange(4000) if action == "cut" else None
            await self._read(self.chance.randrange(1, 25) if action != "cut" else None)
            story = self.stories[self.at]
            if action == "reload":
                self.screens[story.thread] = Screen(story.thread, story.word)
            elif action == "switch":
                self.at = (self.at + self.chance.randrange(1, THREADS)) % THREADS
            self.done[action] += 1

    async def _read(self, events: int | None) -> None:
        """So many events, or until the connection is cut."""
        left = events
        with suppress(*CUTS):
            async for _ in self._follow(lambda: left == 0):
                self.seen += 1
                left = None if left is None else left - 1
        self.proxy.limit = None

    async def finish(self) -> None:
        """Read every thread to the end of its last run."""
        for self.at, story in enumerate(self.stories):
            screen = self.screens[story.thread]
            async for _ in self._follow(lambda: self._ended(screen, story)):
                self.seen += 1

    def _follow(self, enough: Callable[[], bool]) -> AsyncIterator[None]:
        raise NotImplementedError

    def _ended(self, screen: Screen, story: Story) -> bool:
        raise NotImplementedError


class TabV2(Tab):
    follow: Follow

    async def _follow(self, enough: Callable[[], bool]) -> AsyncIterator[None]:
        story = self.stories[self.at]
        screen = self.screens[story.thread]
        if enough():
            return
        events = self.follow(self.proxy.url, story.thread, screen.cursor)
        try:
            async for envelope in each(events):
                screen.take(envelope)
                yield
                if enough():
                    return
        finally:
            await closed(events)

    def _ended(self, screen: Screen, story: Story) -> bool:
        assert set(screen.ended.values()) <= {"completed"}
        return screen.ended.keys() == set(story.runs)


class TabV1(Tab):
    """Joins run after run with the SDK, which comes back by itself when it is cut."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.read = {id(screen): 0 for screen in self.screens.values()}

    async def _follow(self, enough: Callable[[], bool]) -> AsyncIterator[None]:
        story = self.stories[self.at]
        screen = self.screens[story.thread]
        client = get_client(url=self.proxy.url)
        while not enough():
            run = await story.run(len(screen.ended))
            parts = client.runs.join_stream(story.thread, run, last_event_id=str(screen.cursor or -1))
            try:
                while True:
                    with anyio.fail_after(15):
                        part = await anext(parts, None)
                    if part is None:
                        break
                    screen.take_part(run, part.event, part.data, part.id)
                    yield
                    if enough():
                        return
            finally:
                await parts.aclose()  # type: ignore[attr-defined]
            screen.ended[run] = "completed"

    async def _read(self, events: int | None) -> None:
        """The SDK survives a cut: read on behind it."""
        await super()._read(25 if events is None else events)

    def _ended(self, screen: Screen, story: Story) -> bool:
        return screen.ended.keys() == set(story.runs)


async def _all_agree(server: Victim, stories: list[Story], tabs: list[Tab]) -> None:
    for story in stories:
        client = server.client()
        state: Any = (await client.threads.get_state(story.thread))["values"]
        assert (await client.threads.get(story.thread))["status"] == "idle"
        text = "".join(f"{story.word}.1.{n} " for n in range(TOKENS))
        assert [m["content"] for m in state["messages"]] == ["go on", text] * len(story.runs)
        for tab in tabs:
            tab.screens[story.thread].agrees(state)


def _figures(stories: list[Story], tabs: list[Tab]) -> str:
    done = {name: sum(tab.done[name] for tab in tabs) for name in tabs[0].done}
    cuts = sum(tab.proxy.cuts for tab in tabs)
    runs = sum(len(story.runs) for story in stories)
    assert sum(done.values()) == ACTIONS * len(tabs) and cuts and runs > THREADS
    counts = ", ".join(f"{number} {name}" for name, number in done.items())
    return (
        f"{len(stories)} threads x {READERS} readers, {counts} ({cuts} within an answer), {runs} runs, "
        f"{sum(tab.seen for tab in tabs)} events read: lost 0, doubled 0, of another thread 0"
    )


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_every_view_converges(
    server: Victim, chance: random.Random, tell: Callable[[str], None], version: str
) -> None:
    stories = [Story((await server.client().threads.create())["thread_id"], f"w{n}") for n in range(THREADS)]
    tabs: list[Tab] = []
    enough = anyio.Event()
    async with anyio.create_task_group() as group:
        proxies = [await _started(group, Proxy(server.url)) for _ in range(THREADS * READERS)]
        for number, proxy in enumerate(proxies):
            given = (stories, number % THREADS, random.Random(chance.random()), proxy)
            tab = TabV1(*given) if version == "v1" else TabV2(*given)
            if isinstance(tab, TabV2):
                tab.follow = list(TRANSPORTS.values())[number % len(TRANSPORTS)]
            tabs.append(tab)
        async with anyio.create_task_group() as talking:
            for number, story in enumerate(stories):
                if version == "v1":
                    talking.start_soon(story.talk_v1, server.url, enough)
                else:
                    talking.start_soon(story.talk_v2, server.url, ("sse", "websocket")[number % 2], enough)
            async with anyio.create_task_group() as browsing:
                for tab in tabs:
                    browsing.start_soon(tab.browse)
            enough.set()
        for tab in tabs:
            with anyio.fail_after(60):
                await tab.finish()
        group.cancel_scope.cancel()
    await _all_agree(server, stories, tabs)
    tell(_figures(stories, tabs))


async def _started(group: Any, proxy: Proxy) -> Proxy:
    ready = anyio.Event()

    async def serve() -> None:
        async with proxy:
            ready.set()
            await anyio.sleep_forever()

    group.start_soon(serve)
    await ready.wait()
    return proxy
