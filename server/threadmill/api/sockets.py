"""WebSockets: the event protocol of one thread, and `/ws`, which carries any number of threads.

A socket is a cursor over logs, as every other reader: whatever a subscription has not sent yet waits in the log, so a
slow client delays itself only, and none is ever skipped.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import orjson
import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.exceptions import HTTPException

from threadmill.api import feed, subscriptions
from threadmill.api.protocol import answer
from threadmill.api.subscriptions import Frames
from threadmill.api.wire import identify, read_json, trusts
from threadmill.auth import Caller
from threadmill.errors import ThreadmillError
from threadmill.ids import new_id, parse_id
from threadmill.jsonable import dumps
from threadmill.runtime import Runtime
from threadmill.streaming import commands
from threadmill.streaming.commands import Command, Malformed, Refused
from threadmill_checkpoints.database import NoRoom

logger = structlog.get_logger("threadmill.sockets")
router = APIRouter()

LOGIN_S = 10.0  # for the message that says who is there, when the handshake did not
CLOSE_S = 5.0  # for the last frame
LONG_S = 30 * 86400.0  # timers take no number of any size
TOO_SLOW = "Too slow: come back with your cursors."
UNAUTHORIZED, SLOW, TOO_MANY, GOING = 4401, 4408, 4429, 1012
TOKEN = "bearer."  # before a token among the subprotocols, which is all that a browser can send
PROTOCOL = "threadmill"
Reply = tuple[dict[str, Any], Frames]


@router.websocket("/threads/{thread_id}/stream/events")
async def events(socket: WebSocket, thread_id: str) -> None:
    await _serve(socket, thread_id)


@router.websocket("/threads/{thread_id}/stream")
async def stream(socket: WebSocket, thread_id: str) -> None:
    """As the protocol's document names it."""
    await _serve(socket, thread_id)


@router.websocket("/ws")
async def many(socket: WebSocket) -> None:
    await _serve(socket, None)


async def _serve(socket: WebSocket, thread_id: str | None) -> None:
    try:
        await _admit(socket, thread_id)
    except WebSocketDisconnect:  # it went before it was let in
        pass


async def _admit(socket: WebSocket, thread_id: str | None) -> None:
    here: Runtime = socket.app.state.runtime
    if not trusts(here, socket):
        await socket.close(1008, "This origin is not allowed.")
        return
    places: Counter[str] = socket.app.state.sockets
    address = socket.client.host if socket.client else ""
    try:
        place = None if thread_id is None else parse_id(thread_id, "thread")
        with _place(places, f"who? {address}") as asking:
            me = await _greeted(socket, here, full=asking > here.settings.max_sockets)
    except ThreadmillError as error:
        await socket.close(UNAUTHORIZED if error.status == 401 else 1008, _short(error.message))
        return
    if me is None:
        return
    with _place(places, me.user.identity if me.user is not None else address) as taken:
        if taken > here.settings.max_sockets:
            await socket.close(TOO_MANY, "Too many connections.")
            return
        with here.metrics.stream("socket"):
            await Connection(socket, here, me, place).run()


async def _greeted(socket: WebSocket, here: Runtime, *, full: bool) -> Caller | None:
    """Who calls: by header, by subprotocol, or by the first message `{"method": "auth", "params": {"token"}}`.

    Not by a message when too many (`full`) of that address have not said it yet.
    """
    offered = [one.strip() for one in socket.headers.get("sec-websocket-protocol", "").split(",")]
    token = next((one.removeprefix(TOKEN) for one in offered if one.startswith(TOKEN)), None)
    if token is not None:
        _present(socket, token)
    try:
        me = await identify(socket, here)
    except ThreadmillError:
        if token is not None or "authorization" in socket.headers:
            raise
        me = None
    try:
        await socket.accept(PROTOCOL if PROTOCOL in offered else None)
    except (OSError, RuntimeError) as error:
        raise WebSocketDisconnect(1006) from error
    if me is not None:
        return me
    if full:
        await socket.close(TOO_MANY, "Too many connections.")
        return None
    try:
        async with asyncio.timeout(LOGIN_S):
            return await _login(socket, here, _decoded(await _received(socket)))
    except (TimeoutError, ThreadmillError):
        await socket.close(UNAUTHORIZED, "Log in first.")
        return None


async def _login(socket: WebSocket, here: Runtime, value: Any) -> Caller:
    asked = Command.parse({"id": 0, **value} if isinstance(value, dict) else value)
    if asked.method != "auth":
        raise Refused("permission_denied", "Log in first.")
    _present(socket, asked.text("token"))
    me = await identify(socket, here)
    await socket.send_text(dumps(commands.success(asked, {}, 0)).decode())
    return me


def _present(socket: WebSocket, token: str) -> None:
    """As if the handshake had carried it."""
    others = [pair for pair in socket.scope["headers"] if pair[0] != b"authorization"]
    socket.scope["headers"] = [*others, (b"authorization", f"Bearer {token}".encode())]
    for known in ("caller", "encryption"):
        socket.scope.setdefault("state", {}).pop(known, None)
    socket.__dict__.pop("_headers", None)


async def _received(socket: WebSocket) -> bytes:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text = message.get("text")
    return message.get("bytes") or b"" if text is None else text.encode("utf-8", "replace")


def _decoded(frame: bytes) -> Any:
    try:
        return read_json(frame)
    except (orjson.JSONDecodeError, HTTPException):
        return None


def _short(reason: str) -> str:
    """What fits into a close frame: 123 bytes."""
    return reason.encode()[:123].decode("utf-8", "ignore")


@contextmanager
def _place(places: Counter[str], owner: str) -> Iterator[int]:
    """How many sockets a user or address has, with this one."""
    places[owner] += 1
    try:
        yield places[owner]
    finally:
        places[owner] -= 1
        if not places[owner]:
            del places[owner]


class Connection:
    """One socket: a task that reads commands, and one for each subscription. `thread_id` None carries them all.

    Whichever task finds that the socket is over says so (`_end`); `run` then stops them all, and closes it.
    """

    def __init__(self, socket: WebSocket, here: Runtime, me: Caller, thread_id: str | None) -> None:
        self._socket = socket
        self._here = here
        self._me = me
        self._thread_id = thread_id
        self._sending = asyncio.Lock()
        self._over: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._following: dict[str, asyncio.Task[None]] = {}
        self._beside = subscriptions.Beside()
        self._expiring: asyncio.Task[None] | None = None
        self._since: float | None = None  # when the frame that is being sent began
        self._timer: asyncio.TimerHandle | None = None
        self._id = new_id()

    async def run(self) -> None:
        reading, closing = asyncio.create_task(self._read()), asyncio.create_task(self._close_with_server())
        self._watch_expiry()
        try:
            over: set[asyncio.Future[Any]] = {reading, self._over}
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _stopped(reading, closing, self._expiring, *self._following.values())
            if self._timer is not None:
                self._timer.cancel()
        if self._over.done():
            with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._socket.close(*self._over.result())

    def _end(self, code: int, reason: str) -> None:
        if not self._over.done():
            self._over.set_result((code, reason))

    async def _read(self) -> None:
        try:
            if self._thread_id is None:
                await self._send(dumps({"type": "ready", "connection_id": self._id}))
            while True:
                await self._handle(_decoded(await _received(self._socket)))
        except (WebSocketDisconnect, RuntimeError):  # the latter: received from after it was closed
            pass
        except Exception:
            logger.exception("a socket failed", connection_id=self._id)
            self._end(1011, "Something failed: come back with your cursors.")

    async def _send(self, frame: bytes) -> None:
        """Raises WebSocketDisconnect. The socket is over when the client does not take it."""
        async with self._sending:
            self._since = time.monotonic()
            if self._timer is None:  # one timer for many frames: each token is one
                self._set_timer(self._here.settings.send_timeout_s)
            try:
                await self._socket.send_text(frame.decode())
            except RuntimeError as error:  # closed under the frame
                raise WebSocketDisconnect(1006) from error
            finally:
                self._since = None

    def _set_timer(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        if self._since is None:
            return
        left = self._since + self._here.settings.send_timeout_s - time.monotonic()
        if left > 0:
            self._set_timer(left)
        else:
            self._end(SLOW, TOO_SLOW)

    async def _close_with_server(self) -> None:
        """A server that stops says so: the client comes back to the next one."""
        with self._here.signals.subscribe("closing") as waiter:
            while not self._here.log.closing:
                await waiter.wait(3600)
        self._end(GOING, "The server restarts.")

    # Commands

    async def _handle(self, value: Any) -> None:
        begun: Frames = {}
        try:
            asked = Command.parse(value)
        except Malformed as error:
            reply = commands.failure(error.command_id, error)
        else:
            try:
                reply, begun = await self._answer(asked)
            except ThreadmillError as error:
                reply = commands.failure(asked.id, error)
            except NoRoom as error:
                reply = commands.failure(asked.id, Refused("no_room", str(error)))
            except Exception:
                logger.exception("a command failed", method=asked.method, connection_id=self._id)
                reply = commands.failure(asked.id, Refused("unknown_error", "The command failed."))
        await self._send(dumps(reply))
        for name, frames in begun.items():
            self._following[name] = asyncio.create_task(self._pour(name, frames), name=f"subscription {name}")

    async def _answer(self, asked: Command) -> Reply:
        own = OWN.get(asked.method)
        if own is not None:
            return await own(self, asked)
        thread_id = self._thread_id or asked.text("thread_id")
        return await answer(self._here, self._me, thread_id, asked, self._id), {}

    async def _subscribe(self, asked: Command) -> Reply:
        begun = await subscriptions.begin(self._here, self._me, asked, self._room(), self._beside, self._thread_id)
        result: dict[str, Any] = {"subscription_id": next(iter(begun.frames), None), "replayed_events": begun.replayed}
        if self._thread_id is None:
            result |= {"subscriptions": begun.subscriptions, "missing": begun.missing}
        return commands.success(asked, result, begun.seq), begun.frames

    async def _feed(self, asked: Command) -> Reply:
        subscriptions.check_room(self._here, 1, self._room())
        name, reply, frames = await feed.subscribe(self._here, self._me, asked)
        return reply, {name: frames}

    def _room(self) -> int:
        return self._here.settings.max_subscriptions - len(self._following)

    async def _unsubscribe(self, asked: Command) -> Reply:
        """Nothing of it comes after the answer."""
        names = asked.texts("subscription_ids") or [asked.text("subscription_id")]
        if unknown := [name for name in names if name not in self._following]:
            raise Refused("no_such_subscription", f"There is no subscription {', '.join(unknown)[:200]}.")
        await _stopped(*[self._following.pop(name) for name in dict.fromkeys(names)])
        return commands.success(asked, {}, 0), {}

    async def _reconnect(self, asked: Command) -> Reply:
        """A new socket knows no subscriptions of an old one: subscribe again, with `since`."""
        return commands.success(asked, {"restored": False, "missed_events": 0}, 0), {}

    async def _ping(self, asked: Command) -> Reply:
        return commands.success(asked, {"pong": True}, 0), {}

    async def _authenticate(self, asked: Command) -> Reply:
        """Again, before a token expires. Subscriptions and runs go on; it must be the same user."""
        _present(self._socket, asked.text("token"))
        me = await identify(self._socket, self._here)
        if (me.user and me.user.identity) != (self._me.user and self._me.user.identity):
            raise Refused("permission_denied", "This token belongs to another user.")
        self._me = me
        self._watch_expiry()
        return commands.success(asked, {}, 0), {}

    def _watch_expiry(self) -> None:
        """A user with `exp` (seconds since 1970) has to log in again by then."""
        if self._expiring is not None:
            self._expiring.cancel()
            self._expiring = None
        until = self._me.user["exp"] if self._me.user is not None and "exp" in self._me.user else None
        if isinstance(until, int | float):
            self._expiring = asyncio.create_task(self._expire(until))

    async def _expire(self, until: float) -> None:
        await asyncio.sleep(min(until - time.time(), LONG_S))
        try:
            await self._send(dumps({"type": "auth.required", "within_seconds": LOGIN_S}))
            await asyncio.sleep(LOGIN_S)
        except WebSocketDisconnect:
            pass
        self._end(UNAUTHORIZED, "The token expired.")

    # Events

    async def _pour(self, name: str, frames: AsyncIterator[bytes]) -> None:
        try:
            async with aclosing(frames):  # type: ignore[type-var]  # a generator
                async for frame in frames:
                    await self._send(frame)
            if self._thread_id is not None and not self._here.log.closing:
                self._end(1000, "The thread was deleted.")
        except WebSocketDisconnect:
            self._end(1001, "")
        except Exception:
            logger.exception("a subscription failed", subscription_id=name)
            self._here.metrics.stream_broke()
            self._end(1011, "A subscription failed: come back with your cursors.")
        finally:
            self._following.pop(name, None)


async def _stopped(*tasks: asyncio.Task[None] | None) -> None:
    there = [task for task in tasks if task is not None]
    for task in there:
        task.cancel()
    await asyncio.gather(*there, return_exceptions=True)


OWN: dict[str, Callable[[Connection, Command], Awaitable[Reply]]] = {
    "subscription.subscribe": Connection._subscribe,
    "subscription.unsubscribe": Connection._unsubscribe,
    "subscription.reconnect": Connection._reconnect,
    "feed.subscribe": Connection._feed,
    "ping": Connection._ping,
    "auth": Connection._authenticate,
}
