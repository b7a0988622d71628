"""What a run's request gives to its graph."""

import dataclasses
from typing import Any

from langgraph.types import Command, Send
from pydantic import BaseModel
from typing_extensions import is_typeddict

from threadmill.graphs import Graph


def input_of(kwargs: dict[str, Any]) -> Any:
    """A command wins over an input."""
    command = kwargs["command"]
    if command is None:
        return kwargs["input"]
    named: dict[str, Any] = {}
    if command.get("resume") is not None:
        named["resume"] = command["resume"]
    if command.get("update") is not None:
        update = command["update"]
        pairs = isinstance(update, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in update)
        named["update"] = [tuple(pair) for pair in update] if pairs else update
    if command.get("goto"):
        named["goto"] = _goto(command["goto"])
    return Command(**named) if named else None


def _goto(goto: Any) -> Any:
    if isinstance(goto, list):
        return [_goto(one) for one in goto]
    return Send(goto["node"], goto.get("input")) if isinstance(goto, dict) else goto


def context_of(graph: Graph, kwargs: dict[str, Any]) -> Any:
    """What the graph's schema does not know is left out: context mirrors configurable, which may hold more."""
    context = kwargs["context"]
    schema = graph.context_schema
    if schema is None:
        return context or None
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        known = set(schema.model_fields)
    elif dataclasses.is_dataclass(schema):
        known = {one.name for one in dataclasses.fields(schema)}
    elif is_typeddict(schema):
        known = set(schema.__annotations__)
    else:
        return context
    return {key: value for key, value in context.items() if key in known}
