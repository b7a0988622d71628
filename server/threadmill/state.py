"""The state of a thread: read, history, update. Works on checkpoints through the thread's own graph.

Runs on an event loop apart from both the HTTP loop and the runs: building a big state takes time, and a node that
blocks must not keep anybody from reading.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import structlog
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.errors import InvalidUpdateError
from langgraph.store.base import BaseStore
from langgraph.types import Command, Interrupt, PregelTask, StateSnapshot, StateUpdate

from threadmill import interrupts, plain, summary, threads
from threadmill.changed import gone
from threadmill.errors import BadRequest, Conflict
from threadmill.graphs import Graph, Graphs, output_of
from threadmill.interrupts import Pending
from threadmill.jsonable import dumps
from threadmill.scope import ALL, Scope
from threadmill.threads import Thread
from threadmill_checkpoints.database import Database, Tx
from threadmill_checkpoints.saver import heads
from threadmill_checkpoints.saver.sqlite import SqliteSaver
from threadmill_checkpoints.sealing import CONTEXT, under
from threadmill_checkpoints.serde import Unreadable

logger = structlog.get_logger("threadmill.state")

T = TypeVar("T")
NO_GRAPH = (
    "Thread '{}' has no assigned graph ID. This usually occurs when no runs have been made on this particular thread. "
    "This operation requires a graph ID. Please ensure a run has been made for the thread or manually update the "
    "thread metadata (by setting the 'graph_id' field) before running this operation."
)
# What reducers raise over values that they cannot take: of a number where a list is meant, of a message without a role.
REFUSALS = (TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError)
EMPTY: dict[str, Any] = {
    "values": {},
    "next": [],
    "tasks": [],
    "metadata": None,
    "created_at": None,
    "checkpoint": None,
    "parent_checkpoint": None,
    "interrupts": [],
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in a thread's history; no id means the newest."""

    checkpoint_id: str | None = None
    checkpoint_ns: str = ""

    def config(self, thread_id: str) -> dict[str, Any]:
        place = {"thread_id": thread_id, "checkpoint_ns": self.checkpoint_ns}
        return {"configurable": place | ({"checkpoint_id": self.checkpoint_id} if self.checkpoint_id else {})}


@dataclass(frozen=True, slots=True)
class States:
    """Every method raises NotFound for an unknown thread."""

    graphs: Graphs
    database: Database
    store: BaseStore
    new_saver: Callable[..., SqliteSaver]

    @property
    def serde(self) -> SerializerProtocol:
        return self.new_saver().serde

    async def get(self, scope: Scope, thread_id: str, at: Checkpoint, *, subgraphs: bool = False) -> dict[str, Any]:
        thread = await self.database.read(threads.get, scope, thread_id)
        if "graph_id" not in thread.metadata:
            return EMPTY
        snapshot = await self._snapshot(thread, at, subgraphs=subgraphs)
        return EMPTY if snapshot is None else _shown(snapshot)

    async def _snapshot(self, thread: Thread, at: Checkpoint, *, subgraphs: bool = False) -> StateSnapshot | None:
        config = self._config(thread, at)

        async def read(graph: Graph) -> StateSnapshot | None:
            found = await graph.aget_state(config, subgraphs=subgraphs)
            if not found.next and thread.status == "interrupted" and not at.checkpoint_id:
                head = await self.new_saver().aget_tuple(config)
                if head is not None and gone(graph, head.checkpoint["channel_values"]):
                    return plain.snapshot(head)
            return found

        async def as_stored() -> StateSnapshot | None:
            found = await self.new_saver().aget_tuple(config)
            return found and plain.snapshot(found)

        return await self._read(thread, read, as_stored)

    async def values(self, scope: Scope, thread_id: str) -> bytes | None:
        """The newest state alone, as JSON; None when there is none."""
        state = await self.get(scope, thread_id, Checkpoint())
        return dumps(state["values"]) if state["checkpoint"] else None

    async def refresh(self, thread_id: str) -> None:
        """After its head was moved: what the thread shows is read from there."""
        thread = await self.database.read(threads.get, ALL, thread_id)
        if "graph_id" not in thread.metadata:
            return
        snapshot = await self._snapshot(thread, Checkpoint())
        if snapshot is None:
            return

        def keep(tx: Tx) -> None:
            at = snapshot.config["configurable"].get("checkpoint_id")
            still = threads.exists(tx, ALL, thread_id) and heads.head(tx, thread_id) == at
            if still and threads.get(tx, ALL, thread_id).status != "busy":
                self._keep(tx, thread_id, snapshot)

        with under(CONTEXT.get() or await self.database.read(_context, thread_id)):
            await self.database.write(keep)

    async def history(
        self,
        scope: Scope,
        thread_id: str,
        at: Checkpoint,
        *,
        limit: int,
        before: Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Newest first."""
        thread = await self.database.read(threads.get, scope, thread_id)
        if "graph_id" not in thread.metadata or limit < 1:
            return []
        how: Any = {"before": before.config(thread_id) if before else None, "limit": limit}
        how["filter"] = dict(metadata) if metadata else None
        config = self._config(thread, at)

        async def read(graph: Graph) -> list[StateSnapshot]:
            return [snapshot async for snapshot in graph.aget_state_history(config, **how)]

        async def as_stored() -> list[StateSnapshot]:
            return [plain.snapshot(found) async for found in self.new_saver().alist(config, **how)]

        return [_shown(snapshot) for snapshot in await self._read(thread, read, as_stored)]

    async def update(
        self, scope: Scope, thread_id: str, at: Checkpoint, values: Any, as_node: str | None
    ) -> dict[str, Any]:
        """Returns the place of the new checkpoint. Conflict while a run is pending or running."""
        return await self._write(scope, thread_id, at, [[StateUpdate(values, as_node)]])

    async def supersteps(self, scope: Scope, thread_id: str, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`steps` as in the body of POST /threads."""
        return await self._write(
            scope, thread_id, Checkpoint(), [[_update(update) for update in step["updates"]] for step in steps]
        )

    async def output(self, scope: Scope, thread_id: str, run_id: str) -> bytes:
        """What `wait` answers for a run that ended before anybody waited: from its last checkpoint. Of a run that made
        none, as one that was cancelled before it began, it is the state that it found.
        """
        thread = await self.database.read(threads.get, scope, thread_id)
        if "graph_id" not in thread.metadata:
            return b"null"
        async with self._open(thread, "threads.read") as graph:
            config = self._config(thread, Checkpoint())
            async for snapshot in graph.aget_state_history(config, filter={"run_id": run_id}, limit=1):
                output = output_of(graph, snapshot.values)
                if isinstance(output, dict) and not isinstance(graph.output_channels, str) and snapshot.interrupts:
                    output = {**output, "__interrupt__": list(snapshot.interrupts)}
                return dumps(output)
            return dumps(output_of(graph, (await graph.aget_state(config)).values))

    async def _read(
        self, thread: Thread, read: Callable[[Graph], Awaitable[T]], as_stored: Callable[[], Awaitable[T]]
    ) -> T:
        try:
            async with self._open(thread, "threads.read") as graph:
                return await read(graph)
        except Exception as error:  # the graph is gone, or the user's code fails: a conversation can always be read
            logger.warning("a state is shown as it is stored", thread_id=thread.thread_id, error=repr(error))
            return await as_stored()

    async def _write(
        self, scope: Scope, thread_id: str, at: Checkpoint, steps: list[list[StateUpdate]]
    ) -> dict[str, Any]:
        def unless_busy(tx: Tx) -> None:
            if threads.get(tx, scope, thread_id).status == "busy":
                raise Conflict(f"Thread {thread_id} has in-flight runs: wait for them, or cancel them.")

        thread = await self.database.read(threads.get, scope, thread_id)
        if "graph_id" not in thread.metadata:
            raise BadRequest(NO_GRAPH.format(thread_id))
        await self.database.read(unless_busy)
        with under(CONTEXT.get() or await self.database.read(_context, thread_id)):
            async with self._open(thread, "threads.update", guard=unless_busy) as graph:
                cast("SqliteSaver", graph.checkpointer).about = self.graphs.about(thread.metadata["graph_id"], graph)
                try:
                    config = await graph.abulk_update_state(self._config(thread, at), steps)
                except Unreadable:
                    raise
                except (InvalidUpdateError, ValueError) as error:
                    raise BadRequest(str(error)) from error
                except REFUSALS as error:
                    raise BadRequest(f"{type(error).__name__}: {error}") from error
                snapshot = await graph.aget_state(self._config(thread, Checkpoint()))
            await self.database.write(self._keep, thread_id, snapshot)
        place = _place(config) or {}
        return {"checkpoint": place, "configurable": place, "checkpoint_id": place["checkpoint_id"]}

    def _keep(self, tx: Tx, thread_id: str, snapshot: StateSnapshot) -> None:
        values = snapshot.values
        threads.set_state(
            tx,
            thread_id,
            outcome="interrupted" if snapshot.next else "idle",
            values=dumps(values),
            pending=self.pending(tx, thread_id),
            summary=summary.of_state(values),
        )

    def pending(self, tx: Tx, thread_id: str) -> list[Pending]:
        """What the thread waits for, as its newest checkpoint has it."""
        return interrupts.of_head(tx, thread_id, self.new_saver().serde)

    @asynccontextmanager
    async def _open(
        self, thread: Thread, access: Literal["threads.read", "threads.update"], **saver: Any
    ) -> AsyncIterator[Graph]:
        config: Any = {"configurable": {**thread.config.get("configurable", {}), "thread_id": thread.thread_id}}
        async with self.graphs.open(
            thread.metadata["graph_id"],
            config,
            access=access,
            store=self.store,
            checkpointer=self.new_saver(**saver),
        ) as graph:
            yield graph

    def _config(self, thread: Thread, at: Checkpoint) -> Any:
        place = at.config(thread.thread_id)["configurable"]
        own = thread.config.get("configurable", {})
        return {"configurable": {**own, "graph_id": thread.metadata["graph_id"], **place}}


def _context(tx: Tx, thread_id: str) -> Mapping[str, Any] | None:
    return tx.context_of(thread_id=thread_id)


def _update(update: Mapping[str, Any]) -> StateUpdate:
    command = update.get("command")
    if command is None:
        return StateUpdate(update.get("values"), update.get("as_node"))
    return StateUpdate(
        Command(update=command.get("update"), resume=command.get("resume"), goto=command.get("goto") or ()),  # type: ignore[arg-type]
        update.get("as_node"),
    )


def _shown(snapshot: StateSnapshot) -> dict[str, Any]:
    """A StateSnapshot as the wire has it."""
    here, parent = _place(snapshot.config), _place(snapshot.parent_config)
    return {
        "values": snapshot.values,
        "next": list(snapshot.next),
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": _metadata(snapshot),
        "created_at": snapshot.created_at,
        "checkpoint": here,
        "parent_checkpoint": parent,
        "interrupts": [_interrupt(one) for one in snapshot.interrupts],
        "checkpoint_id": here and here.get("checkpoint_id"),
        "parent_checkpoint_id": parent and parent.get("checkpoint_id"),
    }


def _metadata(snapshot: StateSnapshot) -> dict[str, Any] | None:
    """Without what is about a request, not about the state."""
    if snapshot.metadata is None:
        return None
    kept = {k: v for k, v in snapshot.metadata.items() if k not in ("langgraph_auth_user_id", "langgraph_request_id")}
    return {**kept, "thread_id": snapshot.config["configurable"]["thread_id"]}


def _place(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    place = (config or {}).get("configurable", {})
    keys = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {key: place[key] for key in keys if key in place} if place.get("checkpoint_id") else None


def _task(task: PregelTask) -> dict[str, Any]:
    nested = isinstance(task.state, StateSnapshot)
    return {
        "id": task.id,
        "name": task.name,
        "path": list(task.path),
        "error": None if task.error is None else str(task.error) if isinstance(task.error, str) else repr(task.error),
        "interrupts": [_interrupt(one) for one in task.interrupts],
        "checkpoint": None if nested or task.state is None else _subgraph(task.state),
        "state": _shown(task.state) if isinstance(task.state, StateSnapshot) else None,
        "result": task.result,
    }


def _subgraph(config: Any) -> dict[str, Any]:
    return {key: config["configurable"].get(key) for key in ("thread_id", "checkpoint_ns")}


def _interrupt(interrupt: Interrupt) -> dict[str, Any]:
    return {"id": interrupt.id, "value": interrupt.value}
