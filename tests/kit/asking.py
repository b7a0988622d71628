"""Graphs that ask people: side by side, one after the other, in one node, in subgraphs, in tools.

`BUILDERS` holds them uncompiled, so that a test can run the same graph with LangGraph's own saver.
"""

import operator
import time
from collections.abc import Callable
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, ToolCall
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    n: int


def note(text: str) -> Callable[[Log], dict[str, Any]]:
    def write(state: Log) -> dict[str, Any]:
        return {"log": [text]}

    return write


def ask(*questions: str) -> Callable[[Log], dict[str, Any]]:
    """A node that asks one thing after the other, then notes all answers."""

    def asks(state: Log) -> dict[str, Any]:
        if state.get("n") == 13:
            raise ValueError("thirteen")
        return {"log": [[question, interrupt({"ask": question, "n": state.get("n")})] for question in questions]}

    return asks


def chain(*nodes: tuple[str, Any]) -> StateGraph:
    graph = StateGraph(Log)
    for before, (name, node) in zip([START, *(name for name, _ in nodes)], nodes, strict=False):
        graph.add_node(name, node).add_edge(before, name)
    return graph.add_edge(nodes[-1][0], END)


def abreast(*nodes: tuple[str, Any]) -> StateGraph:
    """All at the same time, then `done`."""
    graph = StateGraph(Log).add_node("done", note("done"))
    for name, node in nodes:
        graph.add_node(name, node).add_edge(START, name)
    return graph.add_edge([name for name, _ in nodes], "done")


def ask_and_work(state: Log) -> dict[str, Any]:
    """Ask, then work for `n` seconds: time for others to ask on, and for a server to die."""
    answer = interrupt({"ask": "work", "n": None})
    time.sleep(state.get("n", 0))
    return {"log": [["work", answer]]}


_pair = abreast(("left", ask("left")), ("right", ask("right"))).compile()
_inner = chain(("enter", note("enter")), ("inner", ask("inner")), ("leave", note("leave"))).compile()
_middle = chain(("middle", note("middle")), ("deep", _inner)).compile()


class Shop(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    wanted: list[str]


@tool
def buy(thing: str) -> str:
    """Buy something, if somebody agrees."""
    return f"{thing}: {interrupt(f'buy {thing}?')}"


def choose(state: Shop) -> dict[str, Any]:
    calls = [ToolCall(name="buy", args={"thing": one}, id=f"call-{one}") for one in state["wanted"]]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def each_call(state: Shop) -> list[Send]:
    """A task for each tool call, as LangChain's agents do."""
    return [Send("tools", [call]) for call in state["messages"][-1].tool_calls]


BUILDERS: dict[str, StateGraph] = {
    "approvals": chain(("one", ask("one")), ("two", ask("two")), ("three", ask("three")), ("end", note("end"))),
    "thrice": chain(("begin", note("begin")), ("thrice", ask("first", "second", "third")), ("end", note("end"))),
    "trio": abreast(("a", ask("a")), ("b", ask("b")), ("c", ask("c"))),
    "busy_pair": abreast(("twice", ask("first", "second")), ("work", ask_and_work)),
    "nested": chain(("begin", note("begin")), ("child", _inner), ("end", note("end"))),
    "deeper": chain(("begin", note("begin")), ("child", _middle), ("end", note("end"))),
    "nested_pair": chain(("begin", note("begin")), ("child", _pair), ("end", note("end"))),
    "shop": StateGraph(Shop)
    .add_node("choose", choose)
    .add_node("tools", ToolNode([buy]))
    .add_edge(START, "choose")
    .add_conditional_edges("choose", each_call, ["tools"]),
}

approvals, thrice, trio, busy_pair, nested, deeper, nested_pair, shop = (graph.compile() for graph in BUILDERS.values())
