"""The disk fills up under runs and readers, and is emptied again: what was acknowledged stays, and nothing is stuck."""

import random
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import anyio
import httpx
import psutil
import pytest
from chaos.conftest import PROJECT, scaled
from chaos.screen import Screen
from chaos.transports import CUTS, TRANSPORTS, Follow, closed, each, telling
from crash.conftest import Victim
from crash.conversations import STUCK_SECONDS, Gate
from crash.rows import ask
from serving import until

pytestmark = pytest.mark.anyio

TIMES = scaled(2, 20)
FILLER = "x" * 200_000


@contextmanager
def full_disk(server: Victim, more: int) -> Any:
    """The server's files may grow by `more` bytes only: as for a quota, a write beyond that fails."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    size = (server.data_dir / "threadmill.sqlite-wal").stat().st_size
    process.rlimit(psutil.RLIMIT_FSIZE, (size + more, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)


class User:
    """Talks without pause; follows the thread over all that happens."""

    def __init__(self, server: Victim, thread: str, word: str, follow: Follow, disk: Gate) -> None:
        self.server, self.follow, self.disk = server, follow, disk
        self.screen = Screen(thread, word)
        self.runs: list[str] = []
        self.refused = 0

    async def talk(self, enough: anyio.Event) -> None:
        while not enough.is_set():
            if not await self.turn():
                self.refused += 1
                await self.disk.passed()

    async def turn(self) -> bool:
        """Whether it was accepted; then it is over now."""
        given = telling(self.screen.word, chapters=4, n_tokens=20, delay=0.005)
        asked = {"id": 1, "method": "run.start", "params": {"assistant_id": "book", "input": given}}
        async with self.server.http as http:
            answer = await http.post(f"/threads/{self.screen.thread}/commands", json=asked)
        if answer.status_code != 200:
            assert refusal(answer), answer.text
            return False
        self.runs.append(answer.json()["result"]["run_id"])
        await until(self.is_over, STUCK_SECONDS)
        return True

    async def is_over(self) -> bool:
        return set(self.runs) <= self.screen.ended.keys()

    async def watch(self) -> None:
        while True:
            events = self.follow(self.server.url, self.screen.thread, self.screen.cursor)
            with suppress(*CUTS):
                async for envelope in each(events, 2 * STUCK_SECONDS):
                    self.screen.take(envelope)
                    self.disk.count()
            await closed(events)


async def test_a_full_disk_loses_nothing(
    victims: Callable[..., Victim], chance: random.Random, tell: Callable[[str], None]
) -> None:
    server = victims(PROJECT)
    server.start()
    disk, enough = Gate(), anyio.Event()
    users = [
        User(server, (await server.client().threads.create())["thread_id"], f"u{n}.", follow, disk)
        for n, follow in enumerate(TRANSPORTS.values())
    ]
    disk.open()
    refused = 0
    async with anyio.create_task_group() as watching:
        for user in users:
            watching.start_soon(user.watch)
        async with anyio.create_task_group() as talking:
            for user in users:
                talking.start_soon(user.talk, enough)
            for _ in range(TIMES):
                with anyio.fail_after(STUCK_SECONDS):
                    await disk.reaches(disk.frames + chance.randrange(20, 300))
                disk.close()
                with full_disk(server, chance.randrange(100_000)):
                    await until(partial(refuses, server, FILLER), STUCK_SECONDS)  # a log that began anew has room
                    for _ in range(chance.randrange(1, 20)):
                        await until(partial(refuses, server), STUCK_SECONDS)
                        refused += 1
                await until(partial(accepts, server))
                disk.open()
            enough.set()
        for user in users:
            assert await user.turn(), "all is well again"
        watching.cancel_scope.cancel()
    failed = await check(server, users)
    runs = sum(len(user.runs) for user in users)
    tell(
        f"disk full {TIMES} times under {len(users)} threads: {runs} runs acknowledged, {failed} ended with an error, "
        f"{refused + sum(user.refused for user in users)} requests refused; lost 0, stuck 0"
    )


async def check(server: Victim, users: list[User]) -> int:
    """Also after a crash: what was seen is on disk. Returns how many runs have failed."""
    failed = 0
    server.restart()
    for user in users:
        state: Any = (await server.client().threads.get_state(user.screen.thread))["values"]
        assert (await server.client().threads.get(user.screen.thread))["status"] == "idle"
        truth = Screen(user.screen.thread, user.screen.word)
        async for envelope in each(TRANSPORTS["sse"](server.url, truth.thread, 0)):
            truth.take(envelope)
            if len(truth.ended) == len(user.runs):
                break
        assert truth.meaning == user.screen.meaning, "what anybody saw is there, and nothing else"
        truth.agrees(state)
        assert list(truth.ended) == user.runs
        assert set(truth.ended.values()) <= {"completed", "failed"}
        failed += list(truth.ended.values()).count("failed")
    errors = {error for (error,) in ask(server.file, "SELECT error FROM runs WHERE status != 'success'")}
    assert all("disk" in error or "checkpoint could not be written" in error for error in errors), errors
    assert ask(server.file, "PRAGMA integrity_check") == [("ok",)]
    return failed


async def refuses(server: Victim, text: str = "") -> bool:
    return not await accepts(server, text)


async def accepts(server: Victim, text: str = "") -> bool:
    async with server.http as http:
        answer = await http.put("/store/items", json={"namespace": ["disk"], "key": "text", "value": {"text": text}})
    assert answer.is_success or refusal(answer), answer.text
    return answer.is_success


def refusal(answer: httpx.Response) -> bool:
    """One sentence about the disk, which a client can show."""
    return answer.status_code == 507 and "disk" in answer.json()["detail"]
