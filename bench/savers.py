"""The checkpointers that are compared, and the graphs they keep the state of."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import SqliteSaver, forks
from threadmill_checkpoints.sqlite import SqliteDatabase

SAID = 200  # characters of a message


class Talk(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    left: int  # supersteps that still come


BEGAN: list[float] = []  # when each superstep's node was called


async def say(state: Talk) -> dict[str, Any]:
    BEGAN.append(time.perf_counter())
    return {"messages": [AIMessage("a" * SAID)], "left": state["left"] - 1}


async def count(state: Talk) -> dict[str, Any]:
    return {"left": state["left"] - 1}


def _looping(node: Any) -> StateGraph:
    graph = StateGraph(Talk).add_node("node", node).add_edge(START, "node")
    return graph.add_conditional_edges("node", lambda s: "node" if s["left"] > 0 else END, ["node", END])


TALK, COUNT = _looping(say), _looping(count)  # the latter adds no message


def conversation(length: int) -> list[AnyMessage]:
    return [(AIMessage if n % 2 else HumanMessage)("x" * SAID) for n in range(length)]


@dataclass
class Opened:
    saver: Any
    file: Path | None = None

    async def settled(self) -> None:
        """Until all is on disk."""
        if isinstance(self.saver, SqliteSaver):
            await self.saver.settled()

    def size(self) -> int:
        if self.file is None:
            return 0
        connection = sqlite3.connect(self.file, timeout=30)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return self.file.stat().st_size

    async def fork(self, source: str, target: str) -> None:
        """A new thread with all that the source has at its head. Who has no way to do it lists and puts."""
        here = {"configurable": {"thread_id": source, "checkpoint_ns": ""}}
        if isinstance(self.saver, SqliteSaver):
            head = (await self.saver.aget_tuple(here)).config["configurable"]["checkpoint_id"]
            await self.saver.database.write(forks.fork, source, head, target)
            return
        for one in [one async for one in self.saver.alist(here)]:  # first all: a put inside would wait for ever
            parent = one.parent_config["configurable"]["checkpoint_id"] if one.parent_config else None
            at = {"configurable": {"thread_id": target, "checkpoint_ns": "", "checkpoint_id": parent}}
            put = await self.saver.aput(at, one.checkpoint, one.metadata, one.checkpoint["channel_versions"])
            for task, channel, value in one.pending_writes or ():
                await self.saver.aput_writes(put, [(channel, value)], task)


@asynccontextmanager
async def threadmill(folder: Path) -> AsyncIterator[Opened]:
    """As the server uses it: commits are grouped, and synced."""
    database = SqliteDatabase(folder / "ours.sqlite", synchronous="FULL", readers=2, prepare=migrate_sqlite)
    try:
        yield Opened(SqliteSaver(database, wait=False), folder / "ours.sqlite")
    finally:
        await database.close()


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Opened]:
    async with AsyncSqliteSaver.from_conn_string(str(folder / "theirs.sqlite")) as saver:
        await saver.setup()
        yield Opened(saver, folder / "theirs.sqlite")


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[Opened]:
    yield Opened(InMemorySaver())


@asynccontextmanager
async def none(folder: Path) -> AsyncIterator[Opened]:
    """What LangGraph costs without any."""
    yield Opened(None)


Open = Callable[[Path], AbstractAsyncContextManager[Opened]]
SAVERS: dict[str, Open] = {"threadmill": threadmill, "AsyncSqliteSaver": sqlite, "InMemorySaver": memory}
