"""What idle readers cost a server: memory for each, and CPU while nothing happens. Prints JSON.

usage: python bench/sockets.py [READERS] [SECONDS] [ws|sse|feed]     each follows a thread of its own, or the list
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil
from websockets.asyncio.client import connect

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from serving import Server  # noqa: E402  # after that


async def ws(port: int, done: asyncio.Event, ready: list[bool]) -> None:
    async with connect(f"ws://127.0.0.1:{port}/ws", ping_interval=None) as socket:
        await socket.recv()
        asked = {"id": 1, "method": "subscription.subscribe", "params": {"thread_id": str(uuid.uuid4())}}
        await socket.send(json.dumps(asked))
        assert json.loads(await socket.recv())["type"] == "success"
        ready.append(True)
        await done.wait()


async def sse(port: int, done: asyncio.Event, ready: list[bool]) -> None:
    body = '{"channels": ["values", "messages", "lifecycle"]}'
    await get(port, done, ready, f"POST /threads/{uuid.uuid4()}/stream/events", body)


async def feed(port: int, done: asyncio.Event, ready: list[bool]) -> None:
    await get(port, done, ready, "GET /feed")


async def get(port: int, done: asyncio.Event, ready: list[bool], what: str, body: str = "") -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{what} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    assert b" 200 " in await reader.readline()
    ready.append(True)
    await done.wait()
    writer.close()


async def main(readers: int, seconds: float, kind: str) -> None:
    follow = {"ws": ws, "sse": sse, "feed": feed}[kind]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data").start()
        try:
            assert server.process is not None
            process = psutil.Process(server.process.pid)
            before, done, ready = process.memory_info().rss, asyncio.Event(), list[bool]()
            async with asyncio.TaskGroup() as group:
                began = time.perf_counter()
                for start in range(0, readers, 50):
                    for _ in range(min(50, readers - start)):
                        group.create_task(follow(server.port, done, ready))
                    while len(ready) < min(start + 50, readers):
                        await asyncio.sleep(0.005)
                opened, with_all = time.perf_counter() - began, process.memory_info().rss
                spent = sum(process.cpu_times()[:2])
                await asyncio.sleep(seconds)
                spent = sum(process.cpu_times()[:2]) - spent
                done.set()
            figures = {
                "readers": readers,
                "kind": kind,
                "opened_per_s": round(readers / opened),
                "kib_each": round((with_all - before) / readers / 1024, 1),
                "cpu_percent": round(100 * spent / seconds, 2),
            }
            sys.stdout.write(json.dumps(figures) + "\n")
        finally:
            server.kill()


given = dict(enumerate(sys.argv))
asyncio.run(main(int(given.get(1, 1000)), float(given.get(2, 20)), given.get(3, "ws")))
