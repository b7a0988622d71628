"""Giving back what a database does not use any more."""

import sqlite3


def vacuum(connection: sqlite3.Connection) -> None:
    """Write the file anew, so that nothing that was deleted is left in it, nor in the write-ahead log. Outside of any
    transaction, on a connection that nobody shares; takes as much free disk as the database."""
    connection.execute("INSERT INTO search_index (search_index) VALUES ('optimize')")  # it keeps what it deletes
    connection.commit()
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
