"""What one tool call is doing, told to whoever is watching the run."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

from langgraph.prebuilt import ToolRuntime

from graph.language import Language, language_of
from graph.model import reading_pause

Runtime = ToolRuntime[None, dict[str, Any]]


@dataclass
class Status:
    """Counts the steps of one tool call and reports each through LangGraph's stream writer, nothing else."""

    runtime: Runtime
    tool: str
    total: int
    step: int = 0
    language: Language = field(init=False)

    def __post_init__(self) -> None:
        self.language = language_of(self.runtime.state.get("messages", []))

    def say(self, english: str, chinese: str) -> str:
        return chinese if self.language == "zh" else english

    async def start(self, english: str, chinese: str) -> None:
        await self._report("start", self.say(english, chinese))
        attempt = self.runtime.execution_info.node_attempt if self.runtime.execution_info else 1
        if attempt > 1:
            await self._report(
                "progress", self.say(f"Trying again (attempt {attempt})…", f"正在重试(第 {attempt} 次)…")
            )

    async def advance(self, english: str, chinese: str) -> None:
        self.step += 1
        await self._report("progress", self.say(english, chinese))

    async def done(self, english: str, chinese: str, **details: Any) -> None:
        self.step = self.total
        await self._report("done", self.say(english, chinese), **details)

    async def _report(self, phase: Literal["start", "progress", "done"], text: str, **details: Any) -> None:
        self.runtime.stream_writer(
            {
                "type": "tool_status",
                "tool_call_id": self.runtime.tool_call_id,
                "tool": self.tool,
                "text": text,
                "phase": phase,
                "progress": self.step,
                "total": self.total,
                **details,
            }
        )
        if phase != "done":
            await asyncio.sleep(reading_pause())
