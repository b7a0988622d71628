"""One run, many servers: it is drained and killed again and again, and its reader sees one story with one end."""

import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from chaos.conftest import PROJECT, scaled
from chaos.screen import Screen
from chaos.transports import TRANSPORTS, Follow, command, keep_reading, telling
from crash.conftest import Victim
from crash.conversations import Gate
from crash.rows import ask

pytestmark = pytest.mark.anyio

RESTARTS = scaled(4, 20)
TOKENS, DELAY = 10, scaled(0.005, 0.02)
AT_MOST = 4 * TOKENS  # events between two restarts
# Each life tells at most so much more, so that the last restart still meets the run; also where readers lag behind it.
CHAPTERS = RESTARTS * 6 + 4


async def test_one_run_over_many_restarts(
    victims: Callable[..., Victim], chance: random.Random, tell: Callable[[str], None]
) -> None:
    server = victims(PROJECT, THREADMILL_MAX_ATTEMPTS="1000", THREADMILL_DRAIN_GRACE="2")
    server.start()
    thread, gate = (await server.client().threads.create())["thread_id"], Gate()
    screens = {name: Screen(thread, "w") for name in TRANSPORTS}
    kinds = [chance.choice(("kill -9", "SIGTERM")) for _ in range(RESTARTS)]
    gate.open()
    async with server.http as http:
        given = telling("w", chapters=CHAPTERS, n_tokens=TOKENS, delay=DELAY)
        run = (await command(http, thread, "run.start", assistant_id="book", input=given))["run_id"]
    async with anyio.create_task_group() as reading:
        for name, screen in screens.items():
            reading.start_soon(read_to_the_end, server, gate, TRANSPORTS[name], screen)
        for kind in kinds:
            with anyio.fail_after(20):
                await gate.reaches(chance.randrange(1, AT_MOST * len(screens)))
            assert not any(screen.ended for screen in screens.values()), "the run ended before the restarts did"
            gate.close()
            await anyio.to_thread.run_sync(server.kill if kind == "kill -9" else server.term)
            await anyio.to_thread.run_sync(server.start)
            gate.open()
    await check(server, thread, run, screens)
    most = max(screen.attempts for screen in screens.values())
    events = sum(screen.count for screen in screens.values())
    tell(
        f"{RESTARTS} restarts of one run ({kinds.count('kill -9')} kill -9, {kinds.count('SIGTERM')} SIGTERM), "
        f"{most} attempts, {len(screens)} readers, {events} events: ids repeated 0, ends 1, text equal"
    )


async def read_to_the_end(server: Victim, gate: Gate, follow: Follow, screen: Screen) -> None:
    async for _ in keep_reading(server, gate, follow, screen):
        gate.count()
        if screen.ended:
            break


async def check(server: Victim, thread: str, run: str, screens: dict[str, Screen]) -> None:
    state: Any = (await server.client().threads.get_state(thread))["values"]
    chapters = ["".join(f"w.{number + 1}.{n} " for n in range(TOKENS)) for number in range(CHAPTERS)]
    assert [message["content"] for message in state["messages"]] == ["go on", *chapters]
    truth = Screen(thread, "w")
    await read_to_the_end(server, opened(), TRANSPORTS["sse"], truth)
    truth.agrees(state)
    meaning: dict[int, Any] = {}
    for screen in screens.values():
        screen.agrees(state)
        screen.complete(truth)
        assert screen.ended == truth.ended == {run: "completed"}
        for seq, meant in screen.meaning.items():
            assert meaning.setdefault(seq, meant) == meant, "an id means one thing to everybody"
    assert ask(server.file, "SELECT status FROM runs") == [("success",)]


def opened() -> Gate:
    gate = Gate()
    gate.open()
    return gate
