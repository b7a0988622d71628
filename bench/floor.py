"""What LangGraph itself costs: the same graphs without queue, run rows, checkpoints or event log.

InProcess  astream and ainvoke in the caller's loop.
app        the same behind a bare FastAPI endpoint, in the URL shapes of the Agent Server: python floor.py PORT
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

import graphs
import orjson
import uvicorn
from client import Reading
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

GRAPHS = {"chat": graphs.chat, "counter": graphs.counter}


def mode_of(name: str) -> Any:
    return "messages" if name == "messages-tuple" else name


class InProcess:
    threads = 0

    async def thread(self, metadata: dict[str, str] | None = None) -> str:
        return str(uuid.uuid4())

    async def run(self, thread: str, graph: str, given: dict[str, Any]) -> Any:
        return await GRAPHS[graph].ainvoke(given)

    async def stream(
        self, thread: str, graph: str, given: dict[str, Any], mode: str, config: Any = None, **_: Any
    ) -> Reading:
        reading = Reading()
        async for item in GRAPHS[graph].astream(given, config, stream_mode=mode_of(mode)):
            reading.feed(b"event:" + (item[0].content.encode() if mode == "messages-tuple" else b""))
        return reading.end()

    def cpu(self) -> float:
        return time.process_time()

    def close(self) -> None:
        pass


app = FastAPI()
THREADS: dict[str, dict[str, Any]] = {}
STATES: dict[str, Any] = {}  # what the last run of each thread returned


class Kept:
    """The events of a resumable run, ready to be sent again, and to any number of readers while it runs."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.over = False
        self.more = asyncio.Event()

    def wake(self) -> None:
        self.more.set()
        self.more = asyncio.Event()


RUNS: dict[str, Kept] = {}
TASKS: set[asyncio.Task[None]] = set()


def reply(value: Any) -> Response:
    return Response(orjson.dumps(value, default=lambda message: message.__dict__), media_type="application/json")


def sse(event: str, value: Any) -> bytes:
    data = orjson.dumps(value, default=lambda message: message.__dict__)
    return b"event: %s\r\ndata: %s\r\n\r\n" % (event.encode(), data)


@app.get("/ok")
async def ok() -> Response:
    return reply({"ok": True})


@app.post("/threads")
async def create_thread(request: Request) -> Response:
    at, thread_id = "2026-01-01T00:00:00.000000+00:00", str(uuid.uuid4())
    metadata = orjson.loads(await request.body())["metadata"]
    THREADS[thread_id] = thread = {
        "thread_id": thread_id, "created_at": at, "updated_at": at, "state_updated_at": at, "metadata": metadata,
        "status": "idle", "config": {}, "values": None,
    }  # fmt: skip
    return reply(thread)


@app.post("/threads/search")
async def search(request: Request) -> Response:
    return reply(list(islice(THREADS.values(), orjson.loads(await request.body())["limit"])))


@app.post("/threads/{thread_id}/runs/wait")
async def wait(thread_id: str, request: Request) -> Response:
    body = orjson.loads(await request.body())
    STATES[thread_id] = await GRAPHS[body["assistant_id"]].ainvoke(body["input"], body.get("config"))
    return reply(STATES[thread_id])


@app.get("/threads/{thread_id}/state")
async def state(thread_id: str) -> Response:
    return reply({"values": STATES[thread_id]})


async def events(run_id: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    kept = RUNS.setdefault(run_id, Kept()) if body.get("stream_resumable") else None
    graph, modes = GRAPHS[body["assistant_id"]], [mode_of(mode) for mode in body["stream_mode"]]
    yield sse("metadata", {"run_id": run_id, "attempt": 1})
    async for mode, item in graph.astream(body["input"], body.get("config"), stream_mode=modes):
        event = sse(mode, item)
        if kept is not None:
            kept.events.append(event)
            kept.wake()
        yield event
    if kept is not None:
        kept.over = True
        kept.wake()


@app.post("/threads/{thread_id}/runs/stream")
async def stream(thread_id: str, request: Request) -> Response:
    body = orjson.loads(await request.body())
    return StreamingResponse(events(str(uuid.uuid4()), body), media_type="text/event-stream")


@app.post("/threads/{thread_id}/runs")
async def begin(thread_id: str, request: Request) -> Response:
    body, run_id = orjson.loads(await request.body()), str(uuid.uuid4())

    async def run() -> None:
        async for _ in events(run_id, body):
            pass

    RUNS[run_id] = Kept()
    TASKS.add(task := asyncio.create_task(run()))
    task.add_done_callback(TASKS.discard)
    return reply({"run_id": run_id})


@app.get("/threads/{thread_id}/runs/{run_id}/stream")
async def join(thread_id: str, run_id: str) -> Response:
    async def sent() -> AsyncIterator[bytes]:
        kept, at = RUNS[run_id], 0
        while True:
            while at < len(kept.events):
                yield b"".join(kept.events[at : at + 128])
                at = min(at + 128, len(kept.events))
            if kept.over:
                return
            await kept.more.wait()

    return StreamingResponse(sent(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
