"""The branches of a thread: its checkpoints as places in a conversation.

Checkpoints with the same list of message ids are one place, whatever else they differ in. Where a conversation can go
on in several ways, messages have alternatives: the next messages of the places that follow.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill.errors import NotFound
from threadmill.summary import summarise
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import heads
from threadmill_checkpoints.saver.steps import Key, Step, Steps

PREVIEWS = 4  # messages that are looked into for words
COLUMNS = ("id", "parent", "new", "removed", "source", "step", "next", "time", "run")


@dataclass(slots=True, eq=False)
class Place:
    """A list of messages: those of `above`, and then `key`. `first` is the topmost checkpoint that came here or passed,
    `newest` the newest one that has this beginning. `said`: the message was added here, not left by a removal."""

    above: "Place | None"
    key: Key
    depth: int
    first: str
    newest: str = ""
    said: bool = False
    below: dict[Key, "Place"] = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """Of one thread, as it was in one transaction. `steps` oldest first."""

    steps: list[Step]
    head: str | None
    root: Place = field(init=False)
    at: dict[str, Place] = field(default_factory=dict)  # checkpoint → place
    by_id: dict[str, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = Place(None, 0, 0, "")
        for step in self.steps:
            self.by_id[step.checkpoint_id] = step
            place = self.at.get(step.parent or "", self.root)
            grown = not step.removed
            while place.depth > step.kept and place.above is not None:
                place = place.above
            for key in step.added:
                if key not in place.below:
                    place.below[key] = Place(place, key, place.depth + 1, step.checkpoint_id)
                place = place.below[key]
                place.said = place.said or grown
            place.first = place.first or step.checkpoint_id
            self.at[step.checkpoint_id] = place
        for step in self.steps:
            self.at[step.checkpoint_id].newest = step.checkpoint_id
        for place in reversed(list(self._places())):
            if place.above is not None:
                place.above.newest = max(place.above.newest, place.newest)

    def _places(self) -> Iterator[Place]:
        """Each after the one above it."""
        waiting = [self.root]
        while waiting:
            place = waiting.pop()
            yield place
            waiting += place.below.values()

    def line(self, checkpoint_id: str) -> list[Step]:
        """From the first checkpoint to this one."""
        found: list[Step] = []
        at: str | None = checkpoint_id
        while at is not None and (step := self.by_id.get(at)) is not None:
            found.append(step)
            at = step.parent
        return found[::-1]

    def path(self, checkpoint_id: str) -> list[Place]:
        """The places of its messages, in order."""
        found: list[Place] = []
        place: Place | None = self.at[checkpoint_id]
        while place is not None and place.above is not None:
            found.append(place)
            place = place.above
        return found[::-1]

    def alternatives(self, place: Place) -> list[Place]:
        """Oldest first, itself among them."""
        if place.above is None or not place.said:
            return [place]
        return [one for one in place.above.below.values() if one.said]

    def page(self, limit: int, before: str | None) -> dict[str, Any]:
        """Newest first, in rows of COLUMNS: `parent` is how many rows further on it stands, or its id when it is not in
        the page; `run` is the place in `runs`; `time` is in milliseconds since 1970."""
        newest = [one for one in reversed(self.steps) if before is None or one.checkpoint_id < before]
        shown = newest[:limit]
        rows = {one.checkpoint_id: number for number, one in enumerate(shown)}
        runs = list(dict.fromkeys(one.run_id for one in shown if one.run_id))
        numbers = {run: number for number, run in enumerate(runs)}
        return {
            "head": self.head,
            "places": len(set(map(id, self.at.values()))),
            "total": len(self.steps),
            "columns": COLUMNS,
            "runs": runs,
            "checkpoints": [_row(one, number, rows, numbers) for number, one in enumerate(shown)],
            "next_before": shown[-1].checkpoint_id if len(newest) > limit else None,
        }


def _row(step: Step, number: int, rows: Mapping[str, int], runs: Mapping[str, int]) -> tuple[Any, ...]:
    above = rows.get(step.parent or "")
    return (
        step.checkpoint_id,
        step.parent if above is None else above - number,
        named(key for key in step.added if key in step.changed) or None,
        named(key for key in step.removed if key not in step.added) or None,
        step.source,
        step.step,
        step.next,
        _time(step),
        runs.get(step.run_id or ""),
    )


def _time(step: Step) -> int:
    """In ms since 1970."""
    return int(datetime.fromisoformat(step.at).timestamp() * 1000)


def named(keys: Iterable[Key]) -> list[str]:
    return [key for key in keys if isinstance(key, str)]


def read(tx: Tx, thread_id: str, serde: SerializerProtocol) -> Tree:
    return Tree(Steps(tx, serde, thread_id).read(), heads.head(tx, thread_id))


def messages(tx: Tx, thread_id: str, serde: SerializerProtocol, at: str | None, ids: bool = False) -> dict[str, Any]:
    """The messages of a checkpoint, each with its alternatives and with where to fork from. `ids`: of a message its id
    only."""
    steps = Steps(tx, serde, thread_id)
    tree = Tree(steps.read(), heads.head(tx, thread_id))
    at = at or tree.head
    if at is None:
        return {"head": None, "at": None, "messages": []}
    if at not in tree.by_id:
        raise NotFound(f"Checkpoint {at} not found")
    topmost: dict[int, str] = {}
    since: dict[int, str] = {}
    for step in tree.line(at):
        place = tree.at[step.checkpoint_id]
        topmost.setdefault(id(place), step.checkpoint_id)
        for _ in step.added:
            since.setdefault(id(place), step.checkpoint_id)
            place = place.above or place
    shown = []
    path = tree.path(at)
    keys = [{"id": place.key if isinstance(place.key, str) else None} for place in path]
    held = keys if ids else steps.messages(at)
    for message, place in zip(held, path, strict=True):
        row: dict[str, Any] = {
            "message": message,
            "checkpoint_id": since[id(place)],
            "fork_from": topmost.get(id(place.above)),
        }
        if len(others := tree.alternatives(place)) > 1:
            row |= {"shown": others.index(place), "siblings": [_sibling(steps, one) for one in others]}
        shown.append(row)
    return {"head": tree.head, "at": at, "messages": shown}


@dataclass(slots=True)
class Piece:
    """What was said from where a conversation could have gone on otherwise to the next such place."""

    above: int | None  # the piece it follows
    places: list[Place]


def outline(
    tx: Tx, thread_id: str, serde: SerializerProtocol, names: Iterable[Mapping[str, Any]], limit: int
) -> dict[str, Any]:
    """All branches in pieces: each after the one that it follows, and what is older first. `names` are those of
    `branches.named`. Of more than `limit` pieces the conversation at the head is told, and the first others."""
    steps = Steps(tx, serde, thread_id)
    tree = Tree(steps.read(), heads.head(tx, thread_id))
    ends: dict[int, list[dict[str, Any]]] = {}
    for name in names:
        ends.setdefault(id(tree.at[name["head"]]), []).append({"name": name["name"], "pinned": name["pinned"]})
    now = tree.at[tree.head] if tree.head else None
    path = {id(one) for one in tree.path(tree.head)} if tree.head else set()
    pieces = list(_pieces(tree.root, path, {*ends, id(now)}))
    numbers = _numbers(pieces, path, limit)
    return {
        "head": tree.head,
        "total": len(pieces),
        "pieces": [
            {
                "above": None if one.above is None else numbers[one.above],
                "preview": _preview(steps, one),
                "messages": len(one.places),
                "shown": id(one.places[0]) in path,
                "now": one.places[-1] is now,
                "head": one.places[-1].newest,
                "time": _time(tree.by_id[one.places[-1].newest]),
                "names": ends.get(id(one.places[-1]), []),
            }
            for one in map(pieces.__getitem__, numbers)
        ],
    }


def _pieces(root: Place, path: AbstractSet[int], ends: AbstractSet[int]) -> Iterator[Piece]:
    """`path` are the places of the conversation as it is now; what else was only left by removals is no branch."""

    def below(place: Place) -> list[Place]:
        return [one for one in place.below.values() if one.said or id(one) in path]

    waiting: list[tuple[Place, int | None]] = [(one, None) for one in reversed(below(root))]
    made = 0
    while waiting:
        first, above = waiting.pop()
        places, after = [first], below(first)
        while len(after) == 1 and id(places[-1]) not in ends:
            places += after
            after = below(after[0])
        yield Piece(above, places)
        waiting += [(one, made) for one in reversed(after)]
        made += 1


def _numbers(pieces: list[Piece], path: AbstractSet[int], limit: int) -> dict[int, int]:
    """Those that are told, each with its place among them."""
    left = limit - sum(id(one.places[0]) in path for one in pieces)
    numbers: dict[int, int] = {}
    for number, one in enumerate(pieces):
        shown = id(one.places[0]) in path
        if shown or (left > 0 and (one.above is None or one.above in numbers)):
            left -= not shown
            numbers[number] = len(numbers)
    return numbers


def _preview(steps: Steps, piece: Piece) -> str | None:
    """Of the first message that has words: a call of tools has none."""
    for place in piece.places[:PREVIEWS]:
        if said := summarise([steps.message(place.newest, place.depth - 1)]).preview:
            return said
    return None


def _sibling(steps: Steps, place: Place) -> dict[str, Any]:
    said = summarise([steps.message(place.newest, place.depth - 1)])
    return {
        "checkpoint_id": place.first,
        "message_id": place.key if isinstance(place.key, str) else None,
        "preview": said.preview,
        "head": place.newest,
    }
