"""What a subgraph remembers from call to call (`compile(checkpointer=True)`), in one namespace for all branches.

LangGraph has it go on from the newest checkpoint there. Here that is the newest on the way to where the root graph is:
a branch remembers what was said on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from threadmill_checkpoints.database import Row
from threadmill_checkpoints.saver import heads, rows
from threadmill_checkpoints.saver.forks import View

AT_ONCE = 20  # checkpoints looked at: mostly the first is the one
LAST = "~"  # after any id


def kept(ns: str) -> bool:
    """Whether it is such a namespace. Others name a task, of one checkpoint of the root graph."""
    return ns != "" and ":" not in ns


@dataclass(slots=True)
class Way:
    """To a checkpoint of the root graph, read upwards as far as somebody asks."""

    view: View
    end: str | None
    open: bool = False  # it goes on from the end, through checkpoints that are not stored yet
    since: str = LAST  # what has a later id was made on the way, by the run that is on it
    _seen: set[str] = field(default_factory=set)
    _at: str | None = field(init=False)

    def __post_init__(self) -> None:
        self._at = self.end

    def has(self, source: str, root_id: str, ids: Sequence[str] | None) -> bool:
        """Of a thread that has these on the way, or all."""
        if root_id > self.since:
            return True
        row = self.view.tx.one(f"SELECT {rows.stored_at(':root_id')} AS next", source=source, root_id=root_id)
        if row is None or row["next"] is None:
            return self.open
        if row["next"] == root_id and ids is not None and root_id not in ids:
            return False  # it was done from where the fork begins on
        while self._at is not None and self._at >= row["next"]:  # ids are in the order of time
            self._seen.add(self._at)
            self._at = self.view.parent(self._at)
        return row["next"] in self._seen


@dataclass(frozen=True, slots=True)
class Began:
    """A run: the checkpoint it goes on from, and an id that is older than whatever it makes."""

    checkpoint_id: str
    since: str


def way(view: View, root: str | None, run: Began | None = None) -> Way:
    """To `root`, or the head. If the root is not stored yet, as runs are ahead of the disk, along what the run made."""
    if root is not None and view.has(root):
        return Way(view, root)
    if run is not None and view.has(run.checkpoint_id):
        return Way(view, run.checkpoint_id, open=root is not None, since=run.since)
    end = heads.head(view.tx, view.thread_id)
    return Way(view, end, open=root is not None or end is None)


def of(view: View, ns: str, way: Way, before: str | None = None) -> Iterator[Row]:
    """Its checkpoints on the way, newest first."""
    for source, ids in [(view.thread_id, None), *view.inherited]:
        for checkpoint_id, root_id in _candidates(view, source, ns, before or LAST):
            if root_id is None or way.has(source, root_id, ids):
                row = rows.get_checkpoint(view.tx, source, ns, checkpoint_id)
                assert row is not None
                yield row


def _candidates(view: View, source: str, ns: str, before: str) -> Iterator[tuple[str, str | None]]:
    while found := view.tx.all(
        "SELECT checkpoint_id, root_id FROM checkpoints WHERE thread_id = :source AND checkpoint_ns = :ns "
        "AND checkpoint_id < :before ORDER BY checkpoint_id DESC LIMIT :many",
        source=source,
        ns=ns,
        before=before,
        many=AT_ONCE,
    ):
        yield from ((row["checkpoint_id"], row["root_id"]) for row in found)
        before = found[-1]["checkpoint_id"]
