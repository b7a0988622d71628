"""How an attempt of a run ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from threadmill.changed import GraphChanged
from threadmill.jsonable import dumps, error_fields
from threadmill.runs.run import REASONS, Action
from threadmill.summary import Summary
from threadmill_checkpoints.database import Tx

Ending = Literal["success", "error", "timeout", "interrupt", "rollback", "stop", "put_back"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `values` is the state as JSON, `output` what `wait` answers, both None if nothing ran.
    `refused`: it ended before it began and leaves its thread as it was. `undone`: what it wrote is taken back.

    `verify`, called in the transaction that ends the run, raises if a checkpoint before it could not be written;
    `write` writes the last one.
    """

    ending: Ending
    paused: bool = False
    refused: bool = False
    undone: bool = False
    values: bytes | None = None
    output: bytes | None = None
    error: dict[str, Any] | None = None
    summary: Summary | None = None
    cause: BaseException | None = None
    verify: Callable[[], None] = lambda: None
    write: Callable[[Tx], None] = lambda _: None


def stopped_early(action: Action, reason: str = "") -> Outcome:
    name = "UserRollback" if action == "rollback" else "UserInterrupt"
    return Outcome(action, error={"error": name, "message": reason or REASONS[action]})


def failed(error: BaseException, ending: Ending = "error") -> Outcome:
    shown: dict[str, Any] = error_fields(error)
    if isinstance(error, GraphChanged):
        shown["choices"] = list(error.choices)
    return Outcome(ending, output=dumps({"__error__": shown}), error=shown, cause=error)
