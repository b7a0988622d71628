"""The state of a thread: reading it, writing it, at any checkpoint and in subgraphs."""

import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError

pytestmark = pytest.mark.anyio

EMPTY = {
    "values": {},
    "next": [],
    "tasks": [],
    "metadata": None,
    "created_at": None,
    "checkpoint": None,
    "parent_checkpoint": None,
    "interrupts": [],
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
}


@pytest.fixture
async def asked(client: LangGraphClient, thread: str) -> str:
    """A thread that waits for an answer."""
    await client.runs.wait(thread, "hitl", input={"n": 7}, metadata={"run": "mine"})
    return thread


async def test_a_thread_without_runs_has_an_empty_state(client: LangGraphClient, thread: str) -> None:
    assert await client.threads.get_state(thread) == EMPTY


async def test_the_state_tells_values_next_tasks_and_interrupts(client: LangGraphClient, asked: str) -> None:
    state = await client.threads.get_state(asked)
    (task,) = state["tasks"]
    assert (state["values"], state["next"]) == ({"log": ["propose"], "n": 7}, ["approve"])
    assert {k: v for k, v in task.items() if k not in ("id", "interrupts")} == {
        "name": "approve",
        "path": ["__pregel_pull", "approve"],
        "error": None,
        "checkpoint": None,
        "state": None,
        "result": None,
    }
    assert state["interrupts"] == task["interrupts"]  # type: ignore[typeddict-item]
    assert [set(i) for i in task["interrupts"]] == [{"id", "value"}]
    assert state["checkpoint"]["checkpoint_id"] == state["checkpoint_id"]  # type: ignore[typeddict-item]
    assert (state["checkpoint"]["thread_id"], state["checkpoint"]["checkpoint_ns"]) == (asked, "")
    assert uuid.UUID(state["checkpoint"]["checkpoint_id"]).version == 6


async def test_checkpoint_metadata_names_run_thread_step_and_the_users_own(client: LangGraphClient, asked: str) -> None:
    metadata = (await client.threads.get_state(asked))["metadata"]
    (run,) = await client.runs.list(asked)
    known = {
        "source": "loop",
        "step": 1,
        "parents": {},
        "run": "mine",
        "run_id": run["run_id"],
        "thread_id": asked,
        "graph_id": "hitl",
        "run_attempt": 1,
    }
    assert {k: metadata.get(k) for k in known} == known  # type: ignore[union-attr]


async def test_a_failed_task_shows_its_error(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "boom", input={}, raise_error=False)
    state = await client.threads.get_state(thread)
    assert state["next"] == ["second"]
    assert [t["error"] for t in state["tasks"]] == ["ValueError('boom on purpose')"]


async def test_an_update_adds_to_the_state_as_if_a_node_had_returned_it(client: LangGraphClient, asked: str) -> None:
    before = await client.threads.get_state(asked)
    written = await client.threads.update_state(asked, {"log": ["by hand"]}, as_node="approve")
    after = await client.threads.get_state(asked)
    assert after["values"]["log"] == ["propose", "by hand"], "reduced, not replaced"
    assert after["next"] == ["done"]
    assert after["metadata"]["source"] == "update"  # type: ignore[index]
    assert after["checkpoint"] == written["checkpoint"]
    assert after["parent_checkpoint"] == before["checkpoint"]
    assert await client.runs.wait(asked, "hitl") == {"log": ["propose", "by hand", "done"], "n": 7}


async def test_the_answer_to_an_update_names_the_checkpoint_twice(http: httpx.AsyncClient, asked: str) -> None:
    answer = (await http.post(f"/threads/{asked}/state", json={"values": {"n": 8}})).json()
    place = {"thread_id": asked, "checkpoint_ns": "", "checkpoint_id": answer["checkpoint_id"]}
    assert answer == {"checkpoint": place, "configurable": place, "checkpoint_id": place["checkpoint_id"]}


async def test_an_update_shows_on_the_thread(client: LangGraphClient, asked: str) -> None:
    before = await client.threads.get(asked)
    await client.threads.update_state(asked, {"n": 9}, as_node="done")
    after = await client.threads.get(asked)
    assert (after["status"], after["values"]["n"], after["interrupts"]) == ("idle", 9, {})
    assert after["state_updated_at"] > before["state_updated_at"]


@pytest.mark.parametrize("form", ["checkpoint", "checkpoint_id"])
async def test_an_update_at_a_checkpoint_forks_there(client: LangGraphClient, thread: str, form: str) -> None:
    await client.runs.wait(thread, "counter", input={"limit": 3})
    at_one = next(h for h in await client.threads.get_history(thread) if h["values"].get("n") == 1)
    place: Any = at_one["checkpoint"] if form == "checkpoint" else at_one["checkpoint"]["checkpoint_id"]
    await client.threads.update_state(thread, {"limit": 2}, **{form: place})
    state = await client.threads.get_state(thread)
    assert state["values"] == {"n": 1, "limit": 2}
    assert state["parent_checkpoint"] == at_one["checkpoint"]
    assert await client.runs.wait(thread, "counter") == {"n": 2, "limit": 2}


async def test_updating_as_end_finishes_the_thread(client: LangGraphClient, asked: str) -> None:
    await client.threads.update_state(asked, None, as_node="__end__")
    state = await client.threads.get_state(asked)
    assert (state["next"], state["tasks"], state["values"]["log"]) == ([], [], ["propose"])
    assert (await client.threads.get(asked))["status"] == "idle"


async def test_updating_as_copy_forks_without_change(client: LangGraphClient, asked: str) -> None:
    before = await client.threads.get_state(asked)
    await client.threads.update_state(asked, None, as_node="__copy__")
    after = await client.threads.get_state(asked)
    assert after["values"] == before["values"]
    assert after["metadata"]["source"] == "fork"  # type: ignore[index]
    assert after["checkpoint"] != before["checkpoint"]
    assert after["parent_checkpoint"] == before["parent_checkpoint"], "a sibling, not a child"


async def test_updating_as_an_unknown_node_is_refused(client: LangGraphClient, asked: str) -> None:
    with pytest.raises(BadRequestError, match="Node nonode does not exist"):
        await client.threads.update_state(asked, {"n": 1}, as_node="nonode")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"log": 5}, "can only concatenate list"),
        ({"log": None}, "can only concatenate list"),
    ],
)
async def test_an_update_that_a_reducer_cannot_take_is_refused(
    client: LangGraphClient, http: httpx.AsyncClient, asked: str, values: Any, why: str
) -> None:
    before = await client.threads.get_state(asked)
    body = {"values": values, "as_node": "propose"}
    response = await http.post(f"/threads/{asked}/state", json=body)
    assert (response.status_code, why in response.json()["detail"]) == (400, True)
    assert await client.threads.get_state(asked) == before
    born = await http.post("/threads", json={"metadata": {"graph_id": "hitl"}, "supersteps": [{"updates": [body]}]})
    assert (born.status_code, why in born.json()["detail"]) == (201, True)


@pytest.mark.parametrize("message", [{"role": "nobody", "content": "x"}, {"type": "human"}, 5])
async def test_an_update_with_what_is_no_message_is_refused(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, message: Any
) -> None:
    await client.runs.wait(thread, "echo", input={"messages": "hi"})
    response = await http.post(f"/threads/{thread}/state", json={"values": {"messages": [message]}})
    assert (response.status_code, "message" in response.json()["detail"].lower()) == (400, True)


@pytest.mark.parametrize("namespace", ["nope", "nope:1", "approve:1|deeper:2"])
async def test_an_update_of_an_unknown_subgraph_is_refused(http: httpx.AsyncClient, asked: str, namespace: str) -> None:
    body = {"values": {"n": 1}, "checkpoint": {"checkpoint_ns": namespace}}
    response = await http.post(f"/threads/{asked}/state", json=body)
    assert response.status_code == 400
    assert response.json()["detail"].startswith("Subgraph ")


async def test_state_cannot_be_written_before_the_graph_is_known(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(BadRequestError, match="has no assigned graph ID"):
        await client.threads.update_state(thread, {"n": 1})
    await client.threads.update(thread, metadata={"graph_id": "counter"})
    await client.threads.update_state(thread, {"n": 1})
    assert (await client.threads.get_state(thread))["values"] == {"n": 1}


async def test_state_cannot_be_written_under_a_waiting_run(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"limit": 1}, after_seconds=60)
    with pytest.raises(ConflictError):
        await client.threads.update_state(thread, {"n": 5})
    await client.runs.cancel(thread, run["run_id"], wait=True)
    await client.threads.update_state(thread, {"n": 5}, as_node="count")
    assert (await client.threads.get_state(thread))["values"]["n"] == 5


async def test_values_must_be_an_object_or_a_list(http: httpx.AsyncClient, asked: str) -> None:
    response = await http.post(f"/threads/{asked}/state", json={"values": "x", "as_node": "propose"})
    assert response.status_code == 422


async def test_the_state_at_a_checkpoint_is_the_same_by_id_and_by_object(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    await client.runs.wait(thread, "counter", input={"limit": 3})
    for past in await client.threads.get_history(thread):
        place = past["checkpoint"]
        by_object = await client.threads.get_state(thread, checkpoint=place)
        by_id = (await http.get(f"/threads/{thread}/state/{place['checkpoint_id']}")).json()
        for field in ("values", "next", "metadata", "created_at", "parent_checkpoint"):
            assert by_object[field] == by_id[field] == past[field], field  # type: ignore[literal-required]


@pytest.mark.parametrize("unknown", ["00000000-0000-6000-8000-000000000000", "bad"])
async def test_an_unknown_checkpoint_is_an_empty_state(http: httpx.AsyncClient, asked: str, unknown: str) -> None:
    response = await http.get(f"/threads/{asked}/state/{unknown}")
    assert response.status_code == 200
    state = response.json()
    assert (state["values"], state["next"], state["created_at"], state["parent_checkpoint"]) == ({}, [], None, None)
    assert state["checkpoint"]["checkpoint_id"] == unknown


async def test_a_subgraph_is_shown_as_a_checkpoint_or_as_its_state(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "sub", input={"messages": []}, interrupt_before=["child"])
    (unasked,) = (await client.threads.get_state(thread))["tasks"]
    assert (unasked["name"], unasked["state"]) == ("child", None)
    assert unasked["checkpoint"]["checkpoint_ns"] == f"child:{unasked['id']}"  # type: ignore[index]
    assert unasked["checkpoint"]["thread_id"] == thread  # type: ignore[index]


async def test_the_history_of_a_subgraph_is_read_through_its_checkpoint(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    await client.runs.wait(thread, "sub", input={"messages": []})
    outer = await client.threads.get_history(thread)
    (task,) = next(h for h in outer if h["next"] == ["child"])["tasks"]
    place = {"checkpoint_ns": task["checkpoint"]["checkpoint_ns"]}  # type: ignore[index]
    inner = (await http.post(f"/threads/{thread}/history", json={"limit": 10, "checkpoint": place})).json()
    assert [h["metadata"]["step"] for h in inner] == [1, 0, -1]
    assert inner[0]["values"]["messages"][-1]["content"] == "inner"
    assert {h["checkpoint"]["checkpoint_ns"] for h in inner} == {place["checkpoint_ns"]}
    asked = {"checkpoint": inner[0]["checkpoint"], "subgraphs": True}
    state = (await http.post(f"/threads/{thread}/state/checkpoint", json=asked)).json()
    assert state["values"] == inner[0]["values"]
