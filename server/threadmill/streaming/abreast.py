"""Subscriptions of one connection to one thread, which tell its ends together."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

PATIENCE_S = 1.0  # with one that is left behind; better an end too early than none


class Abreast:
    """Clients leave off with the first end that they hear, on whichever of their subscriptions: none tells one before
    the others have told what comes before it."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._moved = asyncio.Event()

    @contextmanager
    def joined(self, name: str, since: int) -> Iterator[Callable[[int], Awaitable[None]]]:
        """Await what it yields with the number of an end before telling that."""

        async def wait(seq: int) -> None:
            self._move(name, seq)
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    while min(self._told.values()) < seq:
                        await self._moved.wait()

        self._move(name, since)
        try:
            yield wait
        finally:
            self._move(name, None)

    def _move(self, name: str, seq: int | None) -> None:
        if seq is None:
            del self._told[name]
        else:
            self._told[name] = seq
        self._moved.set()
        self._moved = asyncio.Event()
