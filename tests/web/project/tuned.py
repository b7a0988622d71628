"""A graph with settings, which says what they are."""

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from pydantic import Field
from typing_extensions import TypedDict


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


@dataclass
class Tuning:
    tone: Literal["short", "long"] = "short"
    words: Annotated[int, Field(description="How many at the most.")] = 3
    shout: bool = False
    name: str | None = None
    tags: list[str] = field(default_factory=list)


async def say(state: State, runtime: Runtime[Tuning]) -> dict[str, Any]:
    return {"messages": [AIMessage(json.dumps(asdict(runtime.context)))]}


builder = StateGraph(State, context_schema=Tuning)
builder.add_node("say", say)
builder.add_edge(START, "say")
builder.add_edge("say", END)
tuned = builder.compile()
