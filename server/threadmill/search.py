"""Full-text search over what threads hold, and the index behind it, which follows what is committed."""

import asyncio
from dataclasses import replace

import structlog
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill import threads
from threadmill.errors import NotOffered
from threadmill.scope import Scope
from threadmill.signals import Signals
from threadmill.threads import Filter
from threadmill_checkpoints.database import Database, Tx
from threadmill_checkpoints.saver import deltas
from threadmill_checkpoints.search import find, index
from threadmill_checkpoints.search.find import Hit, Wanted

logger = structlog.get_logger("threadmill.search")

LONGEST = 500  # characters of a query
LOOK_S = 5.0  # between two looks when nobody wakes it
PATIENCE_S = 0.5  # how long a search waits for what was committed before it
SEALED = "There is no search where data is encrypted: its index would hold the texts in the open."


class Search:
    """`run` keeps the index up to date until it is cancelled; `sealed`: there is none."""

    def __init__(self, database: Database, signals: Signals, serde: SerializerProtocol, *, sealed: bool) -> None:
        self._database, self._signals, self._serde, self._sealed = database, signals, serde, sealed
        self._one_at_a_time = asyncio.Lock()

    async def open(self) -> None:
        if self._sealed:
            await self._database.write(index.clear)

    async def ready(self) -> None:
        """Wait for what was committed before, unless that is much. Raises NotOffered."""
        if self._sealed:
            raise NotOffered(SEALED)
        catching_up = asyncio.ensure_future(self.catch_up())
        await asyncio.wait({catching_up}, timeout=PATIENCE_S)

    async def find(
        self, scope: Scope, wanted: Wanted, among: Filter, *, limit: int, before: int | None = None
    ) -> list[tuple[Hit, str | None]]:
        """Hits and the titles of their threads, newest first."""
        await self.ready()
        return await self._database.read(found, scope, wanted, among, limit, before)

    async def run(self) -> None:
        if self._sealed:
            return
        with self._signals.subscribe("feed") as waiter:
            while True:
                await self.catch_up()
                await waiter.wait(LOOK_S)

    async def catch_up(self) -> None:
        async with self._one_at_a_time:
            try:
                while (earlier := await self._database.read(deltas.waiting)) is not None:
                    await self._database.write(deltas.put, self._serde, earlier)
                while (batch := await self._database.read(index.waiting, self._serde)) is not None:
                    await self._database.write(index.put, batch)
            except Exception:  # the next look may succeed: a full disk
                logger.exception("the index could not be brought up to date")


def found(
    tx: Tx, scope: Scope, wanted: Wanted, among: Filter, limit: int, before: int | None
) -> list[tuple[Hit, str | None]]:
    # Scalars that authorisation demands lead to the caller's threads; the condition itself is asked all the same.
    demanded = {key: value for key, value in (scope.filter or {}).items() if isinstance(value, str | int)}
    metadata = {**demanded, **(among.metadata or {})}
    where, params = replace(among, metadata=metadata).where(tx, scope)
    forks: list[str] = []
    if among.ids:
        named = tx.all(f"SELECT threads.thread_id FROM threads WHERE {where}", **params)
        forks = [row["thread_id"] for row in named]
    everything = not (metadata or scope.filter or among.status or among.ids or among.values)
    hits = find.find(tx, wanted, (where, params), everything=everything, limit=limit, before=before, forks=forks)
    titles = threads.titles(tx, list({hit.thread_id for hit in hits}))
    return [(hit, titles.get(hit.thread_id)) for hit in hits]
