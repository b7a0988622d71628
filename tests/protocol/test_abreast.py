"""Subscriptions of one connection tell the ends of a thread together, as clients leave off with the first they hear."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import anyio
import orjson
import pytest
from protocol.test_projection import told

from threadmill.api import subscriptions
from threadmill.api.subscriptions import Beside
from threadmill.events.event import END, METADATA, ROOM
from threadmill.streaming import abreast
from threadmill.streaming.projection import Envelope, Projection
from threadmill.streaming.v2 import Wanted

pytestmark = pytest.mark.anyio

SAID = [{"type": "ai", "id": "m", "content": "hello"}, {}]


def run() -> list[Envelope]:
    projection = Projection("run", "graph")
    events = [(METADATA, {"run_id": "run", "attempt": 1}), ("messages", SAID), (END, {"status": "success"})]
    return [one for n, (method, data) in enumerate(events) for one in projection(told(1 + n * ROOM, method, data))]


def subscribed(channel: str, beside: Beside, may_go_on: anyio.Event) -> AsyncIterator[bytes]:
    """To a thread with one run, of which nothing comes before the event."""

    async def follow(*_: Any) -> AsyncIterator[list[Envelope]]:
        await may_go_on.wait()
        yield run()
        await anyio.sleep_forever()

    here: Any = SimpleNamespace(events=SimpleNamespace(follow=follow), log=SimpleNamespace(closing=False))
    wanted = Wanted.from_params({"channels": [channel]})
    return subscriptions._follow(here, channel, "thread", None, wanted, None, beside, named=False)


async def heard(frames: AsyncIterator[bytes], into: list[str], until: str) -> None:
    async with aclosing(frames):  # type: ignore[type-var]
        async for frame in frames:
            into.append(orjson.loads(frame)["params"]["data"]["event"])
            if into[-1] == until:
                return


async def test_an_end_waits_for_what_another_subscription_has_still_to_tell() -> None:
    beside, at_once, late, all_told = Beside(), anyio.Event(), anyio.Event(), list[str]()
    at_once.set()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(heard, subscribed("messages", beside, late), all_told, "message-finish")
            group.start_soon(heard, subscribed("lifecycle", beside, at_once), all_told, "completed")
            await anyio.wait_all_tasks_blocked()
            assert all_told == ["running"]
            late.set()
    assert all_told[-2:] == ["message-finish", "completed"]


async def test_nobody_waits_for_ever_for_one_that_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abreast, "PATIENCE_S", 0.05)
    beside, at_once, all_told = Beside(), anyio.Event(), list[str]()
    at_once.set()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(heard, subscribed("messages", beside, anyio.Event()), [], "message-finish")
            await heard(subscribed("lifecycle", beside, at_once), all_told, "completed")
            group.cancel_scope.cancel()
    assert all_told == ["running", "completed"]
