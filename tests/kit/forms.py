"""The other forms in which a project may give a graph: entrypoint, builder, async factory."""

from typing import Any

from graphs import Count, count
from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph


@task
async def double(n: int) -> int:
    return 2 * n


@entrypoint()
async def functional(numbers: list[int], *, previous: int | None = None) -> Any:
    """Sum the doubled numbers onto what the last run of the thread saved."""
    doubled = [await double(n) for n in numbers]
    total = (previous or 0) + sum(doubled)
    return entrypoint.final(value={"total": total, "doubled": doubled}, save=total)


builder = StateGraph(Count).add_node("count", count).add_edge(START, "count")


async def factory(config: RunnableConfig) -> Any:
    """A graph whose only node is named by the config it is built with."""
    name = config.get("configurable", {}).get("node", "unnamed")
    return StateGraph(Count).add_node(name, count).add_edge(START, name).compile()
