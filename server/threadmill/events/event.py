"""One event of a thread's log, and how a run of them lies in storage.

Methods are LangGraph's stream modes (`values`, `updates`, `messages`, `custom`, `tasks`, `checkpoints`, `debug`,
`events`) as they were emitted, and three of ours: `metadata` opens an attempt of a run, `error` tells of a failure,
`end` closes the run with its final status.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

METADATA, ERROR, END = "metadata", "error", "end"
COMPRESS_FROM = 1024  # bytes; the metadata that LangGraph repeats with each token shrinks about thirtyfold


class Event(NamedTuple):  # a tuple: it is made for every token, and a frozen dataclass takes three times as long
    """`data` is JSON on one line; `namespace` is the path of subgraph tasks, empty at the root."""

    seq: int
    run_id: str
    method: str
    namespace: tuple[str, ...]
    data: bytes


def pack(events: Iterable[Event]) -> bytes:
    """A line each: `seq TAB method TAB namespace TAB data`. JSON escapes tabs and newlines, methods have none."""
    data = b"\n".join(
        b"%d\t%s\t%s\t%s"
        % (event.seq, event.method.encode(), orjson.dumps(event.namespace) if event.namespace else b"", event.data)
        for event in events
    )
    return zlib.compress(data, 1) if len(data) >= COMPRESS_FROM else data


def unpack(run_id: str, data: bytes) -> Iterator[Event]:
    if not data[:1].isdigit():
        data = zlib.decompress(data)
    for line in data.split(b"\n"):
        seq, method, namespace, payload = line.split(b"\t", 3)
        path = tuple(orjson.loads(namespace)) if namespace else ()
        yield Event(int(seq), run_id, method.decode(), path, payload)
