"""What idle WebSockets cost a server: memory for each, and CPU while nothing happens. Prints JSON.

usage: python bench/sockets.py [SOCKETS] [SECONDS]     each follows a thread of its own over `/ws`
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


async def follow(port: int, done: asyncio.Event, ready: list[bool]) -> None:
    async with connect(f"ws://127.0.0.1:{port}/ws", ping_interval=None) as socket:
        await socket.recv()
        asked = {"id": 1, "method": "subscription.subscribe", "params": {"thread_id": str(uuid.uuid4())}}
        await socket.send(json.dumps(asked))
        assert json.loads(await socket.recv())["type"] == "success"
        ready.append(True)
        await done.wait()


async def main(sockets: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data").start()
        try:
            assert server.process is not None
            process = psutil.Process(server.process.pid)
            before, done, ready = process.memory_info().rss, asyncio.Event(), list[bool]()
            async with asyncio.TaskGroup() as group:
                began = time.perf_counter()
                for start in range(0, sockets, 50):
                    for _ in range(min(50, sockets - start)):
                        group.create_task(follow(server.port, done, ready))
                    while len(ready) < min(start + 50, sockets):
                        await asyncio.sleep(0.005)
                opened, with_all = time.perf_counter() - began, process.memory_info().rss
                spent = sum(process.cpu_times()[:2])
                await asyncio.sleep(seconds)
                spent = sum(process.cpu_times()[:2]) - spent
                done.set()
            figures = {
                "sockets": sockets,
                "opened_per_s": round(sockets / opened),
                "kib_each": round((with_all - before) / sockets / 1024, 1),
                "cpu_percent": round(100 * spent / seconds, 2),
            }
            sys.stdout.write(json.dumps(figures) + "\n")
        finally:
            server.kill()


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, float(sys.argv[2]) if len(sys.argv) > 2 else 20.0))
