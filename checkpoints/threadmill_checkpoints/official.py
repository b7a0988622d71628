"""Databases of LangGraph's own `SqliteSaver` and `AsyncSqliteSaver`.

One can be opened in place (`takeover`, which the migrations call): its rows become ours as they are, in the old layout,
which every reader understands. Or its threads are copied into another database (`copy_thread`), part by part.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.event_hooks import register_serde_event_listener

from threadmill_checkpoints.database import DatabaseError, Row, Tx
from threadmill_checkpoints.saver import blobs, deltas, rows
from threadmill_checkpoints.saver.parts import packed
from threadmill_checkpoints.saver.states import Memory, take_apart
from threadmill_checkpoints.serde import Serializer, Unreadable
from threadmill_checkpoints.succession import Succession

LAYOUT = {
    "checkpoints": ("thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "type", "checkpoint"),
    "writes": ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "type", "value"),
}
ABOUT = "iif(json_valid(CAST(metadata AS TEXT)), CAST(metadata AS TEXT), NULL)"


def is_official(connection: sqlite3.Connection) -> bool:
    return all(set(names) <= _columns(connection, table) for table, names in LAYOUT.items())


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def takeover(connection: sqlite3.Connection, ours: str) -> str:
    """The script that makes the file ours; `ours` makes our tables."""
    path = "task_path" if "task_path" in _columns(connection, "writes") else "''"  # missing in files from before 2.0
    return f"""
        ALTER TABLE checkpoints RENAME TO official_checkpoints;
        ALTER TABLE writes RENAME TO official_writes;
        {ours};
        INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,
            metadata, run_id, root_id)
        SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata,
            json_extract({ABOUT}, '$.run_id'), iif(checkpoint_ns = '', NULL, json_extract({ABOUT}, '$.parents.""'))
        FROM official_checkpoints;
        INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)
        SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, {path}, idx, channel, type, value
        FROM official_writes;
        UPDATE search_marks SET number = (SELECT coalesce(max(rowid), 0) FROM checkpoints) WHERE name = 'deltas';
        DROP TABLE official_checkpoints;
        DROP TABLE official_writes"""


class OfficialFile:
    """One that is only read. Raises DatabaseError if it is none."""

    def __init__(self, path: Path) -> None:
        try:
            if not path.is_file():
                raise DatabaseError(f"{path} is no file.")
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            self._connection.row_factory = sqlite3.Row
            if not is_official(self._connection):
                raise DatabaseError(f"{path} has no tables of LangGraph's checkpoints.")
            if "channels" in _columns(self._connection, "checkpoints"):
                raise DatabaseError(f"{path} is a database of Threadmill: use it as it is, or export its threads.")
        except sqlite3.Error as error:
            raise DatabaseError(f"{path} cannot be read: {error}.") from error
        self._path = "task_path" if "task_path" in _columns(self._connection, "writes") else "'' AS task_path"

    def threads(self) -> dict[str, int]:
        """How many checkpoints each has."""
        found = self._connection.execute("SELECT thread_id, count(*) FROM checkpoints GROUP BY thread_id")
        return {row[0]: row[1] for row in found}

    def places(self, thread_id: str) -> list[tuple[str, str]]:
        """(namespace, id) of its checkpoints, oldest first."""
        found = self._connection.execute(
            "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = ? "
            "ORDER BY checkpoint_id, checkpoint_ns",
            (thread_id,),
        )
        return [tuple(row) for row in found]

    def checkpoint(self, thread_id: str, ns: str, checkpoint_id: str) -> Row:
        row: Row = self._connection.execute(
            "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints "
            "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
            (thread_id, ns, checkpoint_id),
        ).fetchone()
        return row

    def writes(self, thread_id: str, ns: str, checkpoint_id: str) -> list[Row]:
        return self._connection.execute(
            f"SELECT task_id, {self._path}, idx, channel, type, value FROM writes "
            "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
            (thread_id, ns, checkpoint_id),
        ).fetchall()

    def close(self) -> None:
        self._connection.close()


@dataclass(slots=True)
class Copied:
    """`new` and `here` count checkpoints: those that were copied, and those that were there. `blocked` are types that
    may not be rebuilt: what holds one stays packed as it was."""

    new: int
    here: int
    blocked: set[str]


class GoneOn(Exception):
    """The thread has gone on in both places."""


def copy_thread(
    tx: Tx, file: OfficialFile, serde: Serializer, thread_id: str, target: str, advance: Callable[[int], None]
) -> Copied:
    """What of the thread is not in `target` yet; `advance` hears of each checkpoint.

    Raises Unreadable, and GoneOn when each has what the other has not.
    """
    there = {
        (row["checkpoint_ns"], row["checkpoint_id"])
        for row in tx.all("SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = :id", id=target)
    }
    known = file.places(thread_id)
    done = Copied(0, len(there & set(known)), set())
    if there - set(known) and set(known) - there:
        raise GoneOn
    memory, succession = Memory(), Succession(serde)
    for place in known:
        if place not in there:
            _copy_checkpoint(tx, memory, succession, serde, target, file.checkpoint(thread_id, *place), done.blocked)
            done.new += 1
        for write in file.writes(thread_id, *place) if not there - set(known) else ():
            _copy_write(tx, serde, (target, *place), write, done.blocked)
        advance(1)
    deltas.of_thread(tx, serde, target)
    return done


def _copy_checkpoint(
    tx: Tx, memory: Memory, succession: Succession, serde: Serializer, target: str, row: Row, blocked: set[str]
) -> None:
    with _blocking(blocked) as here:
        checkpoint = succession.read(row["type"], row["checkpoint"])
    if not isinstance(checkpoint, dict) or "channel_values" not in checkpoint:
        raise Unreadable(f"Checkpoint {row['checkpoint_id']} is none.")
    place, parent = (target, row["checkpoint_ns"]), row["parent_checkpoint_id"]
    channels: bytes | None = None
    if here:
        succession.forget()  # so that the next one tells, too, what it holds
        kind, data = serde.closed(row["type"], row["checkpoint"])
    else:
        state = cast("Checkpoint", checkpoint)
        skeleton, apart = take_apart(memory, serde, place, parent, state, {}, succession.parts)
        (kind, data), channels = serde.dumps_typed(skeleton), apart.store(tx)
    about = _metadata(row["metadata"])
    if "thread_id" in about:
        about["thread_id"] = target
    rows.put_checkpoint(
        tx,
        {
            "thread_id": target,
            "checkpoint_ns": row["checkpoint_ns"],
            "checkpoint_id": row["checkpoint_id"],
            "parent": parent,
            "type": kind,
            "checkpoint": data,
            "metadata": json.dumps(about, ensure_ascii=False).encode("utf-8", "ignore"),
            "channels": channels,
            "run_id": about.get("run_id"),
            "root_id": (about.get("parents") or {}).get("") if row["checkpoint_ns"] else None,
        },
    )


def _copy_write(tx: Tx, serde: Serializer, place: tuple[str, str, str], row: Row, blocked: set[str]) -> None:
    with _blocking(blocked) as here:
        value = serde.loads_typed((row["type"], row["value"]))
    inside: bytes | None = None
    if here:
        kind, data = serde.closed(row["type"], row["value"])
    else:
        part = packed(serde, value)
        kind, data = serde.closed(part.kind, part.data)
        inside = blobs.inside(tx, serde, part.inside, place[0], place[2])
    rows.put_writes(
        tx, [(*place, row["task_id"], row["task_path"], row["idx"], row["channel"], kind, data, None, inside)]
    )


def _metadata(stored: bytes | str | None) -> dict[str, Any]:
    try:
        found = json.loads(stored or b"{}")
    except ValueError as error:
        raise Unreadable(f"The metadata of a checkpoint are no JSON: {error}.") from error
    return found if isinstance(found, dict) else {}


@contextmanager
def _blocking(blocked: set[str]) -> Iterator[set[str]]:
    """What was not rebuilt meanwhile."""
    here = set[str]()
    stop = register_serde_event_listener(lambda event: here.add(f"{event['module']}.{event['name']}"))
    try:
        yield here
    finally:
        stop()
        blocked |= here
