"""`webhook`: somebody else is told how a run ended"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream
from clients.scenario import human, new_thread, scenario, texts

SECONDS = 15


class Receiver:
    """Answers one request after the other with 200, and keeps their bodies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._put, self._take = anyio.create_memory_object_stream[Any](100)

    async def handle(self, stream: SocketStream) -> None:
        async with stream:
            read = b""
            while b"\r\n\r\n" not in read:
                read += await stream.receive()
            head, _, body = read.partition(b"\r\n\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            while len(body) < int(headers[b"content-length"]):
                body += await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await self._put.send(json.loads(body))

    async def next(self) -> Any:
        with anyio.fail_after(SECONDS):
            return await self._take.receive()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        port = listener.extra(SocketAttribute.local_port)
        receiver = Receiver(f"http://127.0.0.1:{port}/hook")
        group.start_soon(listener.serve, receiver.handle)
        yield receiver
        group.cancel_scope.cancel()


@scenario("webhooks")
async def the_end_of_a_run_is_told(client: Any) -> None:
    place = await new_thread(client)
    async with receiving() as receiver:
        run = await client.runs.create(place, "echo", input=human("hi"), webhook=receiver.url)
        told = await receiver.next()
        assert (told["run_id"], told["thread_id"], told["status"]) == (run["run_id"], place, "success")
        assert texts(told["values"]) == ["hi", "1: hi"]
        await client.runs.wait(None, "boom", input={}, webhook=receiver.url, raise_error=False)
        failed = await receiver.next()
        assert failed["status"] == "error"
        assert "boom on purpose" in str(failed["error"])
