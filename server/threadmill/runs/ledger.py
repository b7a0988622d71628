"""Receipts: what tools with effects have done, so that a run that is retried or resumed does not do it again.

A tool call is known by its thread, its task and its id. A task's id follows from the checkpoint it belongs to, so it
is the same in every attempt of a run and in the run that answers its question; where a person goes back to an earlier
checkpoint to have its tasks done anew, the run is part of it.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.config import get_config

from threadmill.events import tools
from threadmill.ids import stamp
from threadmill.runs import recovery
from threadmill.runs.run import Run
from threadmill_checkpoints.database import Database, Tx

logger = structlog.get_logger("threadmill.ledger")


@dataclass(frozen=True, slots=True)
class Ledger:
    """That of one attempt. `guard` refuses to begin anything when the run is no longer its own."""

    run: Run
    database: Database
    serde: SerializerProtocol
    guard: Callable[[Tx], None]

    def key(self) -> str | None:
        found = self._call()
        return f"{self.run.thread_id}:{found[0]}" if found else None

    def entry(self, function: str) -> "Entry | None":
        found = self._call()
        if found is None:
            return None
        name, call = found
        count = call.steps[function] = call.steps.get(function, 0) + 1
        return Entry(self, name, f"{function}#{count}")

    def _call(self) -> tuple[str, tools.Call] | None:
        call = tools.current()
        while call is not None and not call.asked:
            call = call.outer
        if call is None:
            return None
        task = get_config()["configurable"].get("checkpoint_ns", "").rpartition("|")[2].rpartition(":")[2]
        return f"{_again(self.run)}{task}:{call.id}", call


def _again(run: Run) -> str:
    """Of a run that goes back to a checkpoint to do its tasks anew: itself, or the run that it recovers."""
    back = run.kwargs["config"]["configurable"].get("checkpoint_id")
    answers = (run.kwargs["command"] or {}).get("resume") is not None
    return f"{recovery.earlier(run)}:" if back and not answers else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One call of a function in a tool call; `step` names the function and counts its calls."""

    ledger: Ledger
    call: str
    step: str

    def begin(self) -> "Future[tuple[bool, bool, Any]]":
        return self.ledger.database.submit(self._begin)

    def finish(self, output: Any) -> "Future[None]":
        try:
            kind, data = self.ledger.serde.dumps_typed(output)
        except Exception:  # whatever a serializer says of a type it does not know
            logger.warning("what a function returned cannot be kept; it may be called again", step=self.step)
            done = Future[None]()
            done.set_result(None)
            return done
        return self.ledger.database.submit(lambda tx: self._finish(tx, kind, data))

    def forget(self) -> "Future[None]":
        return self.ledger.database.submit(self._forget)

    def _begin(self, tx: Tx) -> tuple[bool, bool, Any]:
        self.ledger.guard(tx)
        row = tx.one(f"SELECT finished_at, type, output FROM receipts WHERE {WHERE}", **self._named)
        if row is not None and row["finished_at"]:
            return True, True, self.ledger.serde.loads_typed((row["type"], row["output"]))
        tx.run(
            "INSERT OR IGNORE INTO receipts (thread_id, call, step, run_id, started_at) "
            "VALUES (:thread_id, :call, :step, :run_id, :now)",
            **self._named,
            run_id=self.ledger.run.run_id,
            now=stamp(tx.now),
        )
        return False, row is not None, None

    def _finish(self, tx: Tx, kind: str, data: bytes) -> None:
        """Whoever owns the run by now: it was done."""
        tx.run(
            f"UPDATE receipts SET finished_at = :now, type = :kind, output = :data WHERE {WHERE}",
            **self._named,
            kind=kind,
            data=data,
            now=stamp(tx.now),
        )

    def _forget(self, tx: Tx) -> None:
        tx.run(f"DELETE FROM receipts WHERE finished_at IS NULL AND {WHERE}", **self._named)

    @property
    def _named(self) -> dict[str, str]:
        return {"thread_id": self.ledger.run.thread_id, "call": self.call, "step": self.step}


WHERE = "thread_id = :thread_id AND call = :call AND step = :step"
