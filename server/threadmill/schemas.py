"""What a graph looks like from outside: its drawing, its JSON schemas, its subgraphs."""

import functools
import operator
import typing
from types import UnionType
from typing import Any

import typing_extensions
from langgraph.pregel import Pregel
from pydantic import TypeAdapter

from threadmill.graphs import Graph

Schemas = dict[str, dict[str, Any] | None]


async def drawing(graph: Graph, xray: bool | int = False) -> dict[str, list[dict[str, Any]]]:
    """Nodes and edges. `xray` puts subgraphs in the place of their nodes: all, or this many levels."""
    drawn = (await graph.aget_graph(xray=xray)).to_json()
    for node in drawn["nodes"]:
        if isinstance(node.get("data"), dict):  # a class path of LangGraph's, which may change at any time
            node["data"].pop("id", None)
    return drawn


def subgraphs(graph: Graph, namespace: str | None = None, *, recurse: bool = False) -> dict[str, Schemas]:
    """By namespace, such as `child|grandchild`, which is found only with `recurse`."""
    found = graph.get_subgraphs(namespace=namespace, recurse=recurse)
    return {name: schemas(child) for name, child in found if isinstance(child, Pregel)}


def schemas(graph: Graph) -> Schemas:
    """The five JSON schemas of an assistant; None where a type has none. `config_schema` mirrors the context."""
    channels = {key: graph.channels[key] for key in graph.stream_channels_list}
    state = {
        key: typing_extensions.NotRequired[getattr(channel, "UpdateType", Any)] for key, channel in channels.items()
    }
    builder = getattr(graph, "builder", None)
    context = _json_schema(graph.context_schema)
    return {
        "input_schema": _json_schema(graph.InputType),
        "output_schema": _json_schema(builder.output_schema if builder is not None else graph.OutputType),
        "state_schema": _json_schema(_typed_dict(graph.get_name("State"), state)),
        "config_schema": context or {},
        "context_schema": context,
    }


_typed_dict: Any = typing_extensions.TypedDict


def _json_schema(kind: Any) -> dict[str, Any] | None:
    if kind is None:
        return None
    try:
        return TypeAdapter(_modern(kind, ())).json_schema()
    except Exception:
        return None


def _modern(kind: Any, within: tuple[Any, ...]) -> Any:
    """`kind` with each `typing.TypedDict` made one of typing_extensions: before 3.12 pydantic refuses the former."""
    if typing_extensions.is_typeddict(kind):
        if kind in within:
            return dict[str, Any]
        hints = typing.get_type_hints(kind, include_extras=True)
        items = {
            key: value if key in kind.__required_keys__ else typing_extensions.NotRequired[value]
            for key, hint in hints.items()
            for value in [_modern(_bare(hint), (*within, kind))]
        }
        return _typed_dict(kind.__name__, items)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return typing.Annotated[_modern(arguments[0], within), *arguments[1:]]
    if origin in (typing.Union, UnionType):
        return functools.reduce(operator.or_, (_modern(argument, within) for argument in arguments))
    if origin in (list, dict, tuple, set):
        return origin[tuple(_modern(argument, within) for argument in arguments)]
    return kind


def _bare(hint: Any) -> Any:
    required = (typing.Required, typing.NotRequired, typing_extensions.Required, typing_extensions.NotRequired)
    return typing.get_args(hint)[0] if typing.get_origin(hint) in required else hint
