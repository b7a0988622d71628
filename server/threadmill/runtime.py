"""What the server does with runs and threads, for the API and whoever else asks."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast

import structlog
from langgraph_sdk import Auth

from threadmill import branches, encryption, threads
from threadmill.config import Settings
from threadmill.crons import Cron
from threadmill.errors import Unavailable
from threadmill.events.event import END
from threadmill.events.log import EventLog
from threadmill.forgetting import Forgetting
from threadmill.graphs import Graphs
from threadmill.ids import new_id, stamp
from threadmill.langgraph_json.project import Project
from threadmill.metrics import Metrics, Snapshot
from threadmill.retention import Retention
from threadmill.runs import queue, recovery, run, steering
from threadmill.runs.run import REASONS, Action, Run
from threadmill.runs.submit import Request, Submitted, submit
from threadmill.runs.worker import Worker
from threadmill.scope import ALL, Scope
from threadmill.search import Search
from threadmill.signals import Signals
from threadmill.state import States
from threadmill.streaming import v2
from threadmill.streaming.feed import FeedReader
from threadmill.streaming.v1 import Reader
from threadmill.threads import Thread
from threadmill.webhooks import Webhooks
from threadmill_checkpoints.database import Database, Tx
from threadmill_checkpoints.saver import heads, pruning
from threadmill_checkpoints.sealing import under
from threadmill_checkpoints.store import Store

T = TypeVar("T")
logger = structlog.get_logger("threadmill.runtime")

STOP_S = 10.0  # how long a delete or a cancel that waits gives a run to end
SEEN_S = 1.0  # how long one that does not wait gives it all the same: who looks next sees what came of it


@dataclass(frozen=True, slots=True)
class Variant:
    """A thread to be forked, and the run on it."""

    thread_id: str
    metadata: Mapping[str, Any]
    title: str | None
    request: Request


@dataclass(slots=True)
class Runtime:
    """What the API works with."""

    project: Project
    settings: Settings
    database: Database
    log: EventLog
    signals: Signals
    graphs: Graphs
    worker: Worker
    states: States
    reader: Reader
    events: v2.Reader
    feed: FeedReader
    state_loop: asyncio.AbstractEventLoop
    store: Store
    metrics: Metrics
    retention: Retention
    webhooks: Webhooks
    search: Search
    forgetting: Forgetting
    auth: Auth | None = None
    vault: encryption.Handlers | None = None

    # Runs

    async def submit(
        self,
        scope: Scope,
        request: Request,
        thread_id: str | None,
        request_id: str,
        run_id: str | None = None,
        decide: Callable[[Tx, Request], Request] | None = None,
    ) -> Submitted:
        """One transaction accepts the run and, when its turn is now, starts it. `decide` has a last look in it: it may
        change the request, or raise."""
        self.webhooks.check(request.webhook)

        def accept(tx: Tx) -> list[Submitted]:
            final = decide(tx, request) if decide is not None else request
            return self._submit(tx, scope, [(final, run_id or new_id())], thread_id, request_id)

        submitted = await self.database.write(accept)
        return submitted[0]

    async def submit_all(self, scope: Scope, requests: list[Request], request_id: str) -> list[Run]:
        """Stateless runs, all or none."""
        for request in requests:
            self.webhooks.check(request.webhook)
        asked = [(one, new_id()) for one in requests]
        submitted = await self.database.write(self._submit, scope, asked, None, request_id)
        return [one.accepted for one in submitted]

    async def compare(
        self, scope: Scope, source: str, checkpoint_id: str | None, variants: list[Variant], request_id: str
    ) -> list[Run]:
        """A fork for each variant from the same checkpoint, and a run on it; all or none."""
        for one in variants:
            self.webhooks.check(one.request.webhook)

        def begin(tx: Tx) -> list[Run]:
            at = checkpoint_id or heads.head(tx, source)
            begun = []
            for one in variants:
                branches.fork(
                    tx,
                    scope,
                    source,
                    at,
                    one.thread_id,
                    serde=self.states.serde,
                    metadata=one.metadata,
                    title=one.title,
                )
                asked = [(one.request, new_id())]
                begun += [run.accepted for run in self._submit(tx, ALL, asked, one.thread_id, request_id)]
            return begun

        return await self.database.write(begin)

    def _submit(
        self, tx: Tx, scope: Scope, requests: list[tuple[Request, str]], thread_id: str | None, request_id: str
    ) -> list[Submitted]:
        done = []
        for request, run_id in requests:
            request = replace(
                request,
                webhook=request.webhook if self.webhooks.enabled else None,
                durability=request.durability or self.settings.durability,
            )
            one = submit(
                tx,
                scope,
                request,
                run_id=run_id,
                thread_id=thread_id,
                request_id=request_id,
                new_thread=new_id(),
                end=self.worker.endings.waiting,
            )
            if one.run.graph_id in self.graphs.errors:
                raise Unavailable(str(self.graphs.errors[one.run.graph_id]))
            for other in one.stopping:
                action: Action = "rollback" if request.multitask_strategy == "rollback" else "interrupt"
                reason = f"superseded by run {one.run.run_id} (multitask_strategy={action})"
                tx.on_commit(partial(self.worker.stop, other.run_id, action, reason))
            if request.multitask_strategy != "enqueue":
                self._notify_stopped(tx, one.run.thread_id)
            started = self.worker.claim(tx, one.run.run_id)
            if started is None:
                tx.on_commit(partial(self.signals.notify, "queue"))
                tx.on_commit(partial(self.signals.notify, "feed"))
            done.append(replace(one, run=started) if started else one)
        return done

    def _notify_stopped(self, tx: Tx, thread_id: str) -> None:
        """Pending runs that a strategy ended have readers too."""
        ended = tx.all(
            "SELECT run_id FROM runs WHERE thread_id = :thread_id AND status = 'interrupted' AND updated_at = :now",
            thread_id=thread_id,
            now=tx.now.isoformat(timespec="microseconds"),
        )
        for row in ended:
            tx.on_commit(partial(self.signals.notify, f"run:{row['run_id']}"))

    async def cancel(self, thread_id: str, run_ids: list[str], action: Action, reason: str) -> list[Run]:
        """Ask active runs to stop; returns those that were active. Finished ones are left as they are."""
        stopped = await self.database.write(self._cancel, thread_id, run_ids, action)
        for one in stopped:
            self._stopping(one, action, reason)
        return stopped

    def _stopping(self, one: Run, action: Action, reason: str) -> None:
        self.worker.stop(one.run_id, action, reason)
        self.signals.notify(f"run:{one.run_id}")
        self.signals.notify(f"thread:{one.thread_id}")
        self.signals.notify("feed")

    def _cancel(self, tx: Tx, thread_id: str, run_ids: list[str], action: Action) -> list[Run]:
        there = [one for one in run.active(tx, thread_id) if one.run_id in run_ids]
        for one in there:
            if one.status == "running" or (one.attempt and action == "stop"):
                queue.stop(tx, one, action)
            else:  # a run that has not begun has nothing to roll back; it stays, as interrupted
                self.worker.endings.waiting(tx, one, action if one.attempt else "interrupt")
            tx.on_commit(partial(self.signals.notify, "queue"))
        return there

    async def stop_turn(self, thread_id: str, run_id: str | None = None) -> Run | None:
        """Stop what runs on the thread, keeping all that was said; returns it. Whoever stops need not know its id."""

        def choose(tx: Tx) -> list[Run]:
            there = [one for one in run.active(tx, thread_id) if run_id in (None, one.run_id)]
            first = sorted(there, key=lambda one: one.status != "running")[:1]
            return self._cancel(tx, thread_id, [one.run_id for one in first], "stop")

        stopped = await self.database.write(choose)
        for one in stopped:
            self._stopping(one, "stop", REASONS["stop"])
        return stopped[0] if stopped else None

    async def say(self, thread_id: str, message: dict[str, Any]) -> Run | None:
        """To the run that is under way; it is part of it, or of a run after it, once this returns. Who lost the answer
        says it again, with the same id, and is told of the run that has it already."""

        def keep(tx: Tx) -> Run | None:
            there = run.active(tx, thread_id)
            if before := steering.heard(tx, thread_id, message["id"], there):
                return before
            now = next((one for one in there if one.status == "running"), None)
            if now is not None:
                steering.inject(tx, now.run_id, message)
                tx.on_commit(partial(self.worker.say, now.run_id, message))
            return now

        return await self.database.write(keep)

    async def pause(self, thread_id: str, run_id: str | None = None) -> Run | None:
        """Hold up the run at its next safe point; None when there is none. Waits for that point, but not for ever."""

        def hold(tx: Tx) -> Run | None:
            there = [one for one in run.active(tx, thread_id) if run_id in (None, one.run_id)]
            now = min(there, key=lambda one: one.status != "running", default=None)
            if now is not None:
                steering.pause(tx, now)
                tx.on_commit(partial(self.worker.pause, now.run_id))
                tx.on_commit(partial(self.signals.notify, "feed"))
            return now

        now = await self.database.write(hold)
        if now is not None and now.status == "running":
            with self.signals.subscribe(f"run:{now.run_id}") as waiter:
                await waiter.wait(STOP_S)
        return now

    async def resume(self, thread_id: str, run_id: str | None = None) -> Run | None:
        """Let a paused run go on; None when there is none."""

        def release(tx: Tx) -> Run | None:
            for one in run.active(tx, thread_id):
                if run_id in (None, one.run_id) and steering.resume(tx, one.run_id):
                    tx.on_commit(partial(self.signals.notify, "queue"))
                    tx.on_commit(partial(self.signals.notify, "feed"))
                    return one
            return None

        return await self.database.write(release)

    async def move(self, scope: Scope, thread_id: str, run_id: str, to: int) -> None:
        """Give a waiting run another place, 0 being the next. Raises NotFound, or Conflict when it has begun."""

        def change(tx: Tx) -> None:
            run.get(tx, scope, thread_id, run_id)
            steering.move(tx, thread_id, run_id, to)

        await self.database.write(change)
        self.signals.notify("queue")  # it may have been a paused one that held up the others
        self.signals.notify("feed")

    async def recover(self, scope: Scope, thread_id: str, run_id: str, choice: str) -> str | None:
        """Carry out what was chosen for a run that ended with a crash; the same again changes nothing. Returns the id
        of the run that does it; a discarded one is gone, and needs none."""

        def choose(tx: Tx) -> str | None:
            threads.require(tx, scope, thread_id)
            if choice == "discard":
                found = run.find(tx, scope, run_id)
                if found is not None and found.thread_id == thread_id:
                    recovery.require(tx, found)
                    self.worker.endings.discard(tx, found)
                return None
            found = run.get(tx, scope, thread_id, run_id)
            recovering, new = recovery.recover(tx, found, cast("recovery.Choice", choice))
            if new and self.worker.claim(tx, recovering) is None:
                tx.on_commit(partial(self.signals.notify, "queue"))
            return recovering

        return await self.database.write(choose)

    async def ended(self, run_id: str, timeout_s: float = STOP_S) -> bool:
        """Wait until the run is no longer active."""
        with self.signals.subscribe(f"run:{run_id}") as waiter:
            deadline = asyncio.get_running_loop().time() + timeout_s
            while True:
                now = await self.database.read(run.find, ALL, run_id)
                if now is None or not now.active:
                    return True
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or (not await waiter.wait(min(left, 1.0)) and left <= 1.0):
                    return False

    # Threads

    async def delete_thread(self, scope: Scope, thread_id: str) -> None:
        """Stop what runs, then remove everything of the thread in one transaction."""
        await self.database.read(threads.require, scope, thread_id)
        await self._stop_all(thread_id)
        await self.database.write(threads.delete, scope, thread_id)
        self.log.forget(thread_id)
        self.signals.notify("feed")

    async def delete_run(self, scope: Scope, thread_id: str, run_id: str) -> None:
        """Stop it if it runs, then remove it with its checkpoints."""
        found = await self.database.read(run.get, scope, thread_id, run_id)
        if found.active:
            await self.cancel(thread_id, [run_id], "interrupt", "the run was deleted")
            await self.ended(run_id)
        await self.database.write(self._delete_run, scope, thread_id, run_id, found.active)
        self.signals.notify(f"run:{run_id}")
        self.signals.notify("feed")

    def _delete_run(self, tx: Tx, scope: Scope, thread_id: str, run_id: str, ended: bool) -> None:
        """`ended` by this: its end stays in the log, for who was away."""
        run.get(tx, scope, thread_id, run_id)
        pruning.delete_for_runs(tx, [run_id], thread_id)
        last = run.last_ended(tx, thread_id)
        newest = last is not None and last.run_id == run_id
        threads.forget_run(tx, thread_id, self.states.pending(tx, thread_id), newest=newest)
        self.log.erase_run(tx, thread_id, run_id, kept=END if ended else None)
        queue.delete(tx, run_id)

    async def thread(self, scope: Scope, thread_id: str) -> Thread:
        """As a client sees it, with its values; those that a crash left behind are read from the state."""
        found = await self.database.read(threads.get, scope, thread_id, values=True, shown=True)
        if found.values is None and found.interrupts is not None and found.status != "busy":
            values = await self.on_state_loop(self.states.values(scope, thread_id))
            return replace(found, values=values)
        return found

    async def _stop_all(self, thread_id: str) -> None:
        there = await self.database.read(run.active, thread_id)
        if there:
            await self.cancel(thread_id, [one.run_id for one in there], "interrupt", "the thread was deleted")
            for one in there:
                if not await self.ended(one.run_id):
                    logger.warning("a run outlives its thread; its writes are refused", run_id=one.run_id)

    async def output(self, thread_id: str, run_id: str) -> bytes:
        """What `wait` answers for a run that has ended."""
        return await self.on_state_loop(self.states.output(ALL, thread_id, run_id))

    async def stop(self) -> None:
        """Claim no more, give running runs their grace, put the rest back, then end every stream."""
        if not self.log.closing:
            await self.worker.drain(self.settings.drain_grace_s)
            self.log.close()

    def submit_cron(self, tx: Tx, cron: Cron) -> None:
        with under(tx.context_of(cron_id=cron.cron_id)):
            self._submit(tx, ALL, [(cron.request, new_id())], cron.thread_id, "")

    async def snapshot(self) -> Snapshot:
        """For the metrics."""
        found = await self.database.read(_snapshot)
        return replace(found, workers_max=self.worker.limits.max_runs, workers_active=self.worker.load)

    async def on_state_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.state_loop))


def _snapshot(tx: Tx) -> Snapshot:
    now = stamp(tx.now)
    due = "FROM runs WHERE status = 'pending' AND start_at <= :now"
    free = "NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.thread_id = runs.thread_id AND r.status = 'running')"
    sizes = tx.one(
        "SELECT (SELECT count(*) FROM runs WHERE status = 'pending') AS pending, "
        "(SELECT count(*) FROM runs WHERE status = 'running') AS running, "
        f"(SELECT min(start_at) {due}) AS first, (SELECT min(start_at) {due} AND {free}) AS free, "
        f"(SELECT start_at {due} ORDER BY start_at LIMIT 1 OFFSET (SELECT count(*) / 2 {due})) AS middle",
        now=now,
    )
    assert sizes is not None

    def waited(name: str) -> float | None:
        at = sizes[name]
        return (tx.now - datetime.fromisoformat(at)).total_seconds() if at is not None else None

    counters = {row["name"]: row["value"] for row in tx.all("SELECT name, value FROM counters")}
    return Snapshot(sizes["pending"], sizes["running"], waited("first"), waited("middle"), waited("free"), counters)
