"""A graph that fails, asks several things, takes many steps, says much, and says what a page finds hard to show."""

import asyncio
from typing import Annotated, Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, ToolCall
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

failed: set[str] = set()
HARD = """A formula $e^{i\\pi}+1=0$, a [link](https://example.com) and a picture ![cat](https://example.com/cat.png).

<script>window.hurt = 1</script><img src=x onerror="window.hurt = 1">

```python
def mill(): return "thread"  # code
```

| a | b |
|---|---|
| 1 | 2 |
"""

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
PICTURES: list[Any] = [
    {"type": "text", "text": f"Two here: ![a dot](data:image/png;base64,{DOT}) and ![an icon](icon.svg)."},
    {"type": "image", "base64": DOT, "mime_type": "image/png"},
    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
]


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    steps: int


async def first(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage("One step is done.")]} if "fail" in state["messages"][-1].text else {}


async def flood(words: int) -> AIMessage:
    """As fast as it can be written."""
    text = " ".join(f"w{n}" + ("\n\n" if n % 80 == 79 else "") for n in range(words))
    return await GenericFakeChatModel(messages=iter([AIMessage(text)])).ainvoke("")


async def second(state: State) -> dict[str, Any]:
    asked = next(one for one in reversed(state["messages"]) if one.type == "human")
    if "fail" in asked.text and str(asked.id) not in failed:
        failed.add(str(asked.id))
        raise ValueError("the mill stands still")
    if "flood" in asked.text:
        return {"messages": [await flood(int(asked.text.split()[-1]))]}
    if "pictures" in asked.text:
        return {"messages": [AIMessage(PICTURES)]}
    return {"messages": [AIMessage(HARD if "hard" in asked.text else "It turns again.")]}


async def ask(state: dict[str, Any]) -> dict[str, Any]:
    answer = interrupt({"question": f"Which colour for {state['what']}?"})
    return {"messages": [AIMessage(f"{state['what']}: {answer}")]}


@tool
async def turn(wheel: str, password: str) -> str:
    """Turn a wheel, unless it is stuck."""
    if wheel == "stuck":
        raise OSError("the wheel is stuck")
    if wheel == "slow":
        await asyncio.sleep(60)
    return f"{wheel} turns"


def call(state: State) -> dict[str, Any]:
    asked = state["messages"][-1]
    wheels = ("big", "slow") if "slow" in asked.text else ("big", "stuck")
    calls = [ToolCall(name="turn", args={"wheel": one, "password": "sesame"}, id=f"{asked.id}-{one}") for one in wheels]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def each(state: State) -> list[Send]:
    return [Send("tools", [one]) for one in state["messages"][-1].tool_calls]


async def step(state: State) -> dict[str, Any]:
    await asyncio.sleep(0.02)
    return {"steps": state.get("steps", 0) + 1}


def enough(state: State) -> str:
    """A few seconds of steps, between which it can be paused, and hears what is said to it."""
    return "second" if state["steps"] % 200 == 0 or state["messages"][-1].text == "enough" else "step"


def way(state: State) -> list[Send] | str:
    if "wheels" in state["messages"][-1].text:
        return "call"
    if "steps" in state["messages"][-1].text:
        return "step"
    if "colours" in state["messages"][-1].text:
        return [Send("ask", {"what": what}) for what in ("the gate", "the wheel")]
    return "second"


builder = StateGraph(State)
builder.add_node("first", first)
builder.add_node("second", second)
builder.add_node("ask", ask)  # type: ignore[type-var]
builder.add_edge(START, "first")
builder.add_node("step", step)
builder.add_node("call", call)
builder.add_node("tools", ToolNode([turn], handle_tool_errors=False))  # type: ignore[arg-type]
builder.add_conditional_edges("first", way, ["second", "ask", "step", "call"])
builder.add_conditional_edges("call", each, ["tools"])
builder.add_edge("tools", "second")
builder.add_conditional_edges("step", enough, ["second", "step"])
builder.add_edge("second", END)
builder.add_edge("ask", END)
odd = builder.compile()
