"""One SQLite file: one writer thread that commits in groups, and a few read-only readers.

The writer takes whatever is queued, runs each transaction in a savepoint, and commits them together; while
it waits for the disk the next group gathers. Readers are WAL snapshots on `query_only` connections, so they
neither wait for the writer nor make it wait, and a slow consumer holds none: rows are fetched before a
reader goes on.
"""

import asyncio
import json
import logging
import queue
import sqlite3
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

from threadmill_checkpoints.database import DatabaseError, NoRoom, Row, Tx
from threadmill_checkpoints.sealing import KEPT, Context, Vault, context_in, looking_into, opening, sealed, sealed_rows

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("threadmill.sqlite")

GROUP = 256  # transactions in one commit at the most: bounds how long the first one waits for the last
CACHE_KIB = 16 * 1024


class SqliteTx:
    """`Tx` over a sqlite3 connection."""

    def __init__(self, connection: sqlite3.Connection, now: datetime, vault: Vault | None = None) -> None:
        self.connection = connection
        self.now = now
        self.vault = vault
        self.committed: list[Callable[[], None]] = []
        self.rolled_back: list[Callable[[], None]] = []

    @property
    def dialect(self) -> "SqliteDialect":
        return DIALECT

    def one(self, sql: str, **params: Any) -> Row | None:
        return cast("Row | None", self._execute(sql, params).fetchone())

    def all(self, sql: str, **params: Any) -> list[Row]:
        return cast("list[Row]", self._execute(sql, params).fetchall())

    def run(self, sql: str, **params: Any) -> int:
        return self._execute(sql, params).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        if self.vault is not None:
            rows = sealed_rows(self.vault, sql, rows, self._kept)
        self.connection.executemany(sql, rows)

    def context_of(self, **key: str) -> Context | None:
        return None if self.vault is None else self._kept(*key.popitem())

    def _kept(self, name: str, id: Any) -> Context | None:
        for sql in KEPT[name]:
            for stored in self.connection.execute(sql, (id,)).fetchone() or ():
                if (found := context_in(stored)) is not None:
                    return found
        return None

    def _execute(self, sql: str, params: dict[str, Any]) -> sqlite3.Cursor:
        if self.vault is None:
            return self.connection.execute(sql, params)
        cursor = self.connection.execute(sql, sealed(self.vault, sql, params, self._kept))
        cursor.row_factory = opening(self.vault)(sql)
        return cursor

    def on_commit(self, then: Callable[[], None]) -> None:
        self.committed.append(then)

    def on_rollback(self, then: Callable[[], None]) -> None:
        self.rolled_back.append(then)


class SqliteDialect:
    def contains(self, column: str, param: str, *, sealed: bool = False) -> str:
        return f"json_contains{'_sealed' if sealed else ''}({column}, :{param})"

    def matches(self, column: str, param: str) -> str:
        return f"json_matches({column}, :{param})"


DIALECT = SqliteDialect()


class Job:
    """A queued transaction or read, and where its result goes."""

    __slots__ = ("context", "error", "fn", "future", "loop", "result")

    def __init__(
        self,
        fn: Callable[[SqliteTx], Any],
        future: "asyncio.Future[Any] | Future[Any]",
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.fn, self.future, self.loop = fn, future, loop
        self.context = copy_context()  # a transaction is a part of what asked for it
        self.result: Any = None
        self.error: BaseException | None = None


WAKE = Job(lambda _: None, Future(), None)  # makes a waiting writer look at `_due`
STOP = Job(lambda _: None, Future(), None)


class SqliteDatabase:
    """See `database.Database`. `path` is created when missing; `clock` gives the `now` of transactions."""

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        readers: int = 4,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        prepare: Callable[[sqlite3.Connection], None] = lambda _: None,
        vault: Vault | None = None,
    ) -> None:
        self.path = path
        self._vault = vault
        self.clock = clock
        self.dialect = DIALECT
        self._writes: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._later: deque[Job] = deque()  # not urgent: runs before the next urgent job, or when `_due`
        self._due: float | None = None
        self._once: set[Callable[[Tx], None]] = set()  # what `soon` has in `_later`
        self._closed = False
        writer = self._open(synchronous, prepare)
        self._threads = [threading.Thread(target=self._write_loop, args=(writer,), name="sqlite-writer", daemon=True)]
        for number in range(readers):
            connection = self._connect()
            connection.execute("PRAGMA query_only=ON")
            name = f"sqlite-reader-{number}"
            self._threads.append(threading.Thread(target=self._read_loop, args=(connection,), name=name, daemon=True))
        for thread in self._threads:
            thread.start()

    def _open(self, synchronous: str, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
        writer: sqlite3.Connection | None = None
        try:
            writer = self._connect()
            writer.execute("PRAGMA journal_mode=WAL")
            writer.execute(f"PRAGMA synchronous={'NORMAL' if synchronous == 'NORMAL' else 'FULL'}")
            prepare(writer)
        except BaseException as error:
            if writer is not None:
                writer.close()
            if isinstance(error, sqlite3.Error):
                raise DatabaseError(f"{self.path} cannot be used as the database: {error}.") from error
            raise
        return writer

    def _connect(self) -> sqlite3.Connection:
        return connect(self.path, self._vault)

    async def write(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call(self._writes, fn, *args, **kwargs)

    async def read(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call(self._reads, fn, *args, **kwargs)

    def submit(self, fn: Callable[[Tx], T], within: float = 0) -> "Future[T]":
        if not within:
            return self._put(self._writes, fn)
        future: Future[T] = Future()
        self._defer(Job(fn, future, None), within)
        return future

    def query(self, fn: Callable[[Tx], T]) -> "Future[T]":
        return self._put(self._reads, fn)

    def soon(self, fn: Callable[[Tx], None], within: float) -> None:
        if fn not in self._once:
            self._once.add(fn)
            self._defer(Job(partial(self._run_once, fn), Future(), None), within)

    def hurry(self) -> None:
        if self._later:
            self._put(self._writes, lambda _: None)

    def _run_once(self, fn: Callable[[Tx], None], tx: SqliteTx) -> None:
        self._once.discard(fn)  # first, so that what is asked for from now on is not forgotten
        fn(tx)

    def _defer(self, job: Job, within: float) -> None:
        if self._closed:
            raise DatabaseError("The database is closed.")
        self._later.append(job)
        due, earlier = time.monotonic() + within, self._due
        if earlier is None or due < earlier - 0.005:  # a little later is not worth a wake-up
            self._due = due
            self._writes.put(WAKE)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writes.put(STOP)
        for _ in self._threads[1:]:
            self._reads.put(STOP)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 30)

    def _put(self, target: "queue.SimpleQueue[Job]", fn: Callable[[Tx], T]) -> "Future[T]":
        if self._closed:
            raise DatabaseError("The database is closed.")
        future: Future[T] = Future()
        target.put(Job(fn, future, None))
        return future

    async def _call(
        self,
        target: "queue.SimpleQueue[Job]",
        fn: Callable[Concatenate[Tx, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if self._closed:
            raise DatabaseError("The database is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        target.put(Job(lambda tx: fn(tx, *args, **kwargs), future, loop))
        return await future

    def _write_loop(self, connection: sqlite3.Connection) -> None:
        stop = False
        while not stop:
            jobs = self._gather()
            stop = STOP in jobs
            self._due = None
            later = [self._later.popleft() for _ in range(len(self._later))]
            _commit(connection, later + [job for job in jobs if job is not STOP], self.clock(), self._vault)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def _gather(self) -> list[Job]:
        """Wait for an urgent job, or until deferred ones are due. Then take all the urgent ones there are."""
        jobs: list[Job] = []
        while not jobs:
            due = self._due
            try:
                if due is None:
                    job = self._writes.get()
                else:
                    job = self._writes.get(timeout=max(0.0001, due - time.monotonic()))
            except queue.Empty:
                return []
            if job is not WAKE:
                jobs.append(job)
        while len(jobs) < GROUP and jobs[-1] is not STOP:
            try:
                job = self._writes.get_nowait()
            except queue.Empty:
                break
            if job is not WAKE:
                jobs.append(job)
        return jobs

    def _read_loop(self, connection: sqlite3.Connection) -> None:
        while (job := self._reads.get()) is not STOP:
            try:
                connection.execute("BEGIN")
                job.result = job.context.run(job.fn, SqliteTx(connection, self.clock(), self._vault))
            except BaseException as error:  # handed to whoever asked
                job.error = error
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            _deliver([job])
        connection.close()


def connect(path: Path, vault: Vault | None = None, *, read_only: bool = False) -> sqlite3.Connection:
    """To the file, which is made when it is missing unless `read_only`, with the functions that our SQL uses."""
    target = f"{path.absolute().as_uri()}?mode=ro" if read_only else path
    connection = sqlite3.connect(
        target, isolation_level=None, check_same_thread=False, timeout=10, cached_statements=256, uri=read_only
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    opened = vault and looking_into(vault, _json_contains, "thread", "values")
    connection.create_function("json_contains", 2, _json_contains, deterministic=True)
    connection.create_function("json_contains_sealed", 2, opened or _json_contains, deterministic=True)
    connection.create_function("json_matches", 2, _json_matches, deterministic=True)
    return connection


def _commit(connection: sqlite3.Connection, jobs: list[Job], now: datetime, vault: Vault | None = None) -> None:
    """Run `jobs` in one transaction of the database, each in a savepoint of its own."""
    if not jobs:
        return
    done: list[SqliteTx] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            tx = SqliteTx(connection, now, vault)
            connection.execute("SAVEPOINT job")
            try:
                job.result = job.context.run(job.fn, tx)
                done.append(tx)
            except BaseException as error:
                job.error = error
                if isinstance(job.fn, partial):  # from `soon`: nobody else hears of it
                    log.error("a deferred write failed: %s", error, exc_info=error)
                if not connection.in_transaction:  # SQLite itself gave the whole transaction up (disk full, I/O)
                    done.append(tx)
                    raise
                connection.execute("ROLLBACK TO job")
                _each(tx.rolled_back)
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except BaseException as error:
        log.error("a commit of %d transactions failed: %s", len(jobs), error)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for job in jobs:
            job.error = job.error or error
        for tx in done:
            _each(tx.rolled_back)
    else:
        for tx in done:
            _each(tx.committed)
    _deliver(jobs)


def _each(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        try:
            call()
        except Exception:  # one listener must not keep the others from hearing of a commit
            log.exception("a listener to a commit failed")


def _deliver(jobs: list[Job]) -> None:
    """Hand results over; one wake-up for each event loop, however many results it gets."""
    loops: dict[asyncio.AbstractEventLoop, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.loop is not None:
            loops[job.loop].append(job)
        else:
            _resolve([job])
    for loop, waiting in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, waiting)
        except RuntimeError:
            log.debug("%d results arrived after their event loop was closed", len(waiting))


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        if job.future.done():  # the caller was cancelled: the transaction stands, nobody hears of it
            continue
        if job.error is not None:
            job.future.set_exception(_told(job.error))
        else:
            job.future.set_result(job.result)


def _told(error: BaseException) -> BaseException:
    """To whoever asked: SQLite's own error, unless it is the disk's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind
    if code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return error
    refused = NoRoom(f"The server's disk is full or fails ({error}): nothing was stored. Try again later.")
    refused.__cause__ = error
    return refused


def _json_contains(document: str | None, wanted: str) -> bool:
    return document is not None and contains(json.loads(document), json.loads(wanted))


def contains(document: Any, wanted: Any) -> bool:
    """JSON containment: objects by key, arrays as sets, scalars by value (`true` is not 1)."""
    if isinstance(wanted, dict):
        return isinstance(document, dict) and all(
            key in document and contains(document[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(document, list) and all(any(contains(item, value) for item in document) for value in wanted)
    return isinstance(document, bool) == isinstance(wanted, bool) and bool(document == wanted)


def _json_matches(document: str | None, wanted: str) -> bool:
    return matches(json.loads(document) if document else {}, json.loads(wanted))


def matches(document: Any, wanted: dict[str, Any]) -> bool:
    """Every entry of the filter holds. An operator nobody knows matches nothing."""
    return all(_holds(document, key, value) for key, value in wanted.items())


def _holds(document: Any, key: str, value: Any) -> bool:
    if key == "$or":
        return any(matches(document, one) for one in value)
    if key == "$and":
        return all(matches(document, one) for one in value)
    if not isinstance(document, dict) or key not in document:
        return False
    there = document[key]
    if isinstance(value, dict) and any(name.startswith("$") for name in value):
        return all(_compares(there, operator, operand) for operator, operand in value.items())
    return contains(there, value) and contains(value, there)


def _compares(there: Any, operator: str, operand: Any) -> bool:
    if operator == "$eq":
        return contains(there, operand) and contains(operand, there)
    if operator == "$contains":
        return contains(there, operand if isinstance(operand, list) else [operand])
    return False
