"""A long answer in many short messages, so that a run has something to go on from after each crash."""

import asyncio
import gc
import weakref
from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from model import ScriptedModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from typing_extensions import TypedDict


class Book(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    word: str
    chapters: int
    n_tokens: int
    delay: float
    told: int


async def tell(state: Book) -> dict[str, Any]:
    """Each token names its thread: nothing of another may appear among them."""
    number = state.get("told", 0) + 1
    tokens = [f"{state['word']}.{number}.{n} " for n in range(state.get("n_tokens", 10))]
    said = await ScriptedModel(tokens=tokens, delay=state.get("delay", 0.005)).ainvoke(state["messages"])
    return {"messages": [said], "told": number}


def more(state: Book) -> str:
    return "tell" if state["told"] < state.get("chapters", 1) else END


def enter(state: Book) -> dict[str, Any]:
    return {"told": 0}


book = StateGraph(Book).add_node("enter", enter).add_node("tell", tell)
book = book.add_edge(START, "enter").add_edge("enter", "tell").add_conditional_edges("tell", more).compile()


async def count(_: Request) -> JSONResponse:
    """What the server holds: no outside measure of the process tells that."""
    gc.collect()
    return JSONResponse({"tasks": len(asyncio.all_tasks()), "objects": sum(map(_lives, gc.get_objects()))})


def _lives(thing: object) -> bool:
    """A connection of `sqlite3` keeps up to 200 references to cursors that are gone."""
    return not isinstance(thing, weakref.ref) or thing() is not None


app = Starlette(routes=[Route("/held", count)])
