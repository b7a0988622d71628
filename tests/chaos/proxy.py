"""A proxy that cuts connections, in the middle of a byte stream, as networks do."""

import asyncio
from contextlib import suppress
from types import TracebackType

from httpx import URL


class Proxy:
    """`limit`: bytes of the answer that the next connection carries before it is cut; None: all of them."""

    def __init__(self, url: str) -> None:
        there = URL(url)
        self._host, self._port = there.host, there.port or 80
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.limit: int | None = None
        self.cuts = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Everything that is open, without goodbye."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _carry(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        limit, self.limit = self.limit, None
        try:
            far_in, far_out = await asyncio.open_connection(self._host, self._port)
        except OSError:
            near_out.transport.abort()
            return
        self._open |= {near_out, far_out}
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(near_in, far_out))
                both.create_task(self._answer(far_in, near_out, limit))
        except* (OSError, EOFError):
            pass
        finally:
            self._open -= {near_out, far_out}
            for writer in (near_out, far_out):
                writer.transport.abort()

    async def _answer(self, far: asyncio.StreamReader, near: asyncio.StreamWriter, limit: int | None) -> None:
        if limit is None:
            await _pump(far, near)
            return
        while limit > 0 and (part := await far.read(65536)):
            near.write(part[:limit])
            limit -= len(part)
            with suppress(OSError):
                await near.drain()
        self.cuts += limit <= 0
        raise EOFError


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while part := await source.read(65536):
        sink.write(part)
        await sink.drain()
    raise EOFError  # ends the other direction too
