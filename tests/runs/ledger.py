"""A queue on a real file, a clock that can be moved, and a plain-Python account of what must be in the table."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from threadmill import assistants, threads
from threadmill.errors import Conflict
from threadmill.runs import queue
from threadmill.runs.queue import LostLease
from threadmill.runs.run import Action, Run, Status, find
from threadmill.runs.submit import Request, Submitted, submit
from threadmill.scope import ALL
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import SqliteDatabase

T = TypeVar("T")
LEASE = 30.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PLACES = ("00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b")


@dataclass
class Entry:
    run_id: str
    place: str
    start_at: datetime
    status: str = "pending"
    attempt: int = 0
    stop: str | None = None
    worker: str | None = None
    lease: datetime | None = None
    crashes: int = 0

    @property
    def active(self) -> bool:
        return self.status in ("pending", "running")


@dataclass
class Ledger:
    database: SqliteDatabase
    clock: list[datetime]
    entries: list[Entry] = field(default_factory=list)  # in the order of submission
    held: list[Run] = field(default_factory=list)  # every attempt there ever was, dead ones too
    keys: dict[str, Entry] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def now(self) -> datetime:
        return self.clock[0]

    def do(self, fn: Callable[[Tx], T]) -> T:
        return self.database.submit(fn).result(10)

    def entry(self, run_id: str) -> Entry | None:
        return next((one for one in self.entries if one.run_id == run_id), None)

    def of(self, place: str) -> list[Entry]:
        return [one for one in self.entries if one.place == place]

    # What can happen; each says what it must do to the account, does it, and compares.

    def submit(self, place: str, strategy: str, after: float = 0, key: str | None = None) -> Submitted | None:
        self.count += 1
        run_id = f"10000000-0000-0000-0000-{self.count:012d}"
        asked = Request("g", multitask_strategy=strategy, after_seconds=after, idempotency_key=key)
        known = self.keys.get(key or "")
        if known is not None and known not in self.entries:  # rolled back, and its key with it
            known = None
        there = [one for one in self.of(place) if one.active]

        def call(tx: Tx) -> Submitted:
            return submit(tx, ALL, asked, run_id=run_id, thread_id=place, request_id="", new_thread="")

        if (known and known.place != place) or (not known and there and strategy == "reject"):
            try:
                self.do(call)
            except Conflict:
                self.check()
                return None
            raise AssertionError("not refused")
        done = self.do(call)
        if known:
            assert (done.run.run_id, done.stopping) == (known.run_id, ())
            self.check()
            return done
        if strategy in ("interrupt", "rollback"):
            assert {run.run_id for run in done.stopping} == {one.run_id for one in there if one.status == "running"}
            for one in there:
                self._stop(one, strategy)
        entry = Entry(run_id, place, self.now + timedelta(seconds=after))
        self.entries.append(entry)
        if key:
            self.keys[key] = entry
        self.check()
        return done

    def claim(self, worker: str, run_id: str | None = None) -> Run | None:
        due = [
            one
            for one in self.entries
            if one.status == "pending"
            and one.start_at <= self.now
            and run_id in (None, one.run_id)
            and not any(other.status == "running" for other in self.of(one.place))
            and one is next(o for o in self.of(one.place) if o.status == "pending" and o.start_at <= self.now)
        ]
        run = self.do(lambda tx: queue.claim(tx, worker, LEASE, run_id))
        assert (run is None) == (not due), "who is due starts, and nobody else"
        if run is not None:
            wanted = min(due, key=lambda one: (one.start_at, one.run_id))
            assert run.run_id == wanted.run_id
            wanted.status, wanted.worker, wanted.lease = "running", worker, self.now + timedelta(seconds=LEASE)
            wanted.attempt += 1
            assert run.attempt == wanted.attempt
            self.held.append(run)
        self.check()
        return run

    def finish(self, which: int, status: Status) -> None:
        self._fenced(which, lambda tx, run: queue.finish(tx, run, status, last_seq=1), self._finished(status))

    def put_back(self, which: int) -> None:
        self._fenced(which, queue.put_back, lambda entry: self._requeued(entry, crashed=False))

    def write(self, which: int) -> None:
        """What a run writes on its way goes through `hold`."""
        self._fenced(which, lambda tx, run: queue.hold(tx, run.run_id, run.attempt), lambda _: None)

    def stop(self, which: int, action: Action) -> None:
        active = [one for one in self.entries if one.active]
        if active:
            entry = active[which % len(active)]
            run = self.do(lambda tx: find(tx, ALL, entry.run_id))
            assert run is not None
            self.do(lambda tx: queue.stop(tx, run, action))
            self._stop(entry, action)
            self.check()

    def wait(self, seconds: float) -> None:
        self.clock[0] += timedelta(seconds=seconds)

    def renew(self, worker: str) -> None:
        mine = [run.run_id for run in self.held]
        kept = self.do(lambda tx: queue.renew(tx, worker, mine, LEASE))
        running = [one for one in self.entries if one.status == "running" and one.worker == worker]
        assert kept == {one.run_id: one.stop for one in running}
        for one in running:
            one.lease = self.now + timedelta(seconds=LEASE)
        self.check()

    def recover(self, everyone: bool = False) -> None:
        lost = {run.run_id for run in self.do(lambda tx: queue.requeue_expired(tx, all_workers_gone=everyone))}
        expired = [
            one for one in self.entries if one.status == "running" and one.lease and (everyone or one.lease < self.now)
        ]
        assert lost == {one.run_id for one in expired}
        for one in expired:
            self._requeued(one, crashed=True)
        self.check()

    # What that means

    def _fenced(self, which: int, act: Callable[[Tx, Run], None], then: Callable[[Entry], None]) -> None:
        """Only the attempt that has the run now may do it; all others lose."""
        if not self.held:
            return
        run = self.held[which % len(self.held)]
        entry = self.entry(run.run_id)
        owns = entry is not None and entry.status == "running" and entry.attempt == run.attempt
        try:
            self.do(lambda tx: act(tx, run))
        except LostLease:
            assert not owns, "refused its owner"
        else:
            assert entry is not None and owns, "a dead attempt got through"
            then(entry)
        self.check()

    def _finished(self, status: str) -> Callable[[Entry], None]:
        def end(entry: Entry) -> None:
            entry.status, entry.worker, entry.lease = status, None, None
            self.ended.append(entry.run_id)

        return end

    def _requeued(self, entry: Entry, *, crashed: bool) -> None:
        entry.status, entry.worker, entry.lease = "pending", None, None
        entry.crashes += crashed

    def _stop(self, entry: Entry, action: str) -> None:
        if entry.status == "running":
            entry.stop = entry.stop or action
        elif action == "rollback":
            self.entries.remove(entry)
        else:
            entry.status = "interrupted"

    def check(self) -> None:
        """The table says what the account says, and so does what a client sees of the threads."""
        columns = ("run_id", "status", "attempt", "stop", "worker", "crashes")
        sql = "SELECT * FROM runs WHERE thread_id = :place ORDER BY position"
        for place in PLACES:
            rows = self.do(lambda tx, place=place: tx.all(sql, place=place))
            expected = [tuple(getattr(one, name) for name in columns) for one in self.of(place)]
            assert [tuple(row[name] for name in columns) for row in rows] == expected
            assert [row["status"] for row in rows].count("running") <= 1
            busy = any(one.active for one in self.of(place))
            status = self.do(lambda tx, place=place: threads.get(tx, ALL, place).status)
            assert status == ("busy" if busy else "idle")


@contextmanager
def opened() -> Iterator[Ledger]:
    clock = [BEGIN]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "queue.sqlite"
        file.write_bytes(_prepared())
        database = _database(file, clock)
        try:
            yield Ledger(database, clock)
        finally:
            asyncio.run(database.close())


def _database(file: Path, clock: list[datetime]) -> SqliteDatabase:
    return SqliteDatabase(file, synchronous="NORMAL", readers=0, clock=lambda: clock[0], prepare=migrate_sqlite)


@cache
def _prepared() -> bytes:
    """A file with the graph and both threads; to make its tables anew takes longer than most stories."""

    def prepare(tx: Tx) -> None:
        assistants.ensure_defaults(tx, [("g", None)])
        for place in PLACES:
            threads.create(tx, place)

    with TemporaryDirectory() as folder:
        file = Path(folder) / "queue.sqlite"
        database = _database(file, [BEGIN])
        database.submit(prepare).result(10)
        asyncio.run(database.close())
        return file.read_bytes()


def play(ledger: Ledger, story: list[tuple[Any, ...]]) -> None:
    for what, *how in story:
        getattr(ledger, what)(*how)
