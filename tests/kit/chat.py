"""Graphs with a model in them: a chat, a tool loop, and a parent with a subgraph."""

from typing import Annotated, Any

from langchain_core.messages import AnyMessage, HumanMessage, ToolCall
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from model import ScriptedModel
from typing_extensions import TypedDict


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    n_tokens: int
    delay: float


async def talk(state: Chat) -> dict[str, Any]:
    """Answer with `n_tokens` tokens: "t0 t1 t2 "."""
    tokens = [f"t{i} " for i in range(state.get("n_tokens", 3))]
    model = ScriptedModel(tokens=tokens, delay=state.get("delay", 0.0))
    return {"messages": [await model.ainvoke(state["messages"])]}


chat = StateGraph(Chat).add_node("talk", talk).add_edge(START, "talk").add_edge("talk", END).compile()


@tool
async def add(a: int, b: int) -> str:
    """Add two numbers, telling how far it is."""
    writer = get_stream_writer()
    writer({"status": f"adding {a} and {b}"})
    writer({"status": "added"})
    return str(a + b)


@tool
def divide(a: int, b: int) -> str:
    """Divide; dividing by zero is an error the model may read."""
    return str(a // b)


async def agent(state: Chat) -> dict[str, Any]:
    """Turn "add 2 3" into a tool call, and a tool result into a sentence."""
    last = state["messages"][-1]
    if last.type == "tool":
        model = ScriptedModel(tokens=["The result ", "is ", f"{last.content}."])
    else:
        name, a, b = str(last.content).split()
        call = ToolCall(name=name, args={"a": int(a), "b": int(b)}, id=f"call-{len(state['messages'])}")
        model = ScriptedModel(tokens=["Let me see. "], tool_calls=[call])
    return {"messages": [await model.ainvoke(state["messages"])]}


tools = (
    StateGraph(Chat)
    .add_node("agent", agent)
    .add_node("tools", ToolNode([add, divide], handle_tool_errors=True))
    .add_edge(START, "agent")
    .add_conditional_edges("agent", tools_condition)
    .add_edge("tools", "agent")
    .compile()
)


class Parent(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    delay: float


async def before(state: Parent) -> dict[str, Any]:
    return {"messages": [HumanMessage("from the parent", id="parent-message")]}


async def inner(state: Parent) -> dict[str, Any]:
    """Speak from inside the subgraph, on the custom channel and with a model."""
    get_stream_writer()({"from": "inner"})
    model = ScriptedModel(tokens=["in", "ner"], delay=state.get("delay", 0.0))
    return {"messages": [await model.ainvoke(state["messages"])]}


_child = StateGraph(Parent).add_node("inner", inner).add_edge(START, "inner").compile()

sub = (
    StateGraph(Parent)
    .add_node("before", before)
    .add_node("child", _child)
    .add_edge(START, "before")
    .add_edge("before", "child")
    .compile()
)
