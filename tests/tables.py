"""A database with all its tables and nothing in them; to make them takes longer than most stories that begin there."""

from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import connect


def begin(file: Path) -> None:
    file.write_bytes(_made())


@cache
def _made() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tables.sqlite"
        with closing(connect(file)) as connection:
            migrate_sqlite(connection)
        return file.read_bytes()
