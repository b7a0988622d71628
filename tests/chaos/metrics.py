"""What the server says of itself at /metrics, and what the system says of its process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
from serving import Server, until


async def metrics(server: Server) -> dict[str, float]:
    """Each series by its name with labels."""
    async with server.http as http:
        text = (await http.get("/metrics", params={"format": "prometheus"})).text
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@dataclass(frozen=True)
class Usage:
    """Of a server that nobody is connected to; sizes in bytes."""

    streams: int
    tasks: int
    objects: int
    files: int
    memory: int
    wal: int

    @classmethod
    async def of(cls, server: Server) -> "Usage":
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        async with server.http as http:
            held = (await http.get("/held")).json()
        wal = server.data_dir / "threadmill.sqlite-wal"
        return cls(
            await open_streams(server),
            held["tasks"],
            held["objects"],
            len(process.net_connections()) + len(process.open_files()),
            process.memory_info().rss,
            wal.stat().st_size if wal.exists() else 0,
        )


async def open_streams(server: Server) -> int:
    numbers = await metrics(server)
    return int(sum(value for name, value in numbers.items() if name.startswith("threadmill_open_streams{")))


async def settled(server: Server, enough: Callable[[Usage], Any], within: float = 15) -> Usage:
    """As soon as it is back to what it should be."""
    last: list[Usage] = []

    async def is_enough() -> Usage | None:
        try:
            last.append(await Usage.of(server))
        except httpx.TransportError:
            return None
        return last[-1] if enough(last[-1]) else None

    try:
        return await until(is_enough, within)
    except AssertionError:
        raise AssertionError(f"it does not go back to where it was: {last[-1:]}") from None
