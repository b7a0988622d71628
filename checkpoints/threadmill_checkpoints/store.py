"""LangGraph's long-term memory: `SqliteStore` from langgraph-checkpoint-sqlite, run on our connections.

The official store brings its own connection, which would be a second writer on the file. Its queries are
used as they are; only where they run differs.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

from langgraph.store.base import BaseStore, Op, PutOp, Result
from langgraph.store.sqlite import SqliteStore

from threadmill_checkpoints.database import Database, Tx
from threadmill_checkpoints.sqlite import SqliteTx


class _InTransaction(SqliteStore):
    """The official store inside a transaction that is already open."""

    @contextmanager
    def _cursor(self, *, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        cursor = self.conn.cursor()
        try:
            yield cursor
        finally:
            cursor.close()


class Store(BaseStore):
    """Items by namespace and key, in `database`; usable from any thread and any event loop."""

    supports_ttl = False

    def __init__(self, database: Database) -> None:
        self.database = database

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        ops = list(ops)
        run = self.database.submit if _writes(ops) else self.database.query
        return run(lambda tx: _batch(tx, ops)).result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        ops = list(ops)
        run = self.database.write if _writes(ops) else self.database.read
        return await run(_batch, ops)


def prepare(connection: sqlite3.Connection) -> None:
    """Create or migrate the store's tables."""
    SqliteStore(connection).setup()


def _writes(ops: list[Op]) -> bool:
    return any(isinstance(op, PutOp) for op in ops)


def _batch(tx: Tx, ops: list[Op]) -> list[Result]:
    return _InTransaction(cast(SqliteTx, tx).connection).batch(ops)
