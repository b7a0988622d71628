"""A text of any length, to watch streaming, stopping and reconnecting: the mill turns for as long as asked."""

from itertools import count

from graph.language import Language

LONGEST = 5000

ENGLISH = (
    (
        "The miller",
        "The weaver",
        "A traveller",
        "The river",
        "The old clerk",
        "A child from the village",
        "The night watch",
    ),
    ("opened the gate", "counted the spools", "followed a red thread", "listened to the wheel", "lit a lamp"),
    ("before the sun came up", "while rain fell on the roof", "as the last cart left", "long after the bells had rung"),
    ("and nobody asked why", "and the work went on", "so the cloth grew longer", "and wrote it in the ledger"),
)
CHINESE = (
    ("磨坊主", "织布的姑娘", "一位旅人", "老账房", "村里的孩子", "守夜人", "河水"),
    ("推开了大门", "数着线轴", "跟着一根红线走", "听着水车转动", "点亮了灯"),
    ("在太阳升起之前", "当雨落在屋顶上时", "在最后一辆马车离开后", "在钟声响过很久以后"),
    ("谁也没有问为什么", "活儿照样继续", "布越织越长", "又把这件事记进了账本"),
)


def story(language: Language, words: int) -> str:
    """Exactly `words` words, in Chinese exactly that many characters with punctuation, up to LONGEST."""
    length = min(max(words, 1), LONGEST)
    return _chinese(length) if language == "zh" else _english(length)


def _english(length: int) -> str:
    text: list[str] = []
    for turn in count():
        who, did, when, then = (phrases[turn % len(phrases)] for phrases in ENGLISH)
        text += f"{who} {did} {when}, {then}.".split()
        if len(text) >= length:
            return " ".join(text[:length]).rstrip(".,") + "."
    raise AssertionError("count() does not end")


def _chinese(length: int) -> str:
    text = ""
    for turn in count():
        who, did, when, then = (phrases[turn % len(phrases)] for phrases in CHINESE)
        text += f"{when}，{who}{did}，{then}。"
        if len(text) >= length:
            return text[: length - 1] + "。"
    raise AssertionError("count() does not end")
