"""Messages as content blocks, the form in which the event protocol (v2) speaks of them.

Input is what the log holds: messages as JSON objects, whole or as chunks. What a graph stores is never changed by it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from langchain_core.messages import AIMessage, AIMessageChunk

Block = dict[str, Any]
HEAVY = frozenset({"args", "data", "output", "transcript", "value"})  # only in the finish of a block
DELTAS = {"text": ("text-delta", "text"), "reasoning": ("reasoning-delta", "reasoning")}
ROLES = {"human": "human", "user": "human", "system": "system", "tool": "tool"}  # everything else speaks as "ai"


@dataclass(slots=True)
class Message:
    """One message as it comes: feed it chunks, or the whole; each call yields the protocol's events for it.

    Events carry the message's id, so that two that are streamed at the same time cannot be mixed up; and it again as
    `run_id`, by which the JavaScript SDK tells them apart.
    """

    id: str
    text: int = 0  # characters of text that went out; each text delta says where it begins, the finish how many came
    _blocks: dict[Any, tuple[int, Block]] = field(default_factory=dict)
    _usage: dict[str, Any] | None = None
    _metadata: dict[str, Any] = field(default_factory=dict)
    _started: bool = False
    _hash: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=8))

    def feed(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not self._started:
            self._started = True
            yield self._start(message)
        for key, block in _slices(message):
            yield from self._block(key, block)
        self._metadata |= message.get("response_metadata") or {}
        if usage := message.get("usage_metadata"):
            self._usage = _sum(self._usage, usage)

    def finish(self) -> Iterator[dict[str, Any]]:
        for index, block in self._blocks.values():
            yield self._event("content-block-finish", index=index, content=_finished(block))
        done = self._event("message-finish", length=self.text, hash=self._hash.hexdigest())
        if self._usage:
            done["usage"] = self._usage
        if self._metadata:
            done["metadata"] = self._metadata
        yield done

    def fail(self, code: str, reason: str) -> dict[str, Any]:
        """It will not be finished: its run was stopped or failed, or began again."""
        return self._event("error", code=code, message=reason)

    def _event(self, event: str, **data: Any) -> dict[str, Any]:
        return {"event": event, "id": self.id, "run_id": self.id.removeprefix("lc_run--"), **data}

    def _start(self, message: dict[str, Any]) -> dict[str, Any]:
        start = self._event("message-start", role=role(message))
        if message.get("tool_call_id"):
            start["tool_call_id"] = message["tool_call_id"]
        known = message.get("response_metadata") or {}
        pairs = (("provider", "model_provider"), ("model", "model_name"))
        if named := {ours: known[theirs] for ours, theirs in pairs if theirs in known}:
            start["metadata"] = named
        return start

    def _block(self, key: Any, block: Block) -> Iterator[dict[str, Any]]:
        if key in self._blocks:
            index, so_far = self._blocks[key]
            _extend(so_far, block)
        else:
            index = len(self._blocks)
            self._blocks[key] = (index, dict(block))
            yield self._event("content-block-start", index=index, content=_skeleton(block))
        if delta := self._delta(block):
            yield self._event("content-block-delta", index=index, **delta)

    def _delta(self, block: Block) -> dict[str, Any] | None:
        kind = block.get("type", "")
        if kind in DELTAS:
            name, value = DELTAS[kind][0], block.get(DELTAS[kind][1])
            if not value:
                return None
            delta = {"type": name, DELTAS[kind][1]: value}
            if kind == "text":
                delta["offset"] = self.text
                self.text += len(value)
                self._hash.update(value.encode("utf-8", "replace"))
            return {"delta": delta}
        if kind.endswith("tool_call_chunk") and (args := block.get("args")):
            # The JavaScript SDK reads `content`; on a `tool-call-delta` alone it gives up all messages of the thread.
            return {"delta": {"type": "tool-call-delta", "args": args}, "content": {"type": kind, "args": args}}
        return {"delta": {"type": "data-delta", "data": block["data"]}} if block.get("data") else None


def role(message: dict[str, Any]) -> str:
    return ROLES.get(str(message.get("type", "")).removesuffix("MessageChunk").lower(), "ai")


def compact(value: Any) -> Any:
    """`value` with every message in it as the protocol shows one: without what is empty, an AI's content in blocks."""
    if isinstance(value, list):
        return [compact(one) for one in value]
    if not isinstance(value, dict):
        return value
    if not ("additional_kwargs" in value and "response_metadata" in value and "content" in value):
        return {key: compact(one) for key, one in value.items()}
    short: dict[str, Any] = {"type": value["type"], "content": value["content"]}
    if role(value) == "ai":
        short["content"] = _blocks(value)
    short |= {key: one for key, one in value.items() if key not in short and one not in (None, [], {}, "")}
    if value["type"] == "tool":
        short.setdefault("artifact", None)
    if calls := short.get("tool_calls"):
        short["tool_calls"] = [{"type": "tool_call", **call} for call in calls]
    return short


def _blocks(message: dict[str, Any]) -> list[Block]:
    text = message["content"]
    if isinstance(text, str):
        found: list[Block] = [{"type": "text", "text": text, "index": 0}] if text else []
        return found + [_call(call) for call in message.get("tool_calls") or ()]
    kept = {"content": text, "response_metadata": message["response_metadata"]}
    whole = AIMessage(**kept, tool_calls=message.get("tool_calls") or [])
    return [dict(block) for block in whole.content_blocks]


def _call(call: dict[str, Any]) -> Block:
    return {"type": "tool_call", "id": call.get("id"), "name": call.get("name"), "args": call.get("args")}


def _slices(message: dict[str, Any]) -> Iterator[tuple[Any, Block]]:
    """The blocks of a chunk, or of a whole message, each with what tells it from the others of its message."""
    content = message["content"]
    if not isinstance(content, str):
        yield from _structured(message)
        return
    if content:
        yield "text", {"type": "text", "text": content}
    if message["type"] == "AIMessageChunk":
        for place, call in enumerate(message.get("tool_call_chunks") or ()):
            index = call.get("index")
            key = place if index is None else index
            chunk = {
                "type": "tool_call_chunk",
                "id": call.get("id"),
                "name": call.get("name"),
                "args": call.get("args"),
            }
            yield ("call", key), chunk | ({} if index is None else {"index": index})
    else:
        for place, call in enumerate(message.get("tool_calls") or ()):
            yield ("call", place), _call(call)
        for place, call in enumerate(message.get("invalid_tool_calls") or ()):
            yield ("invalid", place), {**call, "type": "invalid_tool_call"}


def _structured(message: dict[str, Any]) -> Iterator[tuple[Any, Block]]:
    """Content that is a list already: LangChain knows each provider's blocks."""
    kind = AIMessageChunk if message["type"] == "AIMessageChunk" else AIMessage
    names = ("content", "response_metadata", "tool_calls", "tool_call_chunks", "chunk_position", "additional_kwargs")
    known = {name: message[name] for name in names if message.get(name) is not None and name in kind.model_fields}
    for place, block in enumerate(kind(**known).content_blocks):
        index = block.get("index")
        yield (block.get("type"), place) if index is None else index, dict(block)


def _skeleton(block: Block) -> Block:
    """What a block is, without its content."""
    kind = block.get("type", "text")
    if kind in DELTAS:
        hidden = {DELTAS[kind][1], "index", "annotations"}
        return {key: value for key, value in block.items() if key not in hidden} | {DELTAS[kind][1]: ""}
    if kind.endswith("tool_call_chunk"):
        return {**{key: value for key, value in block.items() if key != "extras"}, "args": ""}
    light = {key: value for key, value in block.items() if key not in HEAVY}
    needed: Block = {"args": {}} if kind.endswith("tool_call") else {"value": {}} if kind == "non_standard" else {}
    return light | needed


def _extend(block: Block, more: Block) -> None:
    kind = block.get("type", "")
    grows = DELTAS[kind][1] if kind in DELTAS else "args" if kind.endswith("tool_call_chunk") else "data"
    if kind != more.get("type") or (grows == "data" and "data" not in more):
        block.clear()
        block.update(more)
        return
    for key, value in more.items():
        if key == grows:
            block[key] = (block.get(key) or "") + (value or "")
        elif key == "extras" and isinstance(value, dict):
            block[key] = {**(block.get(key) or {}), **value}
        elif value is not None:
            block[key] = value


def _finished(block: Block) -> Block:
    kind = block.get("type", "")
    if not kind.endswith("tool_call_chunk"):
        return {key: value for key, value in block.items() if key != "index"}
    named = {key: value for key, value in block.items() if key not in ("type", "args", "index")}
    try:
        return {"type": kind.removesuffix("_chunk"), **named, "args": orjson.loads(block.get("args") or "{}")}
    except orjson.JSONDecodeError:
        reason = "Failed to parse tool call arguments as JSON"
        return {"type": "invalid_tool_call", **named, "args": block["args"], "error": reason}


def _sum(before: dict[str, Any] | None, usage: dict[str, Any]) -> dict[str, Any]:
    total = dict(before or {})
    for key, value in usage.items():
        if isinstance(value, int):
            total[key] = total.get(key, 0) + value
        elif isinstance(value, dict):
            total[key] = {**total.get(key, {}), **value}
    return total
