"""A proxy that breaks off one connection in the middle of an answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketAttribute, SocketStream
from httpx import URL


@asynccontextmanager
async def cutting(url: str, after: int) -> AsyncIterator[str]:
    """The URL of a proxy to `url`; its first connection ends when it has carried `after` bytes of the answer."""
    there = URL(url)
    left = after

    async def carry(receive: ByteReceiveStream, send: ByteSendStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await send.send(await receive.receive())

    async def carry_some(receive: ByteReceiveStream, send: ByteSendStream) -> None:
        nonlocal left
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while left > 0:
                part = (await receive.receive())[:left]
                left -= len(part)
                await send.send(part)

    async def handle(near: SocketStream) -> None:
        async with (
            near,
            await anyio.connect_tcp(there.host, there.port or 80) as far,
            anyio.create_task_group() as group,
        ):
            group.start_soon(carry, near, far)
            await (carry_some if left > 0 else carry)(far, near)
            group.cancel_scope.cancel()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        group.cancel_scope.cancel()
