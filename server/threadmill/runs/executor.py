"""One attempt of a run: load the graph, iterate it, say how it ended. Writes no status; the worker does."""

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal
from uuid import UUID

from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.store.base import BaseStore
from langgraph.types import Command, Send
from pydantic import BaseModel
from typing_extensions import is_typeddict

from threadmill import threads
from threadmill.auth import User
from threadmill.events.from_graph import Namespace, Tap
from threadmill.graphs import Graph, Graphs, output_of
from threadmill.jsonable import dumps
from threadmill.runs.queue import LostLease
from threadmill.runs.run import Action, Run
from threadmill_checkpoints.database import Database
from threadmill_checkpoints.saver import rows as checkpoints
from threadmill_checkpoints.saver.sqlite import SqliteSaver

LANGGRAPH = version("langgraph")
Ending = Literal["success", "error", "timeout", "interrupt", "rollback", "put_back"]


@dataclass
class Control:
    """How a running run is asked to stop: `stop` first, then the task is cancelled."""

    drain: RunControl = field(default_factory=RunControl)
    stop: Action | Literal["put_back"] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `values` is the state as JSON, `output` what `wait` answers, both None if nothing ran.

    `verify`, called in the transaction that ends the run, raises if a checkpoint before it could not be written.
    """

    ending: Ending
    paused: bool = False
    values: bytes | None = None
    output: bytes | None = None
    interrupts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    error: dict[str, str] | None = None
    summary: threads.Summary | None = None
    cause: BaseException | None = None
    verify: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Executor:
    graphs: Graphs
    database: Database
    store: BaseStore
    new_saver: Callable[..., SqliteSaver]
    timeout_s: float
    recursion_limit: int

    async def execute(
        self, run: Run, control: Control, record: Callable[[str, Namespace, bytes], None], guard: Callable[[Any], None]
    ) -> Outcome:
        """Never raises, except LostLease: the run is no longer this worker's."""
        kwargs = run.kwargs
        tap = Tap(record, kwargs["stream_mode"], subgraphs=kwargs["subgraphs"])
        saver = self.new_saver(guard=guard, wait=kwargs["durability"] == "sync")
        deadline = asyncio.timeout(self.timeout_s)
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
                await self._iterate(graph, run, tap, control)
                return await _finished(graph, run, tap, saver)
        except LostLease:
            raise
        except GraphDrained:
            return Outcome("put_back")
        except asyncio.CancelledError as error:
            if control.stop is None:  # nobody asked: a node cancelled itself
                return _failed(tap, "error", error)
            return await _stopped(tap, control, saver)
        except BaseException as error:  # the user's code: anything may come, and all of it ends the run properly
            if deadline.expired():
                return _failed(tap, "timeout", TimeoutError(f"The run took longer than {self.timeout_s:g} seconds."))
            return _failed(tap, "error", error)
        finally:
            tap.close()

    async def _iterate(self, graph: Graph, run: Run, tap: Tap, control: Control) -> None:
        kwargs = run.kwargs
        head = await self.database.read(checkpoints.head_run, run.thread_id) if run.attempt > 1 else None
        resumed = head is not None and head[1] == run.run_id
        config = self._config(run, tap, resumed=resumed)
        given = None if resumed else _input(kwargs)
        options: dict[str, Any] = {
            "interrupt_before": kwargs["interrupt_before"],
            "interrupt_after": kwargs["interrupt_after"],
            "durability": kwargs["durability"],
            "control": control.drain,
            "context": _context(graph, kwargs),
        }
        if "events" in kwargs["stream_mode"]:
            async for event in graph.astream_events(given, config, version="v2", stream_mode=[], **options):
                tap.event(event)
        else:
            async for _ in graph.astream(given, config, stream_mode=[], **options):
                pass

    def _config(self, run: Run, tap: Tap, *, resumed: bool) -> Any:
        """The run's config with our listeners. A resumed attempt goes on from the head, not from a named checkpoint."""
        config = dict(run.kwargs["config"])
        place = {
            key: value
            for key, value in config["configurable"].items()
            if not (resumed and key in ("checkpoint_id", "checkpoint_map"))
        }
        if place.get("langgraph_auth_user") is not None:
            place["langgraph_auth_user"] = User(place["langgraph_auth_user"])
        config["configurable"] = place | tap.config(self.store)
        config["metadata"] = {**config["metadata"], "run_attempt": run.attempt, "run_id": run.run_id} | {
            "langgraph_version": LANGGRAPH
        }
        config["callbacks"] = tap.callbacks()
        config["run_id"] = UUID(run.run_id)
        config.setdefault("run_name", run.graph_id)
        config.setdefault("recursion_limit", self.recursion_limit)
        return config


def _input(kwargs: dict[str, Any]) -> Any:
    """A command wins over an input."""
    command = kwargs["command"]
    if command is None:
        return kwargs["input"]
    named: dict[str, Any] = {}
    if command.get("resume") is not None:
        named["resume"] = command["resume"]
    if command.get("update") is not None:
        update = command["update"]
        pairs = isinstance(update, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in update)
        named["update"] = [tuple(pair) for pair in update] if pairs else update
    if command.get("goto"):
        named["goto"] = _goto(command["goto"])
    return Command(**named) if named else None


def _goto(goto: Any) -> Any:
    if isinstance(goto, list):
        return [_goto(one) for one in goto]
    return Send(goto["node"], goto.get("input")) if isinstance(goto, dict) else goto


def _context(graph: Graph, kwargs: dict[str, Any]) -> Any:
    """What the graph's schema does not know is left out: context mirrors configurable, which may hold more."""
    context = kwargs["context"]
    schema = graph.context_schema
    if schema is None:
        return context or None
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        known = set(schema.model_fields)
    elif dataclasses.is_dataclass(schema):
        known = {one.name for one in dataclasses.fields(schema)}
    elif is_typeddict(schema):
        known = set(schema.__annotations__)
    else:
        return context
    return {key: value for key, value in context.items() if key in known}


async def _finished(graph: Graph, run: Run, tap: Tap, saver: SqliteSaver) -> Outcome:
    values, encoded = tap.values, tap.encoded
    interrupts: dict[str, list[dict[str, Any]]] = {}
    if tap.paused or values is None:
        snapshot = await graph.aget_state({"configurable": {"thread_id": run.thread_id}})
        values, encoded = (snapshot.values, None) if values is None else (values, encoded)
        for task in snapshot.tasks:
            if task.interrupts:
                interrupts[task.id] = [{"id": one.id, "value": one.value} for one in task.interrupts]
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
        interrupts=interrupts,
        summary=_summary(values),
        verify=saver.verify,
    )


async def _stopped(tap: Tap, control: Control, saver: SqliteSaver) -> Outcome:
    if control.stop == "put_back":
        return Outcome("put_back")
    try:
        async with asyncio.timeout(5):
            await saver.settled()
    except LostLease:
        raise
    except Exception as error:  # the state stays at the last checkpoint that could be written
        return _failed(tap, "error", error)
    known = tap.values is not None
    values = dumps(tap.values) if known else None
    return dataclasses.replace(
        stopped_early("rollback" if control.stop == "rollback" else "interrupt", control.reason),
        values=values,
        output=values or b"null",
        summary=_summary(tap.values) if known else None,
    )


def stopped_early(action: Action, reason: str = "stop requested") -> Outcome:
    name = "UserRollback" if action == "rollback" else "UserInterrupt"
    return Outcome(action, error={"error": name, "message": reason})


def _failed(tap: Tap, ending: Ending, error: BaseException) -> Outcome:
    known = tap.values is not None
    return dataclasses.replace(
        failed(error, ending),
        values=dumps(tap.values) if known else None,
        summary=_summary(tap.values) if known else None,
    )


def failed(error: BaseException, ending: Ending = "error") -> Outcome:
    shown = {"error": type(error).__name__, "message": str(error)}
    return Outcome(ending, output=dumps({"__error__": shown}), error=shown, cause=error)


def _summary(values: Any) -> threads.Summary | None:
    return threads.summarise(values.get("messages")) if isinstance(values, dict) else None
