"""A history that any model takes, from any history; and an update that every kind of state takes."""

import operator
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from kit.strict import refuse_open_calls
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.channels import DeltaChannel
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from threadmill.jsonable import dumps
from threadmill.runs.closing import update_to
from threadmill.runs.repair import LOST, complete, told
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver.deferred import DeferredSaver
from threadmill_checkpoints.sqlite import SqliteDatabase

IDS = ("a", "b", "c")


def calling(*ids: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": one, "type": "tool_call"} for one in ids])


@some.composite
def histories(draw: Any) -> list[BaseMessage]:
    """Calls with answers somewhere behind them, early, late or never; each id is called once."""
    free, asked, found = list(IDS), list[str](), list[BaseMessage]()
    for kind in draw(some.lists(some.sampled_from(["human", "ai", "call", "answer"]), max_size=10)):
        if kind == "call" and free:
            now = [free.pop(0) for _ in range(draw(some.integers(1, len(free))))]
            asked += now
            found.append(calling(*now))
        elif kind == "answer" and asked:
            one = asked.pop(draw(some.integers(0, len(asked) - 1)))
            found.append(ToolMessage(f"result of {one}", tool_call_id=one))
        else:
            found.append(HumanMessage("hello") if kind == "human" else AIMessage("hello"))
    return found


@given(histories())
def test_every_call_is_answered_where_it_was_made(history: list[BaseMessage]) -> None:
    whole = complete(history, {}, LOST)
    refuse_open_calls(whole)
    assert complete(whole, {}, LOST) == whole
    kept = [one for one in whole if one.content != LOST]
    assert sorted(map(id, kept)) == sorted(map(id, history)), "nothing is lost or said twice"
    spoken = [one for one in history if not isinstance(one, ToolMessage)]
    assert [one for one in whole if not isinstance(one, ToolMessage)] == spoken, "what was said keeps its order"


def test_a_result_that_was_told_is_the_answer() -> None:
    history = [HumanMessage("go"), calling("a", "b", "c")]
    output = {"type": "tool", "content": "found", "tool_call_id": "b", "status": "error", "id": "42"}
    answers = complete(history, {"a": "plain", "b": output, "x": "unknown"}, LOST)[2:]
    assert [(one.content, getattr(one, "status", None)) for one in answers] == [
        ("plain", "success"),
        ("found", "error"),
        (LOST, "error"),
    ]


class Replacing(TypedDict):
    messages: list[AnyMessage]


class Adding(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]


def _fold(state: list[AnyMessage], writes: Any) -> list[AnyMessage]:
    for write in writes:
        state = add_messages(state, write)  # type: ignore[assignment, arg-type]
    return state


class Delta(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_fold)]


@pytest.mark.parametrize("state", [MessagesState, Replacing, Adding, Delta])
@pytest.mark.parametrize("place", ["end", "middle"])
def test_any_reducer_takes_it(state: Any, place: str) -> None:
    graph = StateGraph(state).add_node("node", lambda state: {}).add_edge(START, "node").compile()
    held: list[BaseMessage] = [HumanMessage("go", id="1"), calling("a")]
    held += [HumanMessage("well?", id="2")] if place == "middle" else []
    whole = complete(held, {}, LOST)
    channel: Any = graph.channels["messages"]
    channel = channel.from_checkpoint(list(held))
    channel.update([update_to(graph, held, whole)])
    assert [one.content for one in channel.get()] == [one.content for one in whole]


def event(method: str, data: Any) -> Any:
    from threadmill.events.event import Event

    return Event(1, "run", method, (), dumps(data))


def test_what_was_said_by_tasks_that_have_not_finished() -> None:
    def chunk(text: str, name: str, task: str, **more: Any) -> Any:
        message = {"type": "AIMessageChunk", "content": text, "id": name, **more}
        return event("messages", [message, {"langgraph_checkpoint_ns": f"node:{task}|inner:x"}])

    events = [
        chunk("he", "1", "going"),
        chunk("known", "2", "going"),
        chunk("gone", "3", "finished"),
        chunk("llo", "1", "going"),
        chunk([{"type": "thinking", "thinking": "hm", "index": 0}], "4", "going"),
        chunk([{"type": "text", "text": "so", "index": 1}], "4", "going"),
        chunk("", "5", "going", tool_call_chunks=[{"name": "x", "args": '{"a', "id": "c", "index": 0}]),
    ]
    found = told(events, ["2"], lambda task: task == "going")
    assert [(one.id, one.text) for one in found.said] == [("1", "hello"), ("4", "so")]
    assert found.said[1].content == [{"type": "text", "text": "so", "index": 1}], "thoughts without a signature go"


@pytest.mark.anyio
async def test_what_waits_is_stored_with_the_rest_or_not_at_all(tmp_path: Any) -> None:
    from threadmill_checkpoints.migrate import migrate_sqlite

    database = SqliteDatabase(tmp_path / "db.sqlite", prepare=migrate_sqlite)
    saver = DeferredSaver(database)
    graph = StateGraph(MessagesState).add_node("node", lambda state: {}).add_edge(START, "node").compile(saver)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    place = await graph.aupdate_state(config, {"messages": [HumanMessage("hello")]}, START)
    assert [one.content for one in (await graph.aget_state(place)).values["messages"]] == ["hello"]

    def fails(tx: Tx) -> None:
        saver.write(tx)
        raise RuntimeError("no")

    def count(tx: Tx) -> int:
        row = tx.one("SELECT (SELECT count(*) FROM checkpoints) + (SELECT count(*) FROM writes) AS n")
        return int(row["n"]) if row else 0

    with pytest.raises(RuntimeError):
        await database.write(fails)
    assert await database.read(count) == 0
    await database.write(saver.write)
    assert await database.read(count) > 0
    await database.close()
