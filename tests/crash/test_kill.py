"""kill -9 at random moments, under users who go on talking: nothing acknowledged is lost, nothing gets stuck.

Each user reads runs with version 1; beside them, somebody follows the thread with version 2 over all the kills.
THREADMILL_KILLS sets how many kills there are in all; the default fits into the suite.
"""

import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import anyio
import pytest
from chaos.screen import Screen
from chaos.transports import TRANSPORTS, Follow, keep_reading, sse
from crash.conftest import Victim
from crash.conversations import STUCK_SECONDS, Conversation, Gate, Turn
from crash.rows import ask
from serving import until
from streaming.frames import Frame, frames, view

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("THREADMILL_KILLS", "16"))
SERVERS = 2  # the kills are shared among so many tests, which can run side by side
STEPS, TOKENS = 10, 30
UP_TO = 250  # frames that all users together may see before the next kill


def steps(turn: int) -> dict[str, Any]:
    return {"input": {"steps": STEPS, "delay": 0.03, "tag": f"{turn}."}, "stream_mode": ["values", "custom"]}


def question(turn: int) -> dict[str, Any]:
    said = {"messages": [{"role": "user", "content": f"question {turn}"}], "n_tokens": TOKENS, "delay": 0.01}
    return {"input": said, "stream_mode": ["messages-tuple", "values"]}


@dataclass
class Report:
    kills: int = 0
    runs: int = 0
    cut: int = 0
    again: int = 0
    undurable: int = 0


@pytest.mark.timeout(120 + 8 * KILLS)
@pytest.mark.parametrize("seed", range(SERVERS))
async def test_nothing_acknowledged_is_lost(
    victims: Callable[..., Victim], seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server, chance, report = victims(THREADMILL_MAX_ATTEMPTS="1000"), random.Random(seed), Report()
    server.start()
    gate = Gate()
    users = [await new_user(server, gate, kind) for kind in ("slow", "chat", "slow", "chat")]
    watchers = [Watcher(user, follow) for user, follow in zip(users, cycle(TRANSPORTS.values()), strict=False)]
    enough = anyio.Event()
    async with anyio.create_task_group() as watching:
        for watcher in watchers:
            watching.start_soon(watcher.watch, server, gate)
        async with anyio.create_task_group() as talking:
            gate.open()
            for user in users:
                talking.start_soon(user.talk, enough)
            for _ in range(KILLS // SERVERS):
                await gate.reaches(chance.choice((0, 1, chance.randrange(UP_TO), chance.randrange(UP_TO))))
                gate.close()
                await anyio.to_thread.run_sync(server.restart)
                report.kills += 1
                gate.open()
                await check_after_restart(server, users)
            enough.set()
        for watcher in watchers:
            await until(watcher.has_seen_all)
        watching.cancel_scope.cancel()
    for user in users:
        await check_conversation(server, user, report)
    for watcher in watchers:
        await check_watcher(server, watcher)
    assert ask(server.file, "SELECT count(*) FROM runs WHERE status != 'success'") == [(0,)]
    server.kill()
    assert ask(server.file, "PRAGMA integrity_check") == [("ok",)]
    assert report.kills == KILLS // SERVERS
    assert report.again > 0, "no kill met a run: the test shows nothing"
    with capsys.disabled():
        sys.stderr.write(
            f"\n{report.kills} kills, {report.runs} runs: lost 0, stuck 0; {report.cut} streams cut, "
            f"{report.again} further attempts, at most {report.undurable} events behind the disk when killed\n"
        )


@dataclass
class Watcher:
    """Somebody else at a user's thread."""

    user: Conversation
    follow: Follow
    screen: Screen = field(init=False)

    def __post_init__(self) -> None:
        self.screen = Screen(self.user.thread, "t")

    async def watch(self, server: Victim, gate: Gate) -> None:
        async for _ in keep_reading(server, gate, self.follow, self.screen):
            pass

    async def has_seen_all(self) -> bool:
        return self.screen.ended.keys() == {turn.run_id for turn in self.user.turns}


async def check_watcher(server: Victim, watcher: Watcher) -> None:
    """Who was there all the time knows all that there is, as who comes now, and nothing by another number."""
    gate, now = Gate(), Watcher(watcher.user, sse)
    gate.open()
    async for _ in keep_reading(server, gate, now.follow, now.screen):
        if await now.has_seen_all():
            break
    watcher.screen.complete(now.screen)
    assert list(watcher.screen.ended.items()) == [(turn.run_id, "completed") for turn in watcher.user.turns]
    if watcher.user.assistant == "chat":
        state: Any = (await server.client().threads.get_state(watcher.user.thread))["values"]
        watcher.screen.agrees(state)
        now.screen.agrees(state)


async def new_user(server: Victim, gate: Gate, kind: str) -> Conversation:
    thread = await server.client().threads.create()
    return Conversation(server, gate, thread["thread_id"], kind, steps if kind == "slow" else question)


async def check_after_restart(server: Victim, users: list[Conversation]) -> None:
    """Every acknowledged run is there, none has failed, and no thread is busy without a reason."""
    async with server.http as http:
        for user in users:
            acknowledged = {turn.run_id for turn in user.turns if turn.place is not None}
            runs = (await http.get(f"/threads/{user.thread}/runs", params={"limit": 1000})).json()
            assert acknowledged <= {run["run_id"] for run in runs}
            assert {run["status"] for run in runs} <= {"pending", "running", "success"}


async def check_conversation(server: Victim, user: Conversation, report: Report) -> None:
    async with server.http as http:
        thread = (await http.get(f"/threads/{user.thread}")).json()
        state = (await http.get(f"/threads/{user.thread}/state")).json()
        assert thread["status"] == "idle"
        assert thread["values"] == state["values"]
        check_state(user, state["values"])
        runs = (await http.get(f"/threads/{user.thread}/runs", params={"limit": 1000})).json()
        assert [run["run_id"] for run in reversed(runs)] == [turn.run_id for turn in user.turns], "each turn once"
        replayed: list[Frame] = []
        for turn in user.turns:
            async with http.stream("GET", f"{turn.place}/stream", headers={"Last-Event-ID": "-1"}) as response:
                with anyio.fail_after(STUCK_SECONDS):
                    again = [frame async for frame in frames(response)]
            check_turn(server, turn, again, report)
            replayed += again
    ids = [int(str(frame.id)) for frame in replayed]
    assert ids == sorted(set(ids)), "numbers grow over the whole thread"
    seen = [int(str(frame.id)) for turn in user.turns for frame in turn.read]
    assert seen == sorted(set(seen)), "no number was given out twice, not even to a reader who was cut off"


def check_state(user: Conversation, values: Any) -> None:
    if user.assistant == "slow":
        assert values["log"] == [f"{turn.number}.{n + 1}" for turn in user.turns for n in range(STEPS)]
        return
    said = [(message["type"], message["content"]) for message in values["messages"]]
    answer = "".join(f"t{n} " for n in range(TOKENS))
    assert said == [one for turn in user.turns for one in (("human", f"question {turn.number}"), ("ai", answer))]


def check_turn(server: Victim, turn: Turn, again: list[Frame], report: Report) -> None:
    """What was read live against what the log has for ever."""
    kept = {frame.id: frame for frame in again}
    assert kept.keys() <= {frame.id for frame in turn.read}, "who reconnects misses nothing"
    assert all(kept[frame.id] == frame for frame in turn.read if frame.id in kept), "an id means one thing"
    assert view(again) == view(turn.read)
    attempts = turn.attempts()
    numbers = [attempt[0].data["attempt"] for attempt in attempts]
    assert numbers == sorted(set(numbers))
    assert ask(server.file, "SELECT attempt FROM runs WHERE run_id = ?", turn.run_id) == [(numbers[-1],)]
    for attempt in attempts:
        here = [frame.id in kept for frame in attempt]
        lost = here.count(False)
        assert here == [True] * (len(here) - lost) + [False] * lost, "only the newest events can be behind the disk"
        report.undurable = max(report.undurable, lost)
    assert all(frame.id in kept for frame in attempts[-1]), "the attempt that ended is complete"
    report.runs += 1
    report.cut += turn.cuts
    report.again += len(attempts) - 1
