"""What the ledger knows of one call, and what `once` makes of it."""

from pathlib import Path
from typing import Any

import pytest

from threadmill import EffectUnknown, effects, idempotency_key, once, threads
from threadmill.effects import Entry as Wanted
from threadmill.runs.ledger import Entry, Ledger
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.serde import Serializer
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio


class Run:
    thread_id, run_id = "thread", "run"


class OneCall:
    """A ledger of an attempt that is at one tool call."""

    def __init__(self, database: SqliteDatabase, lost: bool = False) -> None:
        def guard(_: Tx) -> None:
            if lost:
                raise PermissionError("another attempt runs this run")

        run: Any = Run()
        self.ledger = Ledger(run, database, Serializer(), guard)
        self.calls = 0

    def key(self) -> str:
        return "thread:task:call"

    def entry(self, function: str) -> Wanted:
        self.calls += 1
        return Entry(self.ledger, "task:call", f"{function}#{self.calls}")


async def test_what_returned_is_not_called_again(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "db.sqlite", prepare=migrate_sqlite)
    await database.write(threads.create, "thread")
    called: list[str | None] = []

    @once
    async def act(fails: bool = False) -> dict[str, Any]:
        called.append(idempotency_key())
        if fails:
            raise ValueError("refused by the service")
        return {"receipt": len(called)}

    @once(retry=False)
    def act_now() -> str:
        called.append("now")
        raise KeyboardInterrupt  # as a killed process: neither returned nor failed

    try:
        for attempt in range(2):
            effects.current.set(OneCall(database))
            assert [await act(), await act()] == [{"receipt": 1}, {"receipt": 2}], f"attempt {attempt}"
            with pytest.raises(ValueError, match="refused"):
                await act(fails=True)
        assert called == ["thread:task:call"] * 4, "what failed was tried again"
        effects.current.set(OneCall(database))
        with pytest.raises(KeyboardInterrupt):
            act_now()
        effects.current.set(OneCall(database))
        with pytest.raises(EffectUnknown):
            act_now()
        effects.current.set(OneCall(database, lost=True))
        before = len(called)
        with pytest.raises(PermissionError):
            await act()
        assert len(called) == before, "an attempt that was fenced off does nothing more"
    finally:
        effects.current.set(None)
        await database.close()
