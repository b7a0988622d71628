"""Agents whose tools have effects, which a server outside (OUTSIDE) counts."""

import os
from typing import Any

import httpx
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send, interrupt

from threadmill import idempotency_key, once

STEPS = 4
OUTSIDE = os.environ.get("OUTSIDE", "")
PLAIN = False  # it is no https; reading certificates for each effect would take longer than all the rest


def tell(path: str, **data: Any) -> str:
    return httpx.post(f"{OUTSIDE}{path}", json=data, timeout=30, verify=PLAIN).text


async def tell_later(path: str, **data: Any) -> str:
    async with httpx.AsyncClient(timeout=30, verify=PLAIN) as client:
        return (await client.post(f"{OUTSIDE}{path}", json=data)).text


@tool
@once
def pay(number: int) -> str:
    """Pay, at a service that knows keys."""
    return tell("/pay", key=idempotency_key(), number=number)


@tool
@once
async def pay_later(number: int) -> str:
    """The same, without a thread."""
    return await tell_later("/pay", key=idempotency_key(), number=number)


@once
async def withdraw(number: int) -> str:
    return await tell_later("/charge", number=number)


@tool
async def charge(number: int) -> str:
    """Charge, at a service that knows no keys, twice; then do something that takes long."""
    first, second = await withdraw(number), await withdraw(number)
    await tell_later("/linger", key=idempotency_key())
    return f"{first} {second}"


@tool
async def ask(number: int) -> str:
    """Withdraw, ask a person, withdraw again."""
    first = await withdraw(number)
    answer = interrupt("more?")
    return f"{first} {answer} {await withdraw(number)}"


def _agent(*tools: Any, steps: int = STEPS) -> Any:
    async def plan(state: MessagesState) -> dict[str, Any]:
        done = sum(message.type == "ai" for message in state["messages"])
        calls: Any = [
            {"name": one.name, "args": {"number": done}, "id": f"call-{done}-{place}", "type": "tool_call"}
            for place, one in enumerate(tools)
        ]
        return {"messages": [AIMessage("" if done < steps else "done", tool_calls=calls if done < steps else [])]}

    def each(state: MessagesState) -> Any:
        last: Any = state["messages"][-1]
        return [Send("tools", [call]) for call in last.tool_calls] or END

    return (
        StateGraph(MessagesState)
        .add_node("plan", plan)
        .add_node("tools", ToolNode(tools, handle_tool_errors=False))
        .add_edge(START, "plan")
        .add_conditional_edges("plan", each, ["tools", END])
        .add_edge("tools", "plan")
        .compile()
    )


payer = _agent(pay, pay_later)
charger = _agent(charge)
asker = _agent(ask, steps=1)
