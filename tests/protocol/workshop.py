"""Graphs that fill every channel: named custom events, subgraphs in subgraphs, all sorts of tools."""

import asyncio
import time
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, ToolCall
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.types import interrupt
from model import ScriptedModel
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    calls: list[dict[str, Any]]  # for `workshop`: the tool calls to make


def report(state: State) -> dict[str, Any]:
    writer = get_stream_writer()
    writer({"name": "wind", "knots": 7})
    writer({"name": "rain", "mm": 2})
    writer("no object")
    return {"messages": [AIMessage("Windy.")]}


weather = StateGraph(State).add_node("report", report).add_edge(START, "report").compile()


async def whisper(state: State) -> dict[str, Any]:
    get_stream_writer()({"name": "depth", "of": "innermost"})
    await asyncio.sleep(0.3)  # an SDK's handle of a subgraph hears only what comes after it was made
    return {"messages": [await ScriptedModel(tokens=["in", "most"]).ainvoke(state["messages"])]}


_smallest = StateGraph(State).add_node("whisper", whisper).add_edge(START, "whisper").compile()
_small = StateGraph(State).add_node("smallest", _smallest).add_edge(START, "smallest").compile()
matryoshka = StateGraph(State).add_node("small", _small).add_edge(START, "small").compile()


@tool
def sort(n: int) -> str:
    """Synchronous: tells its progress by number."""
    writer = get_stream_writer()
    for done in range(1, n + 1):
        writer({"text": f"sorted {done}", "phase": "sorting", "done": done, "total": n})
    return f"sorted {n}"


@tool
async def recite(lines: list[str], runtime: ToolRuntime) -> str:
    """Asynchronous: its output comes piece by piece."""
    for line in lines:
        runtime.emit_output_delta(line)
        await asyncio.sleep(0)
    return " ".join(lines)


@tool
async def fail(why: str) -> str:
    """Raises."""
    raise ValueError(why)


@tool
def ask(question: str) -> str:
    """Asks a person."""
    return f"they said {interrupt(question)}"


@tool
async def ponder(seconds: float) -> str:
    """Says nothing for long."""
    await asyncio.sleep(seconds)
    return "pondered"


@tool
def block(seconds: float) -> str:
    """Says nothing for long, and holds its thread."""
    time.sleep(seconds)
    return "blocked"


@tool
async def outer(n: int) -> str:
    """Calls another tool, and tells its progress before and after that."""
    writer = get_stream_writer()
    writer({"text": "before"})
    found = await sort.ainvoke({"n": n})
    writer({"text": "after"})
    return f"outer {found}"


TOOLS = [sort, recite, fail, ask, ponder, block, outer]


def choose(state: State) -> dict[str, Any]:
    calls = [
        ToolCall(name=call["name"], args=call.get("args", {}), id=call.get("id", f"call-{place}"))
        for place, call in enumerate(state["calls"])
    ]
    return {"messages": [AIMessage("Let me see.", tool_calls=calls)]}


workshop = (
    StateGraph(State)
    .add_node("choose", choose)
    .add_node("work", ToolNode(TOOLS, handle_tool_errors=True))
    .add_edge(START, "choose")
    .add_edge("choose", "work")
    .compile()
)


async def directly(state: State) -> dict[str, Any]:
    """A node that calls a tool itself."""
    return {"messages": [AIMessage(await sort.ainvoke({"n": 1}))]}


parlour = (  # tools in a subgraph, and without a ToolNode
    StateGraph(State)
    .add_node("workshop", workshop)
    .add_node("directly", directly)
    .add_edge(START, "workshop")
    .add_edge("workshop", "directly")
    .compile()
)
