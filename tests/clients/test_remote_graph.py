"""`RemoteGraph`: a graph that runs on the server, used like one that runs here."""

import inspect
import re
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.pregel import remote
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command, interrupt
from serving import Remote
from typing_extensions import TypedDict

pytestmark = [pytest.mark.anyio, pytest.mark.client("RemoteGraph")]
shows = pytest.mark.shows


def on_thread(thread_id: str | None = None) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id or str(uuid4())}}


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def texts(values: Any) -> list[str]:
    return [message["content"] for message in values["messages"]]


@shows("threads made by their first run", "stateless runs and batches")
def test_it_is_invoked(server: Remote) -> None:
    echo = RemoteGraph("echo", url=server.url)
    place = on_thread()
    assert texts(echo.invoke(human("one"), place)) == ["one", "1: one"]
    assert texts(echo.invoke(human("two"), place)) == ["one", "1: one", "two", "3: two"]
    assert texts(echo.invoke(human("alone"))) == ["alone", "1: alone"]


@shows("event protocol: messages, values, output")
async def test_it_streams_events(server: Remote) -> None:
    chat = RemoteGraph("chat", url=server.url)
    async with await chat.astream_events(human("hi"), on_thread(), version="v3") as run:
        values = [one async for one in run.values]
        assert values[-1]["messages"][-1]["content"][0]["text"] == "t0 t1 t2 "
        assert texts(await run.output()) == ["hi", "t0 t1 t2 "]


@shows("threads made by their first run", "context and config", "errors of a graph")
async def test_it_is_awaited(server: Remote) -> None:
    ctx = RemoteGraph("ctx", url=server.url)
    answer: Any = await ctx.ainvoke({"question": "?"}, on_thread(), context={"name": "Ada"})
    assert answer["reply"] == "Ada/None/vanilla"
    with pytest.raises(RemoteException, match="boom on purpose"):
        await RemoteGraph("boom", url=server.url).ainvoke({}, on_thread())


@shows("stream modes", "subgraph streams", "tokens")
async def test_it_streams(server: Remote) -> None:
    tools, sub = RemoteGraph("tools", url=server.url), RemoteGraph("sub", url=server.url)
    updates = [part async for part in tools.astream(human("add 2 3"), on_thread(), stream_mode="updates")]
    assert [next(iter(update)) for update in updates] == ["agent", "tools", "agent"]
    both = list(tools.stream(human("add 2 3"), on_thread(), stream_mode=["values", "custom"]))
    assert [part.data["status"] for part in both if part.event == "custom"] == ["adding 2 and 3", "added"]
    assert both[-1].data["messages"][-1]["content"] == "The result is 5."
    tokens = [chunk async for chunk in tools.astream(human("add 2 3"), on_thread(), stream_mode="messages")]
    said = [chunk["content"] for chunk, _ in tokens if chunk["type"] == AIMessageChunk.model_fields["type"].default]
    assert "".join(said) == "Let me see. The result is 5."
    inside = list(sub.stream({"messages": []}, on_thread(), stream_mode="updates", subgraphs=True))
    assert [(ns[0].split(":")[0] if ns else "", *part) for ns, part in inside] == [
        ("", "before"),
        ("child", "inner"),
        ("", "child"),
    ]


@shows("state and history", "state updates")
def test_its_state_is_read_and_written(server: Remote) -> None:
    counter = RemoteGraph("counter", url=server.url)
    place = on_thread()
    counter.invoke({"limit": 3}, place)
    state = counter.get_state(place)
    assert (state.values["n"], state.next) == (3, ())
    past = list(counter.get_state_history(place, limit=20))
    assert [one.values.get("n") for one in past] == [3, 2, 1, None, None]
    assert list(counter.get_state_history(place, before=past[1].config)) == past[2:]
    early = counter.get_state(past[2].config)
    assert (early.values, early.next) == (past[2].values, ("count",))
    config = counter.update_state(place, {"n": 7}, as_node="count")
    state = counter.get_state(place)
    assert (state.values["n"], state.config) == (7, config)


@shows("state and history", "state updates", "fork from a checkpoint")
async def test_its_state_is_forked(server: Remote) -> None:
    counter = RemoteGraph("counter", url=server.url)
    place = on_thread()
    await counter.ainvoke({"limit": 2}, place)
    past = [one async for one in counter.aget_state_history(place)]
    forked = await counter.aupdate_state(past[1].config, {"limit": 9})
    state = await counter.aget_state(place)
    assert state.config == forked
    assert state.parent_config == past[1].config
    answer: Any = await counter.ainvoke(None, place)
    assert answer["n"] == 9


@shows("graph drawing, schemas and subgraphs")
async def test_it_is_drawn(server: Remote) -> None:
    sub = RemoteGraph("sub", url=server.url)
    assert {node.name for node in (await sub.aget_graph()).nodes.values()} == {
        "__start__",
        "before",
        "child",
        "__end__",
    }
    assert "child:inner" in sub.get_graph(xray=True).nodes


@shows("interrupt and resume")
async def test_it_asks_and_is_answered(server: Remote) -> None:
    hitl = RemoteGraph("hitl", url=server.url)
    place = on_thread()
    asked: Any = await hitl.ainvoke({"n": 1}, place)
    assert asked["__interrupt__"][0]["value"] == {"question": "approve?", "n": 1}
    state = await hitl.aget_state(place)
    assert ([one.value for one in state.interrupts], state.next) == ([asked["__interrupt__"][0]["value"]], ("approve",))
    done: Any = await hitl.ainvoke(Command(resume="yes"), place)
    assert done["log"] == ["propose", {"approve": "yes"}, "done"]


@shows("breakpoints")
def test_it_stops_where_it_is_told(server: Remote) -> None:
    counter = RemoteGraph("counter", url=server.url)
    place = on_thread()
    counter.invoke({"limit": 1}, place, interrupt_before=["count"])
    assert counter.get_state(place).next == ("count",)
    answer: Any = counter.invoke(None, place)
    assert answer["n"] == 1


class Outer(TypedDict, total=False):
    messages: list[Any]
    log: list[Any]
    n: int


@shows("a remote graph as a node", "subgraph streams")
async def test_it_is_a_node_of_a_graph_that_runs_here(server: Remote) -> None:
    echo = RemoteGraph("echo", url=server.url, name="far")
    graph = StateGraph(Outer).add_node("far", echo).add_edge(START, "far").compile()
    answer = await graph.ainvoke(human("hello"))
    assert texts(answer) == ["hello", "1: hello"]
    parts = [part async for part in graph.astream(human("hello"), stream_mode="values", subgraphs=True)]
    assert [(len(ns), texts(values)) for ns, values in parts] == [
        (0, ["hello"]),
        (1, ["hello"]),
        (1, ["hello", "1: hello"]),
        (0, ["hello", "1: hello"]),
    ]


@shows("a remote graph as a node", "interrupt and resume")
async def test_a_question_from_afar_is_asked_and_answered_here(server: Remote) -> None:
    """The local graph pauses with the remote question; its answer goes on with the remote thread."""
    far = on_thread()
    hitl = RemoteGraph("hitl", url=server.url)

    async def ask(state: Outer, config: RunnableConfig) -> Outer:
        asked: Any = await hitl.ainvoke({"n": state["n"]}, far)
        if questions := asked.get("__interrupt__"):
            asked = await hitl.ainvoke(Command(resume=interrupt(questions[0]["value"])), far)
        return {"log": asked["log"]}

    graph = StateGraph(Outer).add_node("ask", ask).add_edge(START, "ask").compile(checkpointer=InMemorySaver())
    here = on_thread()
    paused = await graph.ainvoke({"n": 4}, here)
    assert paused["__interrupt__"][0].value == {"question": "approve?", "n": 4}
    done = await graph.ainvoke(Command(resume="yes"), here)
    assert done["log"][-2:] == [{"approve": "yes"}, "done"]


@shows("a remote graph as a node", "interrupt and resume")
async def test_a_remote_node_interrupts_the_graph_around_it(server: Remote) -> None:
    hitl = RemoteGraph("hitl", url=server.url, name="far")
    graph = StateGraph(Outer).add_node("far", hitl).add_edge(START, "far").compile(checkpointer=InMemorySaver())
    here = on_thread()
    paused = await graph.ainvoke({"n": 4}, here)
    assert [one.value for one in paused["__interrupt__"]] == [{"question": "approve?", "n": 4}]
    assert (await graph.aget_state(here)).next == ("far",)


METHODS = {
    *("assistants.get_graph", "threads.get_state", "threads.get_history", "threads.update_state"),
    *("runs.stream", "threads.stream"),  # the latter for `stream_events(version="v3")`
}


def test_it_asks_for_nothing_else() -> None:
    assert set(re.findall(r"\bclient\.(\w+\.\w+)\(", inspect.getsource(remote))) == METHODS
