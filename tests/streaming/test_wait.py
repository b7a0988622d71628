"""Who waits for a run that is rolled back gets what it said, also when its row is seen to be gone before that."""

import asyncio
from typing import Any

import pytest

from threadmill.signals import Signals
from threadmill.streaming import wait

pytestmark = pytest.mark.anyio


class Gone:
    """A database that has committed already, in front of whoever is told of it only afterwards."""

    def __init__(self, told: Any) -> None:
        self.told = told

    async def read(self, *_: Any) -> None:
        asyncio.get_running_loop().call_later(0.02, self.told)


@pytest.mark.parametrize("said", [b'{"done": 1}', None])
async def test_the_output_may_come_after_the_row_is_gone(said: bytes | None) -> None:
    signals, outputs = Signals(), dict[str, bytes]()

    def told() -> None:
        if said is not None:
            outputs["r"] = said
        signals.notify("run:r")

    async def never(*_: str) -> bytes:
        raise AssertionError("there is no state of a run that is gone")

    row: Any = type("Row", (), {"run_id": "r", "thread_id": "t", "active": True})
    database: Any = Gone(told)
    with signals.subscribe("run:r", "output:r") as waiter:
        signals.notify("run:r")  # it was asked to stop
        answer = [one async for one in wait.output(waiter, outputs, database, row, never, 5.0, lambda: False)]
    assert answer == [said or wait.NOT_FOUND]
