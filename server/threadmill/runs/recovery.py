"""What becomes of a run whose server died under it.

By the policy `retry` it goes on by itself, as a new attempt from its last checkpoint. By `wait` it ends, and a person
chooses: keep what was said, continue from it, say it anew (regenerate), or discard the run. The choice is made once;
what it takes to carry it out is a run of its own, which the queue starts like any other.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from threadmill.errors import Conflict
from threadmill.jsonable import dumps_text
from threadmill.runs import queue
from threadmill.runs.run import CRASHED, Run
from threadmill_checkpoints.database import Tx

Policy = Literal["retry", "wait"]
Choice = Literal["keep", "continue", "regenerate"]
POLICIES: tuple[str, ...] = get_args(Policy)
CHOICES = (*get_args(Choice), "discard")
WAITS = {
    "error": CRASHED,
    "message": "The server died while this run was running.",
    "choices": list(CHOICES),
}


def chosen_policy(asked: str | None, assistant: Mapping[str, Any]) -> str | None:
    """The run's own, or its assistant's (`on_crash` in its metadata); None: the server's."""
    policy = asked or assistant.get("on_crash")
    return policy if policy in POLICIES else None


def policy(run: Run, default: str) -> str:
    return str(run.kwargs.get("on_crash") or default)


def of(run: Run) -> tuple[str, Choice] | None:
    """(the run that crashed, what to do about it), if that is what this run is for."""
    found = run.kwargs.get("recovers")
    return (found["run_id"], found["choice"]) if found else None


def lineage(run: Run) -> list[str]:
    """The run and those it goes on from: what one of them stored is not given again."""
    return [run.run_id, *(run.kwargs.get("recovers") or {}).get("after", ())]


def earlier(run: Run) -> str:
    """The run that this one recovers, or itself."""
    found = of(run)
    return found[0] if found else run.run_id


def recover(tx: Tx, run: Run, choice: Choice) -> tuple[str, bool]:
    """The id of the run that does it, and whether it is new: choosing the same again changes nothing.

    Conflict: the run did not crash, something else was chosen, or the thread has gone on.
    """
    before = made(tx, run)
    if before is not None:
        if before["choice"] != choice:
            raise Conflict(f"Run {run.run_id} was recovered already, by the choice {before['choice']!r}.")
        return str(before["run_id"]), False
    require(tx, run)
    recovers = {"run_id": run.run_id, "choice": choice, "after": lineage(run)}
    # `retry`: the choice was made.
    made_for = queue.follow(tx, run, {**run.kwargs, "recovers": recovers, "on_crash": "retry"})
    tx.run(
        "UPDATE runs SET recovery = :recovery WHERE run_id = :run_id",
        run_id=run.run_id,
        recovery=dumps_text({"choice": choice, "run_id": made_for.run_id}),
    )
    return made_for.run_id, True


def made(tx: Tx, run: Run) -> dict[str, Any] | None:
    """The choice, if one was made."""
    row = tx.one("SELECT recovery FROM runs WHERE run_id = :run_id", run_id=run.run_id)
    found: dict[str, Any] | None = json.loads(row["recovery"]) if row and row["recovery"] else None
    return found


def require(tx: Tx, run: Run) -> None:
    """Raise Conflict unless there is something to choose."""
    if not run.crashed:
        raise Conflict(f"Run {run.run_id} did not end with a crash: there is nothing to recover.")
    if tx.one(
        "SELECT 1 FROM runs WHERE thread_id = :thread_id AND position > "
        "(SELECT position FROM runs WHERE run_id = :run_id)",
        thread_id=run.thread_id,
        run_id=run.run_id,
    ):
        raise Conflict(f"The thread has gone on since run {run.run_id}.")


def newest_crash(tx: Tx, thread_id: str) -> str | None:
    """The last run of the thread, if it is one to choose for, or one that was chosen for."""
    row = tx.one(
        "SELECT run_id FROM runs WHERE thread_id = :thread_id AND crashed = 1 ORDER BY position DESC LIMIT 1",
        thread_id=thread_id,
    )
    return row["run_id"] if row else None
