"""/threads/{id}/export and /threads/import: threads as files."""

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from typing_extensions import TypedDict

from threadmill.api import answers
from threadmill.api.wire import INVALID_JSON, Here, Me, Route, json, read_json
from threadmill.bundles import bundle, pack, transcript
from threadmill.bundles.bundle import Bundle
from threadmill.bundles.redaction import Redaction
from threadmill.bundles.transcript import Transcript
from threadmill.errors import Invalid
from threadmill.ids import new_id, parse_id
from threadmill.runtime import Runtime
from threadmill.scope import Scope
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.serde import Serializer

router = APIRouter(prefix="/threads", tags=["Threads"], route_class=Route)

NDJSON, MARKDOWN = "application/x-ndjson", "text/markdown; charset=utf-8"
ENDINGS = {"bundle": "ndjson", "json": "json", "markdown": "md"}
FILE: answers.Responses = {
    200: {
        "description": "A file.",
        "content": {
            NDJSON: {"schema": {"type": "string", "description": "`bundle`: a manifest and its records."}},
            "application/json": {"schema": {"type": "object", "description": "`json`: what was said."}},
            "text/markdown": {"schema": {"type": "string", "description": "`markdown`: the same, for people."}},
        },
    }
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            NDJSON: {"schema": {"type": "string", "description": "Bundles, one after the other."}},
            "application/json": {"schema": {"type": "object", "description": "A transcript."}},
        },
    }
}


class ImportedThread(TypedDict):
    thread_id: str
    created: bool


class Imported(TypedDict):
    threads: list[ImportedThread]


@router.get("/{thread_id}/export", responses=FILE | answers.refusals(404))
async def export(
    thread_id: str,
    here: Here,
    me: Me,
    format: Literal["bundle", "json", "markdown"] = "bundle",
    redact: Annotated[list[str] | None, Query()] = None,
) -> Response:
    thread_id = parse_id(thread_id, "thread")
    redaction = Redaction.of(redact or ())
    if redaction.patterns:  # one that takes for ever would hold up everybody
        raise Invalid("redact: patterns are for the command line; here it is messages or tool-results.")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    serde = _serde(here)
    named = {"content-disposition": f'attachment; filename="{thread_id}.{ENDINGS[format]}"'}
    if format == "bundle":
        found = await here.database.read(pack.pack, serde, scope, thread_id, redaction)
        body = await asyncio.to_thread(lambda: b"".join(line + b"\n" for line in found.lines()))
        return Response(body, headers=named, media_type=NDJSON)
    said = await here.database.read(transcript.transcript, serde, scope, thread_id, redaction)
    if format == "json":
        return json(said, headers=named)
    return Response(transcript.markdown(said), headers=named, media_type=MARKDOWN)


@dataclass(frozen=True, slots=True)
class _Coming:
    what: Bundle | Transcript
    thread_id: str
    scope: Scope
    metadata: dict[str, Any]


@router.post("/import", responses=answers.answers(Imported, 400, 409), openapi_extra=BODY)
async def import_(request: Request, here: Here, me: Me, thread_id: Annotated[str | None, Query()] = None) -> Response:
    """All of it, or nothing."""
    wanted = parse_id(thread_id, "thread") if thread_id is not None else None
    read = await asyncio.to_thread(_read, await request.body())
    if wanted is not None and len(read) > 1:
        raise Invalid("thread_id is for one thread; this file has several.")
    coming = []
    for what in read:
        target = wanted or _id(what)
        given: Any = what.records["thread"][0].get("metadata") if isinstance(what, Bundle) else _metadata(what)
        if not isinstance(given, dict):
            raise Invalid("The metadata of a thread must be an object.")
        value: dict[str, Any] = {"thread_id": target, "metadata": given, "if_exists": "raise"}
        scope = await me.may("threads", "create", value)
        coming.append(_Coming(what, target, scope, value["metadata"]))
    made = await here.database.write(_write, _serde(here), coming)
    here.signals.notify("feed")
    rows = [{"thread_id": one.thread_id, "created": new} for one, new in zip(coming, made, strict=True)]
    return json({"threads": rows})


def _serde(here: Runtime) -> Serializer:
    return cast("Serializer", here.states.new_saver().serde)


def _read(body: bytes) -> list[Bundle | Transcript]:
    if re.match(rb'\s*\{"format":"threadmill-thread"', body):
        lines, found = bundle.split(body.split(b"\n")), list[Bundle | Transcript]()
        while one := Bundle.read(lines):
            found.append(one)
        return found
    try:
        return [transcript.parsed(read_json(body))]
    except ValueError:
        raise Invalid(INVALID_JSON) from None


def _id(what: Bundle | Transcript) -> str:
    if isinstance(what, Bundle):
        return parse_id(what.thread_id, "thread")
    return str(what.thread_id or new_id())


def _metadata(told: Transcript) -> dict[str, Any]:
    return told.metadata | ({"graph_id": told.graph_id} if told.graph_id else {})


def _write(tx: Tx, serde: Serializer, coming: list[_Coming]) -> list[bool]:
    made = []
    for one in coming:
        if isinstance(one.what, Bundle):
            new = pack.unpack(tx, serde, one.scope, one.what, metadata=one.metadata, thread_id=one.thread_id)
        else:
            new = transcript.store(tx, serde, one.scope, one.what, one.thread_id, one.metadata)
        made.append(new)
    return made
