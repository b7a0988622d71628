"""When what a server wrote is on its disk: seen by a connection of its own, to which SQLite shows a commit only once it
is synced."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from bisect import bisect_left
from pathlib import Path
from statistics import median
from typing import Self

EVERY_S = 0.002  # between two looks, of a few us each unless something was committed
EVENTS = "SELECT coalesce(max(last_seq), 0) FROM events WHERE thread_id = ?"
ROWS = "SELECT count(*) FROM checkpoints WHERE thread_id = ?"


class Watch:
    """A figure of one thread that only grows, while the context is open."""

    def __init__(self, database: Path, sql: str, thread: str) -> None:
        self._asked = (f"file:{database}?mode=ro", sql, thread)
        self._figures: list[int] = []
        self._times: list[int] = []
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        uri, sql, thread = self._asked
        connection, seen, over = sqlite3.connect(uri, uri=True, isolation_level=None), None, False
        while not over:
            over = self._over.wait(EVERY_S)
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if version != seen:
                seen = version
                self._figures.append(connection.execute(sql, (thread,)).fetchone()[0])
                self._times.append(time.monotonic_ns())
        connection.close()

    def late(self, figure: int, at: int) -> float:
        """ms from `at` until the figure was that high; 0 if it was so before."""
        return max(0, self._times[bisect_left(self._figures, figure)] - at) / 1e6


def fdatasync_us(under: Path) -> float:
    took = []
    with tempfile.TemporaryFile(dir=under) as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            file.flush()
            start = time.perf_counter()
            getattr(os, "fdatasync", os.fsync)(file.fileno())
            took.append(time.perf_counter() - start)
    return median(took) * 1e6
