"""/threads/{id}/shares: links to a conversation as it was; and /shared/{token}, what whoever has one reads."""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from langchain_core.messages import BaseMessage
from pydantic import Field, model_validator

from threadmill import shares
from threadmill.api import answers
from threadmill.api.wire import Body, Change, Here, Me, Moment, Read, Route, json, refusal
from threadmill.bundles.redaction import Redaction
from threadmill.errors import Forbidden
from threadmill.ids import new_id, parse_id
from threadmill.jsonable import message_fields
from threadmill.langgraph_json.values import MAX_MINUTES
from threadmill.shares import Shared
from threadmill.summary import summarise

OFF = "Sharing is off on this server: THREADMILL_SHARING turns it on."
GONE = "There is no such link, or no longer."
# Nobody keeps it, no search engine finds it, and no site that it leads to learns its address.
HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-robots-tag": "noindex"}
BLOCKS = {  # what a page shows of each kind
    "text": ("text",),
    "reasoning": ("reasoning", "text"),
    "image": ("base64", "data", "mime_type", "url", "source"),
    "image_url": ("image_url",),
}
SOURCE = ("url", "data", "media_type")  # of an image
UNSAID = frozenset(("system", "developer"))  # messages to the model
SECRET = re.compile(  # as in web/src/core/secrets.ts
    r"(^|[_.\- ])(pass(word|wd|phrase)?|secret|token|api[_-]?key|authorization|credentials?|private[_-]?key)$", re.I
)


async def offered(here: Here) -> None:
    if not here.settings.sharing:
        raise Forbidden(OFF)


router = APIRouter(
    prefix="/threads/{thread_id}/shares", tags=["Shares"], route_class=Route, dependencies=[Depends(offered)]
)
strangers = APIRouter(tags=["Shares"], route_class=Route)


class Create(Body):
    """`ttl` is in minutes."""

    checkpoint_id: str | None = None
    redact: list[Literal["tool-results"]] = Field([], max_length=1)
    expires_at: Moment | None = None
    ttl: float | None = Field(None, gt=0, le=MAX_MINUTES, strict=True)

    @model_validator(mode="after")
    def _one(self) -> "Create":
        if self.expires_at is not None and self.ttl is not None:
            raise ValueError("name either expires_at or ttl.")
        return self


@router.post("", responses=answers.answers(answers.NewShare, 404, 409))
async def create(thread_id: str, body: Create, request: Request, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "update", {"thread_id": thread_id})
    token = secrets.token_urlsafe(32)
    made = await here.database.write(
        shares.create,
        scope,
        thread_id,
        share_id=new_id(),
        token=_hash(token),
        checkpoint_id=body.checkpoint_id,
        redact=body.redact,
        expires_at=body.expires_at,
        minutes=body.ttl,
    )
    return json({**asdict(made), "token": token, "url": f"{request.scope.get('root_path', '')}/s/{token}"})


@router.get("", responses=answers.answers(list[answers.Share], 404))
async def listed(thread: Read, here: Here) -> Response:
    return json(await here.database.read(shares.of_thread, thread.scope, thread.thread_id))


@router.delete("/{share_id}", status_code=204, responses=answers.nothing(404))
async def revoke(thread: Change, share_id: str, here: Here) -> Response:
    """It shows nothing from then on."""
    await here.database.write(shares.revoke, thread.scope, thread.thread_id, share_id)
    return Response(status_code=204)


@strangers.get("/shared/{token:path}", responses=answers.answers(answers.SharedConversation, 404, 422))
async def read(token: str, here: Here) -> Response:
    """Nobody has to say who they are; what is gone cannot be told from what never was."""
    found = await here.database.read(shares.read, here.states.serde, _hash(token)) if here.settings.sharing else None
    if found is None:
        return refusal(GONE, 404, HEADERS)
    return await asyncio.to_thread(_answer, found)  # long conversations take their time


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _answer(found: Shared) -> Response:
    redaction = Redaction.of(found.share.redact)
    said = map(_shown, redaction.value(found.messages) if redaction else found.messages)
    messages = [one for one in said if one is not None]
    answer = {
        "title": found.title or summarise(messages).title,
        "created_at": found.created_at,
        "shared_at": found.share.created_at,
        "messages": messages,
    }
    return json(answer, headers=HEADERS)


def _shown(said: Any) -> dict[str, Any] | None:
    """Only what a page shows: neither who or what it was made by, nor what tools keep for the program."""
    message = message_fields(said) if isinstance(said, BaseMessage) else said if isinstance(said, Mapping) else {}
    kind = _kind(message)
    if kind is None:
        return None
    content, calls = message.get("content"), message.get("tool_calls")
    if isinstance(content, list):
        content = [one for one in map(_block, content) if one]
    found = {
        "id": message.get("id"),
        "type": kind,
        "content": content if isinstance(content, str | list) else None,
        "tool_calls": [
            {"id": one.get("id"), "name": one.get("name"), "args": veiled(one.get("args"))}
            for one in (calls if isinstance(calls, list) else ())
            if isinstance(one, Mapping)
        ],
        "tool_call_id": message.get("tool_call_id"),
        "status": message.get("status"),
        "additional_kwargs": _only(message.get("additional_kwargs"), "reasoning_content"),
        "response_metadata": _only(message.get("response_metadata"), "finish_reason"),
    }
    return {name: one for name, one in found.items() if one not in (None, [], {})}


def _kind(message: Mapping[str, Any]) -> str | None:
    """None: it is to the model, or no message."""
    names = [str(message[name]) for name in ("type", "role") if message.get(name)]
    if not names or any(name.lower().removesuffix("messagechunk") in UNSAID for name in names):
        return None
    return names[-1] if names[0] == "chat" else names[0]


def _block(block: Any) -> dict[str, Any]:
    """Empty: it is not shown."""
    kind = str(block.get("type")) if isinstance(block, Mapping) else ""
    shown = _only(block, *BLOCKS.get(kind, ()))
    more = {name: _only(one, *SOURCE) if isinstance(one, Mapping) else one for name, one in shown.items()}
    return {"type": kind, **more} if more else {}


def _only(fields: Any, *names: str) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields.get(name)} if isinstance(fields, Mapping) else {}


def veiled(value: Any) -> Any:
    """Without the values whose names say that they are secret."""
    if isinstance(value, list | tuple):
        return [veiled(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: "•••" if _secret(str(name)) else veiled(one) for name, one in value.items()}


def _secret(name: str) -> bool:
    return SECRET.search(re.sub(r"([a-z])([A-Z])", r"\1_\2", name)) is not None
