"""The agent: a model that may call tools, and the tools, in a loop. The server adds its checkpointer and store."""

import sqlite3
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.tools import ToolException
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import RetryPolicy, Send
from typing_extensions import TypedDict

from graph.history import answered, left_out
from graph.model import chat_model
from graph.tools import TOOLS

INSTRUCTIONS = """You are the assistant of a small online shop. Answer in the language of the person, briefly.

- Use the tools for orders, refunds, shop policies, arithmetic and memory; call independent ones at once.
- Never invent an order, a policy or a number. Cite what search_knowledge returned as [n]; list the sources last.
- issue_refund asks a person by itself: call it, do not ask for confirmation first. Do not repeat a rejected refund.
- Remember a fact only when the person states it about themselves or asks you to."""


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


async def think(state: State, runtime: Runtime[None]) -> dict[str, Any]:
    """One model call over the recent history. What is left out is reported, once per turn."""
    messages = state["messages"]
    cut = left_out(messages)
    if cut and isinstance(messages[-1], HumanMessage):
        runtime.stream_writer({"type": "history_trimmed", "left_out": cut, "sent": len(messages) - cut})
    model = chat_model().bind_tools(TOOLS)
    return {"messages": [await model.ainvoke([SystemMessage(INSTRUCTIONS), *answered(messages[cut:])])]}


def next_step(state: State) -> list[Send] | str:
    """Every tool call is a task of its own: they run in parallel, and resuming one does not repeat the others."""
    latest = state["messages"][-1]
    calls = latest.tool_calls if isinstance(latest, AIMessage) else []
    return [Send("tools", [call]) for call in calls] or END


def explain(error: ToolException) -> str:
    """A tool that refuses tells the model why; any other error is a fault: it is retried, then ends the run."""
    return str(error)


builder = StateGraph(State)
builder.add_node("model", think)
builder.add_node(
    "tools",
    ToolNode(TOOLS, handle_tool_errors=explain),
    retry_policy=RetryPolicy(initial_interval=0.1, max_attempts=3, retry_on=(OSError, sqlite3.OperationalError)),
)
builder.add_edge(START, "model")
builder.add_conditional_edges("model", next_step, ["tools", END])
builder.add_edge("tools", "model")
agent = builder.compile(name="agent")
