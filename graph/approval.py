"""A person's answer to a refund request, in any of the forms that chat pages and inboxes send."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

YES = re.compile("approved?|accept(ed)?|yes|y|ok|okay|true|confirm|allow|批准|同意|确认|可以|是|好|好的|通过")
NO = re.compile("reject(ed)?|declined?|deny|denied|no|n|false|cancel|ignore|拒绝|不同意|取消|否|不|不行|不可以")
EDIT = re.compile("edit(ed)?|修改")

OPTIONS = ["approve", "reject", "edit"]
RESPONSE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": OPTIONS},
        "amount": {"type": "number", "exclusiveMinimum": 0, "description": "For edit: the amount to refund instead."},
        "reason": {"type": "string", "description": "For reject: why."},
    },
    "required": ["type"],
}


@dataclass(frozen=True)
class Approval:
    approved: bool
    amount: Decimal | None = None
    note: str = ""


def read_approval(answer: Any) -> Approval | None:
    """True, "approve", {"approved": true, "amount": 5}, {"type": "edit", "args": {"amount": 5}}, {"decisions": [...]}.

    None when it is none of these: money must not move, nor a request be dropped, because of a misread answer.
    """
    if isinstance(answer, str) and answer.lstrip().startswith(("{", "[", '"')):
        try:
            return read_approval(json.loads(answer))
        except ValueError:
            return None
    if isinstance(answer, list):
        return read_approval(answer[0]) if len(answer) == 1 else None
    if isinstance(answer, dict):
        return read_approval(answer["decisions"]) if "decisions" in answer else _from_object(answer)
    verdict = _verdict(answer)
    return None if verdict is None or verdict == "edit" else Approval(verdict == "yes")


def _from_object(answer: dict[str, Any]) -> Approval | None:
    named = (answer.get(key) for key in ("approved", "approve", "type", "decision", "action", "response", "answer"))
    verdict = next((verdict for value in named if (verdict := _verdict(value))), None)
    fields = dict(_leaves(answer))
    note = str(
        next((fields[key] for key in ("reason", "note", "message", "comment", "feedback") if fields.get(key)), "")
    )
    if verdict == "no":
        return Approval(False, note=note)
    amount = _amount(fields["amount"]) if fields.get("amount") is not None else None
    unreadable = fields.get("amount") is not None and amount is None
    if verdict is None or unreadable or (verdict == "edit" and amount is None):
        return None
    return Approval(True, amount, note)


def _verdict(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return None
    word = value.strip().strip(".!。\uff01").lower()
    return "yes" if YES.fullmatch(word) else "no" if NO.fullmatch(word) else "edit" if EDIT.fullmatch(word) else None


def _leaves(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner)
        else:
            yield key, inner


def _amount(value: Any) -> Decimal | None:
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None
