"""Ordered migrations: `migrations/<database>/NNNN_name.sql`, each applied once, in one transaction."""

import re
import sqlite3
from importlib import resources

from threadmill_checkpoints.database import DatabaseError
from threadmill_checkpoints.official import is_official, takeover

TABLE = """CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"""


def migrate_sqlite(connection: sqlite3.Connection) -> None:
    """Bring the file up to this version of the code; a file written by newer code is refused. One of LangGraph's own
    saver becomes ours."""
    steps = _steps("sqlite")
    connection.execute(TABLE)
    done = connection.execute("SELECT max(version) FROM migrations").fetchone()[0] or 0
    if done > steps[-1][0]:
        raise DatabaseError(
            f"The database is at migration {done}, but this version of Threadmill knows only {steps[-1][0]}: "
            "upgrade Threadmill, or open a backup from before."
        )
    new = [step for step in steps if step[0] > done]
    if done == 0 and is_official(connection):
        _run(connection, takeover(connection, ";".join(map(_recorded, new))))
        return
    for step in new:
        _run(connection, _recorded(step))


def _recorded(step: tuple[int, str, str]) -> str:
    version, name, sql = step
    return f"{sql}\n;INSERT INTO migrations (version, name) VALUES ({version}, '{name}')"


def _run(connection: sqlite3.Connection, script: str) -> None:
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script};\nCOMMIT;")
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
