"""The worker: starts runs, keeps their leases, and sees to their end.

Graphs run on an event loop and thread of their own, so that a node that blocks stops neither the API nor a stream.
Everything here runs on that loop, except `claim`, `settle` and what they call, which run inside transactions.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog

from threadmill import threads
from threadmill.events.event import METADATA, Event, newest_attempt
from threadmill.events.log import EventLog
from threadmill.ids import stamp
from threadmill.jsonable import dumps
from threadmill.metrics import Metrics
from threadmill.runs import queue, recovery
from threadmill.runs import run as runs
from threadmill.runs.ending import Endings
from threadmill.runs.executor import Control, Executor
from threadmill.runs.outcome import Outcome, failed
from threadmill.runs.queue import LostLease
from threadmill.runs.run import REASONS, Action, Run
from threadmill.scope import ALL
from threadmill.signals import Signals
from threadmill_checkpoints.database import Database, Tx
from threadmill_checkpoints.sealing import CONTEXT

logger = structlog.get_logger("threadmill.worker")

EPHEMERAL_S = 60.0  # a stateless run's thread stays this long for a reader that comes back
HEED_S = 0.1  # for a node to end when its run was stopped; then the run ends without it
TICK_S = 5.0  # at the most between two looks at the tables
SETTLE_AGAIN_S = 0.5  # between two attempts to write the end of a run


@dataclass(slots=True)
class _Running:
    run: Run
    control: Control = field(default_factory=Control)
    task: "asyncio.Task[Outcome] | None" = None
    stopping: "asyncio.Future[None]" = field(init=False)  # done when it was asked to stop

    def end(self) -> None:
        """On the worker's loop."""
        assert self.task is not None
        if not self.stopping.done():  # once: the second time it would cut short how the run ends
            self.task.cancel()
            self.stopping.set_result(None)


@dataclass(frozen=True, slots=True)
class Limits:
    max_runs: int = 256
    lease_s: float = 30.0
    max_attempts: int = 3
    on_crash: str = "retry"


class Worker:
    """`name` must be unique among all workers of the database, in time too. Call `start` once, then `drain`."""

    def __init__(
        self,
        name: str,
        database: Database,
        log: EventLog,
        signals: Signals,
        executor: Executor,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self.limits = limits
        self.outputs: dict[str, bytes] = {}  # of runs that somebody waits for
        self._database = database
        self._log = log
        self._signals = signals
        self._executor = executor
        self._metrics = metrics
        self._running: dict[str, _Running] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._accepting = False
        self._idle = threading.Event()
        self._idle.set()
        self.loop = _new_event_loop()
        self.endings = Endings(log, signals, executor.pending, limits.on_crash, limits.max_attempts)
        self._thread = threading.Thread(target=self._serve, name="graphs", daemon=True)

    # Life

    async def start(self) -> None:
        """Take over what a dead process left, then begin to claim."""
        self._thread.start()
        lost = await self._database.write(self._recover, everyone=True)
        for run in lost:
            logger.warning("run found after a crash", thread_id=run.thread_id, run_id=run.run_id, attempt=run.attempt)
        self._accepting = True
        self._own(self._tick())

    async def drain(self, grace_s: float) -> None:
        """Claim no more; let running runs end or reach a checkpoint within `grace_s`; put the rest back."""
        self._accepting = False
        for running in list(self._running.values()):
            self.loop.call_soon_threadsafe(running.control.drain.request_drain, "shutdown")
        if not await asyncio.to_thread(self._idle.wait, grace_s):
            for running in list(self._running.values()):
                self._cancel(running.run.run_id, "put_back", "the server is stopping")
            await asyncio.to_thread(self._idle.wait, 5.0)
        for run_id in self._running:
            logger.error("a run did not stop; its lease will expire", run_id=run_id)
        asyncio.run_coroutine_threadsafe(self._finish(), self.loop)
        await asyncio.to_thread(self._thread.join, 5.0)

    @property
    def thread_id(self) -> int:
        return self._thread.ident or 0

    @property
    def load(self) -> int:
        return len(self._running)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        # Synchronous nodes run in these threads; as many may block as runs may be under way.
        self.loop.set_default_executor(ThreadPoolExecutor(max(32, self.limits.max_runs), "node"))
        self.loop.run_forever()

    async def _finish(self) -> None:
        """End what belongs to the worker, and with it the loop. A thread that a node blocks is left behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait({asyncio.ensure_future(asyncio.gather(*self._tasks, return_exceptions=True))}, timeout=2)
        self.loop.stop()

    def _keep(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _own(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start a task that is kept until it is done and whose failure is logged."""

        def begin() -> None:
            task = self.loop.create_task(work)
            self._keep(task)
            task.add_done_callback(_report)

        self.loop.call_soon_threadsafe(begin)

    # Starting

    def claim(self, tx: Tx, run_id: str | None = None, *, leaving: int = 0) -> Run | None:
        """In a transaction: start the run that is due, or `run_id` if it is. It begins when the transaction commits.

        `leaving`: how many running runs the same transaction ends.
        """
        if not self._accepting or len(self._running) - leaving >= self.limits.max_runs:
            return None
        run = queue.claim(tx, self.name, self.limits.lease_s, run_id, broken=self._executor.graphs.errors)
        if run is None:
            return None
        self._log.open_run(tx, run.thread_id, (run.run_id, run.attempt))
        mend, context = threads.may_have_open_calls(tx, run.thread_id), tx.context_of(run_id=run.run_id)
        tx.on_commit(partial(self._begin, run, mend, context))
        threads.forget_open_calls(tx, run.thread_id)  # unknown until a state is known again
        return run

    def _begin(self, run: Run, mend: bool, context: Mapping[str, Any] | None) -> None:
        control = Control(mend=mend, stop=run.stop, reason=REASONS[run.stop] if run.stop else "")
        self._running[run.run_id] = running = _Running(run, control)
        self._idle.clear()
        if run.stop is None:  # else it does not go on, and nothing of what it said is given up
            begun = {"run_id": run.run_id, "attempt": run.attempt}
            self._log.append(run.thread_id, run.run_id, METADATA, (), dumps(begun))
        self._signals.notify(f"started:{run.run_id}")
        self._signals.notify("feed")
        self._own(self._work(running, context))

    async def _work(self, running: _Running, context: Mapping[str, Any] | None) -> None:
        CONTEXT.set(context)
        run, control = running.run, running.control
        log = logger.bind(thread_id=run.thread_id, run_id=run.run_id, graph_id=run.graph_id, attempt=run.attempt)
        log = log.bind(request_id=run.kwargs["config"]["configurable"].get("langgraph_request_id"))
        log.debug("run started")
        began = self.loop.time()
        attempt = self._executor.attempt(
            run,
            control,
            self._metrics.first_output(run, partial(self._log.append, run.thread_id, run.run_id)),
            partial(queue.hold, run_id=run.run_id, attempt=run.attempt),
            partial(self._told, run),
        )
        running.stopping = self.loop.create_future()
        try:
            with structlog.contextvars.bound_contextvars(thread_id=run.thread_id, run_id=run.run_id):
                running.task = self.loop.create_task(self._executor.execute(attempt), name=f"run {run.run_id}")
            if control.stop is not None:  # asked to stop before it had begun
                running.end()
            if not await self._over(running):
                log.warning("a node goes on after the stop; what it still does is refused")
                control.left = True
            if control.left or running.task.cancelled():
                outcome = await self._executor.stopped(attempt)
            else:
                outcome = running.task.result()
            if outcome.cause is not None:
                log.warning("run failed", error=outcome.error, exc_info=outcome.cause)
            try:
                await self._database.write(self._settle, run, outcome, control)
            except LostLease:
                raise
            except Exception as error:  # a checkpoint or the end itself could not be written
                log.exception("run could not be settled")
                outcome = failed(error)
                await self._settle_when_possible(run, outcome, control)
            log.info("run ended", ending=outcome.ending, seconds=round(self.loop.time() - began, 3))
        except LostLease:
            log.warning("run lost to another attempt or deleted")
            self._release(run.run_id)
            await self._database.write(self._abandon, run)
        finally:
            self._release(run.run_id)
            self._signals.notify(f"run:{run.run_id}")
            self._signals.notify(f"thread:{run.thread_id}")
            self._signals.notify("feed")

    async def _settle_when_possible(self, run: Run, outcome: Outcome, control: Control) -> None:
        """A full disk refuses the end, too. Whoever gave up at once would leave a run that is over to its lease."""
        until = self.loop.time() + self.limits.lease_s
        while True:
            try:
                return await self._database.write(self._settle, run, outcome, control)
            except LostLease:
                raise
            except Exception:
                if not self._accepting or self.loop.time() > until:
                    raise
            await asyncio.sleep(SETTLE_AGAIN_S)

    async def _over(self, running: _Running) -> bool:
        """Wait for the run to end. False: it was asked to, and a node of it does not heed that."""
        assert running.task is not None
        while True:
            ends: set[asyncio.Future[Any]] = {running.task, running.stopping}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if running.task.done():
                running.stopping.cancel()
                return True
            if (await asyncio.wait({running.task}, timeout=HEED_S))[0]:
                return True
            if running.control.heeded:  # it takes its time to write what was said
                await asyncio.wait({running.task})
                return True
            if running.control.stop != "put_back":
                self._keep(running.task)
                return False

    async def _told(self, run: Run) -> list[Event]:
        """What the newest attempt recorded, behind that of the run that it recovers, unless it says that anew."""
        of, choice = recovery.of(run) or (run.run_id, "regenerate")
        first = (await self._database.read(runs.find, ALL, of) or run).first_seq
        found = await self._log.read(run.thread_id, (first or 1) - 1)
        these = [run.run_id] if choice == "regenerate" else [of, run.run_id]
        return [one for run_id in these for one in newest_attempt([e for e in found if e.run_id == run_id])]

    def _release(self, run_id: str) -> None:
        self._running.pop(run_id, None)
        if not self._running:
            self._idle.set()

    # Ending

    def _settle(self, tx: Tx, run: Run, outcome: Outcome, control: Control) -> None:
        """One transaction: the end of the run, and the next run's start."""
        queue.hold(tx, run.run_id, run.attempt)
        outcome = self.endings.settle(tx, run, outcome, control)
        if outcome.output is not None:
            tx.on_commit(partial(self._hand_over, run.run_id, outcome.output))
        tx.on_commit(partial(self._release, run.run_id))
        tx.on_commit(partial(self._signals.notify, f"run:{run.run_id}"))
        if outcome.ending != "put_back":
            self.claim(tx, leaving=1)

    def _hand_over(self, run_id: str, output: bytes) -> None:
        if self._signals.watched(f"output:{run_id}"):
            self.outputs[run_id] = output

    def _abandon(self, tx: Tx, run: Run) -> None:
        """Give up the writer's place in the log; what was streamed stays in it."""
        if tx.one("SELECT 1 FROM threads WHERE thread_id = :thread_id", thread_id=run.thread_id):
            self._log.give_up(tx, run.thread_id, (run.run_id, run.attempt))
        else:
            self._log.forget(run.thread_id)

    # Stopping

    def stop(self, run_id: str, action: Action, reason: str) -> None:
        """Tell a running run to stop; the request itself is already a row. From any thread."""
        self._cancel(run_id, action, reason)

    def say(self, run_id: str, message: dict[str, Any]) -> None:
        """Something to a run while it runs; it is a row already. From any thread."""
        if (running := self._running.get(run_id)) is not None:
            self.loop.call_soon_threadsafe(running.control.say, message)

    def pause(self, run_id: str) -> None:
        """Let a running run come to a safe point and wait there; its row says so already. From any thread."""
        if (running := self._running.get(run_id)) is not None:
            running.control.pausing = True
            self.loop.call_soon_threadsafe(running.control.drain.request_drain, "pause")

    def _cancel(self, run_id: str, stop: Any, reason: str) -> None:
        running = self._running.get(run_id)
        if running is None or running.control.stop is not None:
            return
        running.control.stop, running.control.reason = stop, reason
        if running.task is not None:
            self.loop.call_soon_threadsafe(running.end)

    # Looking after

    async def poke(self) -> None:
        """Claim whatever is due."""
        if self._accepting:
            await self._database.write(self._claim_due)

    def _claim_due(self, tx: Tx) -> str | None:
        """Claim until nothing is due or the worker is full; returns when the next run is due."""
        room = self.limits.max_runs - len(self._running)
        while room > 0 and self.claim(tx) is not None:
            room -= 1
        return queue.next_start(tx)

    def _recover(self, tx: Tx, *, everyone: bool = False) -> list[Run]:
        """Put back what dead workers left; give up on runs that crash again and again."""
        lost = queue.requeue_expired(tx, all_workers_gone=everyone)
        for run in lost:
            self.endings.lost(tx, run)
        return lost

    async def _tick(self) -> None:
        """Until the loop ends: leases, stops, dead workers, due runs, leftovers."""
        interval = min(TICK_S, self.limits.lease_s / 3)
        with self._signals.subscribe("queue") as waiter:
            while True:
                wait = interval
                try:
                    next_start = await self._database.write(self._look_after)
                    if next_start is not None:
                        due = datetime.fromisoformat(next_start) - datetime.now(UTC)
                        wait = min(interval, max(0.01, due.total_seconds()))
                except Exception:  # the tick must outlive a full disk
                    logger.exception("the worker's tick failed")
                await waiter.wait(wait)

    def _look_after(self, tx: Tx) -> str | None:
        mine = queue.renew(tx, self.name, list(self._running), self.limits.lease_s)
        for run_id, action in mine.items():
            if action is not None:
                self._cancel(run_id, action, REASONS[action])
        for run_id in self._running.keys() - mine.keys():
            self._cancel(run_id, "put_back", "the lease was lost")
        for run in self._recover(tx):
            logger.warning("run found without a worker", thread_id=run.thread_id, run_id=run.run_id)
        threads.delete_ephemeral(tx, stamp(tx.now - timedelta(seconds=EPHEMERAL_S)))
        return self._claim_due(tx)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # not on Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _report(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("a task of the worker failed", exc_info=task.exception())
