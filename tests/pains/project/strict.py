"""A tool loop whose model does what every provider does: it rejects a tool call that has no answer."""

import asyncio
from typing import Any

from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


@tool
async def look(seconds: float) -> str:
    """Look for something, which takes a while."""
    await asyncio.sleep(seconds)
    return "found"


async def agent(state: MessagesState) -> dict[str, Any]:
    messages = state["messages"]
    answered = {message.tool_call_id for message in messages if message.type == "tool"}
    asked = {call["id"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls}
    if asked - answered:
        raise ValueError("An assistant message with tool_calls must be followed by tool messages")
    last = messages[-1]
    if last.type == "tool":
        return {"messages": [AIMessage(f"It was {last.content}.")]}
    verb, _, seconds = str(last.content).partition(" ")
    if verb == "look":
        call = ToolCall(name="look", args={"seconds": float(seconds)}, id=f"call-{len(messages)}")
        return {"messages": [AIMessage("I look.", tool_calls=[call])]}
    return {"messages": [AIMessage(f"I heard {last.content}.")]}


strict = (
    StateGraph(MessagesState)
    .add_node("agent", agent)
    .add_node("tools", ToolNode([look]))
    .add_edge(START, "agent")
    .add_conditional_edges("agent", tools_condition)
    .add_edge("tools", "agent")
    .compile()
)
