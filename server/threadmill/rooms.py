"""How much room everything takes in the database, and getting back what nobody uses."""

from collections.abc import Callable
from typing import Any

from threadmill.datadir import Owned
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import blobs, forks
from threadmill_checkpoints.search import index

# What a table holds, by the columns that can be large.
TABLES = {
    "threads": ("threads", "length(metadata) + length(config)"),
    "current values": ("thread_values", "length(data)"),
    "runs": ("runs", "length(kwargs) + length(metadata)"),
    "events": ("events", "length(data)"),
    "checkpoints": ("checkpoints", "length(checkpoint) + length(metadata) + coalesce(length(channels), 0)"),
    "parts": ("blobs", "length(data) + coalesce(length(parts), 0)"),
    "writes": ("writes", "length(value)"),
}


def stats(tx: Tx) -> dict[str, Any]:
    """Counts, and bytes of content: without indexes and what a page of the file leaves free."""
    tables: dict[str, Any] = {}
    for name, (table, size) in TABLES.items():
        row = tx.one(f"SELECT count(*) AS count, coalesce(sum({size}), 0) AS bytes FROM {table}")
        tables[name] = dict(row or {})
    free = (tx.one("PRAGMA freelist_count") or {"freelist_count": 0})["freelist_count"]
    page = (tx.one("PRAGMA page_size") or {"page_size": 0})["page_size"]
    return {"tables": tables, "free": {"threadmill.sqlite": free * page}}


def holders(mine: Owned) -> int:
    row = mine.connection.execute("SELECT count(*) FROM blob_owners").fetchone()
    return int(row[0])


def collect(mine: Owned, advance: Callable[[int], None]) -> dict[str, int]:
    """Each thread holds what its checkpoints are made of, and nothing else; what nobody holds goes."""
    before = _parts(mine)
    with mine.writing() as tx:
        for row in tx.all("SELECT thread_id FROM blob_owners"):
            forks.hold(tx, row["thread_id"])
            advance(1)
        blobs.collect_all(tx)
    after = _parts(mine)
    return {"parts": before[0] - after[0], "bytes": before[1] - after[1]}


def _parts(mine: Owned) -> tuple[int, int]:
    row = mine.connection.execute("SELECT count(*), coalesce(sum(length(data)), 0) FROM blobs").fetchone()
    return row[0], row[1]


def vacuum(mine: Owned) -> None:
    with mine.writing() as tx:
        index.tidy(tx)
    mine.connection.execute("VACUUM")
    mine.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
