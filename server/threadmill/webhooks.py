"""Webhooks: a POST that tells somebody how a run ended.

The delivery is a row that commits with the run's end; it is sent afterwards, again and again until it arrives, is
refused or has been tried often enough. Whatever becomes of it, the run is what it was. A delivery arrives at least
once: a server that dies between the sending and the row's change sends again, with the same `webhook-id`.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import random
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import structlog

from threadmill import deliveries, egress
from threadmill.deliveries import Delivery
from threadmill.egress import Egress, EgressError, Refused, Unreachable
from threadmill.errors import ConfigError, Invalid
from threadmill.ids import stamp
from threadmill.jsonable import dumps
from threadmill.langgraph_json.webhooks import WebhooksConfig
from threadmill.signals import Signals
from threadmill_checkpoints.database import Database

logger = structlog.get_logger("threadmill.webhooks")

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

LOOPBACK = "threadmill.webhook"  # in an ASGI scope: the server calls itself, and the core API does not answer
TICK_S = 5.0  # at the most between two looks at the table
AT_ONCE = 32
BACK_OFF_S, LONGEST_S = 5.0, 3600.0  # 1, 5, 25, ... seconds
LEAVE_S = 2.0  # for what is under way when the server stops


# The signature


def secrets(text: str) -> tuple[bytes, ...]:
    """From `whsec_...`, one or several; raises ConfigError."""
    try:
        keys = tuple(base64.b64decode(one.removeprefix("whsec_"), validate=True) for one in text.split())
        if all(one.startswith("whsec_") for one in text.split()) and all(len(key) >= 24 for key in keys):
            return keys
    except binascii.Error:
        pass
    raise ConfigError(
        "THREADMILL_WEBHOOK_SECRET must be whsec_ followed by at least 24 bytes in base64; "
        "`echo whsec_$(openssl rand -base64 32)` makes one."
    )


def sign(keys: Sequence[bytes], id: str, at: int, body: bytes) -> str:
    """The value of `webhook-signature`, as standardwebhooks.com has it: one signature per key."""
    signed = f"{id}.{at}.".encode() + body
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


# Sending


class Webhooks:
    """Says which URLs may be named, and sends until `run` is cancelled.

    `app` is where relative URLs lead, if the project has routes of its own. It gets a scope with LOOPBACK in its state,
    for which the core API does not answer: nobody has logged in. `timeout_s` is that of the calls of `client`.
    """

    app: App | None = None

    def __init__(
        self,
        database: Database,
        signals: Signals,
        client: Egress,
        wanted: WebhooksConfig,
        *,
        keys: Sequence[bytes] = (),
        max_attempts: int = 8,
        timeout_s: float = 10.0,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),
    ) -> None:
        self._database, self._signals, self._client, self._wanted = database, signals, client, wanted
        self._keys, self._max_attempts, self._timeout_s, self._jitter = keys, max_attempts, timeout_s, jitter
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def enabled(self) -> bool:
        """Otherwise runs may name a webhook, and none is sent."""
        return self._wanted.enabled

    def check(self, url: str | None) -> None:
        """Raises Invalid with one sentence. Asks no name server: that is done, and checked, when it is called."""
        if url is None or not self.enabled:
            return
        try:
            self._check(url)
        except Refused as error:
            raise Invalid(f"webhook: {error}") from None

    def _check(self, url: str) -> None:
        wanted = self._wanted
        if len(url) > wanted.max_url_length:
            raise Refused(f"It is longer than {wanted.max_url_length} characters.")
        if url.startswith("/"):
            if wanted.disable_loopback:
                raise Refused("A route of this server may be named only if webhooks.url.disable_loopback is false.")
            if not _is_path(url):
                raise Refused("It is not a plain path.")
            if self.app is None:
                raise Refused("This server has no routes but the API's.")
            return
        parsed = egress.parse_url(url)
        if wanted.require_https and parsed.scheme != "https":
            raise Refused("It must begin with https://.")
        host = parsed.raw_host.decode("ascii").lower().rstrip(".")
        domains = wanted.allowed_domains
        if domains is not None and not any(
            host.endswith(one[1:]) if one.startswith("*.") else host == one for one in domains
        ):
            raise Refused(f"{host} is not one of the allowed domains.")
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        if wanted.allowed_ports is not None and port not in wanted.allowed_ports:
            raise Refused(f"Port {port} is not one of the allowed ports.")
        egress.check_host(parsed, self._client.allowed)

    async def run(self) -> None:
        """Until it is cancelled. The topic `webhooks` says that there may be something to send."""
        sweeping = asyncio.create_task(self._sweep())
        try:
            with self._signals.subscribe("webhooks") as waiter:
                while True:
                    wait = TICK_S
                    try:
                        wait = await self.begin()
                    except Exception:  # the loop must outlive a full disk
                        logger.exception("webhooks could not be sent")
                    await waiter.wait(wait)
        finally:
            sweeping.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=LEAVE_S)
            for task in self._tasks:
                task.cancel()
            await self._client.close()

    async def begin(self) -> float:
        """Begin to send what is due; returns the seconds until there may be more."""
        room = AT_ONCE - len(self._tasks)
        due = await self._database.read(deliveries.due_in)
        if due is None or due > 0 or not room:
            return TICK_S if due is None or not room else min(due, TICK_S)
        # Twice the time of a call: who is still calling then is dead, and another may call.
        for delivery, body in await self._database.write(deliveries.claim, room, 2 * self._timeout_s):
            task = asyncio.create_task(self._deliver(delivery, body))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return 0.0

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._signals.notify("webhooks")

    async def _sweep(self) -> None:
        while True:
            try:
                await self._database.write(deliveries.sweep)
            except Exception:  # the next one may succeed: a full disk, a lock
                logger.exception("old webhooks could not be removed")
            await asyncio.sleep(3600)

    async def _deliver(self, delivery: Delivery, body: bytes) -> None:
        log = logger.bind(run_id=delivery.run_id, thread_id=delivery.thread_id, attempt=delivery.attempts)
        answer: int | None = None
        error: str | None = None
        final = False
        try:
            answer = await self._send(delivery, body)
            if not 200 <= answer < 300:
                error = f"The answer was {answer}."
                final = answer == 410
        except EgressError as refused:
            error, final = str(refused), isinstance(refused, Refused)
        except Exception:  # whatever it is, the others are to be sent
            log.exception("a webhook could not be sent")
            error = "The server failed to send it; its log says why."
        if error is None:
            status, again_s = "delivered", None
        elif final or delivery.attempts >= self._max_attempts:
            status, again_s = "dead", None
            log.warning("a webhook is given up", error=error)
        else:
            status, again_s = "pending", self._back_off(delivery.attempts)
        try:
            await self._database.write(deliveries.finish, delivery, status, answer=answer, error=error, again_s=again_s)
        except Exception:  # its lease ends, and it is sent again
            log.exception("what became of a webhook could not be written")

    def _back_off(self, attempts: int) -> float:
        return min(BACK_OFF_S ** (attempts - 1), LONGEST_S) * self._jitter()

    async def _send(self, delivery: Delivery, body: bytes) -> int:
        """The status of the answer. The rules may have changed since the run was created, so they are asked again."""
        self._check(delivery.url)
        at = datetime.fromisoformat(delivery.updated_at)
        body = body[:-1] + b',"webhook_sent_at":' + dumps(stamp(at)) + b"}"
        seconds = int(at.timestamp())
        headers = {
            **self._wanted.headers,
            "content-type": "application/json",
            "webhook-id": delivery.run_id,
            "webhook-timestamp": str(seconds),
        }
        if self._keys:
            headers["webhook-signature"] = sign(self._keys, delivery.run_id, seconds, body)
        if not delivery.url.startswith("/"):
            return await self._client.post(delivery.url, body, headers)
        assert self.app is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                return await _call(self.app, delivery.url, body, headers)
        except TimeoutError:
            raise Unreachable(f"No answer within {self._timeout_s:g} seconds.") from None


def _is_path(url: str) -> bool:
    """A plain path of this server: what another parser could read as a host, or as a step upwards, is none."""
    path = unquote(url)
    return url.isascii() and url.isprintable() and not any(bad in path for bad in ("//", "\\", "..", "#", " "))


async def _call(app: App, url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """One POST in process; of the answer only the status is looked at."""
    path, _, query = url.partition("?")
    status = 500
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    named = {"host": "localhost", **headers, "content-length": str(len(body))}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 80),
        "state": {LOOPBACK: True},
    }
    await app(scope, receive, send)
    return status
