"""What a run can be told at its creation."""

import time
import uuid
from typing import Any

import anyio
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

pytestmark = pytest.mark.anyio


async def test_context_reaches_the_graph(client: LangGraphClient, thread: str) -> None:
    output = await client.runs.wait(thread, "ctx", input={"question": "?"}, context={"name": "ann"})
    assert output == {"reply": "ann/None/vanilla"}


async def test_configurable_reaches_the_graph_and_fills_the_context(client: LangGraphClient, thread: str) -> None:
    config: Any = {"configurable": {"colour": "red", "name": "bob"}}
    output = await client.runs.wait(thread, "ctx", input={"question": "?"}, config=config)
    assert output == {"reply": "bob/red/vanilla"}


async def test_unknown_context_keys_are_dropped(client: LangGraphClient, thread: str) -> None:
    output = await client.runs.wait(thread, "ctx", input={"question": "?"}, context={"nonsense": 1})
    assert output == {"reply": "nobody/None/vanilla"}


@pytest.mark.parametrize("way", ["", "/wait", "/stream"])
async def test_configurable_and_context_together_are_refused(http: httpx.AsyncClient, thread: str, way: str) -> None:
    body = {"assistant_id": "ctx", "input": {}, "config": {"configurable": {"a": 1}}, "context": {"b": 1}}
    response = await http.post(f"/threads/{thread}/runs{way}", json=body)
    assert response.status_code == 400
    assert response.json()["detail"].startswith("Cannot specify both configurable and context")
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


async def test_a_loop_ends_at_its_recursion_limit(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(Exception, match="GraphRecursionError: Recursion limit of 3 reached"):
        await client.runs.wait(thread, "counter", input={"limit": 100}, config={"recursion_limit": 3})
    assert (await client.threads.get(thread))["status"] == "error"


async def test_interrupt_before_stops_and_no_input_continues(client: LangGraphClient, thread: str) -> None:
    stopped = await client.runs.wait(thread, "hitl", input={"n": 1}, interrupt_before=["propose"])
    assert stopped == {"log": [], "n": 1}
    shown = await client.threads.get(thread)
    assert (shown["status"], shown["interrupts"]) == ("interrupted", {})
    assert (await client.threads.get_state(thread))["next"] == ["propose"]
    output: Any = await client.runs.wait(thread, "hitl")
    assert output["log"] == ["propose"]


async def test_interrupt_after_stops_behind_the_node(client: LangGraphClient, thread: str) -> None:
    assert await client.runs.wait(thread, "hitl", input={"n": 1}, interrupt_after="*") == {"log": ["propose"], "n": 1}
    assert (await client.threads.get_state(thread))["next"] == ["approve"]


@pytest.mark.parametrize("form", ["checkpoint", "checkpoint_id", "configurable"])
async def test_a_run_can_fork_from_a_checkpoint(client: LangGraphClient, thread: str, form: str) -> None:
    await client.runs.wait(thread, "counter", input={"limit": 3})
    before = await client.threads.get_history(thread)
    place: Any = next(h["checkpoint"] for h in before if h["values"].get("n") == 1)
    there: dict[str, Any] = {
        "checkpoint": {"checkpoint": place},
        "checkpoint_id": {"checkpoint_id": place["checkpoint_id"]},
        "configurable": {"config": {"configurable": {"checkpoint_id": place["checkpoint_id"]}}},
    }[form]
    assert await client.runs.wait(thread, "counter", input={"limit": 2}, **there) == {"n": 2, "limit": 2}
    after = await client.threads.get_history(thread, limit=20)
    assert after[-len(before) :] == before, "the old branch is untouched"
    ids = {h["checkpoint"]["checkpoint_id"]: h for h in after}
    step, came_from = after[0], []
    while step["parent_checkpoint"]:
        step = ids[step["parent_checkpoint"]["checkpoint_id"]]
        came_from.append(step["checkpoint"])
    assert place in came_from, "the new branch grows out of the checkpoint"
    assert before[0]["checkpoint"] not in came_from, "and not out of the old end"


async def test_a_checkpoint_is_replayed_without_input(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"limit": 3})
    at_one = next(h for h in await client.threads.get_history(thread) if h["values"].get("n") == 1)
    place = at_one["checkpoint"]["checkpoint_id"]
    assert await client.runs.wait(thread, "counter", checkpoint_id=place) == {"n": 3, "limit": 3}
    assert len(await client.threads.get_history(thread, limit=20)) > 5, "it really ran"


async def test_a_malformed_checkpoint_id_is_422(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "counter", "input": {}, "checkpoint_id": "bad"}
    response = await http.post(f"/threads/{thread}/runs", json=body)
    assert response.status_code == 422
    assert response.json()["detail"].startswith("Invalid checkpoint ID")


@pytest.mark.beyond_reference
async def test_a_delayed_run_starts_when_it_is_due(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"limit": 1}, after_seconds=0.2)  # type: ignore[arg-type]
    with anyio.fail_after(3):
        assert (await client.runs.join(thread, run["run_id"]))["n"] == 1


async def test_after_seconds_delays_the_start(client: LangGraphClient, thread: str) -> None:
    asked = time.monotonic()
    run = await client.runs.create(thread, "counter", input={"limit": 1}, after_seconds=1)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "pending"
    assert await client.runs.join(thread, run["run_id"]) == {"n": 1, "limit": 1}
    assert time.monotonic() - asked >= 1


async def test_if_not_exists_create_makes_the_thread(client: LangGraphClient) -> None:
    mine = str(uuid.uuid4())
    with pytest.raises(NotFoundError, match="Thread or assistant not found"):
        await client.runs.create(mine, "counter", input={"limit": 1}, if_not_exists="reject")
    assert await client.runs.wait(mine, "counter", input={"limit": 1}, if_not_exists="create") == {"n": 1, "limit": 1}
    assert (await client.threads.get(mine))["status"] == "idle"


@pytest.mark.parametrize("stateless", [True, False])
async def test_a_thread_made_with_a_run_is_found_by_the_metadata_of_the_run(
    client: LangGraphClient, stateless: bool
) -> None:
    mine, other = str(uuid.uuid4()), str(uuid.uuid4())
    place: dict[str, Any] = {"on_completion": "keep"} if stateless else {"if_not_exists": "create"}
    thread = None if stateless else mine
    await client.runs.wait(thread, "counter", input={"limit": 1}, metadata={"for": mine}, **place)  # type: ignore[call-overload]
    (found,) = await client.threads.search(metadata={"for": mine})
    assert found["metadata"] == {"for": mine, "graph_id": "counter", "assistant_id": found["metadata"]["assistant_id"]}
    await client.runs.wait(found["thread_id"], "counter", input={"limit": 1}, metadata={"for": other})
    assert await client.threads.search(metadata={"for": other}) == []


async def test_unknown_body_fields_are_ignored(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "counter", "input": {"limit": 1}, "langsmith_tracer": None, "strict_resume": True, "x": 1}
    response = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert response.json() == {"n": 1, "limit": 1}


async def test_input_keys_outside_the_schema_are_ignored(client: LangGraphClient, thread: str) -> None:
    assert await client.runs.wait(thread, "counter", input={"limit": 1, "zzz": 1}) == {"n": 1, "limit": 1}


@pytest.mark.beyond_reference
async def test_feedback_keys_are_accepted_without_consequence(client: LangGraphClient, thread: str) -> None:
    parts = client.runs.stream(thread, "counter", input={"limit": 1}, stream_mode="values", feedback_keys=["score"])
    assert [part.event async for part in parts] == ["metadata", "values", "values"]
    (run,) = await client.runs.list(thread)
    assert (run["status"], run["kwargs"]["feedback_keys"]) == ("success", ["score"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"multitask_strategy": "zzz"},
        {"stream_mode": "zzz"},
        {"stream_mode": ["values", "zzz"]},
        {"durability": "zzz"},
        {"if_not_exists": "zzz"},
        {"after_seconds": "x"},
        {"config": {"recursion_limit": "x"}},
        {"metadata": "x"},
        {"command": "x"},
        {"interrupt_before": 5},
        {"assistant_id": 5},
        {"assistant_id": None},
    ],
)
@pytest.mark.parametrize("way", ["", "/wait", "/stream"])
async def test_a_malformed_option_is_422(http: httpx.AsyncClient, thread: str, wrong: dict[str, Any], way: str) -> None:
    response = await http.post(f"/threads/{thread}/runs{way}", json={"assistant_id": "counter", **wrong})
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


async def test_an_unknown_graph_is_422_and_names_the_known_ones(http: httpx.AsyncClient, thread: str) -> None:
    response = await http.post(f"/threads/{thread}/runs", json={"assistant_id": "nope"})
    assert response.status_code == 422
    detail = response.json()["detail"]
    assert detail.startswith("Invalid assistant: 'nope'.")
    assert "counter" in detail


@pytest.mark.parametrize("way", ["", "/wait", "/stream"])
async def test_an_unknown_assistant_or_thread_is_404(http: httpx.AsyncClient, thread: str, way: str) -> None:
    unknown = uuid.uuid4()
    for target, assistant in ((thread, str(unknown)), (unknown, "counter")):
        response = await http.post(f"/threads/{target}/runs{way}", json={"assistant_id": assistant})
        assert (response.status_code, response.json()) == (404, {"detail": "Thread or assistant not found."})
