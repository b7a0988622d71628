"""`threadmill import`: the threads of a database of LangGraph's own saver."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import NAMESPACE_URL, UUID, uuid5

import typer

from threadmill import adoption, threads
from threadmill.commands import place
from threadmill.commands.place import Place
from threadmill.datadir import Owned
from threadmill.scope import ALL
from threadmill_checkpoints import official
from threadmill_checkpoints.official import GoneOn, OfficialFile
from threadmill_checkpoints.serde import Unreadable

OTHER_ID = "source_thread_id"  # in a thread's metadata: what it was called, if that is no UUID


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one thread: `imported`, `unchanged`, or `refused` with a reason. `blocked` are types that stay
    packed until the project allows them."""

    thread_id: str
    source_thread_id: str
    outcome: str
    checkpoints: int = 0
    blocked: tuple[str, ...] = ()
    reason: str | None = None


@place.here
def import_(
    at: Place,
    file: Annotated[Path, typer.Argument(help="A database of SqliteSaver or AsyncSqliteSaver. It is only read.")],
    graph: Annotated[str | None, typer.Option(help="The graph of langgraph.json that the threads go on with.")] = None,
) -> None:
    """Take over the threads of a checkpoints.sqlite, with all their history. Again: only what is new in it."""
    with at.owned("stop it for the import") as mine:
        source = OfficialFile(file)
        done: list[Imported] = []
        with place.progress("Importing", sum(source.threads().values()), at.as_json) as advance:
            done += [_import(mine, source, name, graph, advance) for name in source.threads()]
        source.close()
        at.answer({"threads": [asdict(one) for one in done]}, lambda: _text(done))
        if any(one.outcome == "refused" for one in done):
            raise typer.Exit(1)


def _import(
    mine: Owned, source: OfficialFile, name: str, graph: str | None, advance: Callable[[int], None]
) -> Imported:
    thread_id = ours(name)
    metadata: dict[str, Any] = ({"graph_id": graph} if graph else {}) | ({} if thread_id == name else {OTHER_ID: name})
    try:
        with mine.writing() as tx:
            copied = official.copy_thread(tx, source, mine.at.serde, name, thread_id, advance)
            if copied.new or not threads.exists(tx, ALL, thread_id):
                adoption.adopt(tx, mine.at.serde, thread_id, metadata)
            if graph:
                threads.patch(tx, ALL, thread_id, metadata=metadata)
    except GoneOn:
        reason = "it has gone on here since it was imported, and there, too: it is left as it is"
        return Imported(thread_id, name, "refused", reason=reason)
    except Unreadable as error:
        return Imported(thread_id, name, "refused", reason=str(error))
    outcome = "imported" if copied.new else "unchanged"
    return Imported(thread_id, name, outcome, copied.new, tuple(sorted(copied.blocked)))


def ours(name: str) -> str:
    """A thread's id here, the same every time: its own, if that is a UUID."""
    try:
        return str(UUID(name))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"langgraph:thread:{name}"))


def _text(done: list[Imported]) -> str:
    new = [one for one in done if one.outcome == "imported"]
    lines = [f"{one.source_thread_id}: {one.reason}" for one in done if one.reason]
    if blocked := sorted({name for one in done for name in one.blocked}):
        lines.append(
            f"Types that are not allowed stay packed, and are shown as plain data: {', '.join(blocked)}. "
            "Name yours in checkpointer.serde.allowed_msgpack_modules."
        )
    total = sum(one.checkpoints for one in new)
    same = sum(one.outcome == "unchanged" for one in done)
    return "\n".join([*lines, f"{len(new)} threads with {total} checkpoints imported, {same} unchanged."])
