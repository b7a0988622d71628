"""What the demo model says, in both languages, from what the tools really returned."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from graph.intents import Request
from graph.language import Language
from graph.orders import STATUS_IN_CHINESE
from graph.story import story

NOTE: dict[Language, str] = {
    "en": "(I am Threadmill's offline demo model: I follow a script and understand a handful of requests. "
    "Set THREADMILL_MODEL=provider:name to talk to a real model.)",
    "zh": "(我是 Threadmill 的离线演示模型：我按脚本回答，只能理解少数几类请求。"
    "设置 THREADMILL_MODEL=provider:name 即可使用真正的模型。)",
}
WHICH_ORDER: dict[Language, str] = {
    "en": "Which order shall I refund? Please give me its number, or say “my latest order”.",
    "zh": "请问要退款的是哪一笔订单？请告诉我订单号，或者说“最近一笔订单”。",
}
HELP: dict[Language, str] = {
    "en": """I can:
- look up an order: “Where is order 4711?”, “my latest order”
- refund an order, once a person has approved it: “Refund order 4711”
- search the knowledge base: “What is the return policy?”
- calculate: “What is 15% of 80?”
- remember and recall: “Remember that I like green tea”, “What do you know about me?”
- write a long text: “Write a story of 500 words”
Several requests in one message run at the same time.""",
    "zh": """我可以：
- 查询订单：“订单 4711 到哪了？”、“我的最近一笔订单”
- 经人工批准后退款：“给订单 4711 退款”
- 搜索知识库：“退货政策是什么？”
- 计算：“80 的 15% 是多少？”
- 记住和回忆：“记住我喜欢绿茶”、“你记得我什么？”
- 写长文：“写一个 500 字的故事”
一条消息里的多个请求会同时执行。""",
}
TALK: dict[str, dict[Language, str]] = {
    "greeting": {"en": "Hello! I look after the orders of a small shop. ", "zh": "您好！我负责一家小店的订单服务。"},
    "thanks": {"en": "You are welcome!", "zh": "不客气！"},
    "help": {"en": "", "zh": ""},
    "unknown": {"en": "That is not in my script. ", "zh": "这超出了我的脚本。"},
}
WORKING: dict[str, dict[Language, str]] = {
    "lookup_order": {"en": "look up the order", "zh": "查询订单"},
    "search_knowledge": {"en": "search the knowledge base", "zh": "搜索知识库"},
    "calculate": {"en": "calculate", "zh": "计算"},
    "remember": {"en": "write that down", "zh": "记下来"},
    "recall": {"en": "look through my memory", "zh": "查找记忆"},
}


@dataclass(frozen=True)
class Result:
    """One tool's answer: JSON when it succeeded, a sentence when it refused."""

    tool: str
    args: dict[str, Any]
    status: str
    text: str

    @property
    def ok(self) -> bool:
        return self.status == "success"

    @property
    def value(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.text)
        return value


def small_talk(language: Language, request: Request) -> str:
    if request.topic == "long":
        return story(language, request.words)
    if request.topic == "which_order":
        return WHICH_ORDER[language]
    talk = TALK[request.topic or "unknown"][language]
    return talk if request.topic == "thanks" else f"{talk}{HELP[language]}\n\n{NOTE[language]}"


def working(language: Language, tools: Sequence[str]) -> str:
    phrases = list(dict.fromkeys(WORKING[tool][language] for tool in tools))
    if language == "zh":
        return f"好的，我来{'、'.join(phrases)}。"
    return f"One moment, let me {', '.join(phrases[:-1])}{' and ' if phrases[1:] else ''}{phrases[-1]}."


def found_order(language: Language, results: Sequence[Result]) -> str:
    """Said between looking an order up and asking a person for its refund."""
    described = final_answer(language, results)
    waiting = {"en": "I am requesting the refund now; a person decides.", "zh": "我现在申请退款，由人工审批。"}
    return f"{described}\n\n{waiting[language]}"


def final_answer(language: Language, results: Sequence[Result]) -> str:
    numbers = count(1)
    parts = []
    for result in results:
        if not result.ok:
            parts.append(result.text)
        elif result.tool == "search_knowledge":
            parts.append(_passages(language, result.value, numbers))
        else:
            parts.append(_described(language, result))
    return "\n\n".join(parts)


def _described(language: Language, result: Result) -> str:
    chinese = language == "zh"
    match result.tool:
        case "lookup_order":
            return _order(chinese, result.value)
        case "issue_refund":
            return _refund(chinese, result.value)
        case "calculate":
            return f"{result.value['expression']} = {result.value['result']}"
        case "remember":
            return (
                f"我会记住：{result.value['remembered']}"
                if chinese
                else f"I will remember: {result.value['remembered']}"
            )
        case "recall":
            return _memories(chinese, result.value["memories"])
        case _:
            return result.text


def _order(chinese: bool, order: dict[str, Any]) -> str:
    items = ", ".join(f"{line['quantity']} × {line['item']}" for line in order["items"])
    total, sent = f"{order['total']:.2f} {order['currency']}", f"{order['carrier']} {order['tracking']}"
    refund = order["refund"]
    paid_back = f"{refund['amount']:.2f} {refund['currency']} ({refund['refund_id']})" if refund else ""
    if chinese:
        carried = f"承运 {sent}。" if order["carrier"] else ""
        refunded = f"已退款 {paid_back}。" if refund else ""
        text = f"订单 {order['id']}({order['placed_at']})：{items}，共 {total}，{STATUS_IN_CHINESE[order['status']]}。"
        return text + carried + refunded
    carried = f" Carrier: {sent}." if order["carrier"] else ""
    refunded = f" Refunded: {paid_back}." if refund else ""
    return (
        f"Order {order['id']} of {order['placed_at']}: {items}, {total} in total, {order['status']}.{carried}{refunded}"
    )


def _refund(chinese: bool, refund: dict[str, Any]) -> str:
    if refund["status"] == "rejected":
        note = f" ({refund['note']})" if refund["note"] else ""
        if chinese:
            return f"订单 {refund['order_id']} 的退款被人工拒绝{note}，没有退款。"
        return f"The refund of order {refund['order_id']} was rejected by a person{note}. No money was moved."
    amount = f"{refund['amount']:.2f} {refund['currency']}"
    if chinese:
        return f"已为订单 {refund['order_id']} 退款 {amount}，退款编号 {refund['refund_id']}。"
    return f"Refunded {amount} for order {refund['order_id']}; the refund number is {refund['refund_id']}."


def _memories(chinese: bool, memories: Sequence[str]) -> str:
    if not memories:
        return "关于这个，我还没有记住任何事。" if chinese else "I remember nothing about that yet."
    heading = "我记得：" if chinese else "I remember:"
    return "\n".join([heading, *(f"- {memory}" for memory in memories)])


def _passages(language: Language, found: dict[str, Any], numbers: "count[int]") -> str:
    if not found["results"]:
        return "知识库里没有找到相关内容。" if language == "zh" else "The knowledge base has nothing about that."
    cited = [(next(numbers), passage) for passage in found["results"][:2]]
    quotes = [f"{passage['text']} [{n}]" for n, passage in cited]
    sources = [f"- [{n}] {passage['title']} ({passage['file']})" for n, passage in cited]
    return "\n\n".join(quotes) + "\n\n" + "\n".join(["来源：" if language == "zh" else "Sources:", *sources])
