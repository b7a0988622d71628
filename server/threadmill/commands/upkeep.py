"""`threadmill threads fsck | gc | vacuum | stats`: whether all is well, how much room it takes, and getting it back."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from threadmill import fsck as checking
from threadmill import rooms
from threadmill.commands import place
from threadmill.commands.place import Place
from threadmill.datadir import DataDir
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver.checks import Fault

STOP = "stop it first"


def register(app: typer.Typer) -> None:
    for command in (fsck, gc, vacuum, stats):
        app.command()(command)


@place.here
def fsck(
    at: Place,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is found; no server may run then.")] = False,
) -> None:
    """Look for what is wrong, and say what was done about it. Ends with 1 if anything is left."""
    if repair:
        with at.owned(STOP) as mine, mine.writing() as tx:
            found = _checked(tx, mine.at, at.as_json, repair)
    else:
        with at.data() as here, here.reading() as tx:
            found = _checked(tx, here, at.as_json, repair)

    def text() -> str:
        done = "" if repair else "with --repair: "
        lines = [
            f"{one.kind}: {one.thread_id + ': ' if one.thread_id else ''}{one.what} → {_mended(one, done)}"
            for one in found
        ]
        return "\n".join([*lines, f"{len(found)} faults." if found else "Nothing is wrong."])

    at.answer({"repaired": repair, "faults": [asdict(one) for one in found]}, text)
    if any(one.mended is None or not repair for one in found):
        raise typer.Exit(1)


def _mended(fault: Fault, done: str) -> str:
    return f"{done}{fault.mended}" if fault.mended else "nothing can be done; restore a backup"


def _checked(tx: Tx, here: DataDir, quiet: bool, repair: bool) -> list[Fault]:
    row = tx.one("SELECT count(*) AS count FROM threads")
    with place.progress("Checking", row["count"] if row else None, quiet) as advance:
        return list(checking.check(tx, here.serde, advance, repair=repair))


@place.here
def stats(at: Place) -> None:
    """How many threads there are and how much room they take."""
    with at.data() as here:
        with here.reading() as tx:
            found = rooms.stats(tx)
        found["files"] = {one.name: one.stat().st_size for one in sorted(here.folder.glob("threadmill.sqlite*"))}

        def text() -> str:
            rows: list[tuple[Any, ...]] = [("", "count", "size")]
            rows += [(name, one["count"], place.size(one["bytes"])) for name, one in found["tables"].items()]
            rows += [(f"free in {name}", "", place.size(size)) for name, size in found["free"].items()]
            rows += [(name, "", place.size(size)) for name, size in found["files"].items()]
            return place.table(rows)

        at.answer(found, text)


@place.here
def gc(at: Place) -> None:
    """Delete the parts of states that no thread holds any more."""
    with at.owned(STOP) as mine:
        with place.progress("Looking at threads", rooms.holders(mine), at.as_json) as advance:
            found = rooms.collect(mine, advance)
        at.answer(found, lambda: f"{found['parts']} parts with {place.size(found['bytes'])} deleted; see vacuum.")


@place.here
def vacuum(at: Place) -> None:
    """Give room that deleted threads leave back to the disk; nothing of them is in the files then."""
    with at.owned(STOP) as mine:
        before = mine.at.path.stat().st_size
        with place.progress("Writing the database anew", None, at.as_json):
            rooms.vacuum(mine)
        after = mine.at.path.stat().st_size
        at.answer({"before": before, "after": after}, lambda: f"{place.size(before)} → {place.size(after)}.")
