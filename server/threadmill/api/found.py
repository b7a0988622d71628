"""What a search answers, for /openapi.json."""

from datetime import datetime
from typing import Literal

from typing_extensions import TypedDict


class FoundText(TypedDict):
    """`snippet` has [[ and ]] round what was looked for."""

    thread_id: str
    title: str | None
    checkpoint_id: str | None
    message_id: str | None
    role: str | None
    kind: Literal["message", "tool_args", "tool_result", "title", "status"]
    snippet: str
    at: datetime
    score: float


class Found(TypedDict):
    hits: list[FoundText]
    next_cursor: str | None
