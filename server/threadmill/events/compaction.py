"""Folding a finished run's events: tokens into whole messages, states into the last one.

Whoever comes with an old cursor ends with the same view as before, from fewer events. A whole message is told again
from its beginning, at a number above any that its last token's envelopes had, so no cursor skips it.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import structlog
from langchain_core.messages import AIMessageChunk, message_chunk_to_message

from threadmill.events.event import METADATA, ROOM, Event, pack, unpack
from threadmill.events.recall import Recall
from threadmill.events.timings import timings
from threadmill.ids import stamp
from threadmill.jsonable import dumps
from threadmill_checkpoints.database import Database, Row, Tx

logger = structlog.get_logger("threadmill.compaction")

PASSING = frozenset({"tool-progress", "tool-output-delta"})  # of a tool that has ended, only what it said is kept
TELLING = ("response_metadata", "usage_metadata", "additional_kwargs")  # what a chunk may hold beside text
ROW_EVENTS = 512  # in one stored row
TOGETHER = 100  # runs looked up at a time
Key = tuple[tuple[str, ...], str]


def compact(events: Iterable[Event]) -> list[Event]:
    """All events of one run, in order, as few as give the same view."""
    told = list(events)
    messages = _messages(told)
    last_values = {event.namespace: event.seq for event in told if event.method == "values"}
    kept: list[Event] = []
    for event in told:
        if event.method == "messages":
            whole = messages.get(_key(event))
            if whole is not None and whole.last == event.seq:
                kept.append(whole.event(event))
        elif event.method == "values":
            if last_values[event.namespace] == event.seq:
                kept.append(event)
        elif event.method == "tasks":
            kept.append(event._replace(data=_slim(event.data)))
        elif event.method != "tools" or orjson.loads(event.data)["event"] not in PASSING:
            kept.append(event)
    return kept


@dataclass(slots=True)
class _Message:
    chunks: list[dict[str, Any]] = field(default_factory=list)
    metadata: Any = None
    last: int = 0

    def event(self, at: Event) -> Event:
        first = self.chunks[0]
        if len(self.chunks) == 1 and first["type"] != "AIMessageChunk":
            return at
        data = b"[%s,%s]" % (dumps(_joined(self.chunks)), dumps(self.metadata))
        return at._replace(seq=at.seq + ROOM // 2, data=data)


def _joined(chunks: list[dict[str, Any]]) -> Any:
    plain = all(isinstance(chunk["content"], str) and not chunk.get("tool_call_chunks") for chunk in chunks)
    text = ["".join(chunk["content"] for chunk in chunks)] if plain else [chunk["content"] for chunk in chunks]
    whole = AIMessageChunk(**{**_given(chunks[0]), "content": text[0]})
    for place, chunk in enumerate(chunks[1:], 1):
        rest = chunk | {"content": "" if plain else text[place]}
        if not plain or any(rest.get(name) for name in TELLING):  # adding up text piece by piece takes its square
            whole = whole + AIMessageChunk(**_given(rest))
    return message_chunk_to_message(whole)


def _messages(events: Iterable[Event]) -> dict[Key, _Message]:
    """Those of attempts that were given up are left out, unless they were complete."""
    found: dict[Key, _Message] = {}
    for event in events:
        if event.method == METADATA:
            found = {key: one for key, one in found.items() if _complete(one)}
        elif event.method == "messages":
            message, metadata = orjson.loads(event.data)
            one = found.setdefault(_key(event, message), _Message())
            one.chunks.append(message)
            one.metadata, one.last = metadata, event.seq
    return found


def _complete(message: _Message) -> bool:
    last = message.chunks[-1]
    return last["type"] != "AIMessageChunk" or last.get("chunk_position") == "last"


def _key(event: Event, message: Any = None) -> Key:
    return event.namespace, str((message or orjson.loads(event.data)[0])["id"])


def _given(chunk: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in chunk.items() if value is not None}


def _slim(data: bytes) -> bytes:
    """A task without the states that went in and out: those are in the checkpoints."""
    task = orjson.loads(data)
    return dumps({name: {} if name in ("input", "result") else value for name, value in task.items()})


@dataclass(frozen=True, slots=True)
class Compaction:
    """Folds the runs that ended longer ago than `after_s`, for as long as `run` runs."""

    database: Database
    after_s: float
    every_s: float
    recall: Recall

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.every_s)
            try:
                while await self.sweep():
                    pass
            except Exception:  # the next one may succeed: a full disk
                logger.exception("events could not be folded")

    async def sweep(self) -> int:
        """Fold some; returns how many runs."""
        due = await self.database.read(_due, self.after_s)
        for thread_id, run_id in due:
            rows = await self.database.read(_rows, thread_id, run_id)
            kept, took = await asyncio.to_thread(_folded, run_id, rows)
            kept = await self.database.read(self.recall.leave_out, thread_id, run_id, kept)
            folded = await asyncio.to_thread(_paged, kept, rows)
            await self.database.write(_replace, thread_id, run_id, folded, took)
        return len(due)


def _due(tx: Tx, after_s: float) -> list[tuple[str, str]]:
    rows = tx.all(
        "SELECT thread_id, run_id FROM runs WHERE compacted = 0 AND last_seq IS NOT NULL AND updated_at < :before "
        "ORDER BY updated_at LIMIT :together",
        before=stamp(tx.now - timedelta(seconds=after_s)),
        together=TOGETHER,
    )
    return [(row["thread_id"], row["run_id"]) for row in rows]


def _rows(tx: Tx, thread_id: str, run_id: str) -> list[Row]:
    return tx.all(
        "SELECT at, data FROM events WHERE thread_id = :thread_id AND run_id = :run_id ORDER BY first_seq",
        thread_id=thread_id,
        run_id=run_id,
    )


def _folded(run_id: str, rows: list[Row]) -> tuple[list[Event], str]:
    """And its timings, which the tokens have and the messages have not."""
    told = [event for row in rows for event in unpack(run_id, row["data"])]
    return compact(told), orjson.dumps(timings(told)).decode()


def _paged(kept: list[Event], rows: list[Row]) -> list[tuple[int, int, str, bytes]]:
    """(first number, last number, time, data) of the rows that take the place of these."""
    pages = [kept[start : start + ROW_EVENTS] for start in range(0, len(kept), ROW_EVENTS)]
    return [(page[0].seq, page[-1].seq, rows[-1]["at"], pack(page)) for page in pages]


def _replace(tx: Tx, thread_id: str, run_id: str, folded: list[tuple[int, int, str, bytes]], took: str) -> None:
    # An imported run was folded elsewhere, and brought its timings.
    if not tx.run(
        "UPDATE runs SET compacted = 1, timings = coalesce(timings, :took) WHERE run_id = :run_id AND compacted = 0",
        run_id=run_id,
        took=took,
    ):
        return  # deleted, or folded by another
    tx.run("DELETE FROM events WHERE thread_id = :thread_id AND run_id = :run_id", thread_id=thread_id, run_id=run_id)
    tx.many(
        "INSERT INTO events (thread_id, first_seq, last_seq, run_id, at, data) VALUES (?, ?, ?, ?, ?, ?)",
        [(thread_id, first, last, run_id, at, data) for first, last, at, data in folded],
    )
