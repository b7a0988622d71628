"""The graphs every contender runs: deterministic, no network, no blocking call; all they need is in their input.

chat     {"messages": [...], "n_tokens": N, "delay_ms": D}: one superstep, a fake model streams N tokens, D ms apart.
         Each token is "~<CLOCK_MONOTONIC ns> ", so a client on the same machine can tell how long it travelled.
counter  {"n": 0, "limit": K, "emit": E}: K supersteps of a tiny state, each emitting E custom events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, NotRequired, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

BREATH = 16  # without a delay, a real model would still yield to the loop now and then


class StampingModel(BaseChatModel):
    n_tokens: int = 100
    delay_ms: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "stamping"

    def _generate(self, messages: list[Any], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("word " * self.n_tokens))])

    async def _astream(
        self, messages: list[Any], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for i in range(self.n_tokens):
            if self.delay_ms:  # an absolute schedule: a late wake-up does not shift the tokens after it
                await asyncio.sleep(max(0.0, start + (i + 1) * self.delay_ms / 1000 - loop.time()))
            elif i % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=f"~{time.monotonic_ns()} "))
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    n_tokens: NotRequired[int]
    delay_ms: NotRequired[float]


async def answer(state: Chat) -> dict[str, Any]:
    model = StampingModel(n_tokens=state.get("n_tokens", 100), delay_ms=state.get("delay_ms", 0.0))
    return {"messages": [await model.ainvoke(state["messages"])]}


class Counter(TypedDict):
    n: int
    limit: NotRequired[int]
    emit: NotRequired[int]


async def increment(state: Counter) -> dict[str, Any]:
    write = get_stream_writer()
    for i in range(state.get("emit", 0)):
        write({"i": i, "text": "tok "})
        if i % BREATH == BREATH - 1:
            await asyncio.sleep(0)
    return {"n": state["n"] + 1}


chat = StateGraph(Chat).add_node("answer", answer).add_edge(START, "answer").add_edge("answer", END).compile()
counter = (
    StateGraph(Counter)
    .add_node("increment", increment)
    .add_edge(START, "increment")
    .add_conditional_edges(
        "increment", lambda s: "increment" if s["n"] < s.get("limit", 1) else END, ["increment", END]
    )
    .compile()
)
