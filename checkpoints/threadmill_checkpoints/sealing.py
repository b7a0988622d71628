"""Encryption at rest: which columns are sealed on their way into the database, and opened on their way out.

What was sealed says so itself, so that a database may hold both: encryption can be configured at any time. Columns
that queries look into stay as they are: ids, names, times, statuses, metadata, keys and namespaces of the store.
Checkpoints and their writes are sealed by the serializer.
"""

import base64
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

BYTES = b"\x00sealed:"
TEXT = "\x00sealed:"  # SQLite would cut a text at its first NUL, were it not bound by length, as sqlite3 does
JSON = re.compile('"sealed:([A-Za-z0-9_=-]+)"')  # a string in JSON, which the JSON functions of SQL pass on

# By table: the parameters of an INSERT or UPDATE, and how each is sealed.
PARAMS: dict[str, dict[str, str]] = {
    "assistants": {"config": "json", "context": "json"},
    "threads": {"config": "json", "error": "json", "title": "text", "preview": "text"},
    "thread_values": {"data": "json"},
    "runs": {"kwargs": "json", "error": "json"},
    "crons": {"payload": "json", "request": "json"},
    "store": {"value": "json"},
    "injections": {"message": "json"},
    "webhook_deliveries": {"body": "bytes", "error": "text"},
}
# The same for rows of many: the place in the row.
PLACES: dict[str, tuple[int, str]] = {"events": (5, "bytes"), "interrupts": (7, "json")}
COLUMNS = frozenset(name for names in PARAMS.values() for name in names) | {"interrupts"}
CHANGES = re.compile(r"\s*(?:INSERT(?: OR REPLACE)? INTO|UPDATE) (\w+)")


class Vault(Protocol):
    """Both are called from any thread, and may wait. What `open` raises reaches whoever reads."""

    def seal(self, data: bytes) -> bytes: ...

    def open(self, data: bytes) -> bytes: ...


def sealed(vault: Vault, sql: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a statement, as they are to be stored."""
    found = CHANGES.match(sql)
    wanted = PARAMS.get(found[1], {}) if found else {}
    return {name: _sealed(vault, value, wanted[name]) if name in wanted else value for name, value in params.items()}


def sealed_rows(vault: Vault, sql: str, rows: Iterable[Sequence[Any]]) -> Iterable[Sequence[Any]]:
    found = CHANGES.match(sql)
    if found is None or found[1] not in PLACES:
        return rows
    place, form = PLACES[found[1]]
    return [(*row[:place], _sealed(vault, row[place], form), *row[place + 1 :]) for row in rows]


def opened(vault: Vault, value: Any) -> Any:
    """As it was before `sealed`; what is not sealed stays as it is."""
    if isinstance(value, bytes):
        if value.startswith(BYTES):
            return vault.open(value[len(BYTES) :])
        return opened(vault, value.decode()).encode() if value.startswith(b'"sealed:') else value
    if not isinstance(value, str):
        return value
    if value.startswith(TEXT):
        return vault.open(base64.urlsafe_b64decode(value[len(TEXT) :])).decode()
    return JSON.sub(lambda one: vault.open(base64.urlsafe_b64decode(one[1])).decode(), value)


def opening(vault: Vault) -> type[sqlite3.Row]:
    """Rows that open what is asked for, on the thread that asks."""

    class Opened(sqlite3.Row):
        def __getitem__(self, key: Any) -> Any:
            value = super().__getitem__(key)
            return opened(vault, value) if key in COLUMNS else value

    return Opened


def looking_into(vault: Vault, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of SQL whose first argument may be sealed."""
    return lambda value, *others: function(opened(vault, value), *others)


def _sealed(vault: Vault, value: Any, form: str) -> Any:
    if value is None:
        return None
    data = value if isinstance(value, bytes) else str(value).encode()
    if form == "bytes":
        return BYTES + vault.seal(data)
    text = base64.urlsafe_b64encode(vault.seal(data)).decode()
    if form == "text":
        return TEXT + text
    return f'"sealed:{text}"'.encode() if isinstance(value, bytes) else f'"sealed:{text}"'
