"""A client too light to be the bottleneck: HTTP/1.1 on asyncio.Protocol, parsed by httptools; bodies are kept as the
bytes and the moment they arrived, and are looked into only after the clock has stopped."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from time import monotonic_ns
from typing import Any

import httptools
import orjson
from websockets.asyncio.client import connect

STAMP = re.compile(rb"~(\d{9,}) ")
OVER = re.compile(rb'"event": ?"(completed|failed|interrupted)"')  # of a run, in the event protocol
FOLLOWED = {"channels": ["messages", "lifecycle"]}
RUN_ID = re.compile(rb'"run_id": ?"([0-9a-f-]{36})"')


class Reading:
    """What arrived from one streamed run, and when. Times are CLOCK_MONOTONIC in ns."""

    def __init__(self) -> None:
        self.sent = self.ended = monotonic_ns()
        self.times: list[int] = []
        self.parts: list[bytes] = []

    def feed(self, part: bytes) -> None:
        self.times.append(monotonic_ns())
        self.parts.append(part)

    def end(self) -> Reading:
        self.ended = monotonic_ns()
        return self

    @property
    def first(self) -> int:
        """When the first event arrived (heartbeats do not count); a run without events counts from its request."""
        return next((t for t, part in zip(self.times, self.parts, strict=True) if b"event:" in part), self.sent)

    def tokens(self, expected: int) -> list[tuple[int, int]]:
        """(received, stamped) of every token, at its first appearance: the event protocol ends with the whole text."""
        at: dict[int, int] = {}
        for received, match in self.found(STAMP):
            at.setdefault(int(match[1]), received)
        tokens = [(received, stamped) for stamped, received in at.items()]
        if len(tokens) != expected:
            raise RuntimeError(f"{len(tokens)} tokens instead of {expected}: {b''.join(self.parts)[-300:]!r}")
        return tokens

    def found(self, pattern: re.Pattern[bytes]) -> list[tuple[int, re.Match[bytes]]]:
        """What matches, and when the end of each had arrived."""
        ends = list(accumulate(map(len, self.parts)))
        return [(self.times[bisect_left(ends, m.end())], m) for m in pattern.finditer(b"".join(self.parts))]

    def count(self, event: bytes) -> int:
        return b"".join(self.parts).count(b"event: " + event)

    def run_id(self) -> str:
        found = RUN_ID.search(b"".join(self.parts))
        if not found:
            raise RuntimeError(f"no run_id in {b''.join(self.parts)[:300]!r}")
        return found[1].decode()


class Connection(asyncio.Protocol):
    transport: asyncio.Transport
    done: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done and not self.done.done():
            self.done.set_exception(ConnectionError(f"the server closed the connection ({exc!r})"))

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.receive(body)

    def on_message_complete(self) -> None:
        if self.done and not self.done.done():
            self.done.set_result(self.parser.get_status_code())
        if not self.parser.should_keep_alive():
            self.transport.close()

    async def send(self, request: bytes, receive: Callable[[bytes], None], timeout: float) -> int:
        self.receive, self.parser = receive, httptools.HttpResponseParser(self)
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await asyncio.wait_for(self.done, timeout)


class Client:
    """Speaks the Agent Server API to one port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[Connection] = []
        self.threads = 0

    async def send(
        self,
        method: str,
        path: str,
        body: Any,
        receive: Callable[[bytes], None],
        headers: str = "",
        timeout: float = 60,
    ) -> int:
        payload = b"" if body is None else orjson.dumps(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{headers}"
        head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        while self.idle and self.idle[-1].transport.is_closing():
            self.idle.pop()
        if self.idle:
            connection = self.idle.pop()
        else:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self.port)
        try:
            status = await connection.send(head.encode() + payload, receive, timeout)
        except BaseException:
            connection.transport.abort()
            raise
        self.idle.append(connection)
        return status

    async def bytes(self, method: str, path: str, body: Any = None) -> bytes:
        parts: list[bytes] = []
        status = await self.send(method, path, body, parts.append)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {b''.join(parts)[:300]!r}")
        return b"".join(parts)

    async def json(self, method: str, path: str, body: Any) -> Any:
        return orjson.loads(await self.bytes(method, path, body))

    async def thread(self, metadata: dict[str, str] | None = None) -> str:
        self.threads += 1
        return (await self.json("POST", "/threads", {"metadata": metadata or {}}))["thread_id"]

    async def run(self, thread: str, graph: str, given: dict[str, Any]) -> dict[str, Any]:
        return await self.json("POST", f"/threads/{thread}/runs/wait", {"assistant_id": graph, "input": given})

    async def stream(self, thread: str, graph: str, given: dict[str, Any], mode: str, **more: Any) -> Reading:
        body = {"assistant_id": graph, "input": given, "stream_mode": [mode], **more}
        return await self.read("POST", f"/threads/{thread}/runs/stream", body)

    async def begin(self, thread: str, graph: str, given: dict[str, Any], mode: str) -> str:
        """A run that nobody waits for, and that `join` can read; its id."""
        body = {"assistant_id": graph, "input": given, "stream_mode": [mode], "stream_resumable": True}
        return (await self.json("POST", f"/threads/{thread}/runs", body))["run_id"]

    async def join(self, thread: str, run_id: str) -> Reading:
        """From the run's first event to its end."""
        return await self.read("GET", f"/threads/{thread}/runs/{run_id}/stream", None, "Last-Event-ID: -1\r\n")

    async def protocol(self, thread: str, graph: str, given: dict[str, Any], transport: str) -> Reading:
        """A run over the event protocol, `transport` sse or socket: followed first, then started."""
        reading, over = Reading(), asyncio.Event()

        def receive(part: bytes) -> None:
            reading.feed(part)
            if OVER.search(part):
                over.set()

        async def socket() -> None:
            async with connect(f"ws://127.0.0.1:{self.port}/threads/{thread}/stream/events") as peer:
                await peer.send(
                    orjson.dumps({"id": 1, "method": "subscription.subscribe", "params": FOLLOWED}).decode()
                )
                while not over.is_set():
                    receive(await peer.recv(decode=False))

        async def sse() -> None:
            await self.send("POST", f"/threads/{thread}/stream/events", FOLLOWED, receive)

        following = asyncio.create_task(sse() if transport == "sse" else socket())
        try:
            begin = {"id": 2, "method": "run.start", "params": {"assistant_id": graph, "input": given}}
            answer = await self.json("POST", f"/threads/{thread}/commands", begin)
            if answer["type"] != "success":
                raise RuntimeError(f"run.start: {answer}")
            ended = asyncio.create_task(over.wait())
            await asyncio.wait({following, ended}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
        finally:
            following.cancel()
            failed = (await asyncio.gather(following, return_exceptions=True))[0]
        if not over.is_set():
            raise RuntimeError(f"{transport}: {failed!r} after {b''.join(reading.parts)[-300:]!r}")
        return reading.end()

    async def read(self, method: str, path: str, body: Any, headers: str = "") -> Reading:
        reading = Reading()
        status = await self.send(method, path, body, reading.feed, headers)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {b''.join(reading.parts)[:300]!r}")
        return reading.end()

    def close(self) -> None:
        for connection in self.idle:
            connection.transport.abort()
        self.idle.clear()
