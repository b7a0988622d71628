"""Ordered migrations: `migrations/<database>/NNNN_name.sql`, each applied once, in one transaction."""

import re
import sqlite3
from importlib import resources

from threadmill_checkpoints.database import DatabaseError

TABLE = """CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"""


def migrate_sqlite(connection: sqlite3.Connection) -> None:
    """Bring the file up to this version of the code; a file written by newer code is refused."""
    steps = _steps("sqlite")
    connection.execute(TABLE)
    done = connection.execute("SELECT max(version) FROM migrations").fetchone()[0] or 0
    if done > steps[-1][0]:
        raise DatabaseError(
            f"The database is at migration {done}, but this version of Threadmill knows only {steps[-1][0]}: "
            "upgrade Threadmill, or open a backup from before."
        )
    for version, name, sql in steps:
        if version > done:
            record = f"INSERT INTO migrations (version, name) VALUES ({version}, '{name}')"
            try:
                connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\n;{record};\nCOMMIT;")
            except BaseException:
                if connection.in_transaction:  # a script stops where it fails and leaves that to us
                    connection.execute("ROLLBACK")
                raise


def _steps(kind: str) -> list[tuple[int, str, str]]:
    """(version, name, SQL) in order. Names come from our own package, never from outside."""
    found = []
    for file in (resources.files("threadmill_checkpoints") / "migrations" / kind).iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name):
            found.append((int(match[1]), match[2], file.read_text("utf-8")))
    return sorted(found)
