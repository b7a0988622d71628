"""What the clients of a graph see of its state: the channels of its output, as LangGraph's `output_keys` picks them."""

from typing import Any

from langgraph._internal._constants import INTERRUPT


class Shown:
    def __init__(self, channels: frozenset[str]) -> None:
        self._channels = channels
        self._written = True
        self._before: dict[str, Any] | None = None

    def begin(self, given: Any) -> None:
        """The input of a run: the state after it is told only if a channel was written to."""
        self._written = not isinstance(given, dict) or not self._channels.isdisjoint(given)

    def values(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """None when no channel was written to since the last one, so that nobody takes an old output for a new one."""
        part = self.part(state)
        before, self._before = self._before, part
        written, self._written = self._written, False
        # A hidden task has no update: its writes are seen here.
        changed = before is not None and any(before.get(key) is not value for key, value in part.items())
        return part if part and (written or changed or INTERRUPT in part) else None

    def updates(self, told: dict[str, Any]) -> dict[str, Any]:
        parts = {node: update if node == INTERRUPT else self._update(update) for node, update in told.items()}
        self._written |= any(part is not None for part in parts.values())
        return parts

    def part(self, state: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in state.items() if key == INTERRUPT or key in self._channels}

    def _update(self, update: Any) -> Any:
        """Of one node; a list is of several tasks."""
        if isinstance(update, list):
            return [part for one in update if (part := self._update(one)) is not None] or None
        return (self.part(update) or None) if isinstance(update, dict) else update
