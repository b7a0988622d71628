"""What a sentence asks of the demo model, found with patterns: enough English and Chinese for this agent's tools."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from graph.language import CHINESE

Topic = Literal["greeting", "thanks", "help", "unknown", "long", "which_order"]
Call = tuple[str, dict[str, Any]]

SENTENCE = (
    r"(.+?)(?=[。\uff01\uff1f!?\n;\uff1b]|\.(?!\d)|,? and (?:what|where|how|refund|calculate|search|look)\b"
    r"|[,\uff0c](?:然后|再|并)|$)"
)
REMEMBER = re.compile(
    r"(?<!you )\b(?:remember(?:\s+that|\s+this)?|note\s+(?:that|down))[:,]?\s+(?!about\b|me\b|my name\?)"
    + SENTENCE
    + r"|(?:请)?(?:记住|记一下|记下)[::,\uff1a\uff0c\s]*"
    + SENTENCE
    + r"|\b(my name is .+?|call me .+?)(?=[.,!?;\n]|\band\b|$)"
    + r"|((?:我叫|我的名字是)(?!什么)[^。,\uff0c!?\uff01\uff1f\n]+)",
    re.IGNORECASE,
)
RECALL = re.compile(
    r"\b(?:do you|what do you|can you) (?:still )?(?:remember|know|recall)(?: about (?P<about>[^?.!]+))?"
    r"|what(?:'s| is) my name|\brecall\b|\bwhat did i (?:tell|ask)\b"
    r"|(?:你|还)(?:还)?记得|你知道我|关于我|我叫什么|我的名字是什么|回忆",
    re.IGNORECASE,
)
REFUND = re.compile(r"\brefund|money back|退款|退钱|退掉", re.IGNORECASE)
ORDER = re.compile(r"\border|\bpurchase|\bparcel|\bpackage|\btransaction|订单|单号|交易|包裹|快递|买", re.IGNORECASE)
OWN = re.compile(r"\b(?:my|latest|last|recent|newest)\b|最近|最新|上一|我的|我要|我买", re.IGNORECASE)
RULES = re.compile(
    r"polic|how (?:do|can)\b|\brules?\b|\bcan (?:i|my|an|the)\b|政策|规则|流程|怎么|如何|条件|能不能|可以.{0,80}吗",
    re.IGNORECASE,
)
WAITING = re.compile(r"how long|how does|\bwhen\b|多久|到账|什么时候", re.IGNORECASE)
LATEST = re.compile(r"\b(?:latest|last|recent|newest)\b|最近|最新|上一", re.IGNORECASE)
CALCULATE = re.compile(r"(?:\b(?:calculate|compute)\b|计算)[:\uff1a\s]*(.*[\d(].*)", re.IGNORECASE)
TOPICS = re.compile(
    r"shipping|\bdeliver|\breturn|warrant|\baccount|password|\bpay\b|payment|invoice|cancel|gift card|loyalty|points|"
    r"opening hours|support|complain|tracking|search (?:the|for|your)|knowledge base|look up .{0,80}(?:article|docs)|"
    r"配送|运费|发货|物流|退货|保修|账户|账号|密码|支付|付款|发票|礼品卡|客服|搜索|知识库",
    re.IGNORECASE,
)
LONG = re.compile(
    r"\b(?:long|longer)\b.{0,80}\b(?:story|text|essay|article|answer|poem)"
    r"|\b(?:tell|write)\b.{0,80}\b(?:story|essay|\d+[- ]words?)"
    r"|长(?:故事|文|篇|一点)|讲.{0,80}故事|写.{0,80}(?:文章|故事|\d+\s*字)",
    re.IGNORECASE,
)
TALK: dict[Topic, re.Pattern[str]] = {
    "thanks": re.compile(r"\bthank|\bthx\b|谢谢|多谢|感谢", re.IGNORECASE),
    "greeting": re.compile(
        r"^\W*(?:hi|hello|hey|good (?:morning|afternoon|evening))\b|你好|您好|^\W*嗨|早上好|晚上好", re.IGNORECASE
    ),
    "help": re.compile(r"\bhelp\b|what can you|who are you|what are you|帮助|你是谁|你能|你会", re.IGNORECASE),
}
CLAUSE = re.compile(
    r"[\n;?!\uff1b\uff1f\uff01。]|\.(?!\d)|[,、](?!\d)|\uff0c|\b(?:and|also|then)\b|并且|然后|以及|还有|另外|和(?=\d)|再(?=算|查|帮|退|搜)"
)
NUMBER = re.compile(r"(?<![\d.])\d{4,6}(?!\d|\.\d)")
MONEY = re.compile(
    r"[$€£¥]\s*(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*(?:dollars?|usd|euros?|eur|cny|yuan|元|块|美元|欧元)", re.IGNORECASE
)
REASON = re.compile(r"\b(?:because|since)\b\s*(.+)|因为(.+)", re.IGNORECASE)
SPOKEN = (
    (r"(\d+(?:\.\d+)?)\s*%\s*of\s*(\d+(?:\.\d+)?)", r"\1 / 100 * \2"),
    (r"(\d+(?:\.\d+)?)\s*的\s*(\d+(?:\.\d+)?)\s*%", r"\1 * \2 / 100"),
    (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    (r"(?<=[\d)])\s*(?:plus|加上?)\s*(?=[\d(])", " + "),
    (r"(?<=[\d)])\s*(?:minus|减去?)\s*(?=[\d(])", " - "),
    (r"(?<=[\d)])\s*(?:times|multiplied by|乘以?|x)\s*(?=[\d(])", " * "),
    (r"(?<=[\d)])\s*(?:divided by|除以)\s*(?=[\d(])", " / "),
    (r"(?<=[\d)])\s*(?:to the power of|的次方)\s*(?=[\d(])", " ** "),
)
FORMULA = re.compile(r"(?:\b(?:sqrt|abs|round|min|max|pi)\b|[-+*/×÷−^%(),.\d\s\uff08\uff09])+")
OPERATION = re.compile(r"[\d)]\s*[-+*/×÷−^%]+\s*[-(\d]|(?:sqrt|abs|round|min|max)\s*\(")
DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")


@dataclass(frozen=True)
class Refund:
    order_id: str | None
    """None: the latest order."""
    extra: dict[str, Any]


@dataclass
class Request:
    """What one human message asks: the calls to make at once, the refunds that follow a lookup, and small talk."""

    calls: list[Call] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    topic: Topic | None = None
    words: int = 400

    def add(self, name: str, **arguments: Any) -> None:
        if (name, arguments) not in self.calls:
            self.calls.append((name, arguments))


def understand(text: str, last_order: str | None = None, refund_was_asked: bool = False) -> Request:
    """`last_order` is the one spoken of before; `refund_was_asked` lets a bare number answer "which order?"."""
    request = Request()
    text = REMEMBER.sub(lambda found: _keep(request, found), text)
    text = FORMULA.sub(lambda found: _formula(request, found), _spoken(text))
    if (asked := CALCULATE.search(text)) and all(name != "calculate" for name, _ in request.calls):
        request.add("calculate", expression=asked[1].strip())
    refunding = refund_was_asked
    for clause in filter(str.strip, CLAUSE.split(text)):
        refunding = _clause(request, clause, last_order, refunding)
    if LONG.search(text) and not request.calls:
        request.topic = "long"
        request.words = int(match[0]) if (match := re.search(r"\d+", text)) else 400
    if not request.calls and request.topic is None:
        request.topic = next((topic for topic, pattern in TALK.items() if pattern.search(text)), "unknown")
    return request


def _keep(request: Request, found: re.Match[str]) -> str:
    fact = next(group for group in found.groups() if group is not None)
    request.add("remember", fact=fact.strip(" ,\uff0c"))
    return "\n"


def _spoken(text: str) -> str:
    for pattern, replacement in SPOKEN:
        text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
    return text


def _formula(request: Request, found: re.Match[str]) -> str:
    formula = found[0].strip(" ,.\n\t")
    if not OPERATION.search(formula) or DATE.search(formula):
        return found[0]
    request.add("calculate", expression=formula)
    return "\n"


def _clause(request: Request, clause: str, last_order: str | None, refunding: bool) -> bool:
    """Adds what one clause asks; returns whether a bare number after it would be a further refund."""
    numbers = NUMBER.findall(MONEY.sub(" ", clause))
    bare = bool(numbers) and not re.search(f"[a-z{CHINESE}]", re.sub("orders?|订单|no", "", clause.lower()))
    latest = ORDER.search(clause) and LATEST.search(clause)
    asks_rules = RULES.search(clause)
    refund = REFUND.search(clause)
    if (recalled := RECALL.search(clause)) and not numbers:
        about = re.sub(r"^(?:my|our)\s+", "", (recalled["about"] or "").strip())
        request.add("recall", query="" if about in {"me", "us"} else about)
    elif (refund and (numbers or latest or not (asks_rules or WAITING.search(clause)))) or (bare and refunding):
        _refund(request, clause, numbers or ([None] if latest else [last_order] if last_order else []))
        return True
    elif numbers and (bare or ORDER.search(clause)):
        for number in numbers:
            request.add("lookup_order", order_id=number)
    elif ORDER.search(clause) and OWN.search(clause) and not asks_rules:
        request.add("lookup_order")
    elif not LONG.search(clause) and (TOPICS.search(clause) or refund or (asks_rules and ORDER.search(clause))):
        request.add("search_knowledge", query=clause.strip())
    return refunding and bare


def _refund(request: Request, clause: str, orders: Sequence[str | None]) -> None:
    money, reason = MONEY.search(clause), REASON.search(clause)
    extra: dict[str, Any] = {"amount": float(money[1] or money[2])} if money else {}
    if reason:
        extra["reason"] = (reason[1] or reason[2]).strip()
    if not orders:
        request.topic = "which_order"
    for order_id in orders:
        request.refunds.append(Refund(order_id, extra))
        request.add("lookup_order", **({"order_id": order_id} if order_id else {}))
