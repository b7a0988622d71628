"""Lines of descent among the checkpoints of a thread's root graph: {checkpoint: its parent}, oldest first."""

from collections.abc import Collection, Mapping

from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import forks, rows

Parents = Mapping[str, str | None]


def ancestors(parents: Parents, checkpoint_id: str) -> list[str]:
    """Itself first."""
    found: list[str] = []
    at: str | None = checkpoint_id
    while at is not None and at in parents:
        found.append(at)
        at = parents[at]
    return found


def tip(parents: Parents, checkpoint_id: str) -> str:
    """Where the branch of a checkpoint ends: what came first goes on with it, what came later left it."""
    first: dict[str, str] = {}
    for child, parent in parents.items():
        if parent is not None:
            first.setdefault(parent, child)
    at = checkpoint_id
    while at in first:
        at = first[at]
    return at


def alone(parents: Parents, end: str, kept: Collection[str]) -> list[str]:
    """Those that only the branch with this end has, up to where another one leaves it or one is to be kept."""
    children: dict[str, int] = {}
    for parent in parents.values():
        children[parent or ""] = children.get(parent or "", 0) + 1
    found: list[str] = []
    for one in ancestors(parents, end):
        if one in kept or children.get(one, 0) > bool(found):
            break
        found.append(one)
    return found


def cut(tx: Tx, thread_id: str, ids: Collection[str]) -> None:
    """The thread loses these of its own, with what the subgraphs of their steps stored."""
    forks.delete_checkpoints(tx, thread_id, rows.keys_of(tx, thread_id, ids))
