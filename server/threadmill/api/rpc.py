"""JSON-RPC 2.0 as MCP and A2A speak it: a message in, a result or a fault out."""

from typing import Any, Literal

from pydantic import Field, ValidationError

from threadmill.api import answers
from threadmill.api.wire import Body
from threadmill.jsonable import dumps

PARSE, REQUEST, METHOD, PARAMS = -32700, -32600, -32601, -32602


class Message(Body):
    """Without an `id` a notification, without a `method` an answer."""

    jsonrpc: Literal["2.0"]
    id: int | str | None = None
    method: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)


# The body is read by hand, as its faults have a form of their own; this is for /openapi.json.
BODY = {"requestBody": {"content": {"application/json": {"schema": Message.model_json_schema()}}}}

UNREADABLE: answers.Responses = {400: {"model": answers.Unreadable | answers.Refusal, "description": answers.WHY[400]}}


class Fault(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def read(value: Any) -> Message:
    """Raises a Fault with one sentence."""
    if not isinstance(value, dict):
        raise Fault(REQUEST, "Invalid message format.")
    if value.get("jsonrpc") != "2.0":
        raise Fault(REQUEST, "Invalid JSON-RPC message. Missing or invalid jsonrpc version.")
    try:
        return Message.model_validate({key: item for key, item in value.items() if item is not None})
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"][:1])
        raise Fault(REQUEST, f"Invalid JSON-RPC message: {place}.") from error


def result(message_id: int | str | None, value: Any) -> bytes:
    return dumps({"jsonrpc": "2.0", "id": message_id, "result": value})


def fault(message_id: int | str | None, error: Fault) -> bytes:
    return dumps({"jsonrpc": "2.0", "id": message_id, "error": {"code": error.code, "message": str(error)}})
