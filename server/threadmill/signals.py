"""Wake-ups between threads and event loops. They carry nothing: who wakes reads the table or the log.

A lost wake-up costs latency, never an event or a run, since every waiter also wakes on a timer.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Waiter:
    """One task's subscription to a topic. Wake-ups that come while it is busy collapse into one."""

    __slots__ = ("_event", "_loop", "_raised")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._raised = False

    def raise_(self) -> None:
        """From any thread."""
        if not self._raised:
            self._raised = True
            try:
                self._loop.call_soon_threadsafe(self._event.set)
            except RuntimeError:  # its event loop is closed: nobody is waiting any more
                pass

    def take(self) -> bool:
        """Whether it was woken since the last look; does not wait."""
        raised, self._raised = self._raised, False
        return raised

    async def wait(self, seconds: float) -> bool:
        """True when woken, False when that time went by."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        # In this order: a wake-up between the two lines is kept, at worst one too many.
        self._event.clear()
        self._raised = False
        return True


class Signals:
    """Topics are plain strings: `thread:<id>`, `run:<id>`, `queue`."""

    def __init__(self) -> None:
        self._topics: dict[str, set[Waiter]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def subscribe(self, *topics: str) -> Iterator[Waiter]:
        waiter = Waiter()
        with self._lock:
            for topic in topics:
                self._topics.setdefault(topic, set()).add(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                for topic in topics:
                    waiters = self._topics[topic]
                    waiters.discard(waiter)
                    if not waiters:
                        del self._topics[topic]

    def watched(self, topic: str) -> bool:
        return topic in self._topics

    def notify(self, topic: str) -> None:
        if topic in self._topics:
            with self._lock:
                waiters = list(self._topics.get(topic, ()))
            for waiter in waiters:
                waiter.raise_()

    def notify_all(self) -> None:
        """Wake everybody: the server is about to stop."""
        with self._lock:
            waiters = {waiter for waiters in self._topics.values() for waiter in waiters}
        for waiter in waiters:
            waiter.raise_()
