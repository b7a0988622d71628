"""A graph whose node hands on one of `THINGS`, which cannot be stored or shown, in the way that `how` says."""

import threading
from collections.abc import Callable
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

DEEP = 100_000


class Holder(BaseModel):
    model_config = {"arbitrary_types_allowed": True}

    held: Any


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Secretive:
    """Answers to every name, and never with anything useful."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Obliging:
    """Says yes to every `hasattr`."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


def nested(depth: int) -> Any:
    inner: Any = "bottom"
    for level in range(depth):
        inner = {"d": inner} if level % 2 else [inner]
    return inner


def itself() -> Any:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    return loop


def twice(loop: dict[str, Any]) -> Any:
    loop |= {"a": loop, "b": [loop]}
    return loop


def surrogate_message() -> Any:
    return AIMessage("half \ud83e pair", additional_kwargs={"\udc00": "\ud800"})


THINGS: dict[str, Callable[[], Any]] = {
    "file": lambda: open(__file__),  # noqa: SIM115
    "lambda": lambda: lambda: None,
    "class": lambda: Holder,
    "generator": lambda: (n for n in range(3)),
    "lock": threading.Lock,
    "model": lambda: Holder(held=object()),
    "model of a lambda": lambda: Holder(held=lambda: None),
    "bytes": lambda: b"\xff" * (10 << 20),
    "text": lambda: "x" * (10 << 20),
    "itself": itself,
    "itself, twice": lambda: twice(itself()),
    "nested": lambda: nested(DEEP),
    "rather nested": lambda: nested(1000),
    "surrogates": lambda: "half \ud83e pair",
    "surrogate key": lambda: {"\ud800": {"\udfff": "\udfff"}},
    "surrogates in a message": surrogate_message,
    "nul": lambda: {"a\x00b": "c\x00d"},
    "huge": lambda: [2**70, -(2**70), {2**80: 10**5000}],
    "not numbers": lambda: [float("nan"), float("inf"), -float("inf")],
    "tuple keys": lambda: {(1, 2): "pair", None: "none", b"\xff": "bytes", 1.5: "float"},
    "secretive": Secretive,
    "obliging": Obliging,
    "exception": Silent,
    "module": lambda: threading,
    "set of mixed": lambda: {1, "one", (1, 2), frozenset({3})},
    "bidirectional": lambda: "\u202eevil\u2066\u200b\u200d\ufeff🏳️‍🌈é",
}


class State(TypedDict, total=False):
    thing: str
    how: str
    count: int
    got: Any
    messages: Annotated[list[AnyMessage], add_messages]


def act(state: State) -> dict[str, Any]:
    made = THINGS[state["thing"]]() if state.get("thing") else None
    seen = {"count": state.get("count", 0) + 1}
    how = state.get("how")
    if how == "return":
        return {"got": made, **seen}
    if how == "write":
        get_stream_writer()(made)
        get_stream_writer()({"wrapped": made})
    if how == "ask":
        return {"got": interrupt({"wrapped": made}), **seen}
    if how == "raise":
        raise Silent(made)
    if how == "say":
        return {"messages": [AIMessage("said", additional_kwargs={"kept": made})], **seen}
    if how == "call":
        call = {"name": "fetch", "args": {"thing": state["thing"]}, "id": "call-1", "type": "tool_call"}
        answered = ToolNode([fetch]).invoke({"messages": [AIMessage("", tool_calls=[call])]})
        return {"messages": [AIMessage("", tool_calls=[call]), *answered["messages"]], **seen}
    return seen


@tool
def fetch(thing: str) -> Any:
    """Fetch a thing."""
    return THINGS[thing]()


careless = StateGraph(State).add_node("act", act).add_edge(START, "act").compile()


class Loose(TypedDict, total=False):
    """Messages that LangGraph does not look at."""

    thing: str
    messages: Any


def fill(state: Loose) -> dict[str, Any]:
    made = THINGS[state["thing"]]()
    return {"messages": [made, [made, made], {"role": made, "content": [{"text": made}, made]}]}


loose = StateGraph(Loose).add_node("fill", fill).add_edge(START, "fill").compile()
