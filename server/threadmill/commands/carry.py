"""Threads to a file and from a file, one after the other, so that no file has to fit into memory."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import orjson

from threadmill.bundles import bundle, pack, transcript
from threadmill.bundles.bundle import FORMAT, Bundle
from threadmill.bundles.redaction import Redaction
from threadmill.commands import place
from threadmill.datadir import DataDir, Owned
from threadmill.errors import ConfigError, Invalid
from threadmill.ids import new_id
from threadmill.jsonable import dumps
from threadmill.scope import ALL
from threadmill.threads import Filter

PAGE = 1000


def ids_here(here: DataDir, status: str | None, graph: str | None) -> list[str]:
    with here.reading() as tx:
        return pack.all_of(tx, Filter(metadata={"graph_id": graph} if graph else None, status=status))


def ids_there(http: httpx.Client, status: str | None, graph: str | None) -> list[str]:
    found: list[str] = []
    body: dict[str, Any] = {"limit": PAGE, "sort_by": "created_at", "sort_order": "asc", "select": ["thread_id"]}
    body |= {"status": status} if status else {}
    body |= {"metadata": {"graph_id": graph}} if graph else {}
    while page := place.checked(http.post("/threads/search", json=body | {"offset": len(found)})).json():
        found += [one["thread_id"] for one in page]
    return found


def files_here(here: DataDir, ids: list[str], format: str, redact: list[str]) -> Iterator[bytes]:
    """Each as of one moment."""
    redaction = Redaction.of(redact)
    for one in ids:
        with here.reading() as tx:
            if format == "bundle":
                yield b"".join(line + b"\n" for line in pack.pack(tx, here.serde, ALL, one, redaction).lines())
                continue
            said = transcript.transcript(tx, here.serde, ALL, one, redaction)
        yield dumps(said) + b"\n" if format == "json" else transcript.markdown(said).encode()


def files_there(http: httpx.Client, ids: list[str], format: str, redact: list[str]) -> Iterator[bytes]:
    for one in ids:
        found = place.checked(http.get(f"/threads/{one}/export", params={"format": format, "redact": redact}))
        yield found.content + (b"\n" if format == "json" else b"")


def write(files: Iterator[bytes], total: int, output: Path | None, quiet: bool) -> int:
    """Bytes written. A file appears when it is whole."""
    part = output.with_name(f"{output.name}.part") if output is not None else None
    try:
        target: BinaryIO = part.open("wb") if part is not None else sys.stdout.buffer
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}.") from None
    count = 0
    try:
        with place.progress("Exporting", total, quiet) as advance:
            for one in files:
                count += target.write(one)
                advance(1)
        target.flush()
    except BaseException:
        if part is not None:
            part.unlink(missing_ok=True)
        raise
    finally:
        if part is not None:
            target.close()
    if part is not None and output is not None:
        part.replace(output)
    return count


# In


def read_here(mine: Owned, file: Path, target: str | None, quiet: bool) -> list[dict[str, Any]]:
    """Each thread in a transaction of its own."""
    done = []
    with _opened(file) as lines, place.progress("Importing", None, quiet) as advance:
        for what in _threads(lines, target):
            with mine.writing() as tx:
                if isinstance(what, Bundle):
                    metadata = what.records["thread"][0].get("metadata") or {}
                    thread_id = target or what.thread_id
                    new = pack.unpack(tx, mine.at.serde, ALL, what, metadata=metadata, thread_id=target)
                else:
                    thread_id = target or str(what.thread_id or new_id())
                    metadata = what.metadata | ({"graph_id": what.graph_id} if what.graph_id else {})
                    new = transcript.store(tx, mine.at.serde, ALL, what, thread_id, metadata)
            done.append({"thread_id": thread_id, "created": new})
            advance(1)
    return done


def read_there(http: httpx.Client, file: Path, target: str | None, quiet: bool) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    with _opened(file) as lines, place.progress("Importing", None, quiet) as advance:
        for body in _bodies(lines, target):
            params = {"thread_id": target} if target else {}
            done += place.checked(http.post("/threads/import", content=body, params=params)).json()["threads"]
            advance(1)
    return done


def _threads(lines: Iterator[bytes], target: str | None) -> Iterator[Any]:
    for count, body in enumerate(_bodies(lines, target)):
        if count and target:
            raise Invalid("--thread is for one thread; this file has several.")
        own = bundle.split(body.split(b"\n"))
        yield Bundle.read(own) if _is_bundle(body) else transcript.parsed(_json(body))


def _bodies(lines: Iterator[bytes], target: str | None) -> Iterator[bytes]:
    """Of a file: each bundle, or each line that is a transcript; what is neither goes as one."""
    held: list[bytes] = []
    for line in bundle.split(lines):
        if held and (_is_bundle(line) or line.startswith(b'{"format":')):
            yield b"\n".join(held)
            held = []
        held.append(line)
    if not held:
        raise Invalid("The file is empty.")
    yield b"\n".join(held)


def _is_bundle(line: bytes) -> bool:
    return line.startswith(f'{{"format":"{FORMAT}"'.encode())


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Invalid("The file holds neither bundles nor a transcript.") from None


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from None
