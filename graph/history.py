"""How much of a long conversation the model sees. The state, and so the thread, keeps everything."""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

HISTORY_LIMIT = 40
"""Messages sent to the model: the latest whole turns that fit, and the current turn in any case."""


def left_out(messages: Sequence[AnyMessage]) -> int:
    """How many of the oldest messages the model does not see: the cut is always before a human message."""
    turns = [i for i, message in enumerate(messages) if isinstance(message, HumanMessage)]
    fitting = (turn for turn in turns if len(messages) - turn <= HISTORY_LIMIT)
    return next(fitting, turns[-1] if turns else 0)


def answered(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Every tool call gets an answer: providers refuse a history in which one was left open.

    It happens when the person writes something new instead of answering an interrupt.
    """
    done = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    complete: list[AnyMessage] = []
    for message in messages:
        complete.append(message)
        for call in message.tool_calls if isinstance(message, AIMessage) else []:
            if call["id"] not in done:
                text = "Not done: the person wrote something else instead of answering."
                complete.append(ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error"))
    return complete
