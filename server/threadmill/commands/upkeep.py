"""`threadmill threads fsck | gc | vacuum | stats`: whether all is well, how much room it takes, and getting it back."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from threadmill import fsck as checking
from threadmill import rooms
from threadmill.commands import place
from threadmill.datadir import DataDir
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver.checks import Fault

STOP = "stop it first"


def register(app: typer.Typer) -> None:
    for command in (fsck, gc, vacuum, stats):
        app.command()(command)


def fsck(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is found; no server may run then.")] = False,
    config: place.ConfigOption = None,
    data_dir: place.DataOption = None,
    as_json: place.JsonOption = False,
) -> None:
    """Look for what is wrong, and say what was done about it. Ends with 1 if anything is left."""
    with place.told():
        if repair:
            with place.owned(config, data_dir, STOP) as mine, mine.writing() as tx:
                found = _checked(tx, mine.at, as_json, repair)
        else:
            with place.data(config, data_dir) as here, here.reading() as tx:
                found = _checked(tx, here, as_json, repair)

        def text() -> str:
            done = "" if repair else "with --repair: "
            lines = [
                f"{one.kind}: {one.thread_id + ': ' if one.thread_id else ''}{one.what} → {_mended(one, done)}"
                for one in found
            ]
            return "\n".join([*lines, f"{len(found)} faults." if found else "Nothing is wrong."])

        place.answer({"repaired": repair, "faults": [asdict(one) for one in found]}, as_json, text)
        if any(one.mended is None or not repair for one in found):
            raise typer.Exit(1)


def _mended(fault: Fault, done: str) -> str:
    return f"{done}{fault.mended}" if fault.mended else "nothing can be done; restore a backup"


def _checked(tx: Tx, here: DataDir, quiet: bool, repair: bool) -> list[Fault]:
    row = tx.one("SELECT count(*) AS count FROM threads")
    with place.progress("Checking", row["count"] if row else None, quiet) as advance:
        return list(checking.check(tx, here.serde, advance, repair=repair))


def stats(
    config: place.ConfigOption = None, data_dir: place.DataOption = None, as_json: place.JsonOption = False
) -> None:
    """How many threads there are and how much room they take."""
    with place.told(), place.data(config, data_dir) as here:
        with here.reading() as tx:
            found = rooms.stats(tx)
        found["files"] = {one.name: one.stat().st_size for one in sorted(here.folder.glob("threadmill.sqlite*"))}

        def text() -> str:
            rows: list[tuple[Any, ...]] = [("", "count", "size")]
            rows += [(name, one["count"], place.size(one["bytes"])) for name, one in found["tables"].items()]
            rows += [(f"free in {name}", "", place.size(size)) for name, size in found["free"].items()]
            rows += [(name, "", place.size(size)) for name, size in found["files"].items()]
            return place.table(rows)

        place.answer(found, as_json, text)


def gc(config: place.ConfigOption = None, data_dir: place.DataOption = None, as_json: place.JsonOption = False) -> None:
    """Delete the parts of states that no thread holds any more."""
    with place.told(), place.owned(config, data_dir, STOP) as mine:
        with place.progress("Looking at threads", rooms.holders(mine), as_json) as advance:
            found = rooms.collect(mine, advance)
        place.answer(
            found, as_json, lambda: f"{found['parts']} parts with {place.size(found['bytes'])} deleted; see vacuum."
        )


def vacuum(
    config: place.ConfigOption = None, data_dir: place.DataOption = None, as_json: place.JsonOption = False
) -> None:
    """Give room that deleted threads leave back to the disk; nothing of them is in the files then."""
    with place.told(), place.owned(config, data_dir, STOP) as mine:
        before = mine.at.path.stat().st_size
        with place.progress("Writing the database anew", None, as_json):
            rooms.vacuum(mine)
        after = mine.at.path.stat().st_size
        place.answer(
            {"before": before, "after": after}, as_json, lambda: f"{place.size(before)} → {place.size(after)}."
        )
