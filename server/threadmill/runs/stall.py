"""Reports a node that blocks the graphs' event loop: other runs stand still while it does."""

import asyncio
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

logger = structlog.get_logger("threadmill.stall")

STDLIB = sysconfig.get_paths()["stdlib"]


class StallWatch:
    """Watches `loop`, which runs on `thread_id`, from a thread of its own; stops with `close`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread_id: int, limit_s: float) -> None:
        self._loop, self._thread_id, self._limit_s = loop, thread_id, limit_s
        self._asked: float | None = None  # when the loop was asked to answer, None once it did
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()

    def _watch(self) -> None:
        reported: float | None = None  # since when the loop has stood still, once that was said
        while not self._closed.wait(self._limit_s / 4):
            if not self._loop.is_running():  # a server that drains has stopped it, which is no stall
                continue
            now = time.monotonic()
            if self._asked is None:
                if reported is not None:
                    logger.warning("the graphs' event loop runs again", seconds=round(now - reported, 1))
                reported = None
                self._asked = now
                self._loop.call_soon_threadsafe(self._answer)
            elif reported is None and now - self._asked > self._limit_s:
                reported = self._asked
                node, where = blocking_node(sys._current_frames().get(self._thread_id), self._loop)
                logger.warning(
                    "a node blocks the graphs' event loop; make it `def` instead of `async def`, or await",
                    node=node,
                    where=where,
                    seconds=self._limit_s,
                )

    def _answer(self) -> None:
        self._asked = None


def blocking_node(frame: FrameType | None, loop: asyncio.AbstractEventLoop) -> tuple[str | None, str | None]:
    """(name of the LangGraph node, "file:line" of the user's code) that keeps `loop`, whose thread is at `frame`."""
    stack: list[FrameType] = []
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    places = (f"{one.f_code.co_filename}:{one.f_lineno}" for one in stack if _of_the_user(one))
    return _node_in(stack) or _node_that_waits(loop), next(places, None)


def _node_that_waits(loop: asyncio.AbstractEventLoop) -> str | None:
    """A function may run in a task of its own, so the node can be further up: in who waits for it."""
    waiting = {getattr(task, "_fut_waiter", None): task for task in asyncio.all_tasks(loop)}
    task = waiting.pop(asyncio.current_task(loop), None)
    while task is not None:
        if node := _node_in(_frames(task.get_coro())):
            return node
        task = waiting.pop(task, None)
    return None


def _frames(coroutine: Any) -> Iterator[FrameType]:
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield frame
        coroutine = coroutine.cr_await


def _node_in(frames: Iterable[FrameType]) -> str | None:
    """LangGraph calls a node with a config that names it."""
    for frame in frames:
        config = frame.f_locals.get("config")
        metadata = config.get("metadata") if isinstance(config, dict) else None
        if isinstance(metadata, dict) and "langgraph_node" in metadata:
            return str(metadata["langgraph_node"])
    return None


def _of_the_user(frame: FrameType) -> bool:
    path = Path(frame.f_code.co_filename)
    installed = {"site-packages", "dist-packages"} & set(path.parts) or path.is_relative_to(STDLIB)
    ours = str(frame.f_globals.get("__name__")).split(".")[0] in ("threadmill", "threadmill_checkpoints")
    return path.is_absolute() and not installed and not ours
