"""A graph that returns the values which break careless serialisers."""

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass
from typing import Any

from langgraph.graph import START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict


class Point(BaseModel):
    x: int
    label: str = "π"


@dataclass
class Pair:
    left: int
    right: str


class Shade(enum.Enum):
    DARK = "dark"


VALUES: dict[str, Any] = {
    "unicode": "grüß Gott, 你好, 🧵",
    "bytes": b"raw \xff",
    "set": {1},
    "nan": float("nan"),
    "infinity": float("inf"),
    "huge": 2**70,
    "pydantic": Point(x=1),
    "dataclass": Pair(1, "r"),
    "datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    "uuid": uuid.UUID(int=7),
    "decimal": decimal.Decimal("1.50"),
    "enum": Shade.DARK,
    "tuple": (1, 2),
    "int_keys": {1: "one"},
    "lone_surrogate": "half \ud83e pair",
    "separator": "line\u2028separator\r\nnext",
}


class Odd(TypedDict, total=False):
    want: list[str]
    got: dict[str, Any]


def give(state: Odd) -> dict[str, Any]:
    return {"got": {name: VALUES[name] for name in state["want"]}}


odd = StateGraph(Odd).add_node("give", give).add_edge(START, "give").compile()
