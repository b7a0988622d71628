"""From the database to a bundle, and from a bundle into the database."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid5

import orjson

from threadmill import adoption, threads
from threadmill.bundles.bundle import Bundle
from threadmill.bundles.redaction import Redaction
from threadmill.changed import FINGERPRINT
from threadmill.errors import Conflict, Invalid
from threadmill.events import rows
from threadmill.events.event import Event
from threadmill.events.recall import RECALLED
from threadmill.ids import number, parse_id, stamp
from threadmill.runs import carried as runs
from threadmill.scope import ALL, Scope
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import carried as states
from threadmill_checkpoints.saver import forks
from threadmill_checkpoints.saver.carried import Broken, Carried
from threadmill_checkpoints.serde import Serializer, Unreadable

EVENTS = 64  # to a row


def pack(tx: Tx, serde: Serializer, scope: Scope, thread_id: str, redaction: Redaction) -> Bundle:
    """Raises NotFound."""
    thread = threads.get(tx, scope, thread_id, values=True)
    change = redaction.value if redaction else None
    found = states.leave(tx, serde, thread_id, change)
    row = adoption.leave(tx, thread_id)
    about = {
        "thread_id": thread_id,
        "graph_id": thread.metadata.get("graph_id"),
        FINGERPRINT: _fingerprint(tx, thread_id),
        "forked_from": row["lineage"],
        "exported_at": stamp(tx.now),
        "redacted": [name.partition(":")[0] for name in redaction.names],
    }
    row |= {"metadata": thread.metadata, "config": runs.discreet(thread.config), "error": thread.error}
    row["values"] = orjson.loads(thread.values) if thread.values is not None else None
    asked = runs.leave(tx, thread_id)
    if redaction:
        row |= {name: redaction.value(row[name]) for name in ("metadata", "config", "error", "values")}
        row |= {name: redaction.text(row[name]) for name in ("title", "preview")}
        asked = redaction.value(asked)
    receipts = [] if redaction.results else runs.leave_receipts(tx, serde, thread_id, change)
    return Bundle(
        about,
        {
            "thread": [row],
            "parts": found.parts,
            "checkpoints": found.checkpoints,
            "writes": found.writes,
            "runs": asked,
            "events": _events(tx, thread_id, redaction),
            "receipts": receipts,
        },
    )


def _fingerprint(tx: Tx, thread_id: str) -> str | None:
    """Of the graph that the newest checkpoint is of."""
    head = forks.View(tx, thread_id).get("", None)
    found: str | None = orjson.loads(head["metadata"]).get(FINGERPRINT) if head and head["metadata"] else None
    return found


def _events(tx: Tx, thread_id: str, redaction: Redaction) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page = rows.page(tx, thread_id, 0)
    while page:
        for one in page:
            if redaction.event(one.method):
                data = redaction.value(orjson.loads(one.data)) if redaction else orjson.Fragment(one.data)
                found.append({**one._asdict(), "data": data})
        page = rows.page(tx, thread_id, page[-1].seq)
    return found


def unpack(
    tx: Tx,
    serde: Serializer,
    scope: Scope,
    bundle: Bundle,
    *,
    metadata: Mapping[str, Any],
    thread_id: str | None = None,
) -> bool:
    """Make the thread of the bundle, under another id if one is given; True when it was not there. `metadata` are those
    it is to have.

    Raises Conflict when there is a thread of that id with other checkpoints, Invalid when the bundle holds what is no
    thread.
    """
    target = thread_id or parse_id(bundle.thread_id, "thread")
    found = Carried(*(bundle.records[name] for name in ("parts", "checkpoints", "writes")))
    if threads.exists(tx, scope, target):
        there = set(forks.View(tx, target).places())
        if there >= set(states.places(found)):
            return False
        raise Conflict(f"Thread with ID {target} already exists, with other checkpoints.")
    threads.create(tx, target, metadata=metadata)

    def name(run_id: str | None) -> str | None:
        if run_id is None or target == bundle.thread_id:
            return run_id
        return str(uuid5(UUID(target), run_id))  # the first one may be here, too

    try:
        states.arrive(tx, serde, target, found, name)
        runs.arrive(tx, target, bundle.records["runs"], name)
        runs.arrive_receipts(tx, serde, target, bundle.records["receipts"], name)
        told = [_event(one, name) for one in bundle.records["events"]]
        if any(after.seq <= before.seq for before, after in pairwise(told)):
            raise Broken("events are out of order")
        for at in range(0, len(told), EVENTS):
            rows.insert(tx, target, told[at : at + EVENTS])
        (row,) = bundle.records["thread"]
        adoption.arrive(tx, serde, target, row)
    except (Broken, Unreadable, LookupError, TypeError, ValueError, AttributeError) as error:
        said = str(error) if isinstance(error, Broken | Unreadable) else f"{type(error).__name__}: {error}"
        raise Invalid(f"The bundle holds what is no thread: {said}.") from error
    return True


def _event(record: Mapping[str, Any], name: Callable[[str | None], str | None]) -> Event:
    namespace = tuple(str(one) for one in record["namespace"])
    data = orjson.dumps(record["data"])
    method = str(record["method"])
    if "\t" in method or "\n" in method or (method == RECALLED and not _recalls(record["data"])):
        raise ValueError("an event is none")
    run_id = name(record["run_id"]) if record["run_id"] else ""
    return Event(number(record["seq"]), str(run_id), method, namespace, data, number(record["at"]))


def _recalls(data: Any) -> bool:
    keys = data["keys"]
    return (
        isinstance(data["checkpoint_id"], str) and isinstance(keys, list) and all(isinstance(one, str) for one in keys)
    )


def all_of(tx: Tx, wanted: threads.Filter) -> list[str]:
    """The ids of all threads that match, the oldest first."""
    found, offset = list[str](), 0
    how: Any = {"sort_by": "created_at", "sort_order": "asc", "values": False}
    while page := threads.search(tx, ALL, wanted, **how, limit=1000, offset=offset)[0]:
        found += [one.thread_id for one in page]
        offset += len(page)
    return found
