"""A subgraph with two nodes that run side by side and leave a mark at every tick, for ever."""

import asyncio
from pathlib import Path
from typing import Any

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class Place(TypedDict, total=False):
    file: str


async def tick(state: Place) -> dict[str, Any]:
    while True:
        with Path(state["file"]).open("a") as marks:
            marks.write(".")
        await asyncio.sleep(0.01)


child = StateGraph(Place).add_node("left", tick).add_node("right", tick)
child = child.add_edge(START, "left").add_edge(START, "right").compile()
ticking = StateGraph(Place).add_node("child", child).add_edge(START, "child").compile()
