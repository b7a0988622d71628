"""Agents with a model that is as strict as real providers are: it refuses a history with an open tool call,
or with two answers to one.

They differ in what a stop can meet: synchronous code, parallel tasks, subgraphs, nodes that do not listen, odd states.
"""

import asyncio
import contextlib
import itertools
import operator
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Send
from typing_extensions import TypedDict


class StrictModel(BaseChatModel):
    """Says "t0 t1 t2 …" slowly (of "tell 20" 20 words), or calls the tools it is told to: "wait wait_a_little"."""

    tokens: int = 200
    delay: float = 0.01
    blocks: bool = False  # content as a list, as many providers have it

    @property
    def _llm_type(self) -> str:
        return "strict"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        chunks = list(self._pieces(messages))
        whole = chunks[0].message
        for chunk in chunks[1:]:
            whole += chunk.message
            time.sleep(self.delay)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(whole.content, tool_calls=whole.tool_calls))])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for piece in self._pieces(messages):
            yield piece
            time.sleep(self.delay)

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for piece in self._pieces(messages):
            yield piece
            await asyncio.sleep(self.delay)

    def _pieces(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        refuse_open_calls(messages)
        asked = next(str(one.text) for one in reversed(messages) if one.type == "human")
        if asked.startswith("wait") and messages[-1].type == "human":
            calls = [
                {"name": name, "args": "{}", "id": f"call-{len(messages)}-{n}", "index": n, "type": "tool_call_chunk"}
                for n, name in enumerate(asked.split())
            ]
            yield ChatGenerationChunk(message=AIMessageChunk(self._content("Waiting. "), tool_call_chunks=calls))
            return
        if asked.startswith("seen"):
            yield ChatGenerationChunk(message=AIMessageChunk(self._content(heard(messages))))
            return
        # What it began to say is the last message when it is asked to go on: it does not begin anew.
        begun = len(messages[-1].text.split()) if messages[-1].type == "ai" else 0
        count = asked.split()[-1]
        for number in range(begun, 2 if asked == "short" else int(count) if count.isdigit() else self.tokens):
            yield ChatGenerationChunk(message=AIMessageChunk(self._content(f"t{number} ")))

    def _content(self, text: str) -> Any:
        return [{"type": "text", "text": text, "index": 0}] if self.blocks else text


def heard(messages: list[BaseMessage]) -> str:
    """What a model that is asked "seen" tells: the conversation as it sees it."""
    return "\n".join(f"{one.type}:{one.text}" for one in messages[:-1])


def refuse_open_calls(messages: list[BaseMessage]) -> None:
    for place, message in enumerate(messages):
        if isinstance(message, AIMessage) and message.tool_calls:
            after = itertools.takewhile(lambda one: isinstance(one, ToolMessage), messages[place + 1 :])
            if sorted(one.tool_call_id for one in after) != sorted(call["id"] for call in message.tool_calls):
                raise ValueError("INVALID_CHAT_HISTORY: tool calls without one answer each")


@tool
async def wait() -> str:
    """Take very long."""
    await asyncio.sleep(3600)
    return "waited"


@tool
async def wait_a_little() -> str:
    """Take a moment."""
    return "waited a little"


@tool
def wait_here() -> str:
    """Take long, and block a thread."""
    threading.Event().wait(1.0)
    return "waited here"


TOOLS = [wait, wait_a_little, wait_here]


async def speak(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await StrictModel().ainvoke(state["messages"])]}


def speak_here(state: MessagesState) -> dict[str, Any]:
    return {"messages": [StrictModel().invoke(state["messages"])]}


async def speak_in_blocks(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await StrictModel(blocks=True).ainvoke(state["messages"])]}


async def speak_on(state: MessagesState) -> dict[str, Any]:
    """Does not heed a stop, and returns something after it."""
    answer: dict[str, Any] = {}
    with contextlib.suppress(asyncio.CancelledError):
        answer = await speak(state)
    if not answer:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1.0)
        answer = {"messages": [AIMessage("too late")]}
    return answer


def _agent(node: Any, state: Any = MessagesState) -> Any:
    return (
        StateGraph(state)
        .add_node("speak", node)
        .add_node("tools", ToolNode(TOOLS))
        .add_edge(START, "speak")
        .add_conditional_edges("speak", tools_condition)
        .add_edge("tools", "speak")
        .compile()
    )


strict = _agent(speak)
strict_sync = _agent(speak_here)
strict_blocks = _agent(speak_in_blocks)
strict_stubborn = _agent(speak_on)


class Adding(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]


async def speak_adding(state: Adding) -> dict[str, Any]:
    said = state["messages"]
    return {"messages": [await StrictModel().ainvoke(said)]}


strict_adding = _agent(speak_adding, Adding)


def _fold(state: list[AnyMessage], writes: Any) -> list[AnyMessage]:
    for write in writes:
        state = add_messages(state, write)  # type: ignore[assignment, arg-type]
    return state


class Delta(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_fold)]


async def speak_delta(state: Delta) -> dict[str, Any]:
    return {"messages": [await StrictModel().ainvoke(state["messages"])]}


strict_delta = _agent(speak_delta, Delta)


def _each(state: MessagesState) -> Any:
    last = state["messages"][-1]
    calls = last.tool_calls if isinstance(last, AIMessage) else []
    return [Send("tools", [{**call, "type": "tool_call"}]) for call in calls] or END


strict_sends = (  # as LangChain's create_agent is made: a task for each tool call
    StateGraph(MessagesState)
    .add_node("speak", speak)
    .add_node("tools", ToolNode(TOOLS))
    .add_edge(START, "speak")
    .add_conditional_edges("speak", _each, ["tools", END])
    .add_edge("tools", "speak")
    .compile()
)


class Team(MessagesState, total=False):
    beside: str


async def beside(state: Team) -> dict[str, Any]:
    """Done at once, while the other one is still speaking."""
    return {"beside": "done"}


strict_team = (
    StateGraph(Team)
    .add_node("member", strict)
    .add_node("beside", beside)
    .add_edge(START, "member")
    .add_edge(START, "beside")
    .compile()
)


class Plain(TypedDict, total=False):
    question: str
    answer: str


async def think(state: Plain) -> dict[str, Any]:
    await StrictModel().ainvoke([("human", state["question"])])
    return {"answer": "done"}


strict_plain = StateGraph(Plain).add_node("think", think).add_edge(START, "think").compile()
