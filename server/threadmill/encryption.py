"""Encryption at rest with the handlers of a `langgraph_sdk.Encryption` object.

Handlers are coroutines, and databases and serializers call from threads of their own: the handlers run on a loop beside
all others, and whoever needs them waits. They are called for every write and read, so a handler that asks a service for
keys has to remember them.
"""

import asyncio
import base64
import inspect
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog
from langgraph_sdk import Encryption
from langgraph_sdk.auth.exceptions import HTTPException
from langgraph_sdk.encryption.types import DecryptResult, EncryptionContext
from starlette.authentication import UnauthenticatedUser

from threadmill.auth import Refused, User
from threadmill.errors import ConfigError, Invalid
from threadmill.graphs import load_object
from threadmill.langgraph_json.project import Project
from threadmill.scope import FILTERED
from threadmill_checkpoints.sealing import About

logger = structlog.get_logger("threadmill.encryption")

T = TypeVar("T")

HEADER = "X-Encryption-Context"
LONGEST_S = 30.0
NO_BLOBS = "there are no handlers for blobs: checkpoints and events are not encrypted, only the JSON fields"

NOT_REPLACED = "a handler returned a replacement, which is not stored: keep decrypting with the old keys"


class Handlers:
    """A `Vault`. Close it after the database."""

    def __init__(self, handlers: Encryption) -> None:
        self._handlers = handlers
        self.blobs = handlers._blob_encryptor is not None
        self.objects = handlers._json_encryptor is not None
        self._told = False  # of a replacement
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="encryption", daemon=True)
        self._thread.start()

    def seal(self, data: bytes, about: About) -> bytes:
        return _typed(self._call(self._handlers._blob_encryptor, data, about), bytes, "encrypt.blob")

    def open(self, data: bytes, about: About) -> bytes:
        return _typed(self._call(self._handlers._blob_decryptor, data, about), bytes, "decrypt.blob")

    def seal_object(self, data: dict[str, Any], about: About) -> dict[str, Any]:
        """Raises Invalid when authorisation could no longer find it."""
        found = _typed(self._call(self._handlers._json_encryptor, dict(data), about), dict, "encrypt.json")
        if found.keys() != data.keys():
            raise TypeError(
                f"encrypt.json must keep the keys; it added or removed {sorted(found.keys() ^ data.keys())}"
            )
        if about.field == "metadata" and (hidden := [key for key in FILTERED.get() if found.get(key) != data.get(key)]):
            raise Invalid(f"metadata: {', '.join(hidden)} must not be encrypted: authorisation filters by it.")
        return found

    def open_object(self, data: dict[str, Any], about: About) -> dict[str, Any]:
        return _typed(self._call(self._handlers._json_decryptor, data, about), dict, "decrypt.json")

    async def context(self, header: str | None, user: User | None) -> dict[str, Any] | None:
        """Of a request: what its header says, or what the context handler makes of that and of its user. None without
        either. Raises Invalid for a header that is none, and what the handler refuses with."""
        given = None if header is None else _decoded(header)
        handler = self._handlers._context_handler
        if handler is None:
            return given
        asked: Any = user or UnauthenticatedUser()
        answer = self._start(handler(asked, EncryptionContext(metadata=given)))
        try:
            return _typed(await asyncio.wrap_future(answer), dict, "context")
        except HTTPException as error:
            raise Refused(error.status_code, str(error.detail), error.headers) from error

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _call(self, handler: Callable[..., Awaitable[Any]] | None, data: Any, about: About) -> Any:
        if handler is None:
            raise RuntimeError("this was encrypted by a handler that is no longer there")
        context = EncryptionContext(about.model, dict(about.context), about.field)
        found = self._start(handler(context, data)).result(LONGEST_S)
        if not isinstance(found, DecryptResult):
            return found
        if found.replacement is not None and not self._told:
            self._told = True
            logger.warning(NOT_REPLACED)
        return found.plaintext

    def _start(self, work: Awaitable[Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(_done(work), self._loop)


def load(project: Project) -> Handlers | None:
    """Raises ConfigError for handlers that would leave something in the open that its owner believes encrypted."""
    spec = project.encryption
    if spec is None:
        return None
    found = load_object(project, spec, Encryption, "encryption.path")
    where = f"{project.path}: encryption.path: {spec.attribute}"
    pairs = {
        "blob": (found._blob_encryptor, found._blob_decryptor),
        "json": (found._json_encryptor, found._json_decryptor),
    }
    for kind, pair in pairs.items():
        if None in pair and any(pair):
            raise ConfigError(f"{where} has one of encrypt.{kind} and decrypt.{kind}; it needs both, or none.")
    if not any(any(pair) for pair in pairs.values()):
        raise ConfigError(f"{where} has no handlers: it needs encrypt and decrypt for blob, json or both.")
    if found._context_handler is not None and not _takes_two(found._context_handler):
        raise ConfigError(f"{where} has a context handler that is no async function of (user, ctx).")
    if found._blob_encryptor is None:
        logger.warning(NO_BLOBS)
    return Handlers(found)


def _takes_two(handler: Any) -> bool:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return (
        inspect.iscoroutinefunction(handler)
        and sum(one.kind in kinds for one in inspect.signature(handler).parameters.values()) == 2
    )


def _decoded(header: str) -> dict[str, Any]:
    try:
        found = json.loads(
            base64.b64decode(header.encode(), b"-_" if {"-", "_"} & set(header) else None, validate=True)
        )
    except ValueError:  # of base64, UTF-8 or JSON
        found = None
    if not isinstance(found, dict):
        raise Invalid(f"{HEADER} must be a JSON object in base64.")
    return found


async def _done(work: Awaitable[Any]) -> Any:
    return await work


def _typed(found: Any, kind: type[T], name: str) -> T:
    if not isinstance(found, kind):
        raise TypeError(f"the handler for {name} returned {type(found).__name__}, not {kind.__name__}")
    return found
