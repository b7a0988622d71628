"""Times and ids as the wire has them."""

from datetime import UTC, datetime
from uuid import UUID

from langchain_core.utils.uuid import uuid7

from threadmill.errors import Invalid


def stamp(moment: datetime) -> str:
    """ISO-8601 with microseconds and `+00:00`: sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def new_id() -> str:
    """Time-ordered (UUIDv7)."""
    return str(uuid7())


def parse_id(value: object, kind: str) -> str:
    """Canonical text of a UUID from a client. `kind` is what the message calls it, such as "thread"."""
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise Invalid(f"Invalid {kind} ID" + (": must be a UUID" if kind != "checkpoint" else "")) from None


def number(value: object) -> int:
    """One that every database holds. Raises ValueError."""
    if not isinstance(value, int) or abs(value) >= 2**62:
        raise ValueError(f"{value!r} is no number")
    return int(value)
