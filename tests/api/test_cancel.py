"""Stopping a run: interrupt keeps its progress, rollback undoes it."""

import json
import uuid
from typing import Any

import anyio
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from serving import Server, progressed, until

pytestmark = pytest.mark.anyio

LONG = {"steps": 200, "delay": 0.05, "tag": "s"}


async def start(client: LangGraphClient, thread: str) -> str:
    """A long run that has already committed a step."""
    run = await client.runs.create(thread, "slow", input=LONG)
    await progressed(client, thread)
    return run["run_id"]


async def test_an_interrupted_run_keeps_its_progress_and_can_go_on(client: LangGraphClient, thread: str) -> None:
    run = await start(client, thread)
    await client.runs.cancel(thread, run, wait=True)
    assert (await client.runs.get(thread, run))["status"] == "interrupted"
    shown = await client.threads.get(thread)
    assert shown["status"] == "interrupted"
    assert shown["error"]["error"] == "UserInterrupt"  # type: ignore[index]
    state: Any = await client.threads.get_state(thread)
    assert state["next"] == ["step"]
    done = state["values"]["done"]
    assert state["values"]["log"] == [f"s{i + 1}" for i in range(done)]
    await client.threads.update_state(thread, {"steps": done + 2}, as_node="step")
    output: Any = await client.runs.wait(thread, "slow")
    assert output["log"] == [f"s{i + 1}" for i in range(done + 2)]
    assert (await client.threads.get(thread))["error"] is None


@pytest.mark.beyond_reference
@pytest.mark.parametrize("path", ["runs/{run}/cancel?action=interrupt", "stop"])
async def test_of_what_was_stopped_too_only_the_output_schema_is_told(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, path: str
) -> None:
    body = {"assistant_id": "slow_private", "input": LONG, "stream_mode": "values", "stream_resumable": True}
    run = (await http.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]
    await progressed(client, thread)
    async with (
        anyio.create_task_group() as waiting,
        http.stream("GET", f"/threads/{thread}/runs/{run}/join") as waited,
    ):
        waiting.start_soon(http.post, f"/threads/{thread}/{path.format(run=run)}")
        told = [json.loads(await waited.aread())]
    told.append(await client.runs.join(thread, run))
    again = client.runs.join_stream(thread, run, last_event_id="-1")
    told += [part.data async for part in again if part.event == "values"]
    assert {*map(tuple, told)} == {("done",)}
    assert (await client.threads.get_state(thread))["values"]["steps"] == LONG["steps"]


async def test_a_rolled_back_run_never_happened(client: LangGraphClient, thread: str) -> None:
    before: Any = await client.runs.wait(thread, "slow", input={"steps": 1, "tag": "old"})
    history = await client.threads.get_history(thread, limit=100)
    run = await client.runs.create(thread, "slow", input=LONG)

    async def is_stepping() -> bool:
        values: Any = (await client.threads.get_state(thread))["values"]
        return "s1" in values["log"]

    await until(is_stepping)
    await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, run["run_id"])
    assert (await client.threads.get_state(thread))["values"] == before
    assert await client.threads.get_history(thread, limit=100) == history
    assert (await client.threads.get(thread))["status"] == "idle"
    assert len(await client.runs.list(thread)) == 1


async def test_cancel_answers_when_the_run_has_ended(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    run = await start(client, thread)
    path = f"/threads/{thread}/runs/{run}"
    brief = await http.post(f"{path}/cancel")
    assert (brief.status_code, brief.content) == (202, b"")
    assert (await client.runs.get(thread, run))["status"] == "interrupted"
    other = (await client.threads.create())["thread_id"]
    run = await start(client, other)
    waited = await http.post(f"/threads/{other}/runs/{run}/cancel?wait=1&action=interrupt")
    assert (waited.status_code, waited.json()) == (200, {})
    assert (await client.runs.get(other, run))["status"] == "interrupted"


async def test_a_finished_or_unknown_run_cannot_be_cancelled(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"limit": 1})
    await client.runs.join(thread, run["run_id"])
    for gone in (run["run_id"], str(uuid.uuid4())):
        with pytest.raises(NotFoundError):
            await client.runs.cancel(thread, gone)


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_stopped_wait_returns_the_values_so_far(client: LangGraphClient, thread: str, action: Any) -> None:
    outcome: dict[str, Any] = {}

    async def wait() -> None:
        outcome["values"] = await client.runs.wait(thread, "slow", input=LONG)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await until(lambda: client.runs.list(thread))
        await progressed(client, thread)
        (run,) = await client.runs.list(thread)
        await client.runs.cancel(thread, run["run_id"], action=action, wait=True)
    done = outcome["values"]["done"]
    assert 1 <= done < 200
    assert outcome["values"]["log"] == [f"s{i + 1}" for i in range(done)]


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_stopped_stream_just_ends(client: LangGraphClient, thread: str, action: Any) -> None:
    events: list[str] = []
    async for part in client.runs.stream(thread, "slow", input=LONG, stream_mode="custom"):
        events.append(part.event)
        if part.event == "custom" and part.data == {"step": 2}:
            (run,) = await client.runs.list(thread)
            await client.runs.cancel(thread, run["run_id"], action=action, wait=True)
    assert events[0] == "metadata"
    assert set(events[1:]) == {"custom"}
    assert len(events) < 200


async def test_a_waiting_run_can_be_cancelled(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"limit": 1}, after_seconds=60)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
    assert (await client.threads.get(thread))["status"] == "idle"
    assert (await client.threads.get_state(thread))["values"] == {}


async def test_a_run_cancelled_before_it_began_returns_the_values_it_found(
    client: LangGraphClient, thread: str
) -> None:
    for there in ({}, {"n": 1}):
        run = await client.runs.create(thread, "counter", input={"limit": 1}, after_seconds=60)
        await client.runs.cancel(thread, run["run_id"], wait=True)
        assert await client.runs.join(thread, run["run_id"]) == there
        await client.runs.wait(thread, "counter", input={})


@pytest.mark.beyond_reference
async def test_cancelling_a_queued_run_leaves_the_running_one_alone(client: LangGraphClient, thread: str) -> None:
    first = await client.runs.create(thread, "slow", input={"steps": 20, "delay": 0.02, "tag": "a"})
    await progressed(client, thread)
    second = await client.runs.create(thread, "slow", input={"steps": 1, "tag": "b"})
    await client.runs.cancel(thread, second["run_id"], wait=True)
    assert (await client.threads.get(thread))["status"] == "busy"
    output: Any = await client.runs.join(thread, first["run_id"])
    assert output["log"] == [f"a{i + 1}" for i in range(20)]
    assert [r["status"] for r in await client.runs.list(thread)] == ["interrupted", "success"]


@pytest.mark.beyond_reference
async def test_an_unknown_action_is_422(http: httpx.AsyncClient, client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"limit": 1}, after_seconds=60)
    response = await http.post(f"/threads/{thread}/runs/{run['run_id']}/cancel?action=zzz")
    assert response.status_code == 422
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "pending"


@pytest.mark.beyond_reference
async def test_deleting_a_running_run_stops_it(client: LangGraphClient, thread: str) -> None:
    run = await start(client, thread)
    await client.runs.delete(thread, run)

    async def is_idle() -> bool:
        return (await client.threads.get(thread))["status"] != "busy"

    await until(is_idle)
    assert await client.runs.list(thread) == []


async def test_many_runs_are_cancelled_together(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    running = await start(client, thread)
    waiting = (await client.runs.create(thread, "counter", input={"limit": 1}))["run_id"]
    body = {"thread_id": thread, "run_ids": [running, waiting]}
    response = await http.post("/runs/cancel", json=body)
    assert (response.status_code, response.content) == (204, b"")
    for run in (running, waiting):
        assert (await client.runs.get(thread, run))["status"] == "interrupted"
    assert (await http.post("/runs/cancel", json=body)).status_code == 404
    assert (await http.post("/runs/cancel", json={})).status_code == 422


@pytest.mark.beyond_reference
async def test_all_runs_of_a_status_are_cancelled_wherever_they_are(own_server: Server) -> None:
    client = own_server.client()
    first, second = [(await client.threads.create())["thread_id"] for _ in range(2)]
    running = await start(client, first)
    queued = (await client.runs.create(first, "counter", input={"limit": 1}))["run_id"]
    delayed = (await client.runs.create(second, "counter", input={"limit": 1}, after_seconds=60))["run_id"]
    alone = await client.runs.create(None, "counter", input={"limit": 1}, after_seconds=60, on_completion="keep")
    async with own_server.http as http:
        assert (await http.post("/runs/cancel", json={"status": "pending"})).status_code == 204
        for place, run in ((first, queued), (second, delayed), (alone["thread_id"], alone["run_id"])):
            assert (await client.runs.get(place, run))["status"] == "interrupted"
        assert (await client.runs.get(first, running))["status"] == "running"
        assert (await http.post("/runs/cancel", json={"status": "pending"})).status_code == 404
        again = (await client.runs.create(second, "counter", input={"limit": 1}, after_seconds=60))["run_id"]
        assert (await http.post("/runs/cancel?action=rollback", json={"status": "running"})).status_code == 204

        async def gone() -> bool:
            return (await http.get(f"/threads/{first}/runs/{running}")).status_code == 404

        await until(gone)
        assert (await client.runs.get(second, again))["status"] == "pending"
        assert (await http.post("/runs/cancel", json={"status": "all"})).status_code == 204
        assert (await client.runs.get(second, again))["status"] == "interrupted"
        for wrong in ({"status": "success"}, {"status": "zzz"}):
            assert (await http.post("/runs/cancel", json=wrong)).status_code == 422
