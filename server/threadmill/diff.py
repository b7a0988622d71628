"""In what two checkpoints differ: messages, channels, the way through the tools, tokens, time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill.errors import NotFound
from threadmill.jsonable import plain
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import lines
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.states import put_together
from threadmill_checkpoints.saver.steps import MESSAGES, Step, Steps

INTERNAL = ("__", "branch:", "join:")
TOKENS = ("input_tokens", "output_tokens", "total_tokens")
Place = tuple[str, str]  # thread, checkpoint


class Side:
    """One of the two checkpoints."""

    def __init__(self, tx: Tx, serde: SerializerProtocol, place: Place) -> None:
        thread_id, self.checkpoint_id = place
        steps = Steps(tx, serde, thread_id)
        by_id = {step.checkpoint_id: step for step in steps.read()}
        row = View(tx, thread_id).get("", self.checkpoint_id)
        if self.checkpoint_id not in by_id or row is None:
            raise NotFound(f"Checkpoint {self.checkpoint_id} not found")
        parents = {one: step.parent for one, step in by_id.items()}
        self.line: list[Step] = [by_id[one] for one in lines.ancestors(parents, self.checkpoint_id)]
        self.messages = steps.messages(self.checkpoint_id)
        self.values: dict[str, Any] = {
            name: plain(value)
            for name, value in put_together(serde, row, steps.reader)["channel_values"].items()
            if name != MESSAGES and not name.startswith(INTERNAL)
        }

    def since(self, base: str | None) -> list[Step]:
        """Newest first."""
        ids = [step.checkpoint_id for step in self.line]
        return self.line[: ids.index(base)] if base in ids else self.line

    def told(self, base: str | None, messages: Sequence[Any]) -> dict[str, Any]:
        """What this side did by itself; `messages` are those that the other one has not."""
        steps = self.since(base)
        return {
            "checkpoint_id": self.checkpoint_id,
            "messages": messages,
            "tools": _tools(messages),
            "tokens": {name: sum(_used(one).get(name, 0) for one in messages) for name in TOKENS},
            "steps": len(steps),
            "seconds": _worked(steps, self.line),
        }


def diff(tx: Tx, serde: SerializerProtocol, a: Place, b: Place) -> dict[str, Any]:
    """The two may be of one thread, or of threads of which one is a fork of the other."""
    one, other = Side(tx, serde, a), Side(tx, serde, b)
    there = {step.checkpoint_id for step in other.line}
    base = next((step.checkpoint_id for step in one.line if step.checkpoint_id in there), None)
    left, right = plain(one.messages), plain(other.messages)
    names = sorted(one.values.keys() | other.values.keys())
    return {
        "base": base,
        "common_messages": _common(left, right),
        "channels": {name: _values(one, other, name) for name in names if _values(one, other, name)},
        "a": one.told(base, [message for message, shown in zip(one.messages, left, strict=True) if shown not in right]),
        "b": other.told(
            base, [message for message, shown in zip(other.messages, right, strict=True) if shown not in left]
        ),
    }


def _values(one: Side, other: Side, name: str) -> dict[str, Any]:
    """Nothing if they are the same; a side that has no value is left out."""
    sides = {"a": one.values, "b": other.values}
    found = {side: values[name] for side, values in sides.items() if name in values}
    return {} if len(found) == 2 and found["a"] == found["b"] else found


def _common(left: Sequence[Any], right: Sequence[Any]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))


def _tools(messages: Sequence[Any]) -> list[dict[str, Any]]:
    """The calls in order, each with how it ended; None when it has no answer."""
    ended = {one.tool_call_id: one.status for one in messages if isinstance(one, ToolMessage)}
    return [
        {"id": call["id"], "name": call["name"], "args": call["args"], "status": ended.get(call["id"] or "")}
        for one in messages
        if isinstance(one, AIMessage)
        for call in one.tool_calls
    ]


def _used(message: Any) -> Mapping[str, int]:
    return (isinstance(message, AIMessage) and message.usage_metadata) or {}  # type: ignore[return-value]


def _worked(steps: Sequence[Step], line: Sequence[Step]) -> float:
    """How long the graph ran: not the time between, in which a person thought."""
    at = {step.checkpoint_id: datetime.fromisoformat(step.at) for step in line}
    took = [
        (at[step.checkpoint_id] - at[step.parent]).total_seconds()
        for step in steps
        if step.source == "loop" and step.parent in at
    ]
    return round(sum(took), 6)
