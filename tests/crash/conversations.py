"""Clients that never give up: they repeat what was not acknowledged and go on reading where they were cut off."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
from serving import Remote
from streaming.frames import Frame, frames

STUCK_SECONDS = 10.0


class Gate:
    """Whether the server is there; readers wait at it instead of polling."""

    def __init__(self) -> None:
        self._open = anyio.Event()
        self.frames = 0
        self._more = anyio.Event()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open = anyio.Event()
        self.frames = 0

    async def passed(self) -> None:
        await self._open.wait()

    def count(self) -> None:
        self.frames += 1
        self._more.set()
        self._more = anyio.Event()

    async def reaches(self, frames: int) -> None:
        while self.frames < frames:
            await self._more.wait()


@dataclass
class Turn:
    """One message of a user and what came back. `place` is there when the server has said 200."""

    number: int
    place: str | None = None
    read: list[Frame] = field(default_factory=list)
    cuts: int = 0

    @property
    def cursor(self) -> str | None:
        return self.read[-1].id if self.read else None

    @property
    def run_id(self) -> str:
        assert self.place is not None
        return self.place.rpartition("/")[2]

    def attempts(self) -> list[list[Frame]]:
        """What was read, cut before each `metadata`."""
        groups: list[list[Frame]] = []
        for frame in self.read:
            if frame.event == "metadata":
                groups.append([])
            groups[-1].append(frame)
        return groups


@dataclass
class Conversation:
    """A user with a thread; `ask` is the body of turn n."""

    server: Remote
    gate: Gate
    thread: str
    assistant: str
    ask: Callable[[int], dict[str, Any]]
    turns: list[Turn] = field(default_factory=list)

    async def talk(self, enough: anyio.Event) -> None:
        while not enough.is_set():
            self.turns.append(Turn(len(self.turns) + 1))
            await self._take(self.turns[-1])

    async def _take(self, turn: Turn) -> None:
        """Until the stream of the turn's run has ended, over as many servers as it takes."""
        while True:
            await self.gate.passed()
            try:
                async with self.server.http as http:
                    await self._read(http, turn)
                    return
            except httpx.TransportError:
                turn.cuts += 1

    async def _read(self, http: httpx.AsyncClient, turn: Turn) -> None:
        # A repeated POST is told apart from a new one by its key; the stream then starts from the beginning.
        if turn.place is None:
            asked = http.stream(
                "POST",
                f"/threads/{self.thread}/runs/stream",
                json={"assistant_id": self.assistant, "stream_resumable": True, **self.ask(turn.number)},
                headers={"Idempotency-Key": f"{self.thread}/{turn.number}"},
            )
        else:
            cursor = {} if turn.cursor is None else {"Last-Event-ID": turn.cursor}
            asked = http.stream("GET", f"{turn.place}/stream", headers=cursor)
        async with asked as response:
            assert response.status_code == 200, await response.aread()
            turn.place = response.headers["content-location"]
            coming = frames(response)
            while True:
                with anyio.fail_after(STUCK_SECONDS):
                    frame = await anext(coming, None)
                if frame is None:
                    return
                turn.read.append(frame)
                self.gate.count()
