"""Small deterministic graphs, steered by their input; none needs a network."""

import asyncio
import operator
import os
import time
from dataclasses import dataclass
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Messages(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


async def say_count(state: Messages) -> dict[str, Any]:
    """Answer with the number of messages seen: tells whether a turn was lost or doubled."""
    return {"messages": [AIMessage(f"{len(state['messages'])}: {state['messages'][-1].content}")]}


echo = StateGraph(Messages).add_node("say", say_count).add_edge(START, "say").add_edge("say", END).compile()


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    n: int


def propose(state: Log) -> dict[str, Any]:
    return {"log": ["propose"]}


def approve(state: Log) -> dict[str, Any]:
    answer = interrupt({"question": "approve?", "n": state.get("n")})
    return {"log": [{"approve": answer}]}


def done(state: Log) -> dict[str, Any]:
    return {"log": ["done"]}


hitl = (
    StateGraph(Log)
    .add_node("propose", propose)
    .add_node("approve", approve)
    .add_node("done", done)
    .add_edge(START, "propose")
    .add_edge("propose", "approve")
    .add_edge("approve", "done")
    .add_edge("done", END)
    .compile()
)


def ask_left(state: Log) -> dict[str, Any]:
    return {"log": [["left", interrupt("left?")]]}


def ask_right(state: Log) -> dict[str, Any]:
    return {"log": [["right", interrupt("right?")]]}


parallel_hitl = (
    StateGraph(Log)
    .add_node("left", ask_left)
    .add_node("right", ask_right)
    .add_node("done", done)
    .add_edge(START, "left")
    .add_edge(START, "right")
    .add_edge(["left", "right"], "done")
    .compile()
)


class Failing(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    key: str
    fail_first: int


_failures: dict[str, int] = {}


def first(state: Failing) -> dict[str, Any]:
    return {"log": ["first"]}


def second(state: Failing) -> dict[str, Any]:
    """Fail always, or with `fail_first` only that many times per `key`."""
    failed = _failures.get(state.get("key", ""), 0)
    if failed < state.get("fail_first", 1_000_000):
        _failures[state.get("key", "")] = failed + 1
        raise ValueError("boom on purpose")
    return {"log": ["second"]}


boom = (
    StateGraph(Failing)
    .add_node("first", first)
    .add_node("second", second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .compile()
)


class Slow(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    tag: str
    steps: int
    delay: float
    done: int


async def step(state: Slow) -> dict[str, Any]:
    """One of `steps` waits of `delay` seconds; a cancelled one leaves no trace."""
    n = state.get("done", 0) + 1
    get_stream_writer()({"step": n})
    await asyncio.sleep(state.get("delay", 0.02))
    return {"log": [f"{state.get('tag', '')}{n}"], "done": n}


def enter(state: Slow) -> dict[str, Any]:
    return {"done": 0}


def more(state: Slow) -> str:
    return "step" if state["done"] < state.get("steps", 1) else END


class Done(TypedDict):
    done: int


def stepping(output: type) -> Any:
    graph = StateGraph(Slow, output_schema=output).add_node("enter", enter).add_node("step", step)
    graph.add_edge(START, "enter").add_edge("enter", "step").add_conditional_edges("step", more)
    return graph.compile()


slow = stepping(Slow)
slow_private = stepping(Done)


class Blocking(TypedDict, total=False):
    seconds: float
    done: bool


async def block(state: Blocking) -> dict[str, Any]:
    """What user code should not do and does: block the loop it runs on."""
    time.sleep(state["seconds"])
    return {"done": True}


blocking = StateGraph(Blocking).add_node("block", block).add_edge(START, "block").compile()


@dataclass
class Context:
    name: str = "nobody"


class Question(TypedDict, total=False):
    question: str
    reply: str
    secret: str


class Reply(TypedDict):
    reply: str


def reply(state: Question, config: RunnableConfig, runtime: Runtime[Context]) -> dict[str, Any]:
    name = runtime.context.name if runtime.context else None
    colour = config["configurable"].get("colour")
    return {"reply": f"{name}/{colour}/{os.environ.get('KIT_FLAVOUR')}", "secret": "not in the output"}


ctx = StateGraph(Question, context_schema=Context, output_schema=Reply).add_node("reply", reply)
ctx = ctx.add_edge(START, "reply").compile()


class Count(TypedDict, total=False):
    n: int
    limit: int


def count(state: Count) -> dict[str, Any]:
    n = state.get("n", 0) + 1
    get_stream_writer()({"n": n})
    return {"n": n}


def below_limit(state: Count) -> str:
    return "count" if state["n"] < state.get("limit", 1) else END


counter = (
    StateGraph(Count).add_node("count", count).add_edge(START, "count").add_conditional_edges("count", below_limit)
).compile()


class Fact(TypedDict, total=False):
    user: str
    fact: str
    recalled: str


async def recall(state: Fact, runtime: Runtime) -> dict[str, Any]:
    """Read what an earlier run (of any thread) stored for this user, then store the new fact."""
    assert runtime.store is not None
    space = ("facts", state["user"])
    known = await runtime.store.aget(space, "latest")
    if state.get("fact"):
        await runtime.store.aput(space, "latest", {"fact": state["fact"]})
    return {"recalled": known.value["fact"] if known else "nothing"}


remember = StateGraph(Fact).add_node("recall", recall).add_edge(START, "recall").compile()


def fold(state: list[AnyMessage], writes: Any) -> list[AnyMessage]:
    for write in writes:
        state = add_messages(state, write)  # type: ignore[assignment, arg-type]
    return state


class Deltas(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(fold)]


async def say_deltas(state: Deltas) -> dict[str, Any]:
    return await say_count(Messages(messages=state["messages"]))


deltas = StateGraph(Deltas).add_node("say", say_deltas).add_edge(START, "say").add_edge("say", END).compile()


class Diary(TypedDict, total=False):
    said: str
    pages: Annotated[list[str], operator.add]


def note(state: Diary) -> dict[str, Any]:
    return {"pages": [interrupt("which?") if state["said"] == "ask" else state["said"]]}


diary = StateGraph(Diary).add_node("note", note).add_edge(START, "note").compile(checkpointer=True)


async def keep_diary(state: Messages) -> dict[str, Any]:
    """Answer with all that was said, which only the subgraph's own memory knows."""
    written = await diary.ainvoke({"said": state["messages"][-1].content})
    return {"messages": [AIMessage(" ".join(written["pages"]))]}


remembering = StateGraph(Messages).add_node("diary", keep_diary).add_edge(START, "diary").compile()
