"""What an assistant takes, as a JSON schema that is always an object: tools and skills have named arguments."""

from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import Request

from threadmill import schemas
from threadmill.api.assistants import look_at
from threadmill.assistants import Assistant
from threadmill.auth import Caller
from threadmill.graphs import Graph
from threadmill.runtime import Runtime

logger = structlog.get_logger("threadmill.api")

KNOWN = 1000  # inputs that are remembered
MESSAGE = "HumanMessage"
SAY = "The user message to send to the agent."


@dataclass(frozen=True, slots=True)
class Input:
    """`wrapped`: the graph takes something other than an object, which is then the argument `input`.

    `spoken`: fields that take LangChain's messages. To callers they are a text, as the schema of messages in all their
    kinds is longer than most conversations; a list of messages is taken as well.
    """

    schema: dict[str, Any]
    wrapped: bool = False
    spoken: tuple[str, ...] = ()

    @property
    def fields(self) -> list[str]:
        return list(_target(self.schema).get("properties", {}))

    def value(self, arguments: dict[str, Any]) -> Any:
        if self.wrapped:
            return arguments.get("input")
        said = {key: arguments[key] for key in self.spoken if isinstance(arguments.get(key), str)}
        return {**arguments, **{key: [{"role": "user", "content": text}] for key, text in said.items()}}


async def input_of(http: Request, here: Runtime, me: Caller, assistant: Assistant) -> Input:
    """Described once for each version of an assistant and user, which takes some 80 ms."""
    state = http.app.state
    if not hasattr(state, "inputs"):
        state.inputs = {}
    known: dict[tuple[str, str | None], tuple[tuple[int, str], Input]] = state.inputs
    key = (assistant.assistant_id, me.user.identity if me.user else None)  # a factory may know the user
    # Deleted and created again, an assistant has the same id and version.
    version = (assistant.version, assistant.created_at)
    if key in known and known[key][0] == version:
        return known[key][1]

    async def look(graph: Graph) -> schemas.Schemas:
        return schemas.schemas(graph)

    try:
        found = _as_object((await look_at(here, me, assistant, look))["input_schema"])
    except Exception:  # a user's factory may raise anything; one of them must not hide all other assistants
        logger.exception("the input of an assistant is unknown", assistant_id=assistant.assistant_id)
        return Input({"type": "object"})
    if len(known) >= KNOWN:
        known.pop(next(iter(known)))
    known[key] = version, found
    return found


def _as_object(schema: dict[str, Any] | None) -> Input:
    if not schema:
        return Input({"type": "object"})
    if _target(schema).get("type") == "object":
        fields: dict[str, Any] = _target(schema).get("properties", {})
        spoken = tuple(key for key, field in fields.items() if MESSAGE in _references(field.get("items")))
        for key in spoken:
            fields[key] = {"type": "string", "title": fields[key].get("title", key), "description": SAY}
        return Input(_used({"type": "object", **schema}), spoken=spoken)
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    defs = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return Input({"type": "object", "properties": {"input": inner}, "required": ["input"], **defs}, wrapped=True)


def _used(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the definitions that nothing refers to any more."""
    known = schema.get("$defs", {})
    rest = {key: value for key, value in schema.items() if key != "$defs"}
    wanted, found = set[str](), _references(rest)
    while found:
        wanted |= found
        found = {more for name in found for more in _references(known.get(name))} - wanted
    defs = {name: known[name] for name in known if name in wanted}
    return {**rest, "$defs": defs} if defs else rest


def _references(schema: Any) -> set[str]:
    """Names of the definitions that a part of a schema refers to."""
    if isinstance(schema, list):
        return {name for item in schema for name in _references(item)}
    if not isinstance(schema, dict):
        return set()
    here = {schema["$ref"].removeprefix("#/$defs/")} if isinstance(schema.get("$ref"), str) else set[str]()
    return here | {name for item in schema.values() for name in _references(item)}


def _target(schema: dict[str, Any]) -> dict[str, Any]:
    """What a schema that only refers to one of its definitions refers to."""
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    found: dict[str, Any] = schema.get("$defs", {}).get(name, schema)
    return found
