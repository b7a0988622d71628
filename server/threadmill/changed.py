"""Graphs that are no longer what they were when a thread stopped.

Each checkpoint records its graph's id and fingerprint. A thread that waits at a node which is gone is not run into
nowhere: LangGraph would take it for finished.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from langgraph.channels.base import BaseChannel
from langgraph.pregel import Pregel

from threadmill_checkpoints.saver.upcoming import START, upcoming

FINGERPRINT = "graph_fingerprint"
CHOICES = ("goto", "fork", "discard")


class GraphChanged(Exception):
    """The thread waits at nodes that its graph no longer has."""

    choices = CHOICES

    def __init__(self, nodes: Iterable[str], graph_id: str) -> None:
        names = ", ".join(repr(one) for one in nodes)
        super().__init__(
            f"The thread waits at {names}, which graph {graph_id!r} no longer has. Nothing was changed. Serve the "
            "graph as it was; or go on at another node (command.goto); or fork the thread at an earlier checkpoint; or "
            "discard what it waits for (update the state as '__end__')."
        )


def fingerprint(graph: Pregel[Any, Any, Any, Any]) -> str:
    """Of its shape: nodes with what triggers them, and channels with their kinds, also of its subgraphs."""
    shape = {name: _shape(one) for name, one in _subgraphs(graph).items()} | {"": _shape(graph)}
    return hashlib.blake2b(json.dumps(shape, sort_keys=True).encode(), digest_size=6).hexdigest()


def _subgraphs(graph: Any) -> dict[str, Any]:
    """By path; those that run elsewhere have no shape here."""
    found = graph.get_subgraphs(recurse=True) if isinstance(graph, Pregel) else ()
    return {path: one for path, one in found if isinstance(one, Pregel)}


def _shape(graph: Pregel[Any, Any, Any, Any]) -> Any:
    return [
        {name: sorted(node.triggers) for name, node in graph.nodes.items()},
        {name: type(one).__name__ for name, one in graph.channels.items() if isinstance(one, BaseChannel)},
    ]


def gone(graph: Any, values: Mapping[str, Any], namespace: str = "") -> list[str]:
    """The nodes that a stored state of the graph, or of its subgraph at `namespace`, waits for and that are no more."""
    path = "|".join(part.partition(":")[0] for part in namespace.split("|")) if namespace else ""
    found = graph if not path else _subgraphs(graph).get(path)
    if not isinstance(found, Pregel):  # called inside a node, where nobody sees it
        return []
    return [one for one in upcoming(values) if one != START and one not in found.nodes]
