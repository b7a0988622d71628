"""Graphs for the event protocol: named reports, and two models that speak at the same time."""

from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from model import ScriptedModel
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


def report(state: State) -> dict[str, Any]:
    writer = get_stream_writer()
    for knots in (7, 9):
        writer({"name": "wind", "payload": {"knots": knots}})
    writer({"name": "rain", "payload": {"mm": 2}})
    writer("no object")
    return {}


weather = StateGraph(State).add_node("report", report).add_edge(START, "report").compile()


async def low(state: State) -> dict[str, Any]:
    return {"messages": [await ScriptedModel(tokens=["do ", "re ", "mi "], delay=0.01).ainvoke("sing")]}


async def high(state: State) -> dict[str, Any]:
    return {"messages": [await ScriptedModel(tokens=["sol ", "la ", "ti "], delay=0.01).ainvoke("sing")]}


duet = (
    StateGraph(State)
    .add_node("low", low)
    .add_node("high", high)
    .add_edge(START, "low")
    .add_edge(START, "high")
    .compile()
)
