"""P10: the code of a graph changes, and conversations from before stay readable and go on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Server

pytestmark = pytest.mark.anyio

BEFORE = """
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel


class Profile(BaseModel):
    name: str


@dataclass
class Plan:
    steps: list[str]


class State(MessagesState, total=False):
    profile: Profile
    plan: Plan
    mood: str


def greet(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage("hello")], "profile": Profile(name="Ada"), "plan": Plan(["a", "b"]), "mood": "fine"}


def ask(state: State) -> dict[str, Any]:
    if state["messages"][0].content == "ask me":
        interrupt("go on?")
    return {}


graph = StateGraph(State).add_node("greet", greet).add_node("ask", ask)
graph = graph.add_edge(START, "greet").add_edge("greet", "ask").compile()
"""

AFTER = """
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel


class Person(BaseModel):
    first_name: str
    age: int


class State(MessagesState, total=False):
    profile: Any
    mood: int
    person: Person


def welcome(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage(f"welcome back after {len(state['messages'])}")], "mood": 3}


graph = StateGraph(State).add_node("welcome", welcome).add_edge(START, "welcome").compile()
"""


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "agent.py").write_text(BEFORE)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}}))
    server = Server(tmp_path / "data", tmp_path / "langgraph.json").start()
    yield server
    server.kill()


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def texts(values: Any) -> list[str]:
    return [message["content"] for message in values["messages"]]


async def test_threads_of_older_code_are_read_and_go_on(deployed: Server, tmp_path: Path) -> None:
    """Types, fields and nodes that the state was made with are gone; a question was open in one of those nodes."""
    client = deployed.client()
    ended, waiting = [(await client.threads.create())["thread_id"] for _ in range(2)]
    await client.runs.wait(ended, "agent", input=human("hi"))
    asked: Any = await client.runs.wait(waiting, "agent", input=human("ask me"))
    assert asked["__interrupt__"]
    deployed.kill()
    (tmp_path / "agent.py").write_text(AFTER)
    client = deployed.start().client()

    for place, first in ((ended, "hi"), (waiting, "ask me")):
        state: Any = await client.threads.get_state(place)
        assert texts(state["values"]) == [first, "hello"]
        assert state["values"]["profile"] == {"name": "Ada"}
        assert [texts(past["values"]) for past in await client.threads.get_history(place) if past["values"]]
        (found,) = await client.threads.search(ids=[place])
        assert texts(found["values"]) == [first, "hello"]
        answer: Any = await client.runs.wait(place, "agent", input=human("again"))
        assert texts(answer) == [first, "hello", "again", "welcome back after 3"]
        assert answer["mood"] == 3
        assert (await client.threads.get(place))["status"] == "idle"
        oldest = (await client.threads.get_history(place, limit=20))[-1]
        copied: Any = await client.http.post(f"/threads/{place}/copy", json=None)
        assert (await client.threads.get_state(copied["thread_id"], checkpoint=oldest["checkpoint"]))["next"]
