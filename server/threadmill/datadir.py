"""The data directory: who may use it, and its database without a server, for the commands that work on it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from threadmill import encryption
from threadmill.errors import ConfigError
from threadmill.langgraph_json.project import Project
from threadmill_checkpoints.database import DatabaseError, Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sealing import Vault
from threadmill_checkpoints.serde import SealedSerializer, Serializer
from threadmill_checkpoints.sqlite import SqliteTx, connect

FILE = "threadmill.sqlite"


class InUse(ConfigError):
    """Another server has the directory."""


def lock(folder: Path) -> IO[str]:
    """One server per data directory; the lock goes with the process, however it ends."""
    file = (folder / "lock").open("a+")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InUse(f"Another Threadmill server uses {folder}: stop it, or give this one another --data-dir.") from None
    return file


@dataclass(frozen=True, slots=True)
class DataDir:
    """`serde` and `vault` are the project's: without them encrypted threads, and types of one's own, are not read."""

    folder: Path
    serde: Serializer
    vault: Vault | None
    file: str = FILE

    @property
    def path(self) -> Path:
        return self.folder / self.file

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """What there is now, also beside a server that runs. Raises ConfigError when there is no database."""
        if not self.path.is_file():
            raise ConfigError(f"{self.folder} has no {self.file}: name the right --data-dir.")
        connection = self._connect(read_only=True)
        try:
            connection.execute("BEGIN")
            yield SqliteTx(connection, datetime.now(UTC), self.vault)
        finally:
            connection.close()

    @contextmanager
    def owned(self) -> Iterator["Owned"]:
        """No server runs meanwhile. Raises InUse if one does. The database is made, or migrated."""
        self.folder.mkdir(parents=True, exist_ok=True)
        held = lock(self.folder)
        try:
            connection = self._connect()
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                migrate_sqlite(connection)
                yield Owned(connection, self)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()
        except (DatabaseError, sqlite3.Error) as error:
            raise ConfigError(f"{self.path} cannot be used: {error}") from error
        finally:
            held.close()

    def _connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        return connect(self.path, self.vault, read_only=read_only)


@dataclass(frozen=True, slots=True)
class Owned:
    """A data directory that nobody else writes to."""

    connection: sqlite3.Connection
    at: DataDir

    @contextmanager
    def writing(self) -> Iterator[Tx]:
        """All of it or, when it raises, nothing."""
        tx = SqliteTx(self.connection, datetime.now(UTC), self.at.vault)
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield tx
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise


@contextmanager
def opened(folder: Path, project: Project | None) -> Iterator[DataDir]:
    vault = encryption.load(project) if project is not None else None
    allowed = project.allowed_types if project is not None else ()
    try:
        yield DataDir(folder, Serializer(allowed) if vault is None else SealedSerializer(allowed, vault), vault)
    finally:
        if vault is not None:
            vault.close()
