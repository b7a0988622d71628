"""Messages that were packed or unpacked lately, so that a long conversation is not packed and unpacked with every turn.

A message counts only while it is as it was stored: a node may have changed it in place.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from threadmill_checkpoints.saver.parts import Part
from threadmill_checkpoints.serde import NUMBERS

NESTING = (dict, list)
BYTES = 128 * 2**20  # of memory, all threads together
OBJECTS = 2000  # bytes that any message takes, however little it says: it, a copy of its fields, and what names it


@dataclass(slots=True, eq=False)
class _Kept:
    message: Any
    fields: dict[str, Any]  # a copy, to see whether it has changed
    part: Part

    def unchanged(self) -> bool:
        try:
            return bool(vars(self.message) == self.fields)
        except Exception:  # of what it holds, such as an array that has no single truth
            return False


@dataclass(slots=True)
class _Thread:
    by_blob: dict[int, _Kept] = field(default_factory=dict)
    by_message: dict[int, _Kept] = field(default_factory=dict)
    bytes: int = 0


class Hot:
    """Used by any thread of the process."""

    def __init__(self, limit: int = BYTES) -> None:
        self._limit = limit
        self._bytes = 0
        self._threads: OrderedDict[str, _Thread] = OrderedDict()

    def parts(self, thread_id: str, items: Sequence[Any], make: Callable[[Any], Part]) -> list[Part]:
        """Of the items of a list; what is not here is made."""
        of = self._threads.get(thread_id) or _Thread()
        found: list[Part] = []
        for item in items:
            kept = of.by_message.get(id(item))
            if kept is not None and kept.message is item and kept.unchanged():
                part = kept.part
                if part.at is not None:
                    of.by_blob[part.at[1]] = kept
            else:
                part = make(item)
                self.keep(thread_id, item, part)
            found.append(part)
        return found

    def values(self, thread_id: str, ids: Iterable[int]) -> dict[int, Any]:
        """By blob, as far as they are here."""
        of = self._threads.get(thread_id)
        if of is None:
            return {}
        kept = ((one, of.by_blob.get(one)) for one in ids)
        return {one: found.message for one, found in kept if found is not None and found.unchanged()}

    def keep(self, thread_id: str, item: Any, part: Part) -> None:
        if type(item) not in NUMBERS:
            return
        try:
            kept = _Kept(item, _copied(vars(item)), part)
        except Exception:  # of what it holds, such as an open file
            return
        of = self._threads.setdefault(thread_id, _Thread())
        of.by_message[id(item)] = kept
        if part.at is not None:
            of.by_blob[part.at[1]] = kept
        of.bytes += OBJECTS + part.size
        self._bytes += OBJECTS + part.size
        self._make_room(thread_id)

    def forget(self, thread_id: str) -> None:
        if (of := self._threads.pop(thread_id, None)) is not None:
            self._bytes -= of.bytes

    def _make_room(self, thread_id: str) -> None:
        if self._bytes > self._limit:
            for other in list(self._threads):  # the oldest first, and this one last
                if self._bytes <= self._limit:
                    break
                if other != thread_id or len(self._threads) == 1:
                    self.forget(other)


def _copied(fields: dict[str, Any]) -> dict[str, Any]:
    found = fields.copy()
    for name, value in fields.items():
        if isinstance(value, NESTING):
            found[name] = copy.deepcopy(value) if value else value.copy()  # most are empty
    return found
