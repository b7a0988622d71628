"""Threads that were begun by other code than what is served now: they can be read, and nothing goes on into nowhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Server

BEFORE = """
from typing import Annotated, Any
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

class Order(BaseModel):
    number: int

class State(TypedDict, total=False):
    messages: Annotated[list, add_messages]
    order: Any

def say(state): return {"messages": [AIMessage("which one?")], "order": Order(number=4711)}
def approve(state): return {"messages": [AIMessage(f"so be it: {interrupt('sure?')}")]}

inner = StateGraph(State).add_node("ask", approve).add_edge(START, "ask").compile()
graph = StateGraph(State).add_node("say", say).add_node("approve", approve)
graph = graph.add_edge(START, "say").add_edge("say", "approve").compile()
nested = StateGraph(State).add_node("say", say).add_node("child", inner)
nested = nested.add_edge(START, "say").add_edge("say", "child").compile()
"""
AFTER = BEFORE.replace('"approve"', '"consent"').replace('"ask"', '"inquire"')


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.write(BEFORE, ("graph", "nested"))
        self.server = Server(folder / "data", config=folder / "langgraph.json")

    def write(self, code: str, graphs: tuple[str, ...]) -> None:
        (self.folder / "agent.py").write_text(code)
        names = {name: f"./agent.py:{name}" for name in graphs}
        (self.folder / "langgraph.json").write_text(json.dumps({"dependencies": ["."], "graphs": names}))

    def deploy(self, code: str, graphs: tuple[str, ...] = ("graph", "nested")) -> None:
        self.server.term()
        self.write(code, graphs)
        self.server.start()

    def post(self, path: str, **body: Any) -> Any:
        answer = httpx.post(self.server.url + path, json=body, timeout=30)
        assert answer.status_code < 500, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        answer = httpx.get(self.server.url + path, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def waiting(self, graph: str) -> str:
        thread: str = self.post("/threads")["thread_id"]
        said = self.post(f"/threads/{thread}/runs/wait", assistant_id=graph, input={"messages": "one"})
        assert said["__interrupt__"]
        return thread


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path / "project")
    made.server.start()
    yield made
    made.server.kill()


def texts(state: Any) -> list[str]:
    return [message["content"] for message in state["values"]["messages"]]


def test_each_checkpoint_names_its_graph_and_the_graphs_shape(project: Project) -> None:
    threads = [project.waiting("graph"), project.waiting("nested")]
    before = [project.get(f"/threads/{thread}/state")["metadata"] for thread in threads]
    assert [one["graph_id"] for one in before] == ["graph", "nested"]
    project.deploy(BEFORE + "\n# a comment changes no shape\n")
    again = project.get(f"/threads/{project.waiting('graph')}/state")["metadata"]
    assert again["graph_fingerprint"] == before[0]["graph_fingerprint"] != before[1]["graph_fingerprint"]
    project.deploy(AFTER)
    later = [project.get(f"/threads/{project.waiting(name)}/state")["metadata"] for name in ("graph", "nested")]
    for one, other in zip(before, later, strict=True):
        assert one["graph_fingerprint"] != other["graph_fingerprint"], "also when only a subgraph has changed"


@pytest.mark.parametrize("graph", ["graph", "nested"])
def test_a_thread_that_waits_at_a_node_that_is_gone_has_a_choice(project: Project, graph: str) -> None:
    thread = project.waiting(graph)
    asked = project.get(f"/threads/{thread}")["interrupts"]
    project.deploy(AFTER)
    state = project.get(f"/threads/{thread}/state")
    assert texts(state) == ["one", "which one?"]
    assert state["values"]["order"] == {"number": 4711}, "a class that nobody allowed is shown as its fields"
    if graph == "graph":
        assert state["next"] == ["approve"]
    for body in ({"command": {"resume": "yes"}}, {"input": None}):
        failed = project.post(f"/threads/{thread}/runs/wait", assistant_id=graph, **body)["__error__"]
        assert failed["error"] == "GraphChanged"
        assert ("'approve'" if graph == "graph" else "'ask'") in failed["message"]
        assert failed["choices"] == ["goto", "fork", "discard"]
    kept = project.get(f"/threads/{thread}")
    assert (kept["status"], kept["interrupts"]) == ("interrupted", asked), "nothing was changed"
    # the graph as it was, which answers the question
    project.deploy(BEFORE)
    done = project.post(f"/threads/{thread}/runs/wait", assistant_id=graph, command={"resume": "yes"})
    assert done["messages"][-1]["content"] == "so be it: yes"


def test_each_choice_leads_on(project: Project) -> None:
    threads = [project.waiting("graph") for _ in range(3)]
    project.deploy(AFTER)
    went = project.post(f"/threads/{threads[0]}/runs/wait", assistant_id="graph", command={"goto": "consent"})
    assert went["__interrupt__"][0]["value"] == "sure?"
    project.post(f"/threads/{threads[1]}/state", values=None, as_node="__end__")
    assert project.get(f"/threads/{threads[1]}")["status"] == "idle"
    assert project.get(f"/threads/{threads[1]}/state")["next"] == []
    said = project.post(f"/threads/{threads[2]}/runs/wait", assistant_id="graph", input={"messages": "anew"})
    assert [one["content"] for one in said["messages"]] == ["one", "which one?", "anew", "which one?"]


def test_a_thread_can_be_read_when_its_graph_is_gone(project: Project) -> None:
    thread = project.waiting("nested")
    history = project.post(f"/threads/{thread}/history", limit=10)
    project.deploy(BEFORE, ("graph",))
    state = project.get(f"/threads/{thread}/state")
    assert texts(state) == ["one", "which one?"]
    assert state["next"] == ["child"]
    again = project.post(f"/threads/{thread}/history", limit=10)
    assert [one["checkpoint_id"] for one in again] == [one["checkpoint_id"] for one in history]
    assert [one["values"].get("messages", []) for one in again] == [one["values"]["messages"] for one in history]
    assert project.get(f"/threads/{thread}/snapshot")["values"]["messages"]
    refused = httpx.post(
        f"{project.server.url}/threads/{thread}/runs/wait", json={"assistant_id": "nested", "input": None}, timeout=30
    )
    assert refused.status_code < 500, refused.text
    told = json.dumps(refused.json())
    assert "nested" in told and "graph" in told, told


def test_a_factory_that_fails_keeps_nobody_from_reading(project: Project) -> None:
    thread = project.waiting("graph")
    project.deploy(
        BEFORE.replace("graph = graph", "done = graph") + "\ndef graph(config):\n    raise RuntimeError('no')\n"
    )
    assert texts(project.get(f"/threads/{thread}/state")) == ["one", "which one?"]
