"""Random histories of a thread, and a reader that has seen all of them as they happened."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from threadmill.streaming import view

CHANNELS = ["values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints"]
SHOWN = ("values", "status", "error", "in_flight", "interrupts")
TALKING = ("chat", "tools", "sub", "echo", "strict")
FAMILIES = (TALKING, TALKING, ("hitl", "boom"), ("trio",), ("nested_pair",), ("slow",))


def shown(of: dict[str, Any]) -> dict[str, Any]:
    """What a page has of it, whoever told it."""
    return {name: of[name] for name in SHOWN}


def fold(envelopes: list[dict[str, Any]], start: dict[str, Any] = view.EMPTY) -> dict[str, Any]:
    for one in envelopes:
        start = view.apply(start, one)
    return start


@dataclass
class Thread:
    http: httpx.AsyncClient
    id: str
    dice: random.Random
    told: list[dict[str, Any]] = field(default_factory=list)
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0

    async def snapshot(self) -> dict[str, Any]:
        answer = await self.http.get(f"/threads/{self.id}/snapshot")
        assert answer.status_code == 200, answer.text
        self.snapshots.append(answer.json())
        return self.snapshots[-1]

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        body = {"id": self.number, "method": method, "params": params}
        return (await self.http.post(f"/threads/{self.id}/commands", json=body)).json()

    async def idle(self) -> None:
        """Until nothing runs or waits; what is paused goes on."""
        async with asyncio.timeout(30):
            while queue := (await self.http.get(f"/threads/{self.id}/queue")).json():
                await asyncio.sleep(0.02)
                if any(one["paused"] for one in queue):
                    await self.command("run.resume")
                await self.snapshot()

    # What may happen

    def given(self, graph: str) -> dict[str, Any]:
        if graph == "slow":
            return {"steps": self.dice.randint(1, 6), "delay": 0.01}
        if graph in ("hitl", "boom", "trio", "nested_pair"):
            return {}
        said = {"chat": "hi", "echo": "hi", "sub": "hi", "tools": self.dice.choice(["add 2 3", "divide 1 0"])}
        asked = said.get(graph) or self.dice.choice(["go on", "wait", "short"])
        return {"messages": [{"role": "user", "content": asked}], "n_tokens": self.dice.randint(0, 60), "delay": 0.005}

    async def start(self, graph: str) -> None:
        strategy = self.dice.choice(["enqueue", "enqueue", "interrupt", "rollback"])
        await self.command(
            "run.start",
            assistant_id=graph,
            input=self.given(graph),
            multitask_strategy=strategy,
            if_interrupted="proceed",
        )

    async def stop(self, _: str) -> None:
        await self.http.post(f"/threads/{self.id}/stop")

    async def cancel(self, _: str) -> None:
        runs = (await self.http.get(f"/threads/{self.id}/runs")).json()
        action = self.dice.choice(["interrupt", "rollback"])
        await self.http.post(f"/threads/{self.id}/runs/{runs[0]['run_id']}/cancel?wait=1&action={action}")

    async def pause(self, _: str) -> None:
        await self.command("run.pause")

    async def resume(self, _: str) -> None:
        await self.command("run.resume")

    async def say(self, _: str) -> None:
        await self.command("input.inject", message={"role": "user", "content": "and this"})

    async def answer(self, _: str) -> None:
        asked = (await self.snapshot())["interrupts"]
        for one in self.dice.sample(asked, self.dice.randint(0, len(asked))):
            await self.command("input.respond", interrupt_id=one["interrupt_id"], response="yes")

    async def live(self, graphs: tuple[str, ...], steps: int) -> None:
        await self.start(graphs[0])
        for _ in range(steps):
            act = self.dice.choice(
                [self.start, self.start, self.stop, self.cancel, self.pause, self.resume, self.say, self.answer]
            )
            await act(self.dice.choice(graphs))
            for _ in range(self.dice.randint(0, 12)):
                await self.snapshot()
        if self.dice.random() < 0.8:  # else what strict's tool waits for would take for ever
            await self.stop("")
        while (await self.http.post(f"/threads/{self.id}/stop")).status_code == 200:
            pass

    async def caught_up(self, cursor: int) -> None:
        """Until the reader has seen what there is."""
        async with asyncio.timeout(10):
            while True:
                seen = len(self.told)
                await asyncio.sleep(0.05)
                if len(self.told) == seen and await self._newest() <= (self.told[-1]["seq"] if self.told else 0):
                    return

    async def _newest(self) -> int:
        found = await read(self.http, self.id)
        return found[-1]["seq"] if found else 0


@asynccontextmanager
async def watched(http: httpx.AsyncClient, seed: int) -> AsyncIterator[Thread]:
    """A new thread with a reader from its beginning."""
    thread = Thread(http, (await http.post("/threads", json={})).json()["thread_id"], random.Random(seed))
    reading = asyncio.create_task(_read(thread))
    try:
        yield thread
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


async def _read(thread: Thread) -> None:
    path = f"/threads/{thread.id}/stream/events"
    async with thread.http.stream("POST", path, json={"channels": CHANNELS}, timeout=None) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                thread.told.append(json.loads(line[6:]))


async def read(http: httpx.AsyncClient, thread_id: str, since: int = 0) -> list[dict[str, Any]]:
    """What the log has now; the server's heartbeat says that this is all."""
    found = []
    body = {"channels": CHANNELS, "since": since}
    async with http.stream("POST", f"/threads/{thread_id}/stream/events", json=body) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
            elif line.startswith(":"):
                break
    return found
