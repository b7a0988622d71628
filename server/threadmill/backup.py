"""A copy of the database as of one moment, checked before it counts."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from threadmill import datadir, fsck
from threadmill.datadir import DataDir
from threadmill.errors import ConfigError
from threadmill_checkpoints.saver.checks import Fault

PAGES = 2048  # copied at a time: the writer waits for none of them
BEFORE = ".before-restore"
BESIDE = ("-wal", "-shm")


def backup(here: DataDir, target: Path, advance: Callable[[int], None]) -> list[Fault]:
    """The faults that the copy has, as the database itself has them. Raises ConfigError; then there is no copy."""
    if not here.path.is_file():
        raise ConfigError(f"{here.folder} has no {datadir.FILE}: name the right --data-dir.")
    part = target.with_name(f"{target.name}.part")
    try:
        _copy(here.path, part, advance)
        found = verify(part, here)
        part.replace(target)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"{target} cannot be written: {error}.") from error
    finally:
        for end in ("", *BESIDE):
            part.with_name(part.name + end).unlink(missing_ok=True)
    return found


def _copy(source: Path, target: Path, advance: Callable[[int], None]) -> None:
    target.unlink(missing_ok=True)
    done = 0

    def progress(_: int, left: int, pages: int) -> None:
        nonlocal done
        advance(pages - left - done)
        done = pages - left

    # One transaction for all of it: copied in pieces, each write of the server would begin the copy anew.
    with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.execute("BEGIN")
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with closing(sqlite3.connect(target)) as copy:
            database.backup(copy, pages=PAGES, progress=progress)
            copy.execute("PRAGMA journal_mode=DELETE")


def verify(file: Path, like: DataDir) -> list[Fault]:
    """What fsck says of it. Raises ConfigError for a file that is damaged or is no database of ours."""
    there = DataDir(file.parent, like.serde, like.vault, file.name)
    try:
        with there.reading() as tx:
            if not tx.one("SELECT 1 FROM sqlite_master WHERE name = 'migrations'"):
                raise ConfigError(f"{file} is no database of Threadmill.")
            found = list(fsck.check(tx, like.serde, lambda _: None, repair=False))
    except sqlite3.Error as error:
        raise ConfigError(f"{file} is no database that can be read: {error}.") from error
    if damaged := [one for one in found if one.kind == fsck.DAMAGED]:
        raise ConfigError(f"{file} is damaged: {damaged[0].what}.")
    return found


def restore(here: DataDir, file: Path) -> list[Fault]:
    """Nobody else may use the data directory. The database that was there gets another name."""
    found = verify(file, here)
    here.folder.mkdir(parents=True, exist_ok=True)
    with datadir.lock(here.folder):
        part = here.path.with_name(f"{datadir.FILE}.part")
        try:
            _copy(file, part, lambda _: None)
            if here.path.exists():
                _settle(here.path)
                here.path.replace(here.path.with_name(datadir.FILE + BEFORE))
            for end in BESIDE:
                here.path.with_name(datadir.FILE + end).unlink(missing_ok=True)
            part.replace(here.path)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{here.path} cannot be replaced: {error}.") from error
        finally:
            part.unlink(missing_ok=True)
    return found


def _settle(path: Path) -> None:
    """What a crash left in the write-ahead log belongs to the file that is put aside. Raises ConfigError if somebody
    has the file open and would go on with it: Litestream, which copies each change, would mix it with the new one."""
    try:
        with closing(sqlite3.connect(path, timeout=1)) as database:
            database.execute("PRAGMA journal_mode=DELETE")  # only who is alone with it may
    except sqlite3.DatabaseError as error:  # perhaps it is restored because it is damaged
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise ConfigError(f"Another process has {path} open: stop it first.") from error
