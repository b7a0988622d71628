"""Assistants: a graph with a name and settings, in numbered versions. One exists for each graph of langgraph.json."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self
from uuid import UUID, uuid5

from threadmill.errors import BadRequest, Conflict, NotFound
from threadmill.ids import stamp
from threadmill.jsonable import dumps_text
from threadmill.scope import ALL, Scope
from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.sealing import OPENLY, under

NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
SORTS = ("assistant_id", "created_at", "updated_at", "name", "graph_id")
VERSIONED = "graph_id, name, description, config, context, metadata"
BOTH = "Cannot specify both configurable and context. Prefer setting context alone: it replaces configurable."


@dataclass(frozen=True, slots=True)
class Assistant:
    assistant_id: str
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    name: str
    created_at: str
    updated_at: str
    version: int
    description: str | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        return cls(**_decoded(row, cls.__slots__))


@dataclass(frozen=True, slots=True)
class Version:
    """`created_at` is when this version was made."""

    assistant_id: str
    version: int
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    created_at: str
    name: str
    description: str | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        return cls(**_decoded(row, cls.__slots__))


def _decoded(row: Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: json.loads(row[name]) if name in ("config", "context", "metadata") else row[name] for name in names}


@lru_cache(1024)  # each run asks for that of every graph
def default_id(graph_id: str) -> str:
    """The id every server gives the assistant of this graph."""
    return str(uuid5(NAMESPACE, graph_id))


def id_of(name: str) -> str:
    """Of an assistant that is named by its id, or by its graph."""
    try:
        return str(UUID(name))
    except ValueError:
        return default_id(name)


def ensure_defaults(
    tx: Tx, graphs: Iterable[tuple[str, str | None]], configs: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """One assistant per (graph id, description), with the config that `configs` has for the graph.

    What a client changed about one stays; one that a client deleted comes back.
    """
    with under(OPENLY):  # where it comes from lies in the open
        for graph_id, description in graphs:
            _insert(
                tx,
                default_id(graph_id),
                graph_id=graph_id,
                name=graph_id,
                description=description,
                config=(configs or {}).get(graph_id),
                context=None,
                metadata={"created_by": "system"},
            )


def create(
    tx: Tx,
    scope: Scope,
    assistant_id: str,
    *,
    graph_id: str,
    config: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    name: str | None = None,
    description: str | None = None,
    if_exists: str = "raise",
) -> Assistant:
    """`if_exists` "do_nothing" answers the one that is there, untouched, if the caller may see it."""
    created = _insert(
        tx,
        assistant_id,
        graph_id=graph_id,
        name=name or "Untitled",
        description=description,
        config=config,
        context=context,
        metadata=metadata or {},
    )
    if created:
        return get(tx, ALL, assistant_id)
    if if_exists == "do_nothing":
        try:
            return get(tx, scope, assistant_id)
        except NotFound:
            pass
    raise Conflict(f"Assistant {assistant_id} already exists")


def get(tx: Tx, scope: Scope, assistant_id: str) -> Assistant:
    row = tx.one(
        f"SELECT * FROM assistants WHERE assistant_id = :id AND {scope.condition(tx)}", id=assistant_id, **scope.params
    )
    if row is None:
        raise NotFound(f"Assistant with ID {assistant_id} not found")
    return Assistant.from_row(row)


def patch(
    tx: Tx,
    scope: Scope,
    assistant_id: str,
    *,
    graph_id: str | None = None,
    config: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    name: str | None = None,
    description: str | None = None,
) -> Assistant:
    """A new version, numbered above all there were. Metadata is merged by key; None keeps what is there."""
    old = get(tx, scope, assistant_id)
    both = _mirrored(config, context, old.config, old.context)
    tx.run(
        "UPDATE assistants SET graph_id = :graph_id, name = :name, description = :description, config = :config, "
        "context = :context, metadata = :metadata, updated_at = :now, version = 1 + "
        "(SELECT max(version) FROM assistant_versions v WHERE v.assistant_id = :id) WHERE assistant_id = :id",
        id=assistant_id,
        graph_id=old.graph_id if graph_id is None else graph_id,
        name=old.name if name is None else name,
        description=old.description if description is None else description,
        config=dumps_text(both[0]),
        context=dumps_text(both[1]),
        metadata=dumps_text({**old.metadata, **(metadata or {})}),
        now=stamp(tx.now),
    )
    _keep(tx, assistant_id)
    return get(tx, ALL, assistant_id)


def delete(tx: Tx, scope: Scope, assistant_id: str) -> None:
    """With all its versions. Runs that were accepted go on: they carry what they need."""
    get(tx, scope, assistant_id)
    tx.run("DELETE FROM assistants WHERE assistant_id = :id", id=assistant_id)


# Versions


def versions(
    tx: Tx,
    scope: Scope,
    assistant_id: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    limit: int = 10,
    offset: int = 0,
) -> list[Version]:
    """Newest first; `metadata` is what a version's must contain."""
    get(tx, scope, assistant_id)
    wanted = tx.dialect.contains("metadata", "metadata") if metadata else "TRUE"
    rows = tx.all(
        f"SELECT * FROM assistant_versions WHERE assistant_id = :id AND {wanted} "
        "ORDER BY version DESC LIMIT :limit OFFSET :offset",
        id=assistant_id,
        limit=limit,
        offset=offset,
        **({"metadata": dumps_text(metadata)} if metadata else {}),
    )
    return [Version.from_row(row) for row in rows]


def set_latest(tx: Tx, scope: Scope, assistant_id: str, version: int) -> Assistant:
    """Put a version into use again, with everything it had."""
    get(tx, scope, assistant_id)
    place = {"id": assistant_id, "version": version}
    if tx.one("SELECT 1 FROM assistant_versions WHERE assistant_id = :id AND version = :version", **place) is None:
        raise NotFound(f"Version {version} not found for assistant {assistant_id}")
    tx.run(
        f"UPDATE assistants SET version = :version, updated_at = :now, ({VERSIONED}) = (SELECT {VERSIONED} "
        "FROM assistant_versions v WHERE v.assistant_id = :id AND v.version = :version) WHERE assistant_id = :id",
        **place,
        now=stamp(tx.now),
    )
    return get(tx, ALL, assistant_id)


# Lists


@dataclass(frozen=True, slots=True)
class Filter:
    """`name` is part of a name, in any case."""

    metadata: Mapping[str, Any] | None = None
    graph_id: str | None = None
    name: str | None = None

    def where(self, tx: Tx, scope: Scope) -> tuple[str, dict[str, Any]]:
        conditions, params = [scope.condition(tx)], dict[str, Any](scope.params)
        if self.metadata:
            conditions.append(tx.dialect.contains("metadata", "metadata"))
            params["metadata"] = dumps_text(self.metadata)
        if self.graph_id is not None:
            conditions.append("graph_id = :graph_id")
            params["graph_id"] = self.graph_id
        if self.name:
            conditions.append("instr(lower(name), lower(:name)) > 0")
            params["name"] = self.name
        return " AND ".join(conditions), params


def search(
    tx: Tx,
    scope: Scope,
    wanted: Filter,
    *,
    sort_by: str = "created_at",
    sort_order: str = "desc",
    limit: int = 10,
    offset: int = 0,
) -> tuple[list[Assistant], int]:
    """A page and the number of all that match. `sort_by` must be one of SORTS; names sort in any case."""
    where, params = wanted.where(tx, scope)
    column = SORTS[SORTS.index(sort_by)]
    order = f"{'lower(name)' if column == 'name' else column} {'ASC' if sort_order == 'asc' else 'DESC'}"
    rows = tx.all(
        f"SELECT * FROM assistants WHERE {where} ORDER BY {order}, assistant_id LIMIT :limit OFFSET :offset",
        **params,
        limit=limit,
        offset=offset,
    )
    return [Assistant.from_row(row) for row in rows], count(tx, scope, wanted)


def count(tx: Tx, scope: Scope, wanted: Filter) -> int:
    where, params = wanted.where(tx, scope)
    row = tx.one(f"SELECT count(*) AS n FROM assistants WHERE {where}", **params)
    return row["n"] if row else 0


# Writing


def _insert(
    tx: Tx,
    assistant_id: str,
    *,
    graph_id: str,
    name: str,
    description: str | None,
    config: Mapping[str, Any] | None,
    context: Mapping[str, Any] | None,
    metadata: Mapping[str, Any],
) -> bool:
    """False when there is one with this id."""
    both = _mirrored(config, context, {}, {})
    created = tx.run(
        "INSERT INTO assistants (assistant_id, graph_id, name, description, config, context, metadata, version, "
        "created_at, updated_at) VALUES (:id, :graph_id, :name, :description, :config, :context, :metadata, 1, "
        ":now, :now) ON CONFLICT (assistant_id) DO NOTHING",
        id=assistant_id,
        graph_id=graph_id,
        name=name,
        description=description,
        config=dumps_text(both[0]),
        context=dumps_text(both[1]),
        metadata=dumps_text(metadata),
        now=stamp(tx.now),
    )
    if created:
        _keep(tx, assistant_id)
    return bool(created)


def _keep(tx: Tx, assistant_id: str) -> None:
    tx.run(
        f"INSERT INTO assistant_versions (assistant_id, version, created_at, {VERSIONED}) "
        f"SELECT assistant_id, version, updated_at, {VERSIONED} FROM assistants WHERE assistant_id = :id",
        id=assistant_id,
    )


def _mirrored(
    config: Mapping[str, Any] | None,
    context: Mapping[str, Any] | None,
    old_config: Mapping[str, Any],
    old_context: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`context` and `config.configurable` are two names of one thing. Whichever is given sets both; an empty one given
    alone clears both.
    """
    configurable = (config or {}).get("configurable")
    if configurable and context:
        raise BadRequest(BOTH)
    chosen = configurable or context
    if not chosen:
        chosen = old_context if configurable is None and context is None else {}
    rest = {key: value for key, value in (old_config if config is None else config).items() if key != "configurable"}
    return (rest | {"configurable": chosen} if chosen else rest), dict(chosen)
