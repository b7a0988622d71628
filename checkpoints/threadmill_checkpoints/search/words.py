"""Texts as the index has them, and what people type as the index is asked.

The index knows words. Chinese, Japanese, Korean, Thai and their neighbours write without spaces, so there each
character is a word of its own: a part of a sentence is found as a phrase, be it one character long.
"""

import re

APART = "\x1f"  # stands round such characters, and is taken out of what is shown
SPACELESS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"  # Han
    "\uac00-\ud7af"  # Hangul, whose words carry their endings
)
CHARACTER = re.compile(f"([{SPACELESS}])")
UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
ASKED = re.compile(r'"([^"]*)"?|([^\s"]+)')
PREFIX = 3  # letters from which on a word may be the beginning of one


def apart(text: str) -> str:
    return CHARACTER.sub(rf"{APART}\1{APART}", UNSEEN.sub(" ", text))


def together(text: str) -> str:
    return text.replace(APART, "")


def expression(query: str) -> str:
    """What people type, as FTS5 wants it, and never as its own syntax: all of the words must be there, each as a whole
    or the beginning of one; what stands in quotes, exactly so. Empty if there is nothing to look for."""
    found: list[str] = []
    for phrase, word in ASKED.findall(query):
        text = apart(phrase or word).strip()
        if any(one.isalnum() for one in text):
            open_end = word and len(word) >= PREFIX and word[-1].isalnum() and not CHARACTER.match(word[-1])
            found.append(f'"{text}"{" *" if open_end else ""}')
    return " ".join(found)
