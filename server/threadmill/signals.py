"""Wake-ups between threads and event loops. They carry nothing: who wakes reads the table or the log.

A lost wake-up costs latency, never an event or a run, since every waiter also wakes on a timer.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Waiter:
    """One task's subscription. Wake-ups that come while it is busy collapse into one."""

    __slots__ = ("_began", "_future", "_loop", "_raised", "_seconds", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._raised = False
        self._future: asyncio.Future[bool] | None = None
        self._began = self._seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def raise_(self) -> None:
        """From any thread."""
        if not self._raised:
            self._raised = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # its event loop is closed: nobody is waiting any more
                pass

    def take(self) -> bool:
        """Whether it was woken since the last look; does not wait."""
        if not self._raised:  # and no write: it could undo a wake-up that comes this very moment
            return False
        self._raised = False
        return True

    async def wait(self, seconds: float) -> bool:
        """True when woken, False when that time went by."""
        if not self._raised:
            self._future = self._loop.create_future()
            self._began, self._seconds = self._loop.time(), seconds
            # One timer for many waits, as a stream waits for every token; a shorter wait needs one of its own.
            if self._timer is not None and self._timer.when() > self._began + seconds + 0.001:
                self._timer.cancel()
                self._timer = None
            if self._timer is None:
                self._timer = self._loop.call_later(seconds, self._expire)
            try:
                await self._future
            finally:
                self._future = None
        # A wake-up from here on is kept, at worst one too many.
        return self.take()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        # Not when the wake-up was taken before this call came round: the next wait is another one.
        if self._raised and self._future is not None and not self._future.done():
            self._future.set_result(True)

    def _expire(self) -> None:
        self._timer = None
        if self._future is None or self._future.done():
            return
        left = self._began + self._seconds - self._loop.time()
        if left > 0.001:
            self._timer = self._loop.call_later(left, self._expire)
        else:
            self._future.set_result(False)


class Signals:
    """Topics are plain strings.

    `thread:<id>`: its log has more. `started:<run>`, `run:<run>`: it started; it ended or is gone. `output:<run>`:
    nothing is sent, but who watches it gets the output handed over. `queue`: a run may be due. `feed`: a list changed.
    """

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
            waiter.close()
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
