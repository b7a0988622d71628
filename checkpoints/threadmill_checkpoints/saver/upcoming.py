"""What a stored state waits for, without the graph that made it."""

from collections.abc import Mapping
from typing import Any

from langgraph.types import Send

BRANCH, JOIN, TASKS, START = "branch:to:", "join:", "__pregel_tasks", "__start__"
OWN = (BRANCH, JOIN, "__")  # what LangGraph's own channels begin with


def upcoming(values: Mapping[str, Any]) -> list[str]:
    """The nodes that are next, by the names of LangGraph's own channels. `values` are a checkpoint's."""
    found = [START] if START in values else []
    for channel, value in values.items():
        if channel.startswith(BRANCH):
            found.append(channel.removeprefix(BRANCH))
        elif channel.startswith(JOIN) and isinstance(value, set | frozenset | list | tuple):
            waited_for, _, node = channel.removeprefix(JOIN).rpartition(":")
            if set(value) >= set(waited_for.split("+")):
                found.append(node)
    for one in values.get(TASKS) or []:
        if isinstance(one, Send):
            found.append(one.node)
    return found


def shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """The state without LangGraph's own channels."""
    return {channel: value for channel, value in values.items() if not channel.startswith(OWN)}
