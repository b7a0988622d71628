"""One event of a thread's log, and how a run of them lies in storage.

Methods are LangGraph's stream modes (`values`, `updates`, `messages`, `custom`, `tasks`, `checkpoints`, `debug`,
`events`, `tools`) as they were emitted, and some of ours: `metadata` opens an attempt of a run, `checkpoint` names a
checkpoint without its values, `input` is a question to a person, `stopped` says that what is unfinished will not be
finished, `paused` and `end` close an attempt and a run, `error` tells of a failure.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

METADATA, CHECKPOINT, INPUT, PAUSED, ERROR, END = "metadata", "checkpoint", "input", "paused", "error", "end"
STOPPED = "stopped"
POSTED = "posted"  # a message that no run made; its run_id is empty
ROOM = 32  # numbers from one event of a thread to the next
COMPRESS_FROM = 1024  # bytes; the metadata that LangGraph repeats with each token shrinks about thirtyfold


class Event(NamedTuple):  # a tuple: it is made for every token, and a frozen dataclass takes three times as long
    """`data` is JSON on one line; `namespace` is the path of subgraph tasks, empty at the root; `at` is in ms."""

    seq: int
    run_id: str
    method: str
    namespace: tuple[str, ...]
    data: bytes
    at: int = 0


def pack(events: Iterable[Event]) -> bytes:
    """A line each: `seq@at TAB method TAB namespace TAB data`. JSON escapes tabs and newlines, methods have none."""
    data = b"\n".join(
        b"%d@%d\t%s\t%s\t%s"
        % (
            event.seq,
            event.at,
            event.method.encode(),
            orjson.dumps(event.namespace) if event.namespace else b"",
            event.data,
        )
        for event in events
    )
    return zlib.compress(data, 1) if len(data) >= COMPRESS_FROM else data


def unpack(run_id: str, data: bytes) -> Iterator[Event]:
    if not data[:1].isdigit():
        data = zlib.decompress(data)
    for line in data.split(b"\n"):
        number, method, namespace, payload = line.split(b"\t", 3)
        seq, _, at = number.partition(b"@")
        path = tuple(orjson.loads(namespace)) if namespace else ()
        yield Event(int(seq), run_id, method.decode(), path, payload, int(at or 0))


def newest_attempt(told: list[Event]) -> list[Event]:
    """What the newest attempt of a run told, of all that the run did."""
    begun = [place for place, event in enumerate(told) if event.method == METADATA]
    return told[begun[-1] :] if begun else told
