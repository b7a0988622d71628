"""What LangGraph itself costs: the same graphs without queue, run rows, checkpoints or event log.

InProcess  astream and ainvoke in the caller's loop.
app        the same behind a bare FastAPI endpoint, in the URL shapes of the Agent Server: python floor.py PORT
"""

from __future__ import annotations

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
RUNS: dict[str, list[bytes]] = {}  # the events of resumable runs, ready to be sent again


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
    return reply(await GRAPHS[body["assistant_id"]].ainvoke(body["input"], body.get("config")))


@app.post("/threads/{thread_id}/runs/stream")
async def stream(thread_id: str, request: Request) -> Response:
    body = orjson.loads(await request.body())
    run_id = str(uuid.uuid4())
    kept = RUNS.setdefault(run_id, []) if body.get("stream_resumable") else None
    graph, modes = GRAPHS[body["assistant_id"]], [mode_of(mode) for mode in body["stream_mode"]]

    async def events() -> AsyncIterator[bytes]:
        yield sse("metadata", {"run_id": run_id, "attempt": 1})
        async for mode, item in graph.astream(body["input"], body.get("config"), stream_mode=modes):
            event = sse(mode, item)
            if kept is not None:
                kept.append(event)
            yield event

    return StreamingResponse(events(), media_type="text/event-stream")


@app.get("/threads/{thread_id}/runs/{run_id}/stream")
async def replay(thread_id: str, run_id: str) -> Response:
    async def events() -> AsyncIterator[bytes]:
        for start in range(0, len(RUNS[run_id]), 128):
            yield b"".join(RUNS[run_id][start : start + 128])

    return StreamingResponse(events(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
