"""Assistants: a graph with a name and settings. One exists for each graph of langgraph.json."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID, uuid5

from threadmill.errors import NotFound
from threadmill.ids import stamp
from threadmill_checkpoints.database import Row, Tx

NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
SORTS = ("assistant_id", "created_at", "updated_at", "name", "graph_id")


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
        decoded: dict[str, Any] = {name: json.loads(row[name]) for name in ("config", "context", "metadata")}
        return cls(**{name: decoded[name] if name in decoded else row[name] for name in cls.__slots__})


def default_id(graph_id: str) -> str:
    """The id every server gives the assistant of this graph."""
    return str(uuid5(NAMESPACE, graph_id))


def ensure_defaults(tx: Tx, graphs: Iterable[tuple[str, str | None]]) -> None:
    """One assistant per (graph id, description). What a client changed about it stays."""
    for graph_id, description in graphs:
        tx.run(
            "INSERT INTO assistants (assistant_id, graph_id, name, description, config, context, metadata, version, "
            "created_at, updated_at) VALUES (:id, :graph_id, :graph_id, :description, '{}', '{}', :metadata, 1, "
            ":now, :now) ON CONFLICT (assistant_id) DO NOTHING",
            id=default_id(graph_id),
            graph_id=graph_id,
            description=description,
            metadata='{"created_by":"system"}',
            now=stamp(tx.now),
        )


def get(tx: Tx, assistant_id: str) -> Assistant:
    row = tx.one("SELECT * FROM assistants WHERE assistant_id = :id", id=assistant_id)
    if row is None:
        raise NotFound(f"Assistant with ID {assistant_id} not found")
    return Assistant.from_row(row)


def search(
    tx: Tx,
    *,
    metadata: dict[str, Any] | None = None,
    graph_id: str | None = None,
    name: str | None = None,
    sort_by: str = "created_at",
    sort_order: str = "desc",
    limit: int = 10,
    offset: int = 0,
) -> tuple[list[Assistant], int]:
    """A page and the total. `sort_by` must be one of SORTS; `name` is part of a name, in any case."""
    conditions, params = ["1 = 1"], dict[str, Any]()
    if metadata:
        conditions.append(tx.dialect.contains("metadata", "metadata"))
        params["metadata"] = json.dumps(metadata)
    if graph_id is not None:
        conditions.append("graph_id = :graph_id")
        params["graph_id"] = graph_id
    if name:
        conditions.append("instr(lower(name), lower(:name)) > 0")
        params["name"] = name
    where = " AND ".join(conditions)
    total = tx.one(f"SELECT count(*) AS n FROM assistants WHERE {where}", **params)
    order = f"{SORTS[SORTS.index(sort_by)]} {'ASC' if sort_order == 'asc' else 'DESC'}"
    rows = tx.all(
        f"SELECT * FROM assistants WHERE {where} ORDER BY {order}, assistant_id LIMIT :limit OFFSET :offset",
        **params,
        limit=limit,
        offset=offset,
    )
    return [Assistant.from_row(row) for row in rows], total["n"] if total else 0
