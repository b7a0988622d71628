"""Which language the person is writing in: English, or Chinese as soon as there is a Chinese character."""

import re
from collections.abc import Iterable
from typing import Literal

from langchain_core.messages import BaseMessage, HumanMessage

Language = Literal["en", "zh"]

CHINESE = "\u3400-\u4dbf\u4e00-\u9fff"


def language_of(messages: Iterable[BaseMessage]) -> Language:
    """The latest human message that has any letters decides, so a bare "4711" keeps the language of the talk."""
    for message in reversed(list(messages)):
        if isinstance(message, HumanMessage):
            if re.search(f"[{CHINESE}]", message.text):
                return "zh"
            if re.search("[A-Za-z]", message.text):
                return "en"
    return "en"
