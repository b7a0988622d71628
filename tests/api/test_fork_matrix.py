"""Every graph that asks × every checkpoint it leaves × every way to go on from there × a server killed in between.

LangGraph itself, on its own saver in memory, takes the same walk; what a client sees must be the same at every step.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from kit.asking import BUILDERS
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import InvalidUpdateError
from langgraph.types import Command, StateSnapshot
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError
from serving import Server

pytestmark = [pytest.mark.anyio, pytest.mark.beyond_reference]

CHECKPOINTS = {"approvals": 6, "thrice": 5, "trio": 4, "nested": 5, "deeper": 5, "nested_pair": 5}
WAYS = ("continue", "answer", "edit", "copy", "input")
CASES = [(graph, at, way) for graph, count in CHECKPOINTS.items() for at in range(count) for way in WAYS]
INSIDE = [
    (graph, way) for graph in ("nested", "deeper", "nested_pair") for way in ("bare", "by id", "continue", "input")
]


class Library:
    """LangGraph in this process."""

    def __init__(self, graph: str) -> None:
        self.graph: Any = BUILDERS[graph].compile(checkpointer=InMemorySaver())

    def _config(self, at: Any) -> Any:
        return {"configurable": {"thread_id": "1", **(at or {})}}

    async def run(self, given: Any = None, resume: Any = None, at: Any = None) -> str | None:
        command = Command(resume=resume) if resume is not None else given
        try:
            await self.graph.ainvoke(command, self._config(at))
        except Exception as error:
            return type(error).__name__
        return None

    async def update(self, values: Any, as_node: str | None = None, at: Any = None) -> str | None:
        try:
            await self.graph.aupdate_state(self._config(at), values, as_node=as_node)
        except InvalidUpdateError:
            return "refused"
        return None

    async def state(self) -> dict[str, Any]:
        return self._plain(await self.graph.aget_state(self._config(None), subgraphs=True))

    async def history(self) -> list[dict[str, Any]]:
        return [self._plain(snapshot) async for snapshot in self.graph.aget_state_history(self._config(None))]

    def _plain(self, snapshot: Any) -> dict[str, Any]:
        place = snapshot.config["configurable"]
        keys = ("checkpoint_id", "checkpoint_ns")
        return {
            "values": snapshot.values,
            "next": snapshot.next,
            "metadata": snapshot.metadata,
            "checkpoint": {key: place[key] for key in keys if key in place},
            "interrupts": [{"id": one.id, "value": one.value} for one in snapshot.interrupts],
            "tasks": [
                {"name": task.name, "state": self._plain(task.state) if isinstance(task.state, StateSnapshot) else None}
                for task in snapshot.tasks
            ],
        }


class Served:
    """The same through the SDK. Also asserts that the thread shows what its state shows."""

    def __init__(self, client: LangGraphClient, thread: str, graph: str) -> None:
        self.client, self.thread, self.graph = client, thread, graph

    async def run(self, given: Any = None, resume: Any = None, at: Any = None) -> str | None:
        command: Any = {"resume": resume} if resume is not None else None
        output: Any = await self.client.runs.wait(
            self.thread, self.graph, input=given, command=command, checkpoint=at, raise_error=False
        )
        return output["__error__"]["error"] if "__error__" in output else None

    async def update(self, values: Any, as_node: str | None = None, at: Any = None) -> str | None:
        try:
            await self.client.threads.update_state(self.thread, values, as_node=as_node, checkpoint=at)
        except BadRequestError:
            return "refused"
        return None

    async def state(self) -> dict[str, Any]:
        state: Any = await self.client.threads.get_state(self.thread, subgraphs=True)
        shown = await self.client.threads.get(self.thread)
        assert [one for task in shown["interrupts"].values() for one in task] == state["interrupts"]
        assert shown["values"] == state["values"]
        return state

    async def history(self) -> list[dict[str, Any]]:
        found: Any = await self.client.threads.get_history(self.thread, limit=100)
        return found


def asked(state: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted((one["value"]["ask"], one["value"]["n"]) for one in state["interrupts"])


def view(state: dict[str, Any]) -> dict[str, Any]:
    """A state without the ids."""
    return {
        "values": state["values"],
        "next": sorted(state["next"]),
        "asked": asked(state),
        "tasks": sorted((task["name"], view(task["state"]) if task["state"] else None) for task in state["tasks"]),
    }


def shape(history: list[dict[str, Any]]) -> list[Any]:
    return [
        (one["metadata"]["source"], one["metadata"]["step"], one["values"], sorted(one["next"]), asked(one))
        for one in history
    ]


async def answer_all(walker: Any, prefix: str) -> list[Any]:
    """Answer one question after the other until none is left; returns what was to be seen on the way."""
    seen = []
    for number in range(6):
        state = await walker.state()
        seen.append(view(state))
        if not state["interrupts"]:
            return seen
        first = min(state["interrupts"], key=lambda one: str(one["value"]["ask"]))
        seen.append(await walker.run(resume={first["id"]: f"{prefix}{number}"}))
    raise AssertionError(f"it does not stop asking: {seen[-2:]}")


async def go_on(walker: Any, at: int, way: str) -> list[Any]:
    """Go on from one checkpoint of the history in one of the WAYS; returns what was to be seen."""
    place = (await walker.history())[at]["checkpoint"]
    error = None
    if way == "continue":
        error = await walker.run(at=place)
    elif way == "answer":
        error = await walker.run(resume="R", at=place)
    elif way == "input":
        error = await walker.run({"log": ["new"], "n": 2}, at=place)
    elif way == "edit":
        error = await walker.update({"log": ["edited"], "n": 3}, at=place) or await walker.run()
    else:
        error = await walker.update(None, "__copy__", at=place) or await walker.run()
    return [error, *await answer_all(walker, "second"), *shape(await walker.history())]


async def copied(walker: Served) -> Served:
    copy: Any = await walker.client.threads.copy(walker.thread)
    return Served(walker.client, copy["thread_id"], walker.graph)


@pytest.fixture(scope="module", params=["running", "killed"])
async def threads(request: Any, tmp_path_factory: Any) -> AsyncIterator[dict[Any, Served]]:
    """A thread for each case, with all its questions answered (for INSIDE: none), on a server that was killed, or not.

    They are copies: a copy forks like the thread it was made of.
    """
    server = Server(tmp_path_factory.mktemp("forks") / "data").start()
    client = server.client()
    begun: dict[str, Served] = {}
    for graph in CHECKPOINTS:
        begun[graph] = Served(client, (await client.threads.create())["thread_id"], graph)
        await begun[graph].run({"log": [], "n": 1})
    inside = {case: await copied(begun[case[0]]) for case in INSIDE}
    for walker in begun.values():
        await answer_all(walker, "first")
    walkers: dict[Any, Served] = inside | {case: await copied(begun[case[0]]) for case in CASES}
    if request.param == "killed":
        server.restart()
    yield walkers
    server.kill()


@pytest.mark.parametrize(("graph", "at", "way"), CASES)
async def test_a_fork_is_what_langgraph_makes_of_it(threads: dict[Any, Served], graph: str, at: int, way: str) -> None:
    library = Library(graph)
    await library.run({"log": [], "n": 1})
    await answer_all(library, "first")
    assert len(await library.history()) == CHECKPOINTS[graph]
    served = await go_on(threads[graph, at, way], at, way)
    assert served == await go_on(library, at, way)


@pytest.mark.parametrize("graph", ["approvals", "thrice", "nested"])
async def test_before_an_answer_it_asks_again_and_at_it_the_first_answer_stays(
    client: LangGraphClient, thread: str, graph: str
) -> None:
    walker = Served(client, thread, graph)
    await walker.run({"log": [], "n": 1})
    await answer_all(walker, "first")
    ended = (await walker.state())["values"]
    history = await walker.history()
    at = next(number for number, one in enumerate(history) if one["interrupts"])
    assert await walker.run(resume="another", at=history[at]["checkpoint"]) is None
    assert (await walker.state())["values"] == ended
    assert await walker.run(at=history[at + 1]["checkpoint"]) is None
    again = await walker.state()
    assert len(again["interrupts"]) == 1
    assert again["values"]["log"] == ended["log"][: len(again["values"]["log"])]
    await answer_all(walker, "second")
    assert "second0" in [note[1] for note in (await walker.state())["values"]["log"] if isinstance(note, list)]


async def go_on_inside(walker: Any, way: str) -> list[Any]:
    """Change the state of the innermost graph that asks, then go on."""
    before = inner = await walker.state()
    while inner["tasks"][0]["state"]:
        inner = inner["tasks"][0]["state"]
    assert inner["checkpoint"]["checkpoint_ns"].count(":") == len(inner["checkpoint"]["checkpoint_ns"].split("|"))
    seen = [await walker.update({"log": ["inside"], "n": 5}, at=inner["checkpoint"])]
    seen.append(view(await walker.state()))
    if way == "bare":
        seen.append(await walker.run(resume="R"))
    elif way == "by id":
        seen.append(await walker.run(resume={before["interrupts"][0]["id"]: "R"}))
    else:
        seen.append(await walker.run({"log": ["new"]} if way == "input" else None))
    return [*seen, *await answer_all(walker, "then"), *shape(await walker.history())]


@pytest.mark.parametrize(("graph", "way"), INSIDE)
async def test_a_change_inside_a_subgraph_is_what_langgraph_makes_of_it(
    threads: dict[Any, Served], graph: str, way: str
) -> None:
    library = Library(graph)
    await library.run({"log": [], "n": 1})
    assert await go_on_inside(threads[graph, way], way) == await go_on_inside(library, way)
