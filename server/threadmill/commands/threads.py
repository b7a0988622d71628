"""`threadmill threads …`: what one does with threads."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer

from threadmill import adoption, branches, threads
from threadmill import search as finding
from threadmill.api.threads import shown
from threadmill.commands import carry, place, upkeep
from threadmill.commands.place import Place
from threadmill.datadir import InUse, Owned
from threadmill.errors import ConfigError, Invalid
from threadmill.ids import new_id, parse_id
from threadmill.jsonable import plain
from threadmill.scope import ALL
from threadmill.threads import Filter
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.search import index
from threadmill_checkpoints.search.find import Wanted

app = typer.Typer(no_args_is_help=True, help="Threads: list, read, carry, check and clean up.")
upkeep.register(app)

ThreadArgument = Annotated[str, typer.Argument(metavar="THREAD", help="The id of a thread.")]
STOP = "name it with --url, or stop it"
HIT = ("thread_id", "title", "checkpoint_id", "message_id", "role", "kind", "snippet", "at")
LISTED = ("thread_id", "status", "message_count", "last_activity_at", "title")


@app.command("ls")
@place.anywhere
def ls(
    at: Place,
    status: Annotated[
        Literal["idle", "busy", "interrupted", "error"] | None, typer.Option(help="Only those with this status.")
    ] = None,
    graph: Annotated[str | None, typer.Option(help="Only those of this graph.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
) -> None:
    """List threads, those with the newest activity first."""
    metadata = {"graph_id": graph} if graph else None

    def local() -> list[dict[str, Any]]:
        with at.data() as here, here.reading() as tx:
            wanted = Filter(metadata=metadata, status=status)
            how: Any = {"sort_by": "last_activity_at", "sort_order": "desc", "values": False}
            found, _ = threads.search(tx, ALL, wanted, limit=limit, offset=0, **how)
            return [shown(one) for one in found]

    def remote(http: Any) -> Any:
        body = {"limit": limit, "sort_by": "last_activity_at", "sort_order": "desc"}
        body |= {"status": status} if status else {}
        body |= {"metadata": metadata} if metadata else {}
        return place.checked(http.post("/threads/search", json=body)).json()

    rows = at.asked(local, remote)
    kept = [{name: one[name] for name in (*LISTED, "metadata", "created_at")} for one in rows]
    text = [LISTED, *([str(one[name] or "")[:60] for name in LISTED] for one in kept)]
    at.answer({"threads": kept}, lambda: place.table(text))


@app.command()
@place.anywhere
def show(
    at: Place,
    thread: ThreadArgument,
) -> None:
    """A thread: what it is, what it waits for, and its state."""

    def local() -> dict[str, Any]:
        with at.data() as here, here.reading() as tx:
            found = shown(threads.get(tx, ALL, parse_id(thread, "thread"), values=True))
            if found["values"] is None and (head := View(tx, found["thread_id"]).get("", None)) is not None:
                found["values"] = plain(adoption.values_of(here.serde, tx, head))
            return found

    def remote(http: Any) -> Any:
        return place.checked(http.get(f"/threads/{parse_id(thread, 'thread')}")).json()

    def text() -> str:
        lines = [(name, str(found[name])) for name in (*LISTED, "created_at", "metadata")]
        lines += [("waits for", str(one)) for asked in (found.get("interrupts") or {}).values() for one in asked]
        return place.table(lines) + "\n\n" + orjson.dumps(found["values"], option=orjson.OPT_INDENT_2).decode()

    found = at.asked(local, remote)
    found["values"] = orjson.loads(orjson.dumps(found["values"]))
    at.answer(found, text)


@app.command()
@place.anywhere
def fork(
    at: Place,
    thread: ThreadArgument,
    checkpoint: Annotated[str | None, typer.Option(help="Where it begins. Default: where the thread is.")] = None,
    title: Annotated[str | None, typer.Option(help="The title of the fork.")] = None,
) -> None:
    """A new thread that begins at a checkpoint of another. That one stays as it is."""

    def local() -> str:
        with at.owned(STOP) as mine, mine.writing() as tx:
            target = new_id()
            how: Any = {"serde": mine.at.serde, "metadata": {}, "title": title}
            branches.fork(tx, ALL, parse_id(thread, "thread"), checkpoint, target, **how)
            return target

    def remote(http: Any) -> str:
        body = {name: one for name, one in (("checkpoint_id", checkpoint), ("title", title)) if one}
        made = place.checked(http.post(f"/threads/{parse_id(thread, 'thread')}/fork", json=body)).json()
        return str(made["thread_id"])

    target = at.asked(local, remote)
    at.answer({"thread_id": target, "forked_from": thread}, lambda: target)


@app.command()
@place.anywhere
def search(
    at: Place,
    query: Annotated[str, typer.Argument(help="Words, or a part of a text in Chinese.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, the newest first.")] = 20,
) -> None:
    """Find messages, what tools were asked and answered, and titles."""

    def local() -> Any:
        with at.data() as here:
            if here.vault is not None:
                raise ConfigError(finding.SEALED)
            try:  # a server keeps the index up to date; where there is none, we do
                with here.owned() as mine:
                    _index(mine)
            except InUse:
                pass
            with here.reading() as tx:
                hits = finding.found(tx, ALL, Wanted(query), Filter(), limit, None)
                return [asdict(hit) | {"title": title} for hit, title in hits]

    def remote(http: Any) -> Any:
        return place.checked(http.post("/search", json={"query": query, "limit": limit})).json()["hits"]

    kept = [{name: one[name] for name in HIT} for one in at.asked(local, remote)]
    text = [[one["thread_id"], one["kind"], " ".join(str(one["snippet"]).split())] for one in kept]
    at.answer({"hits": kept}, lambda: place.table(text) if text else "Nothing found.")


def _index(mine: Owned) -> None:
    while True:
        with mine.writing() as tx:
            if (batch := index.waiting(tx, mine.at.serde)) is None:
                return
            index.put(tx, batch)


@app.command()
@place.anywhere
def rm(
    at: Place,
    thread: Annotated[list[str], typer.Argument(metavar="THREAD", help="The ids of threads.")],
) -> None:
    """Delete threads, with all their history. Forks of them keep what they have."""
    ids = [parse_id(one, "thread") for one in thread]

    def local() -> None:
        with at.owned(STOP) as mine, mine.writing() as tx:
            for one in ids:
                threads.delete(tx, ALL, one)

    def remote(http: Any) -> None:
        for one in ids:
            place.checked(http.delete(f"/threads/{one}"))

    at.asked(local, remote)
    at.answer({"deleted": ids}, lambda: f"{len(ids)} deleted.")


@app.command()
@place.anywhere
def export(
    at: Place,
    thread: Annotated[list[str] | None, typer.Argument(metavar="THREAD", help="The ids of threads.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All threads, or those of --status and --graph.")] = False,
    status: Annotated[
        Literal["idle", "busy", "interrupted", "error"] | None, typer.Option(help="With --all: those with this status.")
    ] = None,
    graph: Annotated[str | None, typer.Option(help="With --all: those of this graph.")] = None,
    format: Annotated[
        Literal["bundle", "json", "markdown"], typer.Option(help="The whole thread, or what was said.")
    ] = "bundle",
    redact: Annotated[
        list[str] | None,
        typer.Option(help="Leave out messages, tool-results, or pattern:<regular expression>. May be repeated."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file; without it stdout.")] = None,
) -> None:
    """Write threads to a file: bundles, one after the other, or transcripts."""
    if bool(thread) == everything:
        raise Invalid("Name threads, or say --all.")
    if at.as_json and output is None:
        raise Invalid("--json tells what was written; name a file with --output.")
    ids = [parse_id(one, "thread") for one in thread or ()]

    def local() -> tuple[list[str], int]:
        with at.data() as here:
            found = ids or carry.ids_here(here, status, graph)
            files = carry.files_here(here, found, format, redact or [])
            return found, carry.write(files, len(found), output, at.as_json)

    def remote(http: Any) -> tuple[list[str], int]:
        found = ids or carry.ids_there(http, status, graph)
        files = carry.files_there(http, found, format, redact or [])
        return found, carry.write(files, len(found), output, at.as_json)

    written, count = at.asked(local, remote)
    if output is not None:
        at.answer({"threads": written, "bytes": count, "file": str(output)}, lambda: f"{len(written)} written.")


@app.command("import")
@place.anywhere
def import_(
    at: Place,
    file: Annotated[Path, typer.Argument(help="Bundles or a transcript, as `threads export` writes them.")],
    thread: Annotated[str | None, typer.Option(help="The id the thread gets, if the file has one thread.")] = None,
) -> None:
    """Read threads from a file. What is there already stays as it is."""
    target = parse_id(thread, "thread") if thread else None

    def local() -> list[dict[str, Any]]:
        with at.owned(STOP) as mine:
            return carry.read_here(mine, file, target, at.as_json)

    done = at.asked(local, lambda http: carry.read_there(http, file, target, at.as_json))
    new = sum(one["created"] for one in done)
    at.answer({"threads": done}, lambda: f"{new} threads imported, {len(done) - new} unchanged.")
