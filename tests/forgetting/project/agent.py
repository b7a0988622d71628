"""Quotes what it hears: in a tool call, a receipt, an error, a question."""

import asyncio
import os
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

from threadmill import once


@once
def deliver(text: str) -> dict[str, str]:
    return {"receipt": f"delivered: {text}"}


@tool
def send(text: str) -> str:
    """Send a text to somebody."""
    deliver(text)
    return "sent"


async def plan(state: MessagesState) -> dict[str, Any]:
    call = {"name": "send", "args": {"text": _heard(state)}, "id": f"call-{len(state['messages'])}"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


async def act(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    match config["configurable"].get("how"):
        case "fail":
            raise ValueError(f"no use for {_heard(state)!r} here")
        case "ask":
            interrupt({"question": f"Really {_heard(state)}?"})
        case "wait":
            while not Path(os.environ["GATE"]).exists():
                await asyncio.sleep(0.01)
    return {"messages": [AIMessage("done")]}


def _heard(state: MessagesState) -> str:
    return next(str(one.content) for one in reversed(state["messages"]) if one.type == "human")


quoting = (
    StateGraph(MessagesState)
    .add_node("plan", plan)
    .add_node("tools", ToolNode([send]))
    .add_node("act", act)
    .add_edge(START, "plan")
    .add_edge("plan", "tools")
    .add_edge("tools", "act")
    .compile()
)
