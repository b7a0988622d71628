"""Server-sent events as they are on the wire, and what a reader makes of them."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Frame:
    """One event; a comment is a frame without event whose data is the comment's text."""

    event: str | None
    data: Any
    id: str | None = None


def parse(block: str) -> Frame:
    """One block between blank lines. Every data must be one line of JSON."""
    event = identifier = None
    data: list[str] = []
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            return Frame(None, value)
        assert name in ("event", "data", "id"), line
        if name == "event":
            event = value
        elif name == "id":
            identifier = value
        else:
            data.append(value)
    assert event is not None and len(data) == 1, block
    return Frame(event, json.loads(data[0]), identifier)


async def frames(response: httpx.Response, comments: bool = False) -> AsyncIterator[Frame]:
    """The frames of an open response, as they arrive."""
    pending = b""
    async for chunk in response.aiter_bytes():
        pending = (pending + chunk).replace(b"\r\n", b"\n")
        *blocks, pending = pending.split(b"\n\n")
        for block in blocks:
            if block.strip():
                frame = parse(block.decode().strip("\n"))
                if comments or frame.event is not None:
                    yield frame
    assert not pending.strip(), f"cut in the middle of an event: {pending!r}"


@asynccontextmanager
async def stream(
    http: httpx.AsyncClient, thread: str, assistant: str, **body: Any
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[Frame]]]:
    """Start a run and read it; leaving the block closes the connection."""
    path = f"/threads/{thread}/runs/stream"
    async with http.stream("POST", path, json={"assistant_id": assistant, **body}) as response:
        assert response.status_code == 200, await response.aread()
        yield response, frames(response)


async def run(http: httpx.AsyncClient, thread: str, assistant: str, **body: Any) -> list[Frame]:
    """Start a run and read all of it."""
    async with stream(http, thread, assistant, **body) as (_, read):
        return [frame async for frame in read]


async def join(http: httpx.AsyncClient, place: str, last_event_id: str | None = None, **query: Any) -> list[Frame]:
    """Read a run from `place` (its content-location) until the server ends the stream."""
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    async with http.stream("GET", f"{place}/stream", headers=headers, params=query) as response:
        assert response.status_code == 200, await response.aread()
        return [frame async for frame in frames(response)]


def events(read: Iterable[Frame]) -> list[tuple[str | None, Any]]:
    return [(frame.event, frame.data) for frame in read]


def only(read: Iterable[Frame], event: str) -> list[Any]:
    return [frame.data for frame in read if frame.event == event]


def view(read: Iterable[Frame]) -> dict[str, Any]:
    """What a client shows in the end: the last values, the custom events, each message by its id."""
    shown: dict[str, Any] = {"values": None, "custom": [], "messages": {}, "error": None}
    for frame in read:
        if frame.event == "metadata":
            shown = {"values": None, "custom": [], "messages": {}, "error": None}
        elif frame.event == "custom":
            shown["custom"].append(frame.data)
        elif frame.event in ("values", "error"):
            shown[frame.event] = frame.data
        elif frame.event in ("messages/partial", "messages/complete"):
            shown["messages"].update({message["id"]: message["content"] for message in frame.data})
    return shown
