"""Texts of the store as vectors, and how alike two of them are."""

import asyncio
import inspect
import math
import sqlite3
import threading
from array import array
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from operator import mul
from typing import Any

import sqlite_vec  # type: ignore[import-untyped]
from langgraph.store.base import get_text_at_path, tokenize_path

from threadmill_checkpoints.database import DatabaseError


class EmbeddingError(Exception):
    """Texts could not be turned into vectors; nothing was read or written."""


@dataclass(frozen=True)
class Index:
    """Semantic search. `embed` makes a vector of `dims` numbers from each text of a list; it may be a coroutine
    function. `fields` are the paths that are embedded of a value, unless a put names others; `$` is all of it.
    """

    dims: int
    embed: Callable[[list[str]], Any]
    fields: tuple[str, ...] = ("$",)


class Embedder:
    """Runs a user's embedding function on an event loop and a thread of its own.

    Texts become vectors before a transaction begins, so that neither the writer nor anybody's event loop waits for a
    model. A client that belongs to an event loop always meets the same one.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="embeddings", daemon=True).start()

    def submit(self, texts: list[str]) -> "Future[list[bytes]]":
        return asyncio.run_coroutine_threadsafe(self._embed(texts), self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _embed(self, texts: list[str]) -> list[bytes]:
        try:
            answer = await asyncio.to_thread(self.index.embed, texts)
            answer = await answer if inspect.isawaitable(answer) else answer
            vectors = [sqlite_vec.serialize_float32(list(map(float, vector))) for vector in answer]
        except Exception as error:  # whatever a user's function or a provider raises
            raise EmbeddingError(f"The embedding function failed: {type(error).__name__}: {error}") from error
        sizes = {len(vector) // 4 for vector in vectors}
        if len(vectors) != len(texts) or sizes != {self.index.dims}:
            raise EmbeddingError(
                f"The embedding function must answer {len(texts)} texts with as many vectors of {self.index.dims} "
                f"numbers, not with {len(vectors)} of {', '.join(map(str, sorted(sizes))) or 'none'}."
            )
        return vectors


def texts_of(value: dict[str, Any], fields: Iterable[str]) -> list[tuple[str, str]]:
    """(field, text) of a value; a field that is a list has a number for each of its texts."""
    found: dict[str, str] = {}
    for path in fields:
        texts = get_text_at_path(value, "$" if path == "$" else tokenize_path(path))
        for number, text in enumerate(texts):
            found[f"{path}.{number}" if len(texts) > 1 else path] = text
    return list(found.items())


def add_distance(connection: sqlite3.Connection) -> bool:
    """Give the connection sqlite-vec's `vec_distance_cosine`; False if it had to be ours."""
    if not hasattr(connection, "enable_load_extension"):  # how many Pythons are built
        connection.create_function("vec_distance_cosine", 2, _cosine_distance, deterministic=True)
        return False
    try:
        connection.enable_load_extension(True)
        sqlite_vec.load(connection)
        connection.enable_load_extension(False)
    except sqlite3.Error as error:
        raise DatabaseError(f"store.index: the extension sqlite-vec cannot be loaded: {error}.") from error
    return True


def _cosine_distance(one: bytes, other: bytes) -> float | None:
    (a, length), (b, other_length) = _measured(one), _measured(other)
    return 1.0 - sum(map(mul, a, b)) / (length * other_length) if length and other_length else None


@lru_cache(maxsize=4)  # keeps that of the query
def _measured(vector: bytes) -> tuple[list[float], float]:
    numbers = array("f", vector).tolist()
    return numbers, math.hypot(*numbers)
