"""Graphs that a crash suite needs and nobody else wants."""

import asyncio
import operator
import os
import signal
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    kill: bool
    seconds: float


def before(state: Log) -> dict[str, Any]:
    return {"log": ["before"]}


def die(state: Log) -> dict[str, Any]:
    """What a segfault in a native library looks like from outside."""
    if state.get("kill", True):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"log": ["survived"]}


deadly = StateGraph(Log).add_node("before", before).add_node("die", die)
deadly = deadly.add_edge(START, "before").add_edge("before", "die").compile()


async def approve(state: Log) -> dict[str, Any]:
    """Ask, then take time over the answer: a kill meets a resume under way."""
    answer = interrupt("go on?")
    await asyncio.sleep(state.get("seconds", 0))
    return {"log": [f"answer {answer}"]}


async def act(state: Log) -> dict[str, Any]:
    await asyncio.sleep(state.get("seconds", 0))
    return {"log": ["acted"]}


ask = StateGraph(Log).add_node("before", before).add_node("approve", approve).add_node("act", act)
ask = ask.add_edge(START, "before").add_edge("before", "approve").add_edge("approve", "act").compile()
