"""The simple profile: `{"event", "data", "session_id"}`, for clients that want the text only."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from threadmill.jsonable import dumps
from threadmill.streaming.projection import Envelope

ENDS = {"completed": "complete", "failed": "error", "interrupted": "interrupted"}


@dataclass(frozen=True, slots=True)
class Profile:
    """`token` for each piece of text, one of `complete`, `error`, `interrupted` for each run's end. A session is a
    thread."""

    session_id: str

    def __call__(self, envelope: Envelope) -> Iterator[bytes]:
        """The frames of one envelope; most have none."""
        for event, data in _told(envelope):
            yield dumps({"event": event, "data": data, "session_id": self.session_id, "seq": envelope.seq})

    def frames(self, envelopes: Iterable[Envelope]) -> bytes:
        """As server-sent events."""
        return b"".join(
            b"data: %s\nid: %d\n\n" % (frame, envelope.seq) for envelope in envelopes for frame in self(envelope)
        )


def _told(envelope: Envelope) -> Iterator[tuple[str, Any]]:
    data = orjson.loads(envelope.data)
    if envelope.method == "messages":
        if data.get("delta", {}).get("type") == "text-delta":
            yield "token", data["delta"]["text"]
    elif envelope.method == "tools":
        yield "status", data
    elif envelope.method == "input.requested":
        yield "input", {"id": data["interrupt_id"], "value": data["value"]}
    elif envelope.method == "lifecycle" and not envelope.namespace and data["event"] in ENDS:
        yield "interrupted" if data.get("stopped") else ENDS[data["event"]], data.get("error")
