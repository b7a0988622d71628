"""Double texting: what happens to a thread that already works when more is asked of it."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import progressed, until

pytestmark = pytest.mark.anyio

WAYS = ["create", "wait", "stream"]
BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


async def start(client: LangGraphClient, thread: str, tag: str = "a", steps: int = 200) -> str:
    run = await client.runs.create(thread, "slow", input={"tag": tag, "steps": steps, "delay": 0.03})
    await progressed(client, thread)
    return run["run_id"]


async def second(client: LangGraphClient, thread: str, way: str, strategy: Any) -> Any:
    """Ask for one more step, in one of the three ways, and wait for the end; returns the final values."""
    asked: dict[str, Any] = {"input": {"tag": "b", "steps": 1}, "multitask_strategy": strategy}
    if way == "wait":
        return await client.runs.wait(thread, "slow", **asked)
    if way == "create":
        run = await client.runs.create(thread, "slow", **asked)
        return await client.runs.join(thread, run["run_id"])
    parts = [p async for p in client.runs.stream(thread, "slow", stream_mode="values", **asked)]
    return parts[-1].data


async def logged(client: LangGraphClient, thread: str, entry: str) -> bool:
    values: Any = (await client.threads.get_state(thread))["values"]
    return entry in values["log"]


async def statuses(client: LangGraphClient, thread: str) -> list[str]:
    """Oldest first."""
    return [run["status"] for run in reversed(await client.runs.list(thread))]


@pytest.mark.parametrize("way", WAYS)
async def test_reject_refuses_and_changes_nothing(http: httpx.AsyncClient, thread: str, way: str) -> None:
    path = f"/threads/{thread}/runs"
    body = {"assistant_id": "counter", "input": {"limit": 1}}
    held = (await http.post(path, json={**body, "after_seconds": 60})).json()["run_id"]
    refused = await http.post(
        path + {"create": "", "wait": "/wait", "stream": "/stream"}[way], json={**body, "multitask_strategy": "reject"}
    )
    assert (refused.status_code, refused.json()) == (409, {"detail": BUSY})
    assert [run["run_id"] for run in (await http.get(path)).json()] == [held]


async def test_reject_accepts_on_an_idle_thread(client: LangGraphClient, thread: str) -> None:
    values = await second(client, thread, "wait", "reject")
    assert values["log"] == ["b1"]


@pytest.mark.parametrize("way", WAYS)
async def test_enqueue_waits_its_turn(client: LangGraphClient, thread: str, way: str) -> None:
    await start(client, thread, steps=5)
    values = await second(client, thread, way, "enqueue")
    assert values["log"] == ["a1", "a2", "a3", "a4", "a5", "b1"]
    assert await statuses(client, thread) == ["success", "success"]


async def test_enqueue_is_the_default(client: LangGraphClient, thread: str) -> None:
    await start(client, thread, steps=5)
    output: Any = await client.runs.wait(thread, "slow", input={"tag": "b", "steps": 1})
    assert output["log"] == ["a1", "a2", "a3", "a4", "a5", "b1"]


@pytest.mark.parametrize("way", WAYS)
async def test_interrupt_stops_the_active_run_and_builds_on_it(client: LangGraphClient, thread: str, way: str) -> None:
    await start(client, thread)
    values = await second(client, thread, way, "interrupt")
    *kept, last = values["log"]
    assert last == "b1"
    assert kept == [f"a{i + 1}" for i in range(len(kept))] and 1 <= len(kept) < 200
    assert await statuses(client, thread) == ["interrupted", "success"]
    shown = await client.threads.get(thread)
    assert (shown["status"], shown["error"]) == ("idle", None)


@pytest.mark.parametrize("way", WAYS)
async def test_rollback_undoes_the_active_run_but_not_earlier_ones(
    client: LangGraphClient, thread: str, way: str
) -> None:
    await client.runs.wait(thread, "slow", input={"tag": "old", "steps": 1})
    active = await client.runs.create(thread, "slow", input={"tag": "a", "steps": 200, "delay": 0.03})
    await until(lambda: logged(client, thread, "a1"))
    values = await second(client, thread, way, "rollback")
    assert values["log"] == ["old1", "b1"]
    runs = await client.runs.list(thread)
    assert active["run_id"] not in [run["run_id"] for run in runs]
    assert await statuses(client, thread) == ["success", "success"]
    history = await client.threads.get_history(thread, limit=100)
    assert active["run_id"] not in [h["metadata"].get("run_id") for h in history]  # type: ignore[union-attr]


async def test_interrupt_also_sweeps_the_queue(client: LangGraphClient, thread: str) -> None:
    await start(client, thread)
    await client.runs.create(thread, "slow", input={"tag": "queued", "steps": 1})
    values = await second(client, thread, "wait", "interrupt")
    assert "queued1" not in values["log"]
    assert values["log"][-1] == "b1"
    assert await statuses(client, thread) == ["interrupted", "interrupted", "success"]


async def test_rollback_also_sweeps_the_queue(client: LangGraphClient, thread: str) -> None:
    await start(client, thread)
    await client.runs.create(thread, "slow", input={"tag": "queued", "steps": 1})
    values = await second(client, thread, "wait", "rollback")
    assert values["log"] == ["b1"]
    assert await statuses(client, thread) == ["success"]


async def at_once(calls: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Make all calls concurrently; a refusal counts as an answer."""
    answers: list[Any] = [None] * len(calls)

    async def make(i: int) -> None:
        try:
            answers[i] = await calls[i]()
        except httpx.HTTPStatusError as refused:
            answers[i] = refused

    async with anyio.create_task_group() as group:
        for i in range(len(calls)):
            group.start_soon(make, i)
    return answers


def submits(client: LangGraphClient, thread: str, strategy: Any, n: int, **slow: Any) -> list[Any]:
    def submit(tag: str) -> Callable[[], Awaitable[Any]]:
        given = {"steps": 1, "tag": tag, **slow}
        return lambda: client.runs.create(thread, "slow", input=given, multitask_strategy=strategy)

    return [submit(chr(ord("a") + i)) for i in range(n)]


async def test_concurrent_enqueues_run_one_after_another_in_order(client: LangGraphClient, thread: str) -> None:
    runs = await at_once(submits(client, thread, "enqueue", 8, delay=0.005))
    for run in runs:
        await client.runs.join(thread, run["run_id"])
    in_order: list[Any] = list(reversed(await client.runs.list(thread)))
    log = (await client.threads.get_state(thread))["values"]["log"]  # type: ignore[call-overload]
    assert log == [run["kwargs"]["input"]["tag"] + "1" for run in in_order]
    assert await statuses(client, thread) == ["success"] * 8


async def test_of_concurrent_rejects_exactly_one_is_accepted(client: LangGraphClient, thread: str) -> None:
    answers = await at_once(submits(client, thread, "reject", 8, steps=20, delay=0.03))
    refused = [a for a in answers if isinstance(a, Exception)]
    assert len(refused) == 7
    assert {getattr(a, "status_code", None) for a in refused} == {409}
    assert len(await client.runs.list(thread)) == 1


async def test_concurrent_interrupts_leave_one_winner(client: LangGraphClient, thread: str) -> None:
    runs = await at_once(submits(client, thread, "interrupt", 6, steps=2, delay=0.03))
    for run in runs:
        await client.runs.join(thread, run["run_id"])
    ended = await statuses(client, thread)
    assert sorted(ended) == ["interrupted"] * 5 + ["success"]
    (winner,) = [run for run in await client.runs.list(thread) if run["status"] == "success"]
    tag = winner["kwargs"]["input"]["tag"]  # type: ignore[typeddict-item]
    log: Any = (await client.threads.get_state(thread))["values"]["log"]  # type: ignore[call-overload]
    assert log[-2:] == [f"{tag}1", f"{tag}2"]
    assert len(set(log)) == len(log), "no step happened twice"
    assert (await client.threads.get(thread))["status"] == "idle"
