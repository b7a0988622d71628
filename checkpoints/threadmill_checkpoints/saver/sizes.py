"""How much room a thread's states take."""

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import ormsgpack

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import blobs
from threadmill_checkpoints.saver.forks import View


@dataclass(slots=True)
class Size:
    """`count` of a channel is that of its versions."""

    count: int = 0
    bytes: int = 0


def sizes(tx: Tx, thread_id: str) -> tuple[Size, dict[str, Size], Size]:
    """Checkpoints without the values in them, values by channel, pending writes. A part counts once in a channel,
    however many versions have it, and also if other threads have it."""
    checkpoints, channels = Size(), defaultdict[str, Size](Size)
    versions = set[tuple[str, str, Any]]()
    parts = defaultdict[str, set[int]](set)
    for ns, checkpoint_id in View(tx, thread_id).places():  # one at a time: together they may be more than the memory
        row = View(tx, thread_id).get(ns, checkpoint_id)
        assert row is not None
        checkpoints.count += 1
        checkpoints.bytes += sum(len(row[column] or b"") for column in ("checkpoint", "metadata", "channels"))
        for channel, (_, version, levels) in _entries(row).items():
            versions.add((ns, channel, version))
            parts[channel] |= {one for ids in levels for one in ids}
        if row["type"] == "msgpack":
            checkpoints.bytes -= _inline(row, ns, channels, versions)
    for _, channel, _ in versions:
        channels[channel].count += 1
    for channel, ids in parts.items():
        channels[channel].bytes += _bytes(tx, blobs.used(tx, ids))
    pending = tx.one(
        "SELECT count(*) AS count, coalesce(sum(length(value)), 0) AS bytes FROM writes WHERE thread_id = :thread_id",
        thread_id=thread_id,
    )
    assert pending is not None
    return checkpoints, dict(channels), Size(pending["count"], pending["bytes"])


def _entries(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = ormsgpack.unpackb(row["channels"]) if row["channels"] is not None else {}
    return found


def _inline(row: Row, ns: str, channels: dict[str, Size], versions: set[tuple[str, str, Any]]) -> int:
    """Bytes of the values that stand in the checkpoint itself: measured, not built, extensions stay bytes."""
    checkpoint = ormsgpack.unpackb(row["checkpoint"], ext_hook=ormsgpack.Ext, option=ormsgpack.OPT_NON_STR_KEYS)
    entries, total = _entries(row), 0
    for channel, value in checkpoint["channel_values"].items():
        if channel not in entries:
            versions.add((ns, channel, str(checkpoint["channel_versions"].get(channel))))
            size = len(ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS))
            channels[channel].bytes += size
            total += size
    return total


def _bytes(tx: Tx, ids: set[int]) -> int:
    row = tx.one(
        "SELECT coalesce(sum(length(data) + coalesce(length(parts), 0)), 0) AS bytes FROM blobs "
        "WHERE blob_id IN (SELECT value FROM json_each(:ids))",
        ids=json.dumps(list(ids)),
    )
    assert row is not None
    return int(row["bytes"])
