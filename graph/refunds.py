"""Refunding an order: a person approves, changes or rejects it first, and an order is refunded at most once."""

import asyncio
import json
from decimal import Decimal
from typing import Annotated, Any

from langchain_core.tools import ToolException, tool
from langgraph.store.base import BaseStore
from langgraph.types import interrupt

from graph.approval import OPTIONS, RESPONSE_SCHEMA, Approval, read_approval
from graph.orders import REFUNDABLE, Order, find_order
from graph.status import Runtime, Status

REFUNDS = ("refunds",)
CENT = Decimal("0.01")


@tool
async def issue_refund(
    order_id: Annotated[str, "The order number."],
    runtime: Runtime,
    amount: Annotated[float | None, "The amount in the order's currency; leave it out for the whole order."] = None,
    reason: Annotated[str, "Why, in the person's words."] = "",
) -> str:
    """Refund an order. A person is asked to approve, change or reject it before any money moves."""
    # A resumed run starts this function again from the top: until the person has answered, it only reads.
    status = Status(runtime, "issue_refund", total=2)
    await status.start(f"Checking order {order_id} for a refund…", f"正在核对订单 {order_id} 的退款条件…")
    if runtime.store is None:
        raise ToolException("This deployment has no store, so refunds cannot be recorded.")
    attempt = runtime.execution_info.node_attempt if runtime.execution_info else 1
    order = await asyncio.to_thread(find_order, order_id, attempt)
    request = f"{runtime.config.get('configurable', {}).get('thread_id', '')}/{runtime.tool_call_id}"
    earlier = await refund_of(runtime.store, order) if order else None
    if earlier and earlier["request"] == request:
        await status.done(*_refunded_text(earlier))
        return json.dumps(earlier, ensure_ascii=False)
    if order is None or earlier or order.status not in REFUNDABLE:
        await status.done("This order cannot be refunded", "此订单无法退款")
        raise ToolException(_refusal(status, order_id, order, earlier))

    approval = _ask(status, order, amount, reason)
    if not approval.approved:
        await status.done("The refund was rejected", "退款申请被拒绝")
        rejected = {"status": "rejected", "order_id": order.id, "note": approval.note}
        return json.dumps(
            {**rejected, "advice": "A person rejected this refund; do not ask again."}, ensure_ascii=False
        )
    await status.advance("Approved, refunding…", "已批准，正在退款…")
    refund = {
        "status": "refunded",
        "refund_id": f"RF-{order.id}",
        "order_id": order.id,
        "amount": float(approval.amount or order.total),
        "currency": order.currency,
        "reason": reason,
        "request": request,
    }
    # One key per order: whatever is executed twice is written once.
    await runtime.store.aput(REFUNDS, order.id, refund)
    await status.done(*_refunded_text(refund))
    return json.dumps(refund, ensure_ascii=False)


async def refund_of(store: BaseStore, order: Order) -> dict[str, Any] | None:
    item = await store.aget(REFUNDS, order.id)
    return item.value if item else None


def _ask(status: Status, order: Order, asked: float | None, reason: str) -> Approval:
    """Asks until the answer can be understood; the approval it returns names the amount to refund."""
    amount = order.total if asked is None else Decimal(str(asked))
    problem = _wrong_amount(status, order, amount)
    if problem:
        raise ToolException(problem)
    while True:
        approval = read_approval(interrupt(_question(status, order, amount, reason, problem)))
        if approval is None:
            problem = status.say("Please answer approve, reject or edit.", "请回答批准、拒绝或修改。")
        elif not approval.approved:
            return approval
        else:
            final = amount if approval.amount is None else approval.amount
            problem = _wrong_amount(status, order, final)
            if not problem:
                return Approval(True, final, approval.note)


def _question(status: Status, order: Order, amount: Decimal, reason: str, problem: str | None) -> dict[str, Any]:
    question = status.say(
        f"Refund {amount:.2f} {order.currency} for order {order.id}?",
        f"是否为订单 {order.id} 退款 {amount:.2f} {order.currency}？",
    )
    asked = f"{problem} {question}" if problem else question
    return {
        "type": "approval",
        "action": "issue_refund",
        "tool_call_id": status.runtime.tool_call_id,
        "question": asked,
        "order": order.as_json(),
        "amount": float(amount),
        "currency": order.currency,
        "reason": reason,
        "options": OPTIONS,
        "response_schema": RESPONSE_SCHEMA,
        # For pages that know only the questions of LangChain's HumanInTheLoopMiddleware. Only what may be edited.
        "action_requests": [{"name": "issue_refund", "args": {"amount": float(amount)}, "description": asked}],
        "review_configs": [{"action_name": "issue_refund", "allowed_decisions": OPTIONS}],
    }


def _wrong_amount(status: Status, order: Order, amount: Decimal) -> str | None:
    if amount.is_finite() and CENT <= amount <= order.total and amount == amount.quantize(CENT):
        return None
    return status.say(
        f"Order {order.id} can be refunded by 0.01 to {order.total} {order.currency}, not {amount}.",
        f"订单 {order.id} 可退 0.01 至 {order.total} {order.currency}，不能退 {amount}。",
    )


def _refusal(status: Status, order_id: str, order: Order | None, earlier: dict[str, Any] | None) -> str:
    if order is None:
        return status.say(f"There is no order {order_id}.", f"没有订单 {order_id}。")
    if earlier:
        paid = f"{earlier['amount']:.2f} {earlier['currency']} ({earlier['refund_id']})"
        return status.say(f"Order {order.id} was already refunded: {paid}.", f"订单 {order.id} 已经退过款：{paid}。")
    return status.say(f"Order {order.id} is {order.status}: nothing to refund.", f"订单 {order.id} 已取消，无需退款。")


def _refunded_text(refund: dict[str, Any]) -> tuple[str, str]:
    amount = f"{refund['amount']:.2f} {refund['currency']}"
    return f"Refunded {amount}", f"已退款 {amount}"
