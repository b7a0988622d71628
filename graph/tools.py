"""What the agent can do. Each tool answers in JSON, which every model reads, and reports its steps as it goes."""

import asyncio
import hashlib
import json
from typing import Annotated, Any

from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.store.base import BaseStore

from graph.arithmetic import ArithmeticRefused, evaluate, written
from graph.knowledge import knowledge_base
from graph.orders import STATUS_IN_CHINESE, find_order
from graph.refunds import issue_refund, refund_of
from graph.status import Runtime, Status

MEMORY_LIMIT = 200


@tool
async def lookup_order(
    runtime: Runtime,
    order_id: Annotated[str | None, "The order number; leave it out for the person's latest order."] = None,
) -> str:
    """Look up an order: what was bought, its status, tracking number and whether it was refunded."""
    status = Status(runtime, "lookup_order", total=2)
    await status.start("Querying your order…", "正在查询您的订单…")
    attempt = runtime.execution_info.node_attempt if runtime.execution_info else 1
    order = await asyncio.to_thread(find_order, order_id, attempt)
    if order is None:
        await status.done(f"No order {order_id}", f"没有找到订单 {order_id}")
        raise ToolException(status.say(f"There is no order {order_id}.", f"没有订单 {order_id}。"))
    if order_id is None:
        await status.advance("Found the latest transaction", "已找到最近一笔交易")
    else:
        await status.advance(f"Found order {order.id}", f"已找到订单 {order.id}")
    refund = await refund_of(runtime.store, order) if runtime.store else None
    await status.done(f"Order {order.id}: {order.status}", f"订单 {order.id}：{STATUS_IN_CHINESE[order.status]}")
    return _json({**order.as_json(), "refund": refund})


@tool
async def search_knowledge(
    query: Annotated[str, "A question or key words, in the person's language."], runtime: Runtime
) -> str:
    """Search the shop's help articles (shipping, returns, warranty, account, payment…). Cite results as [n]."""
    status = Status(runtime, "search_knowledge", total=2)
    await status.start(f"Searching the knowledge base for “{query}”…", f"正在知识库中搜索“{query}”…")
    passages = await asyncio.to_thread(lambda: knowledge_base().search(query))
    sources = [{"n": n, "title": found.title, "file": found.file} for n, found in enumerate(passages, 1)]
    await status.advance(f"Passages read: {len(passages)}", f"已阅读 {len(passages)} 段内容")
    await status.done(f"Sources found: {len(passages)}", f"找到 {len(passages)} 处来源", sources=sources)
    results = [{**source, "text": found.text} for source, found in zip(sources, passages, strict=True)]
    return _json({"query": query, "results": results})


@tool
async def calculate(
    expression: Annotated[str, "Arithmetic such as (2 + 3) * 4 ** 2, with abs, max, min, round, sqrt, pi and e."],
    runtime: Runtime,
) -> str:
    """Calculate an arithmetic expression exactly as written."""
    status = Status(runtime, "calculate", total=1)
    await status.start(f"Calculating {expression}…", f"正在计算 {expression}…")
    try:
        result = written(evaluate(expression))
    except ArithmeticRefused as refusal:
        await status.done("Cannot be calculated", "无法计算")
        reason = status.say(f"Cannot calculate {expression!r}: {refusal}.", f"无法计算 {expression!r}({refusal})。")
        raise ToolException(reason) from refusal
    await status.done("Calculated", "计算完成")
    return _json({"expression": expression, "result": result})


@tool
async def remember(fact: Annotated[str, "One fact about the person, in their own words."], runtime: Runtime) -> str:
    """Remember a fact about the person for this and every later conversation."""
    status = Status(runtime, "remember", total=1)
    await status.start("Writing it down…", "正在记录…")
    # The key is the fact itself, so remembering it twice keeps one copy, at its first place in time.
    key = hashlib.sha256(fact.strip().lower().encode()).hexdigest()[:16]
    store, memories = _store(runtime), _memories(runtime)
    if await store.aget(memories, key) is None:
        await store.aput(memories, key, {"text": fact.strip()})
    await status.done("Remembered", "已记住")
    return _json({"remembered": fact.strip()})


@tool
async def recall(
    runtime: Runtime, query: Annotated[str, "Words to look for; leave it empty for everything remembered."] = ""
) -> str:
    """Recall what the person asked to remember, also in earlier conversations."""
    status = Status(runtime, "recall", total=1)
    await status.start("Looking through my memory…", "正在查找记忆…")
    items = await _store(runtime).asearch(_memories(runtime), limit=MEMORY_LIMIT)
    facts = [str(item.value["text"]) for item in sorted(items, key=lambda item: (item.created_at, item.key))]
    words = query.lower().split()
    found = [fact for fact in facts if not words or any(word in fact.lower() for word in words)]
    await status.done(f"Memories found: {len(found)}", f"找到 {len(found)} 条记忆")
    return _json({"query": query, "memories": found})


TOOLS: list[BaseTool] = [lookup_order, issue_refund, search_knowledge, calculate, remember, recall]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _store(runtime: Runtime) -> BaseStore:
    if runtime.store is None:
        raise ToolException("This deployment has no store, so nothing can be remembered.")
    return runtime.store


def _memories(runtime: Runtime) -> tuple[str, str]:
    """One namespace per person; "." is not allowed in a namespace but common in e-mail addresses."""
    user = str(runtime.config.get("configurable", {}).get("user_id") or "default")
    return ("memories", user.replace("%", "%25").replace(".", "%2E"))
