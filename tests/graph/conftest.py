"""A conversation with the real default agent, in memory."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Interrupt

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # what `"dependencies": ["."]` in langgraph.json asks of the server


@dataclass
class Turn:
    """What a client saw during one run."""

    messages: list[AnyMessage] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    interrupts: list[Interrupt] = field(default_factory=list)
    tokens: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        return self.messages[-1].text

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        answers = [message for message in self.messages if isinstance(message, AIMessage)]
        return [(call["name"], call["args"]) for message in answers for call in message.tool_calls]

    def results(self, tool: str) -> list[ToolMessage]:
        return [m for m in self.messages if isinstance(m, ToolMessage) and m.name == tool]

    def statuses(self, call_id: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("tool_call_id") == call_id]


class Chat:
    """One checkpointer and one store, as on a server; `say` and `resume` are runs on a thread."""

    def __init__(self) -> None:
        from graph.agent import builder

        self.store = InMemoryStore()
        self.agent = builder.compile(checkpointer=InMemorySaver(), store=self.store)

    async def say(self, text: str, thread: str = "1", **configurable: str) -> Turn:
        return await self._run({"messages": [("user", text)]}, thread, configurable)

    async def resume(self, answer: Any, thread: str = "1") -> Turn:
        return await self._run(Command(resume=answer), thread, {})

    async def history(self, thread: str = "1") -> list[AnyMessage]:
        state = await self.agent.aget_state({"configurable": {"thread_id": thread}})
        messages: list[AnyMessage] = state.values["messages"]
        return messages

    async def _run(self, given: Any, thread: str, configurable: dict[str, str]) -> Turn:
        turn = Turn()
        config = {"configurable": {"thread_id": thread, **configurable}}
        async for mode, data in self.agent.astream(given, config, stream_mode=["updates", "custom", "messages"]):
            if mode == "custom":
                turn.events.append(data)
            elif mode == "messages":
                turn.tokens.setdefault(data[0].id, []).append(data[0])
            elif "__interrupt__" in data:
                turn.interrupts += data["__interrupt__"]
            else:
                turn.messages += [message for update in data.values() for message in update["messages"]]
        return turn


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THREADMILL_MODEL", raising=False)
    monkeypatch.setenv("THREADMILL_DEMO_DELAY_MS", "0")


@pytest.fixture
def chat() -> Chat:
    return Chat()
