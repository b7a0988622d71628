"""The storage interface: what the rest of the code may assume about any database.

A transaction is a plain function that takes a `Tx`. The database runs it on the thread that owns the
connection, so a whole transaction costs one hop, and transactions that arrive while one commit is under
way share the next one (see docs/decisions/0002). Callers decide where a transaction starts and ends by
choosing the function they hand in; functions that take `tx` compose.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Row = Mapping[str, Any]


class DatabaseError(Exception):
    """The database could not be opened or used; the message is for the operator."""


class NoRoom(DatabaseError):
    """The disk is full, or fails: nothing of the transaction was stored. The message is for whoever asked."""


class Dialect(Protocol):
    """The few SQL fragments that differ between databases."""

    def contains(self, column: str, param: str, *, sealed: bool = False) -> str:
        """Condition: the JSON in `column` contains the JSON bound to `:param`, as Postgres' `@>` means it. `sealed`: it
        may be encrypted, and is decrypted for that; else only what is plain is looked at."""
        ...

    def matches(self, column: str, param: str) -> str:
        """Condition: the JSON object in `column` passes the filter bound to `:param`: values to be equal to, or
        {"$eq": value}, {"$contains": value or list}, and {"$or": [...]}, {"$and": [...]} of filters."""
        ...


class Tx(Protocol):
    """One transaction, on one connection. `now` is the same for all its statements."""

    @property
    def now(self) -> datetime: ...

    @property
    def dialect(self) -> Dialect: ...

    def one(self, sql: str, **params: Any) -> Row | None: ...

    def all(self, sql: str, **params: Any) -> list[Row]: ...

    def run(self, sql: str, **params: Any) -> int:
        """Number of rows changed."""
        ...

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None: ...

    def context_of(self, **key: str) -> Mapping[str, Any] | None:
        """Under which encryption context the row with this `run_id`, `thread_id`, `cron_id` or (an assistant's) `id`
        was stored; None when it is not encrypted."""
        ...

    def on_commit(self, then: Callable[[], None]) -> None:
        """Call `then` on the database's thread after the commit, before the caller learns of it."""
        ...

    def on_rollback(self, then: Callable[[], None]) -> None:
        """Call `then` when the transaction did not commit."""
        ...


class Database(Protocol):
    async def write(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in a transaction; return when it is on disk. An exception in `fn` rolls back only `fn`."""
        ...

    async def read(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` on a connection that cannot write; it never waits for a writer."""
        ...

    def submit(self, fn: Callable[[Tx], T], within: float = 0) -> "Future[T]":
        """Queue a transaction from any thread. With `within` it may wait that many seconds for company.

        Whatever is submitted later, urgent or not, commits later or together with it.
        """
        ...

    def query(self, fn: Callable[[Tx], T]) -> "Future[T]":
        """Queue a read from any thread."""
        ...

    def soon(self, fn: Callable[[Tx], None], within: float) -> None:
        """Run `fn` with the next commit, at most `within` seconds from now; queued once however often asked."""
        ...

    def hurry(self) -> None:
        """Commit now what may still wait."""
        ...

    async def close(self) -> None:
        """Commit what is queued, then close every connection."""
        ...
