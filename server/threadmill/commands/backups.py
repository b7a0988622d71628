"""`threadmill backup` and `threadmill restore`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from threadmill import backup as backups
from threadmill import datadir
from threadmill.commands import place
from threadmill.commands.place import Place
from threadmill.errors import ConfigError
from threadmill_checkpoints.saver.checks import Fault


@place.here
def backup(
    at: Place,
    file: Annotated[Path, typer.Argument(help="Where the copy goes.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Copy the database as of now, also while a server runs, and check the copy."""
    with at.data() as here:
        if file.exists() and not force:
            raise ConfigError(f"{file} is there: name another, or say --force.")
        pages = here.path.stat().st_size // 4096 if here.path.is_file() else None
        with place.progress("Copying", pages, at.as_json) as advance:
            found = backups.backup(here, file, advance)
        size = file.stat().st_size
        at.answer(
            {"file": str(file), "bytes": size, "faults": [asdict(one) for one in found]},
            lambda: f"{file}: {place.size(size)}, {_said(found)}.",
        )


@place.here
def restore(
    at: Place,
    file: Annotated[Path, typer.Argument(help="A backup.")],
) -> None:
    """Put a backup in the place of the database, which is kept beside it."""
    with at.data() as here:
        if not file.is_file():
            raise ConfigError(f"{file} is no file.")
        try:
            found = backups.restore(here, file)
        except datadir.InUse:
            raise ConfigError(f"A Threadmill server uses {here.folder}: stop it first.") from None
        at.answer(
            {"file": str(here.path), "faults": [asdict(one) for one in found]},
            lambda: f"{here.path} is {file}, {_said(found)}.",
        )


def _said(found: list[Fault]) -> str:
    if not found:
        return "checked: nothing is wrong"
    return f"checked: {len(found)} faults, as in the database itself; see threadmill threads fsck"
