"""Encryption at rest with the handlers of a `langgraph_sdk.Encryption` object.

Handlers are coroutines, and databases and serializers call from threads of their own: the handlers run on a loop beside
all others, and whoever needs them waits. They are called for every write and read, so a handler that asks a service for
keys has to remember them.
"""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from langgraph_sdk import Encryption
from langgraph_sdk.encryption.types import DecryptResult, EncryptionContext

from threadmill.errors import ConfigError
from threadmill.graphs import load_object
from threadmill.langgraph_json.project import Project

logger = structlog.get_logger("threadmill.encryption")

LONGEST_S = 30.0


class Handlers:
    """A `Vault`. Close it after the database."""

    def __init__(self, encrypt: Callable[..., Awaitable[bytes]], decrypt: Callable[..., Awaitable[Any]]) -> None:
        self._encrypt = encrypt
        self._decrypt = decrypt
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="encryption", daemon=True)
        self._thread.start()

    def seal(self, data: bytes) -> bytes:
        return self._call(self._encrypt, data)

    def open(self, data: bytes) -> bytes:
        return self._call(self._decrypt, data)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _call(self, handler: Callable[..., Awaitable[Any]], data: bytes) -> bytes:
        found = asyncio.run_coroutine_threadsafe(_asked(handler, data), self._loop).result(LONGEST_S)
        if not isinstance(found, bytes):
            raise TypeError(f"{handler} returned {type(found).__name__}, not bytes")
        return found


def load(project: Project) -> Handlers | None:
    """Raises ConfigError for handlers that would leave something in the open that its owner believes encrypted."""
    spec = project.encryption
    if spec is None:
        return None
    found = load_object(project, spec, Encryption, "encryption.path")
    where = f"{project.path}: encryption.path: {spec.attribute}"
    encrypt, decrypt = found._blob_encryptor, found._blob_decryptor
    if encrypt is None or decrypt is None:
        raise ConfigError(f"{where} needs handlers for encrypt.blob and decrypt.blob: all content is stored as blobs.")
    if found._context_handler is not None:
        raise ConfigError(f"{where} has a context handler; keys that depend on the user are not supported.")
    if found._json_encryptor is not None or found._json_decryptor is not None:
        logger.warning("handlers for JSON are not called: content is encrypted as blobs, and metadata is not encrypted")
    return Handlers(encrypt, decrypt)


async def _asked(handler: Callable[..., Awaitable[Any]], data: bytes) -> Any:
    answer = handler(EncryptionContext(), data)
    found = await answer if inspect.isawaitable(answer) else answer
    return found.plaintext if isinstance(found, DecryptResult) else found
