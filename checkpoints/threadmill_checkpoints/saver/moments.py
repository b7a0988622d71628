"""When a checkpoint was made: its id is a UUID of version 6, which begins with that."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1582, 10, 15, tzinfo=UTC)  # of the times in UUIDs


def made_at(checkpoint_id: str) -> datetime | None:
    """None if the id does not say."""
    digits = checkpoint_id.replace("-", "")
    try:
        return EPOCH + timedelta(microseconds=int(digits[:12] + digits[13:16], 16) / 10)
    except (ValueError, OverflowError):
        return None
