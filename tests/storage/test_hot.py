"""What is kept of messages, so that they are not packed and unpacked with every turn."""

import tracemalloc

from langchain_core.messages import HumanMessage

from threadmill_checkpoints.saver.hot import Hot
from threadmill_checkpoints.saver.parts import part
from threadmill_checkpoints.serde import Serializer

MB = 1 << 20


def test_it_takes_no_more_memory_than_it_may_however_short_the_messages_are() -> None:
    serde, hot = Serializer(), Hot(limit=MB)
    tracemalloc.start()
    try:
        for n in range(3000):
            message = HumanMessage("yes", id=str(n))
            hot.keep(f"thread {n // 50}", message, part(serde, message))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert MB / 4 < held < 1.5 * MB
