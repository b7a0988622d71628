"""Subscriptions to threads: what a socket has any number of, and over one response where no WebSocket gets through."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import orjson
from fastapi import APIRouter, Request, Response

from threadmill.api import answers, feed
from threadmill.api.protocol import watchable
from threadmill.api.wire import Here, Me, Route, Stream, read_json
from threadmill.auth import Caller
from threadmill.errors import BadRequest, Invalid, NotFound
from threadmill.ids import new_id, parse_id
from threadmill.jsonable import dumps
from threadmill.runtime import Runtime
from threadmill.streaming import simple, sse, v2
from threadmill.streaming.abreast import Abreast
from threadmill.streaming.commands import Command, Refused

router = APIRouter(tags=["Event Protocol"], route_class=Route)

IDLE_S = 60.0  # between two looks at a silent thread; something else keeps the connection open
AHEAD = 16  # frames that are ready before the client took the last ones
EVERYTHING = {"channels": list(v2.CHANNELS)}
Frames = dict[str, AsyncIterator[bytes]]  # of the subscriptions that a command begins, by their id
Beside = WeakValueDictionary[str, Abreast]  # those of one connection, by their thread


@dataclass(frozen=True, slots=True)
class Begun:
    """`subscriptions` are ids by thread, `replayed` how many events there are already, `seq` the highest number."""

    subscriptions: dict[str, str]
    missing: list[str]
    replayed: int
    seq: int
    frames: Frames


async def begin(here: Runtime, me: Caller, asked: Command, room: int, beside: Beside, only: str | None = None) -> Begun:
    """`{channels, namespaces, depth, since, profile}` with a `thread_id`, or with `cursors` of many: then those that
    are not the caller's are `missing`. `only` is the thread of a connection that has one, and names none in its frames.
    """
    several = only is None and asked.typed("cursors", dict)
    given = several or {only or asked.text("thread_id"): asked.params.get("since")}
    cursors = {parse_id(thread_id, "thread"): v2.cursor(value) for thread_id, value in given.items()}
    wanted = v2.Wanted.from_params({**(EVERYTHING if only is None else {}), **asked.params})
    plain = asked.params.get("profile") == "simple"
    check_room(here, len(cursors), room)
    begun = Begun({}, [], 0, 0, {})
    replayed = highest = 0
    for thread_id, after in cursors.items():
        try:
            await watchable(here, me, thread_id)
        except NotFound:
            if not several:
                raise
            begun.missing.append(thread_id)
            continue
        known = await here.log.highest(thread_id)
        highest = max(highest, known)
        from_here = after if after is not None and after <= known else 0
        replayed += await here.events.count(thread_id, from_here, known, wanted)
        begun.subscriptions[thread_id] = name = new_id()
        profile = simple.Profile(thread_id) if plain else None
        begun.frames[name] = _follow(here, name, thread_id, after, wanted, profile, beside, named=only is None)
    return Begun(begun.subscriptions, begun.missing, replayed, highest, begun.frames)


def check_room(here: Runtime, more: int, room: int) -> None:
    if more > room:
        raise Invalid(f"A connection has {here.settings.max_subscriptions} subscriptions at the most.")


async def _follow(
    here: Runtime,
    name: str,
    thread_id: str,
    since: int | None,
    wanted: v2.Wanted,
    plain: simple.Profile | None,
    beside: Beside,
    *,
    named: bool,
) -> AsyncIterator[bytes]:
    tail = b',"thread_id":"%s","subscription_id":"%s"}' % (thread_id.encode(), name.encode())
    abreast = beside.setdefault(thread_id, Abreast())
    with abreast.joined(name, since or 0) as others:
        async for batch in here.events.follow(thread_id, since, IDLE_S):
            for envelope in batch:
                if v2.ends(envelope):
                    await others(envelope.seq)
                if not wanted.takes(envelope):
                    continue
                if plain is not None:
                    for frame in plain(envelope):
                        yield frame
                else:
                    frame = envelope.json()
                    yield frame[:-1] + tail if named else frame
    if not here.log.closing:
        yield dumps({"type": "subscription.ended", "subscription_id": name, "thread_id": thread_id})


# Over one response


@router.post(
    "/events", responses=answers.events(*answers.MANY_EVENTS, 400, 404), openapi_extra=answers.body(answers.MANY)
)
async def events(here: Here, me: Me, http: Request) -> Response:
    """What `/ws` carries, where there is no WebSocket: any number of threads, and the list feed. Commands go to
    `POST /threads/{thread_id}/commands`."""
    try:
        params = read_json(await http.body())
    except orjson.JSONDecodeError:
        raise BadRequest("Invalid JSON body") from None
    if not isinstance(params, dict) or not {"cursors", "thread_id", "feed"} & params.keys():
        raise BadRequest("cursors, thread_id or feed is required: what is to be followed?")
    try:
        ready, frames = await _begin(here, me, Command(0, "This", params))
    except Refused as error:  # as a command it would be answered with 200
        raise Invalid(error.message) from None
    return Stream(_merged(here, dumps({"type": "ready", **ready}), frames.values()), sse.HEADERS)


async def _begin(here: Runtime, me: Caller, asked: Command) -> tuple[dict[str, Any], Frames]:
    ready: dict[str, Any] = {}
    frames: Frames = {}
    room = here.settings.max_subscriptions
    listed = asked.typed("feed", dict)
    if "cursors" in asked.params or "thread_id" in asked.params:
        begun = await begin(here, me, asked, room, Beside())
        if not begun.frames and listed is None:
            raise NotFound(f"Thread with ID {begun.missing[0]} not found")
        ready |= {"subscriptions": begun.subscriptions, "missing": begun.missing, "replayed_events": begun.replayed}
        frames |= begun.frames
    if listed is not None:
        check_room(here, len(frames) + 1, room)
        name, reply, changes = await feed.subscribe(here, me, Command(0, "feed", listed))
        ready["feed"] = reply["result"]
        frames[name] = changes
    return ready, frames


async def _merged(here: Runtime, ready: bytes, streams: Iterable[AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
    """Each frame as it comes, one stream after the other where several wait; ends with the last of them. None is read
    ahead of the client by more than a frame."""
    queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(AHEAD)

    async def pour(frames: AsyncIterator[bytes]) -> None:
        try:
            async with aclosing(frames):  # type: ignore[type-var]  # a generator
                async for frame in frames:
                    await queue.put(frame)
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    yield sse.frame("message", ready)
    pouring = [asyncio.create_task(pour(frames)) for frames in streams]
    left = len(pouring)
    try:
        while left:
            told: bytes | Exception | None = b""
            with suppress(TimeoutError):
                async with asyncio.timeout(here.events.heartbeat_s):
                    told = await queue.get()
            if isinstance(told, Exception):
                raise told
            if told is None:
                left -= 1
            else:
                yield sse.frame("message", told) if told else sse.HEARTBEAT
    finally:
        for task in pouring:
            task.cancel()
        await asyncio.gather(*pouring, return_exceptions=True)
    if here.log.closing:
        yield sse.DRAINING
