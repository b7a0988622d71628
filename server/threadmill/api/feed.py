"""/feed: all threads of a caller as a list shows them; what they have read, and what they missed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field

from threadmill import feed, interrupts, markers, threads
from threadmill.api import answers
from threadmill.api.wire import Body, Here, Me, Route, Stream, json
from threadmill.auth import Caller
from threadmill.ids import new_id, parse_id
from threadmill.runtime import Runtime
from threadmill.scope import Scope
from threadmill.streaming import commands, sse
from threadmill.streaming.commands import Command
from threadmill.streaming.digest import digest as add_up
from threadmill.streaming.feed import frames, named
from threadmill_checkpoints.database import Tx

router = APIRouter(tags=["Threads"], route_class=Route)


class Read(Body):
    seq: int | None = Field(None, ge=0, strict=True)


def reader_of(me: Caller) -> str:
    """Whose read markers are meant; without auth all are one."""
    return me.user.identity if me.user is not None else ""


@router.get("/feed", responses=answers.events(*answers.FEED_EVENTS))
async def follow(
    here: Here,
    me: Me,
    since: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """What changes in the caller's threads. Goes on behind `Last-Event-ID` or `since`, 0 being everything; else it
    begins now. Does not end by itself."""
    scope = await me.may("threads", "search", {"metadata": {}})
    known = last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) < 19
    return Stream(_frames(here, scope, reader_of(me), int(last_event_id or 0) if known else since), sse.HEADERS)


async def _frames(here: Runtime, scope: Scope, reader: str, after: int | None) -> AsyncIterator[bytes]:
    async for entries in here.feed.follow(scope, reader, after):
        yield frames(entries) or sse.HEARTBEAT
    yield sse.DRAINING


async def subscribe(here: Runtime, me: Caller, asked: Command) -> tuple[str, dict[str, Any], AsyncIterator[bytes]]:
    """`feed.subscribe {since}` on a socket: the subscription's id, the command's answer, then frames without end."""
    since, name = asked.typed("since", int), new_id()
    scope = await me.may("threads", "search", {"metadata": {}})
    after = await here.database.read(feed.newest) if since is None or since < 0 else int(since)
    reply = commands.success(asked, {"subscription_id": name, "cursor": after}, 0)
    return name, reply, _socket_frames(here, scope, reader_of(me), after, name.encode())


async def _socket_frames(here: Runtime, scope: Scope, reader: str, after: int, name: bytes) -> AsyncIterator[bytes]:
    async for entries in here.feed.follow(scope, reader, after):
        for one in entries:
            event, data = named(one)
            yield b'{"type":"feed","event":"%s","cursor":%d,"subscription_id":"%s","data":%s}' % (
                event.encode(),
                one.number,
                name,
                data,
            )


@router.put("/threads/{thread_id}/read", responses=answers.answers(answers.Marker, 404))
async def read(thread_id: str, body: Read, here: Here, me: Me) -> Response:
    """The caller has seen the thread up to event `seq`, or all there is. A lower number makes it unread again."""
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    highest = await here.log.highest(thread_id)
    seq = highest if body.seq is None else min(body.seq, highest)
    await here.database.write(markers.put, scope, thread_id, reader_of(me), seq)
    here.signals.notify("feed")
    unread = await here.database.read(markers.is_unread, thread_id, reader_of(me))
    return json({"thread_id": thread_id, "seq": seq, "unread": unread})


@router.get("/threads/{thread_id}/digest", responses=answers.answers(answers.Digest, 404))
async def digest(
    thread_id: str, here: Here, me: Me, since: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None
) -> Response:
    """What happened since the caller's read marker, or since event `since`."""
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    marker, questions = await here.database.read(_missed, scope, thread_id, reader_of(me))
    after = marker if since is None else since
    told = await here.events.read(thread_id, after)
    added = await asyncio.to_thread(add_up, told)
    cursor = told[-1].seq if told else after
    return json({"since": after, "cursor": cursor, **added, "questions": questions})


def _missed(tx: Tx, scope: Scope, thread_id: str, reader: str) -> tuple[int, list[dict[str, Any]]]:
    """The marker, and what the thread waits for now."""
    threads.require(tx, scope, thread_id)
    return markers.get(tx, thread_id, reader), [one.shown() for one in interrupts.of_thread(tx, thread_id)]
