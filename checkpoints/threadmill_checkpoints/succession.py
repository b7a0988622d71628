"""States of a thread that are packed whole, read one after the other: what a list has in common with the one before is
neither unpacked nor packed again.

A conversation's states together are as long as the square of its length, but most of each is what the one before was.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ormsgpack

from threadmill_checkpoints.saver.parts import Part, part
from threadmill_checkpoints.serde import READ, Serializer, Unreadable

VALUES = "channel_values"
NIL = b"\xc0"
LISTS = frozenset({*range(0x90, 0xA0), 0xDC, 0xDD})
# By its first byte: how long a value is; or how many bytes tell its length, and how many more there are; or how many
# tell how many values follow, and how many follow for each. The others tell all in the first byte.
LENGTHS = {0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5}
LENGTHS |= {0xD3: 9, 0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}
TOLD = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
TOLD |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


@dataclass(slots=True)
class _List:
    packed: bytes = b""  # its items
    ends: list[int] = field(default_factory=list)  # where each of them ends in that
    values: list[Any] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)  # of the first ones, as far as they were asked for

    def same(self, data: bytes, begin: int) -> int:
        """How many of its first items stand in `data`, too."""
        if data.startswith(self.packed, begin):
            return len(self.ends)
        low, high = 0, len(self.ends) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if data.startswith(self.packed[: self.ends[middle - 1]], begin):
                low = middle
            else:
                high = middle - 1
        return max(low, 0)


class Succession:
    def __init__(self, serde: Serializer) -> None:
        self._serde = serde
        self._lists: dict[Any, _List] = {}  # the newest by channel; that of a subgraph often goes on with its parent's

    def read(self, kind: str, data: bytes) -> Any:
        """A checkpoint whose lists hold the objects of the one before, as far as they are the same. Raises
        Unreadable."""
        if kind != "msgpack":
            return self._serde.unpack(kind, data)
        try:
            short, lists = self._apart(data)
        except (IndexError, TypeError, ormsgpack.MsgpackDecodeError) as error:  # TypeError: a list for a name
            raise Unreadable(f"A stored checkpoint is damaged: {error}") from error
        checkpoint = self._serde.unpack(kind, short)
        if lists and not isinstance(values := checkpoint[VALUES], dict):
            raise Unreadable("A stored checkpoint has two kinds of values.")
        for channel, found in lists.items():
            values[channel] = found.values
        self._lists |= lists
        return checkpoint

    def parts(self, values: list[Any]) -> list[Part]:
        """Of a list of the checkpoint that was read last."""
        found = next((one for one in self._lists.values() if one.values is values), _List(values=values))
        found.parts += [part(self._serde, one) for one in values[len(found.parts) :]]
        return found.parts

    def forget(self) -> None:
        self._lists.clear()

    def _apart(self, data: bytes) -> tuple[bytes, dict[Any, _List]]:
        """The checkpoint with nil for each list, and these."""
        lists, kept, done = dict[Any, _List](), list[bytes](), 0

        def of_channel(channel: Any, begin: int) -> int:
            nonlocal done
            if data[begin] not in LISTS:
                return _end(data, begin)
            kept.extend((data[done:begin], NIL))
            lists[channel], done = self._list(channel, data, begin)
            return done

        def of_entry(key: Any, begin: int) -> int:
            return _walk(data, begin, of_channel if key == VALUES else lambda _, at: _end(data, at))

        _walk(data, 0, of_entry)
        return b"".join([*kept, data[done:]]), lists

    def _list(self, channel: Any, data: bytes, at: int) -> tuple[_List, int]:
        """And where it ends."""
        begin, many = _header(data, at)
        before = self._lists.get(channel) or _List()
        same = min(before.same(data, begin), many)
        ends = before.ends[:same]
        since = end = begin + (ends[-1] if ends else 0)
        for _ in range(many - same):
            end = _end(data, end)
            ends.append(end - begin)
        head = b"\xdd" + (many - same).to_bytes(4, "big")
        new: list[Any] = self._serde.unpack("msgpack", head + data[since:end])
        return _List(data[begin:end], ends, [*before.values[:same], *new], before.parts[:same]), end


def _walk(data: bytes, at: int, end: Callable[[Any, int], int]) -> int:
    """Over the values of a mapping, whose key and begin `end` gets; where it ends."""
    if not (0x80 <= data[at] < 0x90 or data[at] in (0xDE, 0xDF)):
        return _end(data, at)
    at, many = _header(data, at)
    for _ in range(many // 2):
        begin = _end(data, at)
        at = end(ormsgpack.unpackb(data[at:begin], option=READ), begin)
    return at


def _end(data: bytes, at: int) -> int:
    """Of the value that begins there."""
    left = 1
    while left:
        at, more = _header(data, at)
        left += more - 1
    return at


def _header(data: bytes, at: int) -> tuple[int, int]:
    """Where the first of the values that follow begins, and how many do."""
    first = data[at]
    if first < 0x80 or first >= 0xE0:
        return at + 1, 0
    if first < 0xA0:
        return at + 1, (first & 0x0F) * (2 if first < 0x90 else 1)
    if first < 0xC0:
        return at + 1 + (first & 0x1F), 0
    if (length := LENGTHS.get(first)) is not None:
        return at + length, 0
    if (told := TOLD.get(first)) is not None:
        return at + 1 + sum(told) + int.from_bytes(data[at + 1 : at + 1 + told[0]], "big"), 0
    width, each = COUNTED.get(first, (0, 0))
    return at + 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big") * each
