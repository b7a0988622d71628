"""One attempt of a run: load the graph, iterate it, say how it ended. Writes no status; the worker does."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal, cast
from uuid import UUID

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONFIG_KEY_STRICT_RESUME, NULL_TASK_ID
from langgraph.errors import GraphDrained, InvalidUpdateError, UnknownInterruptError
from langgraph.runtime import RunControl
from langgraph.store.base import BaseStore
from langgraph.types import Command

from threadmill import effects, interrupts, summary
from threadmill.auth import User
from threadmill.changed import GraphChanged, gone
from threadmill.events.event import Event
from threadmill.events.from_graph import Namespace, Tap
from threadmill.graphs import Graph, Graphs, output_of, shown_of
from threadmill.interrupts import Pending, unanswered
from threadmill.jsonable import dumps
from threadmill.runs import closing, recovery, steering
from threadmill.runs.closing import Closed, talks
from threadmill.runs.given import context_of, input_of
from threadmill.runs.ledger import Ledger
from threadmill.runs.outcome import Ending, Outcome, failed, stopped_early
from threadmill.runs.queue import LostLease
from threadmill.runs.run import Action, Run
from threadmill_checkpoints.database import Database, Tx
from threadmill_checkpoints.saver import rows as checkpoints
from threadmill_checkpoints.saver.deferred import DeferredSaver
from threadmill_checkpoints.saver.sqlite import SqliteSaver

logger = structlog.get_logger("threadmill.executor")

LANGGRAPH = version("langgraph")
PLACE = ("thread_id", "checkpoint_ns", "checkpoint_id")
NAMED = ("checkpoint_id", "checkpoint_map")  # what names a checkpoint that is not the newest
Told = Callable[[], Awaitable[list[Event]]]


class ThreadInterrupted(Exception):
    """The run was asked to begin only if nothing is pending."""


@dataclass
class Control:
    """How a running run is asked to stop: `stop` first, then the task is cancelled."""

    drain: RunControl = field(default_factory=RunControl)
    stop: Action | Literal["put_back"] | None = None
    reason: str = ""
    mend: bool = False  # the state may have tool calls without an answer
    said: list[dict[str, Any]] = field(default_factory=list)  # to the run while it runs; `drain` was asked for then
    heard: list[str] = field(default_factory=list)  # ids of what was said and is in the state
    pausing: bool = False
    heeded: bool = False  # its task is ending it
    left: bool = False  # its task goes on after the run's end

    begun: bool = False  # its input is part of the state: what is said comes behind it

    def say(self, message: dict[str, Any]) -> None:
        """On the worker's loop."""
        self.said.append(message)
        if self.begun:
            self.drain.request_drain("something was said")

    def begin(self) -> None:
        """On the worker's loop, more than once."""
        if not self.begun:
            self.begun = True
            if self.said:
                self.drain.request_drain("something was said")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is under way, for whoever has to end it from outside. `told` reads what it recorded."""

    run: Run
    tap: Tap
    saver: SqliteSaver
    guard: Callable[[Tx], None]
    told: Told
    control: Control


@dataclass(frozen=True, slots=True)
class Executor:
    graphs: Graphs
    database: Database
    store: BaseStore
    new_saver: Callable[..., SqliteSaver]
    timeout_s: float
    recursion_limit: int

    def attempt(
        self,
        run: Run,
        control: Control,
        record: Callable[[str, Namespace, bytes], None],
        guard: Callable[[Tx], None],
        told: Told,
    ) -> Attempt:
        tap = Tap(record, run.kwargs["stream_mode"], control.begin, subgraphs=run.kwargs["subgraphs"])
        saver = self.new_saver(guard=guard, wait=run.kwargs["durability"] == "sync")
        return Attempt(run, tap, saver, guard, told, control)

    async def execute(self, attempt: Attempt) -> Outcome:
        """Never raises, except LostLease: the run is no longer this worker's."""
        run, tap, saver, control = attempt.run, attempt.tap, attempt.saver, attempt.control
        kwargs = run.kwargs
        deadline = asyncio.timeout(self.timeout_s)
        effects.current.set(Ledger(run, self.database, saver.serde, attempt.guard))
        try:
            async with (
                deadline,
                self.graphs.open(
                    run.graph_id,
                    kwargs["config"],
                    access="threads.create_run",
                    context=kwargs["context"],
                    store=self.store,
                    checkpointer=saver,
                ) as graph,
            ):
                if recovery.of(run) == (recovery.earlier(run), "keep"):
                    return await self._kept(attempt)
                saver.about = self.graphs.about(run.graph_id, graph)
                tap.show(shown_of(graph))
                await self._iterate(graph, attempt)
                return await _finished(graph, run, tap, saver)
        except LostLease:
            raise
        except GraphDrained:
            return Outcome("put_back")
        except asyncio.CancelledError as error:
            if control.stop is None:  # nobody asked: a node cancelled itself
                return _failed(tap, "error", error)
            if control.left:
                return Outcome("put_back")
            control.heeded = True
            return await self.stopped(attempt)
        except BaseException as error:  # the user's code: anything may come, and all of it ends the run properly
            if deadline.expired():
                return _failed(tap, "timeout", TimeoutError(f"The run took longer than {self.timeout_s:g} seconds."))
            return _failed(tap, "error", error)
        finally:
            tap.close()

    async def stopped(self, attempt: Attempt) -> Outcome:
        """How a run ends that was asked to. Also when its task does not end: what that still does is refused."""
        tap, saver, control = attempt.tap, attempt.saver, attempt.control
        tap.close()
        if control.stop == "put_back":
            return Outcome("put_back")
        if control.stop == "stop":
            tap.stopped(control.reason)
        try:
            async with asyncio.timeout(5):
                await saver.settled()
                saver.guard = _refuse
                closed = await self._closed(attempt) if control.stop == "stop" else None
        except LostLease:
            raise
        except Exception as error:  # the state stays at the last checkpoint that could be written
            return _failed(tap, "error", error)
        if closed is not None:
            return _complete(tap, closed)
        known = tap.values is not None
        values = dumps(tap.values) if known else None
        return dataclasses.replace(
            stopped_early("rollback" if control.stop == "rollback" else "interrupt", control.reason),
            values=values,
            # Nothing was told: it is the state that was there.
            output=_output(tap, tap.values, values) if values else b"null" if control.stop == "rollback" else None,
            summary=summary.of_state(tap.values) if known else None,
        )

    async def _closed(self, attempt: Attempt) -> Closed | None:
        run = attempt.run
        saver = cast("DeferredSaver", self.new_saver(guard=attempt.guard, defer=True))
        try:
            async with self.graphs.open(
                run.graph_id, run.kwargs["config"], access="threads.update", store=self.store, checkpointer=saver
            ) as graph:
                saver.about = self.graphs.about(run.graph_id, graph)
                attempt.tap.show(shown_of(graph))
                closed = await closing.close(graph, saver, _place(run), run, await attempt.told())
        except Exception:  # a reducer of the user's that takes no such update, or a graph that cannot be updated
            logger.exception("a stopped turn could not be closed", thread_id=run.thread_id, run_id=run.run_id)
            return None
        attempt.tap.last(closed.values)
        return closed

    async def _kept(self, attempt: Attempt) -> Outcome:
        closed = await self._closed(attempt)
        if closed is None:
            raise RuntimeError("What the run said could not be added to the state.")
        return dataclasses.replace(_complete(attempt.tap, closed), ending="success")

    async def _iterate(self, graph: Graph, attempt: Attempt) -> None:
        run, tap, control = attempt.run, attempt.tap, attempt.control
        kwargs = run.kwargs
        again = run.attempt > 1 or recovery.of(run) is not None
        head = await self.database.read(checkpoints.head_run, run.thread_id) if again else None
        resumed = head is not None and head[1] in recovery.lineage(run)
        config = self._config(run, tap, resumed=resumed)
        given = None if resumed else await self._given(run)
        if resumed and talks(graph):  # its first attempt may have heard it, and may have lost it again
            control.said = await self.database.read(steering.injected, recovery.earlier(run))
            given = self._hear(control) if control.said else None
        if recovery.of(run) == (recovery.earlier(run), "continue") and talks(graph):
            given = await self._continued(attempt, graph, given, own=head is not None and head[1] == run.run_id)
        if control.mend and given is not None and not isinstance(given, Command) and talks(graph):
            given = await _mended(graph, config, given)
        if given is None or (isinstance(given, Command) and not given.goto):
            await self._check_still_there(graph, attempt.saver, config, run)
        options: dict[str, Any] = {
            "interrupt_before": kwargs["interrupt_before"],
            "interrupt_after": kwargs["interrupt_after"],
            "durability": kwargs["durability"],
            "context": context_of(graph, kwargs),
        }
        tap.given(given)
        if given is None or isinstance(given, Command):
            control.begin()
        while True:
            try:
                await self._pass(graph, tap, given, config, {**options, "control": control.drain}, kwargs)
                return
            except GraphDrained:
                if control.pausing or control.stop or not control.said or not talks(graph):
                    raise
            # The tasks that were next are still next; they see what was said.
            given = self._hear(control)
            control.drain = RunControl()
            _to_head(config)

    async def _check_still_there(self, graph: Graph, saver: SqliteSaver, config: Any, run: Run) -> None:
        """Raises GraphChanged if what is next is gone: LangGraph would silently do nothing."""
        place = {"configurable": {k: v for k, v in config["configurable"].items() if k in PLACE}}
        head = await saver.aget_tuple(cast("RunnableConfig", place))
        if head is None:
            return
        missing = gone(graph, head.checkpoint["channel_values"])
        for ns, at in await self.database.read(checkpoints.begun_below, run.thread_id, head.checkpoint["id"]):
            place["configurable"] = {"thread_id": run.thread_id, "checkpoint_ns": ns, "checkpoint_id": at}
            below = await saver.aget_tuple(cast("RunnableConfig", place))
            missing += gone(graph, below.checkpoint["channel_values"], ns) if below else []
        if missing:
            raise GraphChanged(missing, run.graph_id)

    async def _continued(self, attempt: Attempt, graph: Graph, given: Any, *, own: bool) -> Any:
        """What the run is given, with what the crash broke off; not a second time if an attempt of its `own` has."""
        run = attempt.run
        if own or await self.database.read(self._commanded, run.thread_id, run.run_id):
            return given
        told = [event for event in await attempt.told() if event.run_id == recovery.earlier(run)]
        said = await closing.going_on(graph, _place(run), run, told)
        if said is None:
            return given
        if not isinstance(given, Command):
            return said if given is not None else Command(update=said)
        also = given.update if isinstance(given.update, dict) else {}
        more = also.get("messages") or []
        also = also | {"messages": [*said["messages"], *(more if isinstance(more, list) else [more])]}
        return dataclasses.replace(given, update=also)

    def _hear(self, control: Control) -> Command[Any]:
        heard, control.said = control.said, []
        control.heard += [message["id"] for message in heard]
        return Command(update={"messages": heard})

    async def _pass(
        self, graph: Graph, tap: Tap, given: Any, config: Any, options: dict[str, Any], kwargs: dict[str, Any]
    ) -> None:
        if "events" in kwargs["stream_mode"]:
            async for event in graph.astream_events(given, config, version="v2", stream_mode=[], **options):
                tap.event(event)
        else:
            async for _ in graph.astream(given, config, stream_mode=[], **options):
                pass

    async def _given(self, run: Run) -> Any:
        """What the run's request gives to the graph."""
        given = input_of(run.kwargs)
        again = run.attempt > 1 or recovery.of(run) is not None
        earlier = recovery.earlier(run)
        if isinstance(given, Command) and again and await self.database.read(self._commanded, run.thread_id, earlier):
            given = dataclasses.replace(given, update=None, goto=()) if given.resume is not None else None
        if isinstance(given, Command) and given.resume is not None:
            resume = await self.database.read(
                interrupts.addressed,
                run.thread_id,
                given.resume,
                self.new_saver().serde,
                at=run.kwargs["config"]["configurable"].get("checkpoint_id"),
                again=again,
                strict=_strict(run),
            )
            return dataclasses.replace(given, resume=resume)
        if run.kwargs.get("if_interrupted") == "reject" and given is not None and not isinstance(given, Command):
            asked = await self.database.read(self.pending, run.thread_id)
            if asked:
                raise ThreadInterrupted(unanswered([one.interrupt_id for one in asked]))
        return given

    def _commanded(self, tx: Tx, thread_id: str, run_id: str) -> bool:
        """Whether an earlier attempt stored its update or goto: a second time it would count twice."""
        written = checkpoints.head_writes(tx, thread_id)
        return any(w["task_id"] == NULL_TASK_ID and w["idx"] >= 0 and w["run_id"] == run_id for w in written)

    def pending(self, tx: Tx, thread_id: str) -> list[Pending]:
        """What the thread waits for, as its newest checkpoint has it."""
        return interrupts.of_head(tx, thread_id, self.new_saver().serde)

    def _config(self, run: Run, tap: Tap, *, resumed: bool) -> Any:
        """The run's config with our listeners. A resumed attempt goes on from the head, not from a named checkpoint."""
        config = dict(run.kwargs["config"])
        place = {key: value for key, value in config["configurable"].items() if not (resumed and key in NAMED)}
        if place.get("langgraph_auth_user") is not None:
            place["langgraph_auth_user"] = User(place["langgraph_auth_user"])
        if _strict(run):
            place[CONFIG_KEY_STRICT_RESUME] = True
        config["configurable"] = place | tap.config(self.store)
        config["metadata"] = {**config["metadata"], "run_attempt": run.attempt, "run_id": run.run_id} | {
            "langgraph_version": LANGGRAPH
        }
        config["callbacks"] = tap.callbacks()
        config["run_id"] = UUID(run.run_id)
        config.setdefault("run_name", run.graph_id)
        config.setdefault("recursion_limit", self.recursion_limit)
        return config


def _strict(run: Run) -> bool:
    """Not for a later attempt: an earlier one may have used the answer."""
    return bool(run.kwargs.get("strict_resume")) and run.attempt == 1 and recovery.of(run) is None


async def _finished(graph: Graph, run: Run, tap: Tap, saver: SqliteSaver) -> Outcome:
    values, encoded = tap.values, tap.encoded
    if values is None:
        values = (await graph.aget_state({"configurable": {"thread_id": run.thread_id}})).values
    encoded = encoded or dumps(values)
    output = output_of(graph, values)
    if tap.interrupts and isinstance(output, dict):
        output = {**output, "__interrupt__": tap.interrupts}
    elif tap.interrupts:
        output = {"__interrupt__": tap.interrupts}
    same = output is values or (
        isinstance(output, dict) and isinstance(values, dict) and output.keys() == values.keys()
    )
    return Outcome(
        "success",
        paused=tap.paused,
        values=encoded,
        output=encoded if same else dumps(output),
        summary=summary.of_state(values),
        verify=saver.verify,
    )


def _complete(tap: Tap, closed: Closed) -> Outcome:
    values = dumps(closed.values)
    output = _output(tap, closed.values, values)
    return Outcome("stop", values=values, output=output, summary=summary.of_state(closed.values), write=closed.write)


def _output(tap: Tap, values: Any, encoded: bytes) -> bytes:
    output = tap.output(values)
    return encoded if output is values else dumps(output)


async def _mended(graph: Graph, config: Any, given: Any) -> Any:
    """A new turn after one that was broken off: its open tool calls get an answer first."""
    place = {"configurable": {k: v for k, v in config["configurable"].items() if k in PLACE}}
    said = given.get("messages") if isinstance(given, dict) else None
    listed = said if isinstance(said, list) else [said] if said else []
    update = await closing.mending(graph, place, listed)
    if update is None:
        return given
    if listed:
        return {**given, "messages": update}
    # Not in the name of the run: LangGraph takes an input of the run that made the head for one that it has had.
    metadata = {name: value for name, value in config["metadata"].items() if name not in ("run_id", "run_attempt")}
    await closing.mend(graph, {**place, "metadata": metadata}, update)
    _to_head(config)
    return given


def _to_head(config: Any) -> None:
    """From here on at the newest checkpoint, no longer at a named one."""
    for name in NAMED:
        config["configurable"].pop(name, None)


def _place(run: Run) -> Any:
    """Where the run writes, and as whom."""
    own = run.kwargs["config"]
    metadata = {**own["metadata"], "run_id": run.run_id, "run_attempt": run.attempt}
    return {"configurable": {**own["configurable"], "checkpoint_ns": ""}, "metadata": metadata}


def _refuse(_: Tx) -> None:
    raise LostLease("the run was stopped")


def _failed(tap: Tap, ending: Ending, error: BaseException) -> Outcome:
    known = tap.values is not None
    return dataclasses.replace(
        failed(error, ending),
        refused=not known and isinstance(error, UnknownInterruptError | ThreadInterrupted | GraphChanged),
        # A command's update is stored before it is applied; one that cannot be would make the state unreadable.
        undone=not known and isinstance(error, InvalidUpdateError),
        values=dumps(tap.values) if known else None,
        summary=summary.of_state(tap.values) if known else None,
    )
