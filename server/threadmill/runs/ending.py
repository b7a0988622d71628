"""The transaction that ends a run: its last events, its status, what its thread is left with, and who is told."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from threadmill import threads
from threadmill.events import rows, tools
from threadmill.events.event import END, ERROR, PAUSED, newest_attempt
from threadmill.events.log import EventLog
from threadmill.interrupts import Pending
from threadmill.jsonable import dumps
from threadmill.runs import queue, recovery, steering
from threadmill.runs.executor import Control
from threadmill.runs.outcome import Outcome, stopped_early
from threadmill.runs.report import report
from threadmill.runs.run import CRASHED, REASONS, Action, Run, active
from threadmill.signals import Signals
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import pruning


class Endings:
    """`on_crash` and `max_attempts` say what becomes of runs whose server died."""

    def __init__(
        self,
        log: EventLog,
        signals: Signals,
        pending: Callable[[Tx, str], list[Pending]],
        on_crash: str,
        max_attempts: int,
    ) -> None:
        self._log, self._signals, self._pending = log, signals, pending
        self._on_crash, self._max_attempts = on_crash, max_attempts

    def settle(self, tx: Tx, run: Run, outcome: Outcome, control: Control) -> Outcome:
        """The end of a run that is under way; returns the one that it came to."""
        outcome.verify()
        outcome.write(tx)
        stop = queue.asked_to_stop(tx, run.run_id) if outcome.ending == "put_back" else None
        if stop in ("interrupt", "rollback"):
            outcome = stopped_early(stop)  # the drain came between the request and its effect
        if outcome.ending == "put_back":
            if stop is not None:  # whoever claims it next writes what it said
                tx.on_commit(partial(self._signals.notify, "queue"))
            told = [(PAUSED, dumps({"run_id": run.run_id}))] if control.pausing else []
            self._log.close_run(tx, run.thread_id, run.run_id, told)
            queue.put_back(tx, run)
            return outcome
        if outcome.ending == "rollback":  # its end is written when all else is erased
            self._log.close_run(tx, run.thread_id, run.run_id, [])
            assert outcome.error is not None
            self._roll_back(tx, run, outcome.error["message"])
            return outcome
        status: Any = {"interrupt": "interrupted", "stop": "interrupted"}.get(outcome.ending, outcome.ending)
        paused = {"paused": True} if outcome.paused else {}
        if outcome.undone:
            pruning.delete_for_runs(tx, [run.run_id], run.thread_id)
        pending = self._pending(tx, run.thread_id)
        last = [(END, dumps({"run_id": run.run_id, "status": status, **paused, **_asked(pending)}))]
        if outcome.ending in ("error", "timeout"):
            last.insert(0, (ERROR, dumps(outcome.error)))
        last_seq = self._log.close_run(tx, run.thread_id, run.run_id, last)
        queue.finish(tx, run, status, last_seq=last_seq, error=outcome.error)
        if not outcome.refused:
            left: threads.Outcome = "idle" if outcome.ending in ("success", "stop") else "error"
            if outcome.paused or outcome.ending == "interrupt":
                left = "interrupted"
            threads.set_state(
                tx,
                run.thread_id,
                outcome=left,
                values=outcome.values,
                pending=pending,
                error=outcome.error,
                summary=outcome.summary,
            )
        held = outcome.paused or outcome.ending != "success"
        steering.follow_up(tx, run, control.heard, paused=held)
        self._tell(tx, run, status, outcome.error, outcome.values)
        return outcome

    def lost(self, tx: Tx, run: Run) -> None:
        """A run whose worker is dead and that was put back: some of them do not go on."""
        tx.on_commit(partial(self._signals.notify, f"run:{run.run_id}"))
        tx.on_commit(partial(self._signals.notify, "feed"))
        self._end_tools(tx, run)
        if run.stop == "rollback":
            self._roll_back(tx, run, REASONS["rollback"])
        elif run.stop == "stop":
            return  # whoever claims it next writes what it said
        elif run.stop == "interrupt":
            self._end_lost(tx, run, "interrupted", {"error": "UserInterrupt", "message": "interrupt requested"})
        elif recovery.policy(run, self._on_crash) == "wait":
            self._end_lost(tx, run, "interrupted", recovery.WAITS)
        elif (crashes := queue.crashes(tx, run.run_id)) >= self._max_attempts:
            message = f"The server died {crashes} times while this run was running."
            self._end_lost(tx, run, "error", {**recovery.WAITS, "message": message})

    def waiting(self, tx: Tx, run: Run, action: Action) -> None:
        """Stop a run that is pending. One that had begun, and was paused or put back, has told and stored something."""
        if run.first_seq is None or any(one.status == "running" for one in active(tx, run.thread_id)):
            queue.stop(tx, run, action)
            self._end_unbegun(tx, run, action)
            return
        if action == "rollback":
            self._roll_back(tx, run, REASONS["rollback"])
        else:
            self._end_lost(tx, run, "interrupted", {"error": "UserInterrupt", "message": f"{action} requested"})

    def _end_unbegun(self, tx: Tx, run: Run, action: Action) -> None:
        """Who waits for the thread would wait for ever. Who reads another run of it would take the end for its own."""
        if not active(tx, run.thread_id):
            self._end_alone(tx, run, "rollback" if action == "rollback" else "interrupted", began=False)

    def _undo(self, tx: Tx, run: Run, error: dict[str, str]) -> None:
        """As if the run had never been; the thread says why. Its end stays in the log, for who was away."""
        pruning.delete_for_runs(tx, [run.run_id], run.thread_id)
        threads.undo_run(tx, run.thread_id, error, self._pending(tx, run.thread_id))
        self._log.erase_run(tx, run.thread_id, run.run_id)
        self._end_alone(tx, run, "rollback")
        queue.delete(tx, run.run_id)

    def _end_alone(self, tx: Tx, run: Run, status: str, *, began: bool = True) -> None:
        """An end that says all there is to say, because neither the run nor its other events are there."""
        end = {"run_id": run.run_id, "status": status, "graph_id": run.graph_id, "attempt": run.attempt or 1}
        end |= _asked(self._pending(tx, run.thread_id)) | ({} if began else {"began": False})
        self._log.record(tx, run.thread_id, run.run_id, [(END, dumps(end))])

    def discard(self, tx: Tx, run: Run) -> None:
        """A run that ended with a crash, and everything of it."""
        tx.on_commit(partial(self._signals.notify, "feed"))
        self._roll_back(tx, run, "discarded after a crash")

    def _roll_back(self, tx: Tx, run: Run, message: str) -> None:
        error = {"error": "UserRollback", "message": message}
        self._undo(tx, run, error)
        self._tell(tx, run, "rollback", error)

    def _end_lost(self, tx: Tx, run: Run, status: Literal["interrupted", "error"], error: Mapping[str, Any]) -> None:
        pending = self._pending(tx, run.thread_id)
        last = [(END, dumps({"run_id": run.run_id, "status": status, **_asked(pending)}))]
        if crashed := error["error"] == CRASHED:
            last.insert(0, (ERROR, dumps(error)))
        last_seq = self._log.record(tx, run.thread_id, run.run_id, last)
        queue.end_lost(tx, run, status, error, last_seq, crashed=crashed)
        threads.set_state(tx, run.thread_id, outcome=status, values=None, error=error, pending=pending)
        threads.forget_values(tx, run.thread_id)  # the checkpoints are ahead of them
        self._tell(tx, run, status, error)

    def _end_tools(self, tx: Tx, run: Run) -> None:
        """What the dead attempt's tools did is not known: the next attempt begins them anew."""
        told = newest_attempt(rows.of_run(tx, run.thread_id, run.run_id, (run.first_seq or 1) - 1))
        if ends := tools.broken_off(told, int(tx.now.timestamp() * 1000)):
            self._log.record(tx, run.thread_id, run.run_id, ends)

    def _tell(
        self, tx: Tx, run: Run, status: str, error: Mapping[str, Any] | None, values: bytes | None = None
    ) -> None:
        if report(tx, run, status, error=error, values=None if status == "rollback" else values):
            tx.on_commit(partial(self._signals.notify, "webhooks"))


def _asked(pending: Sequence[Pending]) -> dict[str, list[str]]:
    """The questions that the thread waits with, whoever asked them: a reader forgets the others."""
    return {"interrupts": [one.interrupt_id for one in pending]} if pending else {}
