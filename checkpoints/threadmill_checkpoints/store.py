"""LangGraph's long-term memory: the tables of langgraph-checkpoint-sqlite's `SqliteStore`, on our connections.

The official store brings a connection of its own, which would be a second writer on the file. Its tables and what its
operations mean are kept, but the statements are ours: its own forget `created_at` at a change, return items that have
expired, and put the keys of a filter into the SQL.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import orjson
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)
from langgraph.store.sqlite import SqliteStore

from threadmill_checkpoints import filters
from threadmill_checkpoints.database import Database, Row, Tx
from threadmill_checkpoints.sealing import looking_into
from threadmill_checkpoints.sqlite import SqliteTx
from threadmill_checkpoints.vectors import Embedder, Index, add_distance, texts_of

log = logging.getLogger("threadmill.store")

SWEEP = 500  # expired items removed in one transaction: others wait no longer for the writer
LIVE = "(store.expires_at IS NULL OR store.expires_at > :now)"
ITEM = "store.prefix, store.key, store.value, store.created_at, store.updated_at, store.ttl_minutes"
BELOW = "(store.prefix = :{0} OR store.prefix >= :{0} || '.' AND store.prefix < :{0} || '/')"  # '/' comes after '.'

Touched = dict[tuple[str, str], float]  # (prefix, key) of items that were read and expire: their minutes


class Store(BaseStore):
    """Items by namespace and key, in `database`; usable from any thread and any event loop. Close it before the
    database. `dumps` makes the JSON of a value.
    """

    supports_ttl = True

    def __init__(
        self,
        database: Database,
        *,
        index: Index | None = None,
        ttl: TTLConfig | None = None,
        dumps: Callable[[Any], bytes] = orjson.dumps,
    ) -> None:
        self.database = database
        self.ttl_config = ttl
        self._dumps = dumps
        self._embedder = Embedder(index) if index is not None else None
        self._equipped: set[sqlite3.Connection] = set()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        work = self._prepare(ops)
        if self._embedder is not None and work.texts:
            work.vectors = self._embedder.submit(work.texts).result()
        if work.puts:
            return self.database.submit(work.write).result()
        results, touched = self.database.query(work.read).result()
        if touched:
            self.database.submit(partial(_refresh, touched=touched)).result()
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        work = self._prepare(ops)
        if self._embedder is not None and work.texts:
            work.vectors = await asyncio.wrap_future(self._embedder.submit(work.texts))
        if work.puts:
            return await self.database.write(work.write)
        results, touched = await self.database.read(work.read)
        if touched:
            await self.database.write(_refresh, touched=touched)
        return results

    async def sweep(self) -> int:
        """Remove what has expired; returns how many items. Reads do not show them even before."""
        total = removed = await self.database.write(_sweep)
        while removed == SWEEP:
            total += (removed := await self.database.write(_sweep))
        return total

    def close(self) -> None:
        if self._embedder is not None:
            self._embedder.close()

    def _prepare(self, ops: Iterable[Op]) -> "_Batch":
        work = _Batch(list(ops), self._equip)
        for number, op in enumerate(work.ops):
            validate_op_namespace(op)
            if isinstance(op, SearchOp):
                filters.check(op.filter)
                if self._embedder is not None and op.query:
                    work.embed(number, "", op.query)
            elif isinstance(op, PutOp):
                work.puts.append(number)
                if op.value is not None:
                    encoded = work.values[number] = self._dumps(dict(op.value)).decode()
                    if self._embedder is not None and op.index is not False:
                        fields = self._embedder.index.fields if op.index is None else op.index
                        for name, text in texts_of(orjson.loads(encoded), fields):
                            work.embed(number, name, text)
        return work

    def _equip(self, tx: Tx) -> None:
        """A reader's connection gets the functions of the queries when it is first used."""
        connection = cast(SqliteTx, tx).connection
        if connection not in self._equipped:
            self._equipped.add(connection)
            vault = cast(SqliteTx, tx).vault
            matches = filters.matches if vault is None else looking_into(vault, filters.matches, "store", "value")
            connection.create_function("store_matches", 2, matches, deterministic=True)
            connection.create_function("store_fits", 3, filters.fits, deterministic=True)
            connection.create_function("store_head", 2, filters.head, deterministic=True)
            if self._embedder is not None:
                add_distance(connection)


def prepare(connection: sqlite3.Connection, *, index: Index | None = None) -> None:
    """Create or migrate the store's tables; with an index, see that vectors can be compared."""
    SqliteStore(connection).setup()
    connection.execute("CREATE TABLE IF NOT EXISTS vector_migrations (v INTEGER PRIMARY KEY)")
    done = connection.execute("SELECT coalesce(max(v), -1) FROM vector_migrations").fetchone()[0]
    for number, sql in enumerate(SqliteStore.VECTOR_MIGRATIONS):
        if number > done:
            connection.executescript(sql)
            connection.execute("INSERT INTO vector_migrations (v) VALUES (?)", (number,))
    if index is not None and not add_distance(connection):
        log.warning(
            "the sqlite3 of this Python cannot load extensions, so that vectors are compared in Python: "
            "semantic search is slow beyond some thousand items"
        )


@dataclass
class _Batch:
    """Operations, and what was made ready for them outside of the transaction. Reads come before writes."""

    ops: list[Op]
    equip: Callable[[Tx], None]
    puts: list[int] = field(default_factory=list)  # numbers of operations
    values: dict[int, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    places: list[tuple[int, str]] = field(default_factory=list)  # operation and field of each text
    vectors: list[bytes] = field(default_factory=list)

    def embed(self, number: int, name: str, text: str) -> None:
        self.places.append((number, name))
        self.texts.append(text)

    def write(self, tx: Tx) -> list[Result]:
        results, touched = self.read(tx)
        _refresh(tx, touched)
        for number in self.puts:
            op = cast(PutOp, self.ops[number])
            if op.value is None:
                where = {"prefix": ".".join(op.namespace), "key": op.key}
                tx.run("DELETE FROM store WHERE prefix = :prefix AND key = :key", **where)
            else:
                _put(tx, op, self.values[number], self._vectors_of(number))
        return results

    def read(self, tx: Tx) -> tuple[list[Result], Touched]:
        self.equip(tx)
        results: list[Result] = []
        touched: Touched = {}
        for number, op in enumerate(self.ops):
            if isinstance(op, GetOp):
                results.append(_get(tx, op, touched))
            elif isinstance(op, SearchOp):
                vector = next((vector for _, vector in self._vectors_of(number)), None)
                results.append(_search(tx, op, vector, touched))
            elif isinstance(op, ListNamespacesOp):
                results.append(_list_namespaces(tx, op))
            else:
                results.append(None)
        return results, touched

    def _vectors_of(self, number: int) -> list[tuple[str, bytes]]:
        pairs = zip(self.places, self.vectors, strict=True)
        return [(name, vector) for (op, name), vector in pairs if op == number]


# Statements


def _get(tx: Tx, op: GetOp, touched: Touched) -> Item | None:
    row = tx.one(
        f"SELECT {ITEM} FROM store WHERE prefix = :prefix AND key = :key AND {LIVE}",
        prefix=".".join(op.namespace),
        key=op.key,
        now=_stamp(tx.now),
    )
    if row is None:
        return None
    if op.refresh_ttl:
        _touch([row], touched)
    return Item(**_fields(row))


def _search(tx: Tx, op: SearchOp, vector: bytes | None, touched: Touched) -> list[SearchItem]:
    """With a vector: only items that have one, the most similar first. Else the last changed first."""
    conditions, params = [LIVE], {"now": _stamp(tx.now), "limit": op.limit, "offset": op.offset}
    if op.namespace_prefix:
        conditions.append(BELOW.format("prefix"))
        params["prefix"] = ".".join(op.namespace_prefix)
    if op.filter:
        conditions.append("store_matches(store.value, :filter)")
        params["filter"] = filters.written(op.filter)
    score, source, order = "NULL", "store", "store.updated_at DESC"
    if vector is not None:
        # Vectors of another length are left from another model, and cannot be compared.
        score = "1.0 - min(vec_distance_cosine(found.embedding, :vector))"
        source = """store JOIN store_vectors AS found ON found.prefix = store.prefix AND found.key = store.key
            AND length(found.embedding) = length(:vector)"""
        order = "score DESC"
        params["vector"] = vector
    rows = tx.all(
        f"""SELECT {ITEM}, {score} AS score FROM {source} WHERE {" AND ".join(conditions)}
            {"GROUP BY store.prefix, store.key" if vector is not None else ""}
            ORDER BY {order}, store.prefix, store.key LIMIT :limit OFFSET :offset""",
        **params,
    )
    if op.refresh_ttl:
        _touch(rows, touched)
    return [SearchItem(**_fields(row), score=row["score"]) for row in rows]


def _list_namespaces(tx: Tx, op: ListNamespacesOp) -> list[tuple[str, ...]]:
    conditions = [LIVE]
    params = {"now": _stamp(tx.now), "depth": op.max_depth, "limit": op.limit, "offset": op.offset}
    for number, condition in enumerate(op.match_conditions or ()):
        if condition.path:
            sql, path = _fitting(condition, f"path{number}")
            conditions.append(sql)
            params[f"path{number}"] = path
    rows = tx.all(
        f"""SELECT DISTINCT {"prefix" if op.max_depth is None else "store_head(prefix, :depth)"} AS head FROM store
            WHERE {" AND ".join(conditions)} ORDER BY head LIMIT :limit OFFSET :offset""",
        **params,
    )
    return [tuple(row["head"].split(".")) for row in rows]


def _fitting(condition: MatchCondition, name: str) -> tuple[str, str]:
    path = ".".join(condition.path)
    if condition.match_type == "prefix" and "*" not in condition.path:
        return BELOW.format(name), path  # can use the index
    return f"store_fits(store.prefix, '{'prefix' if condition.match_type == 'prefix' else 'suffix'}', :{name})", path


def _put(tx: Tx, op: PutOp, value: str, vectors: list[tuple[str, bytes]]) -> None:
    where = {"prefix": ".".join(op.namespace), "key": op.key}
    now = _stamp(tx.now)
    tx.run(
        """INSERT INTO store (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes)
           VALUES (:prefix, :key, :value, :now, :now, :expires_at, :ttl)
           ON CONFLICT (prefix, key) DO UPDATE SET
               created_at = CASE WHEN expires_at <= :now THEN :now ELSE created_at END,
               value = excluded.value, updated_at = :now, expires_at = excluded.expires_at,
               ttl_minutes = excluded.ttl_minutes""",
        **where,
        value=value,
        now=now,
        expires_at=None if op.ttl is None else _stamp(tx.now + timedelta(minutes=op.ttl)),
        ttl=op.ttl,
    )
    tx.run("DELETE FROM store_vectors WHERE prefix = :prefix AND key = :key", **where)
    for name, vector in vectors:
        tx.run(
            """INSERT INTO store_vectors (prefix, key, field_name, embedding, created_at, updated_at)
               VALUES (:prefix, :key, :name, :vector, :now, :now)""",
            **where,
            name=name,
            vector=vector,
            now=now,
        )


def _refresh(tx: Tx, touched: Touched) -> None:
    """Let what was read live as long again; not what has expired or was given another time since."""
    for (prefix, key), minutes in touched.items():
        tx.run(
            f"""UPDATE store SET expires_at = :later
                WHERE prefix = :prefix AND key = :key AND ttl_minutes = :minutes AND {LIVE}""",
            prefix=prefix,
            key=key,
            minutes=minutes,
            later=_stamp(tx.now + timedelta(minutes=minutes)),
            now=_stamp(tx.now),
        )


def _sweep(tx: Tx) -> int:
    expired = "SELECT rowid FROM store WHERE expires_at <= :now LIMIT :most"
    return tx.run(f"DELETE FROM store WHERE rowid IN ({expired})", now=_stamp(tx.now), most=SWEEP)


def _touch(rows: list[Row], touched: Touched) -> None:
    for row in rows:
        if row["ttl_minutes"] is not None:
            touched[row["prefix"], row["key"]] = row["ttl_minutes"]


def _fields(row: Row) -> dict[str, Any]:
    return {
        "namespace": tuple(row["prefix"].split(".")),
        "key": row["key"],
        "value": orjson.loads(row["value"]),
        "created_at": _moment(row["created_at"]),
        "updated_at": _moment(row["updated_at"]),
    }


def _stamp(moment: datetime) -> str:
    """Begins as SQLite's CURRENT_TIMESTAMP, which the official store writes: both sort as text."""
    return moment.astimezone(UTC).isoformat(" ", "microseconds")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
