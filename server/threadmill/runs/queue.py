"""The queue: the only place where a run's status changes. See docs/run-states.md for the diagram.

`pending` becomes `running` only in `claim`, which takes a lease and a new attempt number. Everything that a running
run writes names its attempt, and is refused when another attempt has taken over (`hold`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from threadmill.ids import new_id, stamp
from threadmill.jsonable import dumps_text
from threadmill.runs.report import report
from threadmill.runs.run import Action, Run, Status
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.sealing import under


class LostLease(Exception):
    """Another attempt runs this run, or it is gone: whoever gets this must stop and write nothing."""


def insert(
    tx: Tx,
    *,
    run_id: str,
    thread_id: str,
    assistant_id: str,
    metadata: Mapping[str, Any],
    kwargs: Mapping[str, Any],
    multitask_strategy: str,
    after_seconds: float = 0,
    idempotency_key: str | None = None,
) -> Run:
    """A new run at the end of its thread's queue."""
    now = stamp(tx.now)
    row = tx.one(
        "INSERT INTO runs (run_id, thread_id, assistant_id, status, metadata, kwargs, multitask_strategy, created_at, "
        "updated_at, start_at, position, idempotency_key) VALUES (:run_id, :thread_id, :assistant_id, 'pending', "
        ":metadata, :kwargs, :strategy, :now, :now, :start_at, "
        "(SELECT coalesce(max(position), 0) + 1 FROM runs WHERE thread_id = :thread_id), :key) RETURNING *",
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant_id,
        metadata=dumps_text(metadata),
        kwargs=dumps_text(kwargs),
        strategy=multitask_strategy,
        now=now,
        start_at=stamp(tx.now + timedelta(seconds=after_seconds)),
        key=idempotency_key,
    )
    assert row is not None
    return Run.from_row(row)


def follow(tx: Tx, run: Run, kwargs: Mapping[str, Any]) -> Run:
    """A new run with these `kwargs`, and else as `run`, at the end of the thread's queue."""
    run_id, config = new_id(), kwargs["config"]
    place = {**config["configurable"], "run_id": run_id}
    with under(tx.context_of(run_id=run.run_id)):
        return insert(
            tx,
            run_id=run_id,
            thread_id=run.thread_id,
            assistant_id=run.assistant_id,
            metadata=run.metadata,
            kwargs={**kwargs, "config": {**config, "configurable": place}},
            multitask_strategy="enqueue",
        )


def claim(
    tx: Tx, worker: str, lease_s: float, run_id: str | None = None, *, broken: Collection[str] = ()
) -> Run | None:
    """Start the run that is due, or `run_id` if it is: one at a time per thread, in the thread's order. A paused one
    holds up those behind it.

    Runs of graphs named in `broken` wait: their code cannot be loaded just now.

    Its events begin after the last number the thread has reserved; the first attempt decides.
    """
    which = "TRUE" if run_id is None else "run_id = :run_id"
    params = {} if run_id is None else {"run_id": run_id}
    if broken:
        which += (
            " AND assistant_id NOT IN (SELECT assistant_id FROM assistants "
            "WHERE graph_id IN (SELECT value FROM json_each(:broken)))"
        )
        params["broken"] = json.dumps(list(broken))
    row = tx.one(
        "UPDATE runs SET status = 'running', worker = :worker, lease_until = :lease, attempt = attempt + 1, "
        "first_seq = coalesce(first_seq, 1 + (SELECT seq FROM threads WHERE threads.thread_id = runs.thread_id)), "
        f"updated_at = :now WHERE run_id = (SELECT run_id FROM runs AS r WHERE {which} AND status = 'pending' "
        "AND paused = 0 "
        "AND start_at <= :now AND NOT EXISTS (SELECT 1 FROM runs AS running "
        "WHERE running.thread_id = r.thread_id AND running.status = 'running') AND NOT EXISTS "
        "(SELECT 1 FROM runs AS before WHERE before.thread_id = r.thread_id AND before.status = 'pending' "
        "AND before.start_at <= :now AND before.position < r.position) "
        "ORDER BY start_at, run_id LIMIT 1) RETURNING *",
        worker=worker,
        lease=stamp(tx.now + timedelta(seconds=lease_s)),
        now=stamp(tx.now),
        **params,
    )
    return Run.from_row(row) if row else None


def hold(tx: Tx, run_id: str, attempt: int) -> None:
    """Raise `LostLease` unless this attempt still owns the run."""
    if not tx.one(
        "SELECT 1 FROM runs WHERE run_id = :run_id AND attempt = :attempt AND status = 'running'",
        run_id=run_id,
        attempt=attempt,
    ):
        raise LostLease(run_id)


def finish(tx: Tx, run: Run, status: Status, *, last_seq: int, error: Mapping[str, Any] | None = None) -> None:
    """`running` becomes `status`."""
    changed = tx.run(
        "UPDATE runs SET status = :status, lease_until = NULL, worker = NULL, updated_at = :now, last_seq = :seq, "
        "error = :error WHERE run_id = :run_id AND attempt = :attempt AND status = 'running'",
        run_id=run.run_id,
        attempt=run.attempt,
        status=status,
        seq=last_seq,
        error=None if error is None else dumps_text(error),
        now=stamp(tx.now),
    )
    if not changed:
        raise LostLease(run.run_id)


def put_back(tx: Tx, run: Run) -> None:
    """`running` becomes `pending` again, in its old place: a drain, not a failure."""
    hold(tx, run.run_id, run.attempt)
    _requeue(tx, run.run_id, crashed=False)


def requeue_expired(tx: Tx, *, all_workers_gone: bool = False) -> list[Run]:
    """Put back every run whose worker died: its lease ran out, or (at boot) no other process can be alive."""
    rows = tx.all(
        "SELECT * FROM runs WHERE status = 'running' AND (:all OR lease_until < :now)",
        all=all_workers_gone,
        now=stamp(tx.now),
    )
    for row in rows:
        _requeue(tx, row["run_id"], crashed=True)
    return [Run.from_row(row) for row in rows]


def asked_to_stop(tx: Tx, run_id: str) -> Action | None:
    row = tx.one("SELECT stop FROM runs WHERE run_id = :run_id", run_id=run_id)
    return row["stop"] if row else None


def end_lost(
    tx: Tx, run: Run, status: Status, error: Mapping[str, Any], last_seq: int, *, crashed: bool = False
) -> None:
    """`pending` becomes `status` without running again: it was put back too often, or asked to stop before a crash."""
    tx.run(
        "UPDATE runs SET status = :status, error = :error, crashed = :crashed, updated_at = :now, last_seq = :last_seq "
        "WHERE run_id = :run_id AND status = 'pending'",
        run_id=run.run_id,
        status=status,
        crashed=crashed,
        last_seq=last_seq,
        error=dumps_text(error),
        now=stamp(tx.now),
    )


def crashes(tx: Tx, run_id: str) -> int:
    row = tx.one("SELECT crashes FROM runs WHERE run_id = :run_id", run_id=run_id)
    return row["crashes"] if row else 0


def renew(tx: Tx, worker: str, run_ids: Sequence[str], lease_s: float) -> dict[str, Action | None]:
    """Extend the leases. Returns the runs still ours, with the stop asked of each, if any."""
    rows = tx.all(
        "UPDATE runs SET lease_until = :lease WHERE worker = :worker AND status = 'running' "
        "AND run_id IN (SELECT value FROM json_each(:ids)) RETURNING run_id, stop",
        worker=worker,
        lease=stamp(tx.now + timedelta(seconds=lease_s)),
        ids=json.dumps(list(run_ids)),
    )
    return {row["run_id"]: row["stop"] for row in rows}


def stop(tx: Tx, run: Run, action: Action) -> None:
    """End a pending run at once; ask one that has begun to stop, also while it is paused or put back: its worker
    writes what it said. Asking twice keeps the first answer."""
    if run.status == "running" or (run.attempt and action == "stop"):
        tx.run(
            "UPDATE runs SET stop = coalesce(stop, :action), paused = 0, start_at = min(start_at, :now), "
            "updated_at = :now WHERE run_id = :run_id",
            run_id=run.run_id,
            action=action,
            now=stamp(tx.now),
        )
    elif action == "rollback":
        report(tx, run, "rollback")
        delete(tx, run.run_id)
    else:
        report(tx, run, "interrupted")  # to stop it is no more: nothing was said yet
        tx.run(
            "UPDATE runs SET status = 'interrupted', updated_at = :now WHERE run_id = :run_id AND status = 'pending'",
            run_id=run.run_id,
            now=stamp(tx.now),
        )


def delete(tx: Tx, run_id: str) -> None:
    tx.run("DELETE FROM runs WHERE run_id = :run_id", run_id=run_id)


def next_start(tx: Tx) -> str | None:
    """When the earliest delayed run is due. One that merely waits for its thread is woken by the run before it."""
    row = tx.one("SELECT min(start_at) AS at FROM runs WHERE status = 'pending' AND start_at > :now", now=stamp(tx.now))
    return row["at"] if row else None


def _requeue(tx: Tx, run_id: str, *, crashed: bool) -> None:
    tx.run(
        "UPDATE runs SET status = 'pending', worker = NULL, lease_until = NULL, updated_at = :now, "
        "crashes = crashes + :crashed WHERE run_id = :run_id",
        run_id=run_id,
        crashed=crashed,
        now=stamp(tx.now),
    )
