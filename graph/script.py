"""The demo model's mind: from the conversation so far to what it says and which tools it calls next."""

import hashlib
import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.messages.tool import tool_call

from graph.answers import NOTE, WHICH_ORDER, Result, final_answer, found_order, small_talk, working
from graph.intents import Call, Request, understand
from graph.language import language_of


@dataclass(frozen=True)
class Reply:
    text: str
    calls: tuple[ToolCall, ...] = ()


def reply(messages: Sequence[BaseMessage], tools: AbstractSet[str]) -> Reply:
    """The next message. `tools` are the names bound to the model: it calls no other."""
    human = next((i for i in range(len(messages) - 1, -1, -1) if isinstance(messages[i], HumanMessage)), None)
    before, turn = messages[:human], messages[human + 1 :] if human is not None else []
    language = language_of(messages)
    text = messages[human].text if human is not None else ""
    request = understand(text, _last_order(before), _asked_which_order(before))
    results = _results(turn)
    if results:
        calls = _refunds(request, results) if "issue_refund" in tools else []
        fresh = _results(turn, since=max(i for i, message in enumerate(turn) if isinstance(message, AIMessage)))
        said = found_order(language, fresh) if calls else final_answer(language, fresh)
        if request.topic == "which_order":
            said += f"\n\n{WHICH_ORDER[language]}"
    else:
        calls = [call for call in request.calls if call[0] in tools]
        said = working(language, [name for name, _ in calls]) if calls else small_talk(language, request)
    first_turn = not any(isinstance(message, AIMessage) for message in before)
    if first_turn and not calls and NOTE[language] not in said:
        said += f"\n\n{NOTE[language]}"
    return Reply(said, tuple(_numbered(calls, messages)))


def _results(turn: Sequence[BaseMessage], since: int = 0) -> list[Result]:
    calls = {
        call["id"]: call for message in turn[since:] if isinstance(message, AIMessage) for call in message.tool_calls
    }
    answers = [message for message in turn if isinstance(message, ToolMessage) and message.tool_call_id in calls]
    return [
        Result(calls[message.tool_call_id]["name"], calls[message.tool_call_id]["args"], message.status, message.text)
        for message in answers
    ]


def _refunds(request: Request, results: Sequence[Result]) -> list[Call]:
    """The refunds whose order was just found; once they are asked for, none is left."""
    if any(result.tool == "issue_refund" for result in results):
        return []
    found = {
        result.args.get("order_id"): result.value for result in results if result.tool == "lookup_order" and result.ok
    }
    wanted = [refund for refund in request.refunds if refund.order_id in found]
    return [("issue_refund", {"order_id": found[refund.order_id]["id"], **refund.extra}) for refund in wanted]


def _last_order(before: Sequence[BaseMessage]) -> str | None:
    """The order spoken of last, so that "refund it" means something."""
    for message in reversed(before):
        if isinstance(message, ToolMessage) and message.name == "lookup_order" and message.status == "success":
            return str(json.loads(message.text)["id"])
    return None


def _asked_which_order(before: Sequence[BaseMessage]) -> bool:
    return bool(before) and any(question in before[-1].text for question in WHICH_ORDER.values())


def _numbered(calls: Sequence[Call], messages: Sequence[BaseMessage]) -> list[ToolCall]:
    """Call ids follow from the ids of the conversation: the same in a replay, different in another thread."""
    seed = "|".join(f"{message.id}:{message.text}" for message in messages[-3:])
    ids = (hashlib.sha256(f"{seed}|{len(messages)}|{index}".encode()).hexdigest()[:20] for index in range(len(calls)))
    return [tool_call(name=name, args=args, id=f"call_{id_}") for (name, args), id_ in zip(calls, ids, strict=True)]
