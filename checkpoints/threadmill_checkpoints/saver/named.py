"""The ids of messages that come without one."""

import uuid
from typing import Any

from langchain_core.messages import BaseMessage


def give_ids(value: Any) -> None:
    """Messages of a task get theirs when it ends, as when LangGraph streams them: who reads the state while others of
    the superstep are at work sees those that stay."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, BaseMessage) and one.id is None:
            one.id = str(uuid.uuid4())
