"""Commands of the event protocol (v2): their envelope, and the answers to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from threadmill.errors import ThreadmillError

MODES = (
    "values",
    "updates",
    "messages",
    "tools",
    "lifecycle",
    "custom",
    "tasks",
    "checkpoints",
)  # that its runs record


class Refused(ThreadmillError):
    """A command that is answered with an error of the protocol."""

    status = 200

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.protocol_code = code


class Malformed(Refused):
    """Not a command at all."""

    status = 400

    def __init__(self, command_id: Any) -> None:
        super().__init__("invalid_argument", "Protocol commands must include an integer id and string method.")
        self.command_id = command_id


@dataclass(frozen=True, slots=True)
class Command:
    id: int
    method: str
    params: Mapping[str, Any]

    @classmethod
    def parse(cls, value: Any) -> "Command":
        """Raises Malformed."""
        known = value if isinstance(value, dict) else {}
        number, method, params = known.get("id"), known.get("method"), known.get("params")
        if isinstance(number, bool):
            number = None
        if not isinstance(number, int) or not isinstance(method, str):
            raise Malformed(number if isinstance(number, int | str) else None)
        return cls(number, method, params if isinstance(params, dict) else {})

    def text(self, name: str) -> str:
        """A parameter that must be there. Raises Refused."""
        value = self.params.get(name)
        if not isinstance(value, str) or not value:
            article = "an" if name[0] in "aeiou" else "a"
            raise Refused("invalid_argument", f"{self.method} requires {article} {name}.")
        return value

    def typed(self, name: str, kind: type, default: Any = None) -> Any:
        """A parameter that may be there. Raises Refused."""
        value = self.params.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            noun = {dict: "an object", list: "an array", int: "a whole number", str: "a string"}[kind]
            raise Refused("invalid_argument", f"{name} must be {noun}.")
        return value

    def texts(self, name: str) -> list[str] | None:
        """A list of texts that may be there. Raises Refused."""
        values = self.typed(name, list)
        if values is not None and not all(isinstance(value, str) for value in values):
            raise Refused("invalid_argument", f"{name} must be an array of strings.")
        return values  # type: ignore[no-any-return]


def success(command: Command, result: Mapping[str, Any], seq: int) -> dict[str, Any]:
    """`seq`: what happened up to that number is known to the answer; what the command brings about comes after it."""
    return {"type": "success", "id": command.id, "result": result, "meta": {"applied_through_seq": seq}}


def failure(command_id: Any, error: ThreadmillError) -> dict[str, Any]:
    code = error.protocol_code if isinstance(error, Refused) else CODES.get(error.status, "unknown_error")
    return {"type": "error", "id": command_id, "error": code, "message": error.message}


CODES = {403: "permission_denied", 400: "invalid_argument", 422: "invalid_argument"}
