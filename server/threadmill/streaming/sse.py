"""Server-sent events as bytes."""

HEARTBEAT = b": heartbeat\n\n"
# A comment and no `retry:`, which the Python SDK would pass on as an event without a name.
DRAINING = b": the server is stopping; reconnect with the last event id\n\n"

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    # no-transform: a proxy must neither compress nor collect it
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
}


def frame(event: str, data: bytes, seq: int | None = None) -> bytes:
    """`data` is one line. `seq` is the id a reader comes back with."""
    if seq is None:
        return b"event: %s\ndata: %s\n\n" % (event.encode(), data)
    return b"event: %s\ndata: %s\nid: %d\n\n" % (event.encode(), data, seq)
