"""What is really in the database file, read beside the server or after its death."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TABLES = ("threads", "runs", "events", "thread_values", "thread_metadata", "checkpoints", "writes")


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def ask(file: Path, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with reading(file) as connection:
        return connection.execute(sql, params).fetchall()


def left_of(file: Path, thread_id: str) -> dict[str, int]:
    """How many rows of the thread each table has."""
    return {table: ask(file, f"SELECT count(*) FROM {table} WHERE thread_id = ?", thread_id)[0][0] for table in TABLES}
