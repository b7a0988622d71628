"""A reader of a run (v1) leaves with its end, and not when it happens to hear that the run is over."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from threadmill import assistants, threads
from threadmill.events import rows
from threadmill.events.event import END
from threadmill.events.log import EventLog
from threadmill.runs import queue
from threadmill.runs.run import Run
from threadmill.signals import Signals
from threadmill.streaming.v1 import Reader
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio
KWARGS = {"stream_mode": ["custom"], "subgraphs": False, "resumable": True, "config": {"configurable": {}}}


class Place:
    """A run that is under way."""

    def __init__(self, file: Path) -> None:
        self.database = SqliteDatabase(file, prepare=migrate_sqlite)
        self.signals = Signals()
        self.log = EventLog(self.database, self.signals)

    async def begin(self) -> None:
        def begun(tx: Tx) -> Run:
            assistants.ensure_defaults(tx, [("g", None)])
            threads.create(tx, "t")
            assistant = assistants.default_id("g")
            queue.insert(
                tx, run_id="r", thread_id="t", assistant_id=assistant, metadata={}, kwargs=KWARGS, multitask_strategy=""
            )
            run = queue.claim(tx, "w", 30)
            assert run is not None
            self.log.open_run(tx, "t", ("r", 1))
            return run

        self.run = await self.database.write(begun)

    def say(self, number: int) -> None:
        self.log.append("t", "r", "custom", (), b"%d" % number)

    async def end(self) -> None:
        def ended(tx: Tx) -> None:
            last = self.log.close_run(tx, "t", "r", [(END, b'{"status":"success"}')])
            queue.finish(tx, self.run, "success", last_seq=last)
            tx.on_commit(lambda: self.signals.notify("run:r"))

        await self.database.write(ended)

    async def told(self, log: EventLog, heartbeat_s: float) -> list[int]:
        reader = Reader(log, self.database, self.signals, heartbeat_s)
        text = b"".join([chunk async for chunk in reader.follow(self.run)])
        return [int(line[6:]) for line in text.splitlines() if line.startswith(b"data: ") and b"{" not in line]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "log.sqlite")
    await made.begin()
    yield made
    await made.database.close()


async def test_what_came_while_a_heartbeat_looked_for_the_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds that the run is over: so it is, but there was more before the end."""
    read = place.database.read

    async def late(fn: Any, *args: Any) -> Any:
        if fn.__name__ == "find" and place.run.active:
            monkeypatch.setattr(place.database, "read", read)
            place.say(2)
            await place.end()
        return await read(fn, *args)

    place.say(1)
    monkeypatch.setattr(place.database, "read", late)
    assert await place.told(place.log, 0.01) == [1, 2]


async def test_what_another_says_in_the_middle_of_a_run_does_not_end_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host posts a message to the thread, and the reader's page from the disk ends with that."""
    monkeypatch.setattr(rows, "PAGE_ROWS", 2)
    place.say(1)
    await place.database.write(place.log.announce, "t", "posted", b'{"message":{}}')
    place.say(2)
    await place.end()
    assert await place.told(EventLog(place.database, place.signals), 5) == [1, 2]
