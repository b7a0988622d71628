"""What each checkpoint of a thread's root graph adds to the messages, and what comes next, read from the rows alone.

No graph is loaded, and lists are compared by the parts that they are made of: what two states share is not read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.base import writes_sort_key
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.graph.message import REMOVE_ALL_MESSAGES

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import blobs, rows
from threadmill_checkpoints.saver.blobs import FAN, Ids, Levels, Reader
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.parts import join
from threadmill_checkpoints.saver.states import Entry, entries_of

MESSAGES = "messages"
Key = str | int  # of a message: its id, or the blob that it is if it has none
Said = Levels | tuple[Key, ...]  # a checkpoint's messages, as they are stored or by their keys


@dataclass(frozen=True, slots=True)
class Step:
    """A checkpoint. Of its messages the first `kept` are its parent's, then come `added` instead of `removed`."""

    checkpoint_id: str
    parent: str | None
    run_id: str | None
    source: str | None
    step: int | None
    at: str
    next: tuple[str, ...]
    kept: int
    removed: tuple[Key, ...]
    added: tuple[Key, ...]
    changed: frozenset[Key]  # of the `added`: new, or with other content than before


@dataclass(slots=True)
class Steps:
    """Reads a thread in one transaction."""

    tx: Tx
    serde: SerializerProtocol
    thread_id: str
    view: View = field(init=False)
    reader: Reader = field(init=False)
    _lists: dict[str, Said] = field(default_factory=dict)
    _names: dict[int, str | None] = field(default_factory=dict)
    _objects: dict[Key, Any] = field(default_factory=dict)  # messages that are no parts

    def __post_init__(self) -> None:
        self.view, self.reader = View(self.tx, self.thread_id), Reader(self.tx, self.serde)

    def read(self) -> list[Step]:
        """Oldest first."""
        said = self._lists
        found: list[tuple[Row, Mapping[str, Any], tuple[str, ...], tuple[int, Any, Any]]] = []
        for row in self.view.line():
            checkpoint, entries = self.serde.loads_typed((row["type"], row["checkpoint"])), entries_of(row)
            before = said.get(row["parent_checkpoint_id"] or "", ())
            said[row["checkpoint_id"]] = now = self._said(row, checkpoint, entries, before)
            change = (0, (), ()) if now is before else self._change(before, now)
            kept = self._length(now) if now is before else change[0]
            found.append((row, checkpoint, self._next(checkpoint, entries), (kept, *change[1:])))
        self._name({one for _, _, _, (_, *both) in found for part in both for one in part if isinstance(one, int)})
        return [self._step(*one) for one in found]

    def messages(self, checkpoint_id: str) -> list[Any]:
        """Of one that was read."""
        said = self._lists[checkpoint_id]
        if isinstance(said, tuple):
            return [self._objects[one] for one in said]
        return self.reader.values(self.reader.ids(said))

    def messages_at(self, checkpoint_id: str) -> list[Any] | None:
        """Of any, and as a rule no other is read for it; None when there is no such checkpoint."""
        row = self.view.get("", checkpoint_id)
        if row is None:
            return None
        checkpoint, entries = self.serde.loads_typed((row["type"], row["checkpoint"])), entries_of(row)
        stored = MESSAGES in entries or MESSAGES in checkpoint["channel_values"]
        if stored or MESSAGES not in checkpoint["channel_versions"]:
            self._lists[checkpoint_id] = self._said(row, checkpoint, entries, ())
        else:
            self.read()
        return self.messages(checkpoint_id)

    def message(self, checkpoint_id: str, at: int) -> Any:
        said = self._lists[checkpoint_id]
        if isinstance(said, tuple):
            return self._objects[said[at]]
        return self.reader.values([self.reader.ids(said)[at]])[0]

    def _step(
        self, row: Row, checkpoint: Mapping[str, Any], next: tuple[str, ...], change: tuple[int, Any, Any]
    ) -> Step:
        kept, removed, added = change
        changed = frozenset(self._key(one) for one in set(added) - set(removed))
        return Step(
            row["checkpoint_id"],
            row["parent_checkpoint_id"],
            row["run_id"],
            row["source"],
            row["step"],
            checkpoint["ts"],
            next,
            kept,
            tuple(map(self._key, removed)),
            tuple(map(self._key, added)),
            changed,
        )

    # Messages

    def _said(self, row: Row, checkpoint: Mapping[str, Any], entries: Mapping[str, Entry], before: Said) -> Said:
        if MESSAGES in entries:
            kind, _, levels = entries[MESSAGES]
            if kind.endswith("list"):
                return before if before == levels else levels
            return self._kept(join(kind, self.reader.values(self.reader.ids(levels))))
        if MESSAGES in checkpoint["channel_values"]:
            return self._kept(checkpoint["channel_values"][MESSAGES])
        if MESSAGES in checkpoint["channel_versions"]:  # a DeltaChannel: what its parent has, and what was written then
            return self._written(row, before)
        return ()

    def _written(self, row: Row, before: Said) -> Said:
        above = self.view.get("", row["parent_checkpoint_id"]) if row["parent_checkpoint_id"] else None
        if above is None:
            return before
        written = rows.writes_of(self.tx, above["thread_id"], "", [above["checkpoint_id"]])
        mine = [one for one in written if one["channel"] == MESSAGES]
        mine.sort(key=lambda one: writes_sort_key(one["task_path"], one["task_id"], one["idx"]))
        found = list(self._keys_of(before))
        if mine and isinstance(before, list):
            self._objects |= zip(found, self.reader.values(self.reader.ids(before)), strict=True)
        for one in mine:
            found = self._reduced(found, self.reader.write(one))
        return tuple(found) if mine else before

    def _reduced(self, before: list[Key], written: Any) -> list[Key]:
        """As the reducers of messages do."""
        found = list(before)
        for one in written if isinstance(written, list) else [written]:
            name = key(one, len(found))
            if getattr(one, "type", None) == "remove":
                found = [] if name == REMOVE_ALL_MESSAGES else [other for other in found if other != name]
            else:
                self._objects[name] = one
                found += [name] if name not in found else []
        return found

    def _kept(self, messages: Any) -> tuple[Key, ...]:
        listed = messages.value if isinstance(messages, _DeltaSnapshot) else messages
        listed = listed if isinstance(listed, list) else [listed]
        found = {key(one, at): one for at, one in enumerate(listed)}
        self._objects |= found
        return tuple(found)

    def _change(self, before: Said, now: Said) -> tuple[int, Sequence[Any], Sequence[Any]]:
        """(how many are the same at the beginning, what came then, what comes then)"""
        if isinstance(before, list) and isinstance(now, list):
            return compared(self.reader, before, now)
        old, new = self._keys_of(before), self._keys_of(now)
        kept = next((at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), None)
        if kept is None:
            kept = min(len(old), len(new))
        return kept, old[kept:], new[kept:]

    def _keys_of(self, said: Said) -> tuple[Key, ...]:
        if isinstance(said, tuple):
            return said
        ids = self.reader.ids(said)
        self._name(ids)
        return tuple(map(self._key, ids))

    def _length(self, said: Said) -> int:
        return length(said) if isinstance(said, list) else len(said)

    def _name(self, ids: Iterable[int]) -> None:
        self._names |= blobs.message_ids(self.tx, [one for one in ids if one not in self._names])

    def _key(self, one: Key) -> Key:
        return self._names.get(one) or one if isinstance(one, int) else one

    # What comes next

    def _next(self, checkpoint: Mapping[str, Any], entries: Mapping[str, Entry]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._triggered(checkpoint["channel_values"], entries)))

    def _triggered(self, values: Mapping[str, Any], entries: Mapping[str, Entry]) -> Iterator[str]:
        for channel, value in values.items():
            if channel == "__start__":
                yield channel
            elif channel == "__pregel_tasks":
                yield from (send.node for send in self._value(channel, value, entries) or ())
            elif channel.startswith("branch:to:"):
                yield channel.removeprefix("branch:to:")
            elif channel.startswith("join:"):
                before, _, node = channel.removeprefix("join:").rpartition(":")
                seen = self._value(channel, value, entries)
                if isinstance(seen, tuple):  # of a deferred node: (seen, finished)
                    seen = seen[0] if seen[1] else ()
                if set(before.split("+")) <= {part for name in seen for part in name.split("+")}:
                    yield node

    def _value(self, channel: str, value: Any, entries: Mapping[str, Entry]) -> Any:
        if channel not in entries:
            return value
        kind, _, levels = entries[channel]
        return join(kind, self.reader.values(self.reader.ids(levels)))


def key(message: Any, at: int) -> Key:
    """Of one that has no id: a number that no blob has."""
    found = message.get("id") if isinstance(message, Mapping) else getattr(message, "id", None)
    return found if isinstance(found, str) and found else -1 - at


# Lists as they are stored


def length(levels: Levels) -> int:
    return sum(len(ids) * FAN**depth for depth, ids in enumerate(levels))


def compared(reader: Reader, before: Levels, after: Levels) -> tuple[int, Ids, Ids]:
    """(how many parts are the same at the beginning, the others of `before`, of `after`). Nodes that both have are not
    opened."""
    if before and after and before[1:] == after[1:] and after[0][: len(before[0])] == before[0]:
        return length(before), [], after[0][len(before[0]) :]
    old, new, same = _tokens(before), _tokens(after), 0
    while old and new:
        (depth, one), (other_depth, other) = old[-1], new[-1]
        if old[-1] == new[-1]:
            same += int(FAN**depth)
            old.pop()
            new.pop()
        elif depth == other_depth == 0:
            break
        else:
            if depth >= other_depth:
                old[-1:] = _inside(reader, depth, one)
            if other_depth >= depth:
                new[-1:] = _inside(reader, other_depth, other)
    return same, _all(reader, old), _all(reader, new)


Token = tuple[int, int]  # how many levels are below, and the node or part


def _tokens(levels: Levels) -> list[Token]:
    """The last one first."""
    return [(depth, one) for depth, ids in enumerate(levels) for one in reversed(ids)]


def _inside(reader: Reader, depth: int, node: int) -> list[Token]:
    return [(depth - 1, one) for one in reversed(reader.ids([[], [node]]))]


def _all(reader: Reader, tokens: list[Token]) -> Ids:
    found: Ids = []
    while tokens:
        depth, one = tokens.pop()
        if depth:
            tokens += _inside(reader, depth, one)
        else:
            found.append(one)
    return found
