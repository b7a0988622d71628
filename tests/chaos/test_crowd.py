"""Many threads of two users at once: every event is of the thread that it says, and of nobody else's."""

import random
from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc
import httpx
import orjson
import pytest
from chaos.conftest import HERE, scaled
from chaos.screen import Screen
from chaos.transports import CHANNELS, ask, closed, command, each, socket_to, sse, telling
from crash.conftest import Victim

pytestmark = pytest.mark.anyio

USERS = ("ann", "bob")
THREADS = 50  # of both together
TOKENS = scaled(15, 100)
ALSO_BY_SSE = 5  # of each user


class User:
    """Follows all threads of their own over one socket, and some over streams too."""

    def __init__(self, server: Victim, name: str) -> None:
        self.server, self.name = server, name
        self.headers = {"authorization": f"Bearer {name}"}
        self.screens: dict[str, Screen] = {}
        self.also: list[Screen] = []

    async def join(self) -> None:
        async with httpx.AsyncClient(base_url=self.server.url, headers=self.headers, timeout=30) as http:
            for number in range(THREADS // len(USERS)):
                thread = (await http.post("/threads", json={})).json()["thread_id"]
                self.screens[thread] = Screen(thread, f"{self.name}{number}.")
        few = list(self.screens.values())[:ALSO_BY_SSE]
        self.also = [Screen(one.thread, one.word) for one in few]

    async def talk(self, screen: Screen, chance: random.Random) -> None:
        async with httpx.AsyncClient(base_url=self.server.url, headers=self.headers, timeout=30) as http:
            given = telling(screen.word[:-1], n_tokens=TOKENS, delay=0.005 + 0.02 * chance.random())
            await command(http, screen.thread, "run.start", assistant_id="book", input=given)

    async def watch(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with socket_to(self.server.url, "/ws", additional_headers=self.headers) as socket:
            cursors = dict.fromkeys(self.screens, 0)
            await ask(socket, "subscription.subscribe", channels=CHANNELS, cursors=cursors)
            task_status.started()
            while not all(screen.ended for screen in self.screens.values()):
                with anyio.fail_after(30):
                    envelope = orjson.loads(await socket.recv())
                self.screens[envelope["thread_id"]].take(envelope)

    async def watch_one(self, screen: Screen) -> None:
        events = sse(self.server.url, screen.thread, 0, self.headers)
        async for envelope in each(events, 30):
            screen.take(envelope)
            if screen.ended:
                break
        await closed(events)

    async def state(self, thread: str) -> Any:
        async with httpx.AsyncClient(base_url=self.server.url, headers=self.headers, timeout=30) as http:
            return (await http.get(f"/threads/{thread}/state")).json()["values"]


async def test_nothing_of_another_thread_or_user(
    victims: Callable[..., Victim], chance: random.Random, tell: Callable[[str], None]
) -> None:
    server = victims(HERE / "project" / "guarded.json")
    server.start()
    users = [User(server, name) for name in USERS]
    for user in users:
        await user.join()
    async with anyio.create_task_group() as group:
        for user in users:
            await group.start(user.watch)
            for screen in user.also:
                group.start_soon(user.watch_one, screen)
        everybody = [(user, screen) for user in users for screen in user.screens.values()]
        chance.shuffle(everybody)
        for user, screen in everybody:
            group.start_soon(user.talk, screen, random.Random(chance.random()))
    events = 0
    for user in users:
        for screen in [*user.screens.values(), *user.also]:
            assert list(screen.ended.values()) == ["completed"]
            screen.agrees(await user.state(screen.thread))
            events += screen.count
        for screen in user.also:
            screen.complete(user.screens[screen.thread])
    await nothing_for_others(users[0], users[1])
    tell(f"{THREADS} runs at once of {len(users)} users, {events} events: of another thread 0, lost 0, doubled 0")


async def nothing_for_others(user: User, other: User) -> None:
    """Who asks for another's threads among their own gets their own only."""
    mine, theirs = next(iter(user.screens)), next(iter(other.screens))
    async with socket_to(user.server.url, "/ws", additional_headers=user.headers) as socket:
        given = await ask(socket, "subscription.subscribe", channels=CHANNELS, cursors={mine: 0, theirs: 0})
        assert list(given["subscriptions"]) == [mine] and given["missing"] == [theirs]
        screen = Screen(mine, user.screens[mine].word)
        while not screen.ended:
            with anyio.fail_after(10):
                screen.take(orjson.loads(await socket.recv()))
