"""Encryption at rest: which columns are sealed on their way into the database, and opened on their way out.

What was sealed says so itself, and under which context, so that a database may hold both: encryption can be configured
at any time, and whoever reads needs to know nothing. Ids, names, times, statuses, keys and namespaces of the store stay
as they are, because queries look into them; of metadata, what the handler for JSON leaves plain can be searched.
Checkpoints and their writes are sealed by the serializer.
"""

import base64
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

Context = Mapping[str, Any]
Form = Literal["index", "object", "whole", "text", "bytes"]

# Of the request or run on whose behalf something is written; None: of what it belongs to.
CONTEXT: ContextVar[Context | None] = ContextVar("encryption_context", default=None)
OPENLY: Context = MappingProxyType({})  # as the CONTEXT: what is written is no secret, and stays as it is

# By table: the model it is to the handlers, and the parameters of an INSERT or UPDATE with the form of each.
#   index: JSON that queries look into; only a handler for JSON seals it.
#   object: JSON for the handler for JSON, else a blob.    whole: JSON that is better a blob.
#   text: a blob, too.    bytes: a blob or nothing.
PARAMS: dict[str, tuple[str, dict[str, Form]]] = {
    "assistants": ("assistant", {"metadata": "index", "context": "object", "config": "whole"}),
    "assistant_versions": ("assistant", {}),
    "threads": (
        "thread",
        {"metadata": "index", "config": "whole", "error": "whole", "title": "text", "preview": "text"},
    ),
    "thread_values": ("thread", {"data": "object"}),
    "drafts": ("thread", {"content": "whole"}),
    "runs": ("run", {"metadata": "index", "kwargs": "object", "error": "whole"}),
    "crons": ("cron", {"metadata": "index", "payload": "object", "request": "whole"}),
    "store": ("store", {"value": "object"}),
    "injections": ("run", {"message": "whole"}),
    "webhook_deliveries": ("run", {"body": "whole", "error": "text"}),
    "checkpoints": ("checkpoint", {"metadata": "index"}),
}


class Place(NamedTuple):
    """The same for rows of many: where in the row what is sealed stands, and the thread and the run it belongs to."""

    model: str
    field: str
    form: Form
    at: int
    thread: int
    run: int


PLACES = {
    "events": Place("run", "events", "bytes", 5, 0, 3),
    "interrupts": Place("thread", "value", "whole", 7, 0, 6),
}
COLUMNS = frozenset(name for _, names in PARAMS.values() for name in names) | {"interrupts"}
FIELDS = {"data": "values"}  # where the SDK has another name for a column
CHANGES = re.compile(r"\s*(?:INSERT(?: OR REPLACE)? INTO|UPDATE) (\w+)")
SOURCE = re.compile(r"\b(?:FROM|INTO|UPDATE) (\w+)")

# What is written for one of these without a context gets the one it was stored under before.
KEPT = {
    "run_id": (
        "SELECT metadata, kwargs FROM runs WHERE run_id = ?",
        "SELECT body FROM webhook_deliveries WHERE run_id = ?",
    ),
    "thread_id": ("SELECT metadata, config FROM threads WHERE thread_id = ?",),
    "cron_id": ("SELECT metadata, payload FROM crons WHERE cron_id = ?",),
    "id": ("SELECT metadata, config FROM assistants WHERE assistant_id = ?",),
}
OWN = {"crons": "cron_id", "assistants": "id"}

# Never handed to a handler for JSON: the server and its clients look for them.
SYSTEM = frozenset(
    {
        *("thread_id", "run_id", "assistant_id", "graph_id", "checkpoint_id", "checkpoint_ns", "task_id", "cron_id"),
        *("source", "step", "parents", "run_attempt", "counters_since_delta_snapshot"),
        *("langgraph_version", "langgraph_api_version", "langgraph_plan", "langgraph_host", "langgraph_api_url"),
        *("langgraph_request_id", "langgraph_auth_user", "langgraph_auth_user_id", "langgraph_auth_permissions"),
    }
)

# A blob is `sealed:<data>`, or `sealed+<context>.<data>`: after a NUL in bytes and texts, a string in JSON.
NUL = "\x00"  # SQLite would cut a text at it, were it not bound by length, as sqlite3 does
BLOB = re.compile(rb"sealed(?::|\+([A-Za-z0-9_=-]*)\.)")
# An object says first under which context, and whether it only wraps what is no object.
MARK = "__encryption__"
HEAD = f'{{"{MARK}":'


class About(NamedTuple):
    """What a handler is told. To open, model and field may be None, or others than those it was sealed as."""

    model: str | None
    field: str | None
    context: Context


class Vault(Protocol):
    """All are called from any thread, and may wait. What opening raises reaches whoever reads."""

    @property
    def blobs(self) -> bool:
        """Whether bytes are sealed."""
        ...

    @property
    def objects(self) -> bool:
        """Whether JSON objects are."""
        ...

    def seal(self, data: bytes, about: About) -> bytes: ...

    def open(self, data: bytes, about: About) -> bytes: ...

    def seal_object(self, data: dict[str, Any], about: About) -> dict[str, Any]:
        """The same keys, other values."""
        ...

    def open_object(self, data: dict[str, Any], about: About) -> dict[str, Any]: ...

    def __hash__(self) -> int: ...


@contextmanager
def under(context: Context | None) -> Iterator[None]:
    """What is written meanwhile is sealed under this context."""
    token = CONTEXT.set(context)
    try:
        yield
    finally:
        CONTEXT.reset(token)


# Sealing

Lookup = Callable[[str, Any], Context | None]  # (a name of KEPT, id)


def sealed(vault: Vault, sql: str, params: dict[str, Any], kept: Lookup) -> dict[str, Any]:
    """The parameters of a statement, as they are to be stored."""
    found = CHANGES.match(sql)
    model, wanted = PARAMS.get(found[1], ("", {})) if found else ("", {})
    names = [name for name in wanted if params.get(name) is not None]
    if found is None or not names:
        return params
    own = OWN.get(found[1], "thread_id")
    context = _context(kept, params.get("run_id"), own, params.get(own), CONTEXT.get())
    if context is OPENLY:
        return params
    made = {name: _sealed(vault, params[name], wanted[name], _about(model, name, context)) for name in names}
    return {**params, **made}


def sealed_rows(vault: Vault, sql: str, rows: Iterable[Sequence[Any]], kept: Lookup) -> Iterable[Sequence[Any]]:
    found = CHANGES.match(sql)
    where = PLACES.get(found[1]) if found else None
    if where is None:
        return rows
    # Events of many runs are written together, on behalf of none.
    ambient = None if where.form == "bytes" else CONTEXT.get()
    made = []
    for row in rows:
        context = _context(kept, row[where.run], "thread_id", row[where.thread], ambient)
        value = _sealed(vault, row[where.at], where.form, _about(where.model, where.field, context))
        made.append((*row[: where.at], value, *row[where.at + 1 :]))
    return made


def sealed_blob(vault: Vault, data: bytes, about: About) -> bytes:
    head = f"sealed+{_text(_dumps(about.context).encode())}." if about.context else "sealed:"
    return head.encode() + vault.seal(data, about)


def _context(kept: Lookup, run_id: Any, own: str, id: Any, ambient: Context | None) -> Context:
    """A run's own, whoever writes; else that of who writes; else that of what it belongs to."""
    if ambient is OPENLY:
        return OPENLY
    found = kept("run_id", run_id) if run_id else None
    if found is None:
        found = ambient
    if found is None and id:
        found = kept(own, id)
    return {} if found is None else found


def _sealed(vault: Vault, value: Any, form: Form, about: About) -> Any:
    if value is None:
        return None
    blob = vault.blobs and form != "index"
    if vault.objects and form != "bytes" and not (blob and form in ("whole", "text")):
        data = value if form == "text" else json.loads(value)
        if isinstance(data, dict) or not blob:
            text = _sealed_object(vault, data, "text" if form == "text" else "json", about)
            return text.encode() if isinstance(value, bytes) else text
    if not blob:
        return value
    found = sealed_blob(vault, value if isinstance(value, bytes) else str(value).encode(), about)
    if form == "bytes":
        return NUL.encode() + found
    head = BLOB.match(found)
    assert head is not None
    text = head[0].decode() + _text(found[head.end() :])
    if form == "text":
        return NUL + text
    return f'"{text}"'.encode() if isinstance(value, bytes) else f'"{text}"'


def _sealed_object(vault: Vault, data: Any, alone: str, about: About) -> str:
    mark: dict[str, Any] = {"context": dict(about.context)}
    if not isinstance(data, dict):
        mark["alone"], data = alone, {str(about.field): data}
    handed = {key: value for key, value in data.items() if key not in SYSTEM and key != MARK}
    made = vault.seal_object(handed, about) if handed else {}
    return _dumps({MARK: mark, **{key: made.get(key, value) for key, value in data.items() if key != MARK}})


# Opening


def opened(vault: Vault, value: Any, model: str | None = None, field: str | None = None) -> Any:
    """As it was before it was sealed; what is not sealed stays as it is."""
    if isinstance(value, bytes):
        if value.startswith(b"\x00sealed"):
            return opened_blob(vault, value[1:], model, field)
        return (
            opened(vault, value.decode(), model, field).encode()
            if value.startswith((b'"sealed', HEAD.encode()))
            else value
        )
    if not isinstance(value, str):
        return value
    if value.startswith(HEAD):
        return _opened_object(vault, json.loads(value), model, field)[0] if vault.objects else value
    if value.startswith(f"{NUL}sealed"):
        return _opened_text(vault, value[1:], model, field)
    if value.startswith('"sealed') and BLOB.match(value[1:].encode()):
        return _opened_text(vault, value[1:-1], model, field)
    return value


def opened_blob(vault: Vault, data: bytes, model: str | None = None, field: str | None = None) -> bytes:
    """What `sealed_blob` has made."""
    head = BLOB.match(data)
    assert head is not None
    return vault.open(data[head.end() :], _about(model, field, _decoded(head[1])))


@lru_cache(maxsize=8)
def opening(vault: Vault) -> Callable[[str], type[sqlite3.Row]]:
    """By statement: rows that open what is asked for by its name, on the thread that asks."""

    @lru_cache(maxsize=1024)
    def rows(sql: str) -> type[sqlite3.Row]:
        found = SOURCE.search(sql)
        return of_model(PARAMS[found[1]][0] if found and found[1] in PARAMS else None)

    @lru_cache(maxsize=32)
    def of_model(model: str | None) -> type[sqlite3.Row]:
        class Opened(sqlite3.Row):
            def __getitem__(self, key: Any) -> Any:
                value = super().__getitem__(key)
                if key == "interrupts":
                    return _opened_list(vault, value, model)
                if key == "metadata":  # never a blob, and a client may write what looks like one
                    return opened(vault, value, model, key) if _is_object(value) else value
                return opened(vault, value, model, FIELDS.get(key, key)) if key in COLUMNS else value

        return Opened

    return rows


def looking_into(vault: Vault, function: Callable[..., Any], model: str, field: str) -> Callable[..., Any]:
    """A function of SQL whose first argument may be sealed."""
    return lambda value, *others: function(opened(vault, value, model, field), *others)


def context_in(stored: Any) -> Context | None:
    """Under which context it was sealed; None when it was not."""
    text = stored.decode("latin-1") if isinstance(stored, bytes) else stored
    if not isinstance(text, str):
        return None
    if text.startswith(HEAD):
        mark = json.JSONDecoder().raw_decode(text, len(HEAD))[0]
        return dict(mark.get("context") or {})
    head = BLOB.match(text[1:].encode("latin-1", "replace")) if text[:1] in (NUL, '"') else None
    return _decoded(head[1]) if head else None


def searched(stored: str) -> dict[str, Any]:
    """Metadata as queries see it."""
    return {key: value for key, value in json.loads(stored).items() if key != MARK}


def _opened_object(vault: Vault, data: dict[str, Any], model: str | None, field: str | None) -> tuple[Any, bool]:
    """JSON or text, and which of the two."""
    mark = data.pop(MARK)
    handed = {key: value for key, value in data.items() if key not in SYSTEM}
    made = vault.open_object(handed, _about(model, field, mark.get("context") or {})) if handed else {}
    plain = {**{key: value for key, value in data.items() if key in SYSTEM}, **made}
    if "alone" not in mark:
        return _dumps({key: plain[key] for key in (*data, *plain) if key in plain}), False
    (value,) = plain.values()
    return (value, True) if mark["alone"] == "text" else (_dumps(value), False)


def _opened_text(vault: Vault, text: str, model: str | None, field: str | None) -> str:
    head = BLOB.match(text.encode())
    assert head is not None
    data = base64.urlsafe_b64decode(text[head.end() :])
    return vault.open(data, _about(model, field, _decoded(head[1]))).decode()


def _opened_list(vault: Vault, value: Any, model: str | None) -> Any:
    """The questions of a thread, see `threadmill.interrupts.LISTED`."""
    if not isinstance(value, str) or not ('"sealed' in value or HEAD in value):
        return value
    listed = json.loads(value)
    for question in listed:
        question[2] = json.loads(opened(vault, _dumps(question[2]), model, "interrupts"))
    return _dumps(listed)


def _is_object(value: Any) -> bool:
    return value.startswith(HEAD) if isinstance(value, str) else bytes(value or b"").startswith(HEAD.encode())


def _about(model: str | None, field: str | None, context: Context) -> About:
    return About(model, FIELDS.get(field, field) if field else None, context)


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def _decoded(context: bytes | None) -> Context:
    return json.loads(base64.urlsafe_b64decode(context)) if context else {}
