"""Wake-ups: nobody sleeps past a signal, or past the time that was asked for."""

import asyncio
import threading

import pytest

from threadmill.signals import Signals

pytestmark = pytest.mark.anyio


async def test_a_shorter_wait_after_a_longer_one_is_not_kept_waiting() -> None:
    signals = Signals()
    with signals.subscribe("topic") as waiter:
        signals.notify("topic")
        assert await waiter.wait(60)
        threading.Timer(0.01, signals.notify, ["topic"]).start()
        assert await waiter.wait(60)  # leaves a timer of a minute behind
        async with asyncio.timeout(5):
            assert not await waiter.wait(0.02)


async def test_a_longer_wait_after_a_shorter_one_is_not_cut_short() -> None:
    signals, loop = Signals(), asyncio.get_running_loop()
    with signals.subscribe("topic") as waiter:
        threading.Timer(0.01, signals.notify, ["topic"]).start()
        assert await waiter.wait(0.1)
        began = loop.time()
        assert not await waiter.wait(0.2)
        assert loop.time() - began >= 0.195


async def test_signals_that_come_while_the_waiter_is_busy_are_one_wake_up() -> None:
    signals = Signals()
    with signals.subscribe("a", "b") as waiter:
        for topic in ("a", "b", "a"):
            signals.notify(topic)
        assert await waiter.wait(5)
        assert not await waiter.wait(0.01)
    assert not signals.watched("a")
