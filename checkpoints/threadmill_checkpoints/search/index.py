"""The tables `search_docs`, `search_index` and `search_marks`.

The index follows the numbers of blobs and of changes, which never repeat: where it is stands in a mark that commits
with what was indexed, so nothing is missed and nothing comes twice.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import ormsgpack
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import rows
from threadmill_checkpoints.saver.blobs import Reader
from threadmill_checkpoints.saver.moments import made_at
from threadmill_checkpoints.search.texts import Text, messages, plain, texts
from threadmill_checkpoints.search.words import apart

TOGETHER = 50  # blobs or threads in one transaction: it holds up all others for some milliseconds
LOOKED = 2000  # blobs passed over at a time
# Messages, and what looks like one from outside: an object or a mapping of some fields.
LIKELY = (
    "type = 'msgpack' AND (message_id IS NOT NULL OR substr(data, 1, 1) IN (x'c7', x'c8', x'c9') "
    "OR (substr(data, 1, 1) BETWEEN x'82' AND x'8f'))"
)


@dataclass(frozen=True, slots=True)
class Doc:
    """Of a blob, as it was, or of a thread."""

    blob_id: int | None
    hash: bytes | None
    thread_id: str | None
    checkpoint_id: str | None
    at: str
    text: Text


@dataclass(frozen=True, slots=True)
class Batch:
    """What is new up to a number: of blobs, or of threads that changed (whose old texts go)."""

    name: str
    number: int
    docs: Sequence[Doc]
    threads: Sequence[str] = ()


def waiting(tx: Tx, serde: SerializerProtocol) -> Batch | None:
    """What is to be indexed next; None if nothing is."""
    marks = {row["name"]: row["number"] for row in tx.all("SELECT name, number FROM search_marks")}
    return _blobs(tx, serde, marks["blobs"]) or _threads(tx, serde, marks["changes"])


def put(tx: Tx, batch: Batch) -> None:
    """Unless another has, and without what is gone meanwhile or was forgotten."""
    if not tx.run(
        "UPDATE search_marks SET number = :number WHERE name = :name AND number < :number",
        name=batch.name,
        number=batch.number,
    ):
        return
    renewed = set(batch.threads) - _changed_since(tx, batch)
    for thread_id in renewed:
        tx.run("DELETE FROM search_docs WHERE thread_id = :thread_id", thread_id=thread_id)
    for doc in batch.docs:
        if doc.thread_id is not None and doc.thread_id not in renewed:
            continue
        row = tx.one(
            "INSERT INTO search_docs (blob_id, thread_id, checkpoint_id, kind, role, message_id, at) "
            "SELECT :blob_id, :thread_id, :checkpoint_id, :kind, :role, :message_id, :at WHERE "
            "EXISTS (SELECT 1 FROM blobs WHERE blob_id = :blob_id AND hash = :hash) "
            "OR EXISTS (SELECT 1 FROM threads WHERE thread_id = :thread_id) RETURNING doc",
            blob_id=doc.blob_id,
            hash=doc.hash,
            thread_id=doc.thread_id,
            checkpoint_id=doc.checkpoint_id,
            kind=doc.text.kind,
            role=doc.text.role,
            message_id=doc.text.message_id,
            at=doc.at,
        )
        if row is not None:
            tx.run("INSERT INTO search_index (rowid, text) VALUES (:doc, :text)", doc=row["doc"], text=_words(doc.text))


def _changed_since(tx: Tx, batch: Batch) -> set[str]:
    """Threads that are to be looked at again: what was read of them may be forgotten by now."""
    rows = tx.all(
        "SELECT thread_id FROM changes WHERE thread_id IN (SELECT value FROM json_each(:ids)) AND number > :number",
        ids=json.dumps(batch.threads),
        number=batch.number,
    )
    return {row["thread_id"] for row in rows}


def _words(text: Text) -> str:
    return apart(text.text).encode("utf-8", "replace").decode()  # no database takes half a surrogate pair


def clear(tx: Tx) -> None:
    """Begin anew."""
    if tx.one("SELECT 1 FROM search_marks WHERE number > 0 AND name <> 'deltas'") is not None:
        tx.run("DELETE FROM search_docs")
        tx.run("UPDATE search_marks SET number = 0 WHERE name <> 'deltas'")
        tidy(tx)


def tidy(tx: Tx) -> None:
    """Take what was deleted out of the index's own pages, too."""
    tx.run("INSERT INTO search_index (search_index) VALUES ('optimize')")


def _blobs(tx: Tx, serde: SerializerProtocol, mark: int) -> Batch | None:
    newest = tx.one("SELECT coalesce(max(blob_id), 0) AS number FROM blobs")
    assert newest is not None
    if newest["number"] <= mark:
        return None
    upto = min(newest["number"], mark + LOOKED)
    found = tx.all(
        f"SELECT blob_id, hash, type, data, parts FROM blobs WHERE blob_id > :mark AND blob_id <= :upto AND {LIKELY} "
        "ORDER BY blob_id LIMIT :limit",
        mark=mark,
        upto=upto,
        limit=TOGETHER,
    )
    if len(found) == TOGETHER:
        upto = found[-1]["blob_id"]
    reader, docs = Reader(tx, serde), list[Doc]()
    for row in found:
        told = _texts_of(reader, row)
        at = (made_at(_first(tx, row["blob_id"])) or tx.now).isoformat(timespec="microseconds") if told else ""
        docs += [Doc(row["blob_id"], row["hash"], None, None, at, one) for one in told]
    return Batch("blobs", upto, docs)


def _texts_of(reader: Reader, row: Row) -> list[Text]:
    try:
        data = row["data"] if row["parts"] is None else reader.filled(row["data"], ormsgpack.unpackb(row["parts"]))
        return list(texts(plain(data)))
    except (
        Exception
    ):  # damaged, or not what it seems to be: it cannot be found, and keeps nothing else from being found
        return []


def _threads(tx: Tx, serde: SerializerProtocol, mark: int) -> Batch | None:
    changed = tx.all(
        "SELECT number, changes.thread_id, title, error, last_activity_at FROM changes LEFT JOIN threads "
        "ON threads.thread_id = changes.thread_id WHERE number > :mark ORDER BY number LIMIT :limit",
        mark=mark,
        limit=TOGETHER,
    )
    if not changed:
        return None
    docs, renewed = list[Doc](), list[str]()
    for row in changed:
        now = [doc for doc in _of_thread(tx, row) if doc.text.text]
        if _known(tx, row["thread_id"]) != [(doc.text.kind, _words(doc.text)) for doc in now]:
            renewed.append(row["thread_id"])
            docs += now
    return Batch("changes", changed[-1]["number"], docs, renewed)


def _of_thread(tx: Tx, row: Row) -> list[Doc]:
    thread_id, at = row["thread_id"], row["last_activity_at"]
    if at is None:  # it was deleted
        return []
    found = [Doc(None, None, thread_id, None, at, Text("title", None, None, row["title"] or ""))]
    if row["error"]:
        error = json.loads(row["error"])
        said = ": ".join(str(error[key]) for key in ("error", "message") if error.get(key))
        found.append(Doc(None, None, thread_id, None, at, Text("status", None, None, said)))
    head = rows.get_checkpoint(tx, thread_id, "", None)
    if head is not None and head["channels"] is None and head["type"] == "msgpack":
        try:
            state = plain(head["checkpoint"])["channel_values"]
        except Exception:
            state = {}
        found += [Doc(None, None, thread_id, head["checkpoint_id"], at, one) for one in messages(state)]
    return found


def _known(tx: Tx, thread_id: str) -> list[tuple[str, str]]:
    found = tx.all(
        "SELECT kind, text FROM search_docs JOIN search_index ON search_index.rowid = doc "
        "WHERE thread_id = :thread_id ORDER BY doc",
        thread_id=thread_id,
    )
    return [(row["kind"], row["text"]) for row in found]


def _first(tx: Tx, blob_id: int) -> str:
    row = tx.one("SELECT min(checkpoint_id) AS first FROM blob_refs WHERE blob_id = :blob_id", blob_id=blob_id)
    return str(row["first"] or "") if row else ""
