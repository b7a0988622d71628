"""A thread as one file: its states with their parts, what tasks wrote, its runs, its events, what lists show of it.

Lines of JSON: a manifest, then the records of one section after the other. The manifest says of each section how many
lines it has and their SHA-256, and has a SHA-256 of its own; so what was changed on the way is refused. It is no
signature: whoever can write a bundle can write another. Several bundles may follow each other in one file.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson

from threadmill.errors import Invalid
from threadmill.jsonable import dumps

FORMAT, VERSION = "threadmill-thread", 1
SECTIONS = ("thread", "parts", "checkpoints", "writes", "runs", "events", "receipts")


@dataclass(frozen=True, slots=True)
class Bundle:
    """`about` is the manifest without its hashes, `records` those of each section."""

    about: dict[str, Any]
    records: dict[str, list[dict[str, Any]]]

    @property
    def thread_id(self) -> str:
        return str(self.about["thread_id"])

    def lines(self) -> Iterator[bytes]:
        packed = {name: [dumps(one) for one in self.records[name]] for name in SECTIONS}
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            **self.about,
            "sections": {name: {"lines": len(lines), "sha256": _hash(lines)} for name, lines in packed.items()},
        }
        yield dumps({**manifest, "sha256": _hash([dumps(manifest)])})
        for lines in packed.values():
            yield from lines

    @classmethod
    def read(cls, lines: Iterator[bytes]) -> Self | None:
        """The next one, None after the last. Raises Invalid for one that is not whole, or not as it was written."""
        first = next(lines, None)
        if first is None:
            return None
        manifest = _object(first, "its manifest")
        if manifest.get("format") != FORMAT:
            raise Invalid("This is no bundle of a thread.")
        if manifest.get("version") != VERSION:
            raise Invalid(f"This bundle has version {manifest.get('version')!r}; this Threadmill reads {VERSION}.")
        told = manifest.pop("sha256", None)
        sections = manifest.get("sections")
        if told != _hash([dumps(manifest)]) or not isinstance(sections, Mapping) or set(sections) != {*SECTIONS}:
            raise _changed("its manifest")
        records = {name: cls._section(lines, name, sections[name]) for name in SECTIONS}
        if len(records["thread"]) != 1:
            raise Invalid("The bundle is damaged: thread must have one line.")
        about = {key: one for key, one in manifest.items() if key not in ("format", "version", "sections")}
        return cls(about, records)

    @staticmethod
    def _section(lines: Iterator[bytes], name: str, told: Any) -> list[dict[str, Any]]:
        if not isinstance(told, Mapping) or not isinstance(told.get("lines"), int):
            raise _changed("its manifest")
        digest, records = hashlib.sha256(), list[dict[str, Any]]()
        for _ in range(told["lines"]):
            line = next(lines, None)
            if line is None:
                raise Invalid(f"The bundle is cut off in {name}.")
            digest.update(line + b"\n")
            records.append(_object(line, name))
        if digest.hexdigest() != told.get("sha256"):
            raise _changed(name)
        return records


def split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their ends; empty ones are none."""
    for line in chunks:
        if line := line.rstrip(b"\r\n"):
            yield line


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Invalid(f"The bundle is damaged: {where} is not JSON.") from None
    if not isinstance(found, dict):
        raise Invalid(f"The bundle is damaged: {where} has something else than objects.")
    return found


def _changed(where: str) -> Invalid:
    return Invalid(f"The bundle was changed after it was written: {where} does not have the hash that it had.")


def _hash(lines: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line + b"\n")
    return digest.hexdigest()
