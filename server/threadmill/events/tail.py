"""The newest part of one thread's log, in memory: what writers add and readers take from it."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from threadmill.events.event import ROOM, Event


@dataclass(slots=True)
class Tail:
    """`lock` guards all of it; nothing waits while holding it."""

    next_seq: int = 0
    limit: int = 0  # highest number reserved on disk
    durable: int = 0  # highest number whose event is on disk
    floor: int | None = None  # up to here events must be read from disk; None: all of them
    ring: deque[Event] = field(default_factory=deque)
    ring_bytes: int = 0
    pending: list[Event] = field(default_factory=list)  # not on disk yet
    hidden: list[Event] = field(default_factory=list)  # above `limit`, so not to be seen before the next commit
    writing: bool = False
    closing: bool = False  # the end of what writes has its number, and is not committed
    late: list[Event] = field(default_factory=list)  # appended meanwhile: void with that commit
    owner: tuple[str, int] | None = None  # run and attempt that write
    readers: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, event: Event) -> None:
        self.pending.append(event)
        if event.seq + ROOM - 1 <= self.limit:
            self.show([event])
        else:
            self.hidden.append(event)

    def show(self, events: Sequence[Event]) -> None:
        self.ring.extend(events)
        self.ring_bytes += sum(len(event.data) for event in events)

    def trim(self, allowed: int) -> None:
        """Forget the oldest events that are on disk."""
        while self.ring_bytes > allowed and self.ring[0].seq <= self.durable:
            gone = self.ring.popleft()
            self.ring_bytes -= len(gone.data)
            self.floor = gone.seq

    def after(self, seq: int) -> list[Event] | None:
        """What is in memory after `seq`; None when the disk has to be read first."""
        if self.floor is None or seq < self.floor:
            return None
        found: list[Event] = []
        for event in reversed(self.ring):
            if event.seq <= seq:
                break
            found.append(event)
        found.reverse()
        return found
