"""The state of a turn that was broken off, as it is to be: from the last checkpoint and what the log has since."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import (
    BaseMessage,
    RemoveMessage,
    ToolMessage,
    convert_to_messages,
    convert_to_openai_messages,
)
from langgraph.channels.base import BaseChannel
from langgraph.channels.delta import DeltaChannel
from langgraph.constants import END, START
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.pregel import Pregel
from langgraph.types import Overwrite, StateSnapshot, StateUpdate

from threadmill.events.event import Event
from threadmill.graphs import Graph
from threadmill.runs import recovery, repair
from threadmill.runs.run import Run
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver.deferred import DeferredSaver
from threadmill_checkpoints.saver.sqlite import SqliteSaver

MESSAGES = "messages"  # the channel in which LangGraph's own agents, and nearly all others, keep the conversation


@dataclass(frozen=True, slots=True)
class Closed:
    """The state after the turn; `write` stores it, in the transaction that ends the run."""

    values: Any
    write: Callable[[Tx], None]


def talks(graph: Any) -> bool:
    """Whether the graph keeps messages."""
    return isinstance(graph, Pregel) and MESSAGES in graph.channels


async def close(graph: Graph, saver: DeferredSaver, config: Any, run: Run, told: Sequence[Event]) -> Closed:
    """Bring the state to the end of the turn: what the run was given and what it said are in it, every tool call has
    an answer, and nothing is left to do. `told` is what its attempt recorded."""
    write: Callable[[Tx], None] = saver.write
    if any(isinstance(channel, DeltaChannel) for channel in graph.channels.values()):
        # Such a channel is rebuilt from what is stored: an update cannot wait for the others.
        graph.checkpointer = SqliteSaver(saver.database, serde=saver.serde, guard=saver.guard, memory=saver.memory)
        write = saver.guard
    turn = await broken_off(graph, config, run, told)
    return Closed(await _apply(graph, turn, repair.STOPPED), write)


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that was broken off. `config` names the place of its last checkpoint, `stored` says whether that is its
    own; `speaker` is the node that was at work."""

    config: Any
    stored: bool
    given: Any
    speaker: str
    tasks: bool
    told: repair.Told


async def broken_off(graph: Graph, config: Any, run: Run, told: Sequence[Event]) -> Turn:
    here: dict[str, Any] = {key: value for key, value in config["configurable"].items() if key != "checkpoint_map"}
    head: Any = {**config, "configurable": {key: value for key, value in here.items() if key != "checkpoint_id"}}
    snapshot = await graph.aget_state(head)
    stored = (snapshot.metadata or {}).get("run_id") in recovery.lineage(run)
    if not stored and here.get("checkpoint_id"):
        head = {**config, "configurable": here}
        snapshot = await graph.aget_state(head)
    going = {task.id: task.name for task in snapshot.tasks if task.result is None}
    held = _messages(snapshot) or []
    return Turn(
        head,
        stored,
        None if stored or run.kwargs["command"] is not None else run.kwargs["input"],
        next(iter(going.values()), START),
        bool(snapshot.tasks),
        # Of what it stored nothing, all that it said is still to be kept.
        repair.told(told, [one.id for one in held], lambda task: not stored or task in going),
    )


async def going_on(graph: Graph, config: Any, run: Run, told: Sequence[Event]) -> dict[str, Any] | None:
    """The update, or what the run was given, with what it said before it was broken off; None if that is nothing that
    can be added. Its tasks are still next."""
    turn = await broken_off(graph, config, run, told)
    said = repair.complete(turn.told.said, turn.told.results, repair.LOST)
    if not said:
        return None
    if turn.stored or run.kwargs["command"] is not None:
        snapshot = await graph.aget_state(turn.config)
        held = _messages(snapshot)
        return None if held is None else {MESSAGES: update_to(graph, snapshot.values.get(MESSAGES), [*held, *said])}
    if not isinstance(turn.given, dict) or not turn.given.get(MESSAGES):
        return None
    given = turn.given[MESSAGES]
    return {**turn.given, MESSAGES: [*(given if isinstance(given, list) else [given]), *said]}


async def _apply(graph: Graph, turn: Turn, reason: str) -> Any:
    config = turn.config
    steps: list[list[StateUpdate]] = []
    if turn.given is not None:
        steps.append([StateUpdate(turn.given, START)])
    if turn.tasks or steps:  # what finished tasks returned counts
        steps.append([StateUpdate(None, END)])
    if steps:
        config = await graph.abulk_update_state(config, steps)
    snapshot = await graph.aget_state(config)
    held = _messages(snapshot) if talks(graph) else None
    whole = repair.complete([*held, *turn.told.said], turn.told.results, reason) if held is not None else None
    if held is not None and whole is not None and whole != held:
        update = update_to(graph, snapshot.values.get(MESSAGES), whole)
        config = await _said_by(graph, config, turn.speaker, update)
        snapshot = await graph.aget_state(config)
    if snapshot.next:
        config = await graph.abulk_update_state(config, [[StateUpdate(None, END)]])
        snapshot = await graph.aget_state(config)
    return snapshot.values


async def _said_by(graph: Graph, config: Any, speaker: str, update: Any) -> Any:
    """The update as if a node had made it. Where the graph goes from there is the user's code, and may fail."""
    names = [speaker, *(name for name in (START, *graph.nodes) if name != speaker and name in graph.nodes)]
    for name in names:
        try:
            return await graph.abulk_update_state(config, [[StateUpdate({MESSAGES: update}, name)]])
        except Exception:
            if name == names[-1]:
                raise
    raise AssertionError("a graph has nodes")


async def mending(graph: Graph, config: Any, said: list[Any]) -> Any:
    """The update that gives every open tool call of a state its answer, then says what the client `said`, in which an
    answer may be; None when every call has one."""
    snapshot = await graph.aget_state(config)
    held = _messages(snapshot) or []
    heard: list[Any] = _read(said) or said
    brought = {one.tool_call_id: one for one in heard if isinstance(one, ToolMessage)}
    whole = repair.complete(held, brought, repair.LOST)
    if whole == held:
        return None
    placed = {id(one) for one in whole}
    left = [one for one, read in zip(said, heard, strict=True) if id(read) not in placed]
    update = update_to(graph, snapshot.values[MESSAGES], whole)
    return Overwrite([*update.value, *left]) if isinstance(update, Overwrite) else [*update, *left]


async def mend(graph: Graph, config: Any, update: Any) -> None:
    await _said_by(graph, config, START, update)


def _messages(snapshot: StateSnapshot) -> list[BaseMessage] | None:
    held = snapshot.values.get(MESSAGES, []) if isinstance(snapshot.values, dict) else None
    return _read(held) if isinstance(held, list) else None


def _read(listed: list[Any]) -> list[BaseMessage] | None:
    try:
        return convert_to_messages(listed)
    except (ValueError, NotImplementedError):
        return None


def update_to(graph: Graph, held: Any, whole: list[Any]) -> Any:
    """The update that makes the state's messages those, whatever the reducer. Raises ValueError when there is none."""
    held = held or []
    if any(isinstance(one, dict) and one.get("role") == "assistant" for one in held):
        whole = [*held, *convert_to_openai_messages(whole[len(held) :])]
    for update in _updates(held, whole):
        channel = cast("BaseChannel[Any, Any, Any]", graph.channels[MESSAGES]).from_checkpoint(list(held))
        try:
            channel.update([update])
            if _same(channel.get(), whole):
                return update
        except Exception:
            continue
    raise ValueError("the graph's reducer takes no such messages")


def _updates(held: list[Any], whole: list[Any]) -> Iterator[Any]:
    if whole[: len(held)] == held:
        yield whole[len(held) :]
    yield [RemoveMessage(id=REMOVE_ALL_MESSAGES), *whole]
    yield whole
    yield Overwrite(whole)


def _same(got: Any, whole: list[Any]) -> bool:
    return isinstance(got, list) and [_key(one) for one in got] == [_key(one) for one in whole]


def _key(message: Any) -> tuple[Any, ...]:
    if isinstance(message, dict):
        return (message.get("role"), message.get("tool_call_id"), message.get("content"))
    return (message.type, getattr(message, "tool_call_id", None), message.content)
