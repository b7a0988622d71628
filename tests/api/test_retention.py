"""Threads that expire, are pruned and are measured, as a client sees it."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from serving import KIT, Server, progressed, status_is, until

pytestmark = [pytest.mark.anyio, pytest.mark.beyond_reference]
HI = {"messages": [{"role": "user", "content": "hi"}]}


async def ttl_of(client: LangGraphClient, thread_id: str) -> Any:
    return (await client.threads.get(thread_id, include=["ttl"]))["ttl"]


async def said(client: LangGraphClient, turns: int = 3) -> str:
    place = (await client.threads.create())["thread_id"]
    for _ in range(turns):
        await client.runs.wait(place, "echo", input=HI)
    return place


# Time to live


async def test_a_time_to_live_is_shown_when_asked_for(client: LangGraphClient) -> None:
    thread = await client.threads.create(ttl={"ttl": 90, "strategy": "keep_latest"})
    assert "ttl" not in thread and "ttl" not in await client.threads.get(thread["thread_id"])
    expires = datetime.fromisoformat(str(thread["created_at"])) + timedelta(minutes=90)
    wanted = {"strategy": "keep_latest", "ttl_minutes": 90, "expires_at": expires.isoformat(timespec="microseconds")}
    assert await ttl_of(client, thread["thread_id"]) == wanted


async def test_a_run_prolongs_it(client: LangGraphClient) -> None:
    place = (await client.threads.create(ttl=10))["thread_id"]
    first = await ttl_of(client, place)
    await client.runs.wait(place, "echo", input=HI)
    thread: Any = await client.threads.get(place)
    expires = datetime.fromisoformat(thread["last_activity_at"]) + timedelta(minutes=10)
    second = await ttl_of(client, place)
    assert first["expires_at"] < second["expires_at"] == expires.isoformat(timespec="microseconds")


async def test_it_is_changed_and_taken_away(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    assert await ttl_of(client, thread) is None
    await client.threads.update(thread, metadata={"a": 1}, ttl=5)
    found = await ttl_of(client, thread)
    assert (found["strategy"], found["ttl_minutes"]) == ("delete", 5)
    await client.threads.update(thread, metadata={"a": 2})
    assert await ttl_of(client, thread) == found
    await http.patch(f"/threads/{thread}", json={"ttl": 7.5})
    assert (await ttl_of(client, thread))["ttl_minutes"] == 7.5
    assert (await http.patch(f"/threads/{thread}", json={"ttl": None})).status_code == 200
    assert await ttl_of(client, thread) is None


async def test_a_thread_that_exists_keeps_its_time(client: LangGraphClient, thread: str) -> None:
    await client.threads.create(thread_id=thread, if_exists="do_nothing", ttl=1)
    assert await ttl_of(client, thread) is None


@pytest.mark.parametrize(
    "wrong",
    [0, -1, "5", True, {}, [], {"ttl": 0}, {"ttl": "5"}, {"ttl": True}, {"ttl": 1e99}, {"ttl": 1, "strategy": "x"}],
)
async def test_a_wrong_time_is_422(http: httpx.AsyncClient, thread: str, wrong: Any) -> None:
    for answer in (
        await http.post("/threads", json={"ttl": wrong}),
        await http.patch(f"/threads/{thread}", json={"ttl": wrong}),
    ):
        assert answer.status_code == 422
        assert answer.json()["detail"].lstrip("'").startswith("ttl")


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], Server]]:
    """A server on the kit's echo graph with this `checkpointer.ttl`."""
    started: list[Server] = []

    def start(ttl: dict[str, Any]) -> Server:
        folder = tmp_path / "project"
        folder.mkdir()
        graphs = {"echo": f"{KIT.parent}/graphs.py:echo", "slow": f"{KIT.parent}/graphs.py:slow"}
        (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs, "checkpointer": {"ttl": ttl}}))
        started.append(Server(tmp_path / "data", folder / "langgraph.json"))
        return started[-1].start()

    yield start
    for one in started:
        one.kill()


async def test_the_server_sweeps_by_its_default_and_spares_who_runs(
    configured: Callable[[dict[str, Any]], Server],
) -> None:
    client = configured({"default_ttl": 0.005, "sweep_interval_minutes": 0.001, "sweep_limit": 10}).client()
    assert (await client.assistants.search())[0]["graph_id"]
    kept = (await client.threads.create(ttl=60))["thread_id"]
    busy = (await client.threads.create())["thread_id"]
    run = await client.runs.create(busy, "slow", input={"steps": 1000, "delay": 0.05})
    await progressed(client, busy)
    idle = (await client.threads.create())["thread_id"]

    async def alone() -> bool:
        return {one["thread_id"] for one in await client.threads.search()} == {kept, busy}

    await until(alone)
    with pytest.raises(httpx.HTTPStatusError):
        await client.threads.get(idle)
    assert await status_is(client, busy, run["run_id"], "running")
    await client.runs.cancel(busy, run["run_id"])

    async def gone() -> bool:
        return [one["thread_id"] for one in await client.threads.search()] == [kept]

    await until(gone)


# Pruning


async def test_keep_latest_keeps_the_state_and_the_next_run_works(client: LangGraphClient) -> None:
    place = await said(client)
    before = await client.threads.get_state(place)
    assert len(await client.threads.get_history(place, limit=100)) == 9
    assert await client.threads.prune([place], strategy="keep_latest") == {"pruned_count": 1}
    after = await client.threads.get_state(place)
    assert (after["values"], after["checkpoint"]) == (before["values"], before["checkpoint"])
    assert len(await client.threads.get_history(place, limit=100)) == 1
    answer: Any = await client.runs.wait(place, "echo", input=HI)
    assert answer["messages"][-1]["content"] == "7: hi"
    assert len(await client.runs.list(place)) == 4, "runs stay"


async def test_a_thread_that_waits_can_still_be_answered(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "hitl", input={"n": 1})
    before = (await client.threads.get_state(thread))["interrupts"]
    await client.threads.prune([thread], strategy="keep_latest")
    assert (await client.threads.get_state(thread))["interrupts"] == before != []
    assert (await client.threads.get(thread))["status"] == "interrupted"
    answer = await client.runs.wait(thread, "hitl", command={"resume": "yes"})
    assert answer == {"n": 1, "log": ["propose", {"approve": "yes"}, "done"]}


async def test_prune_deletes_by_default_and_ignores_what_is_not_there(client: LangGraphClient) -> None:
    first, second, unknown = await said(client, 1), await said(client, 1), str(uuid.uuid4())
    assert await client.threads.prune([first, unknown, second, first]) == {"pruned_count": 2}
    for gone in (first, second):
        with pytest.raises(httpx.HTTPStatusError):
            await client.threads.get(gone)
    assert await client.threads.prune([first], strategy="keep_latest") == {"pruned_count": 0}


async def test_prune_skips_who_runs(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input={"steps": 1000, "delay": 0.05})
    await progressed(client, thread)
    for strategy in ("delete", "keep_latest"):
        assert await client.threads.prune([thread], strategy=strategy) == {"pruned_count": 0}  # type: ignore[arg-type]
    assert await status_is(client, thread, run["run_id"], "running")
    await client.runs.cancel(thread, run["run_id"], wait=True)


@pytest.mark.parametrize("wrong", [{}, {"thread_ids": "x"}, {"thread_ids": ["x"]}, {"thread_ids": [], "strategy": "x"}])
async def test_a_wrong_prune_is_422(http: httpx.AsyncClient, wrong: Any) -> None:
    assert (await http.post("/threads/prune", json=wrong)).status_code == 422


# Room


async def test_storage_adds_up_and_shrinks(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    place = await said(client)
    before = (await http.get(f"/threads/{place}/storage")).json()
    assert list(before) == [*("thread_id", "total_bytes", "checkpoints", "channel_values", "pending_writes", "events")]
    parts = [before[name] for name in ("checkpoints", "channel_values", "pending_writes")]
    assert before["total_bytes"] == sum(part["bytes"] for part in parts)
    assert all(part["bytes"] > 0 and part["count"] > 0 for part in [*parts, before["events"]])
    assert before["checkpoints"]["count"] == 9
    by_channel = before["channel_values"]["by_channel"]
    assert before["channel_values"]["bytes"] == sum(one["bytes"] for one in by_channel.values())
    assert before["channel_values"]["count"] == sum(one["versions"] for one in by_channel.values())
    assert by_channel["messages"]["versions"] == 6, "each turn writes twice"
    await client.threads.prune([place], strategy="keep_latest")
    after = (await http.get(f"/threads/{place}/storage")).json()
    assert after["checkpoints"]["count"] == 1
    assert after["channel_values"]["by_channel"]["messages"]["versions"] == 1
    assert after["total_bytes"] < before["total_bytes"] / 3
    assert after["events"] == before["events"]


async def test_storage_of_nothing(http: httpx.AsyncClient, thread: str) -> None:
    empty = {"count": 0, "bytes": 0}
    assert (await http.get(f"/threads/{thread}/storage")).json() == {
        "thread_id": thread, "total_bytes": 0, "checkpoints": empty, "pending_writes": empty, "events": empty,
        "channel_values": empty | {"by_channel": {}},
    }  # fmt: skip
    assert (await http.get(f"/threads/{uuid.uuid4()}/storage")).status_code == 404


# Whose


async def test_others_threads_are_neither_pruned_nor_measured(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", Path(__file__).parents[1] / "auth" / "langgraph.json").start()
    try:
        alice, bob = (
            get_client(url=server.url, headers={"Authorization": f"Bearer {name}"}) for name in ("alice", "bob")
        )
        place = (await alice.threads.create(ttl=60))["thread_id"]
        for strategy in ("delete", "keep_latest"):
            assert await bob.threads.prune([place], strategy=strategy) == {"pruned_count": 0}  # type: ignore[arg-type]
        async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": "Bearer bob"}) as http:
            assert (await http.get(f"/threads/{place}/storage")).status_code == 404
            assert (await http.get(f"/threads/{place}?include=ttl")).status_code == 404
            assert (await http.patch(f"/threads/{place}", json={"ttl": 1})).status_code == 404
        assert (await ttl_of(alice, place))["ttl_minutes"] == 60
        assert await alice.threads.prune([place]) == {"pruned_count": 1}
    finally:
        server.kill()


async def test_what_is_old_is_reported_and_then_pruned(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    place = await said(client)
    before = await client.threads.get_history(place, limit=50)
    asked: dict[str, Any] = {"thread_ids": [place], "keep_all_days": 0}
    told = (await http.post("/threads/retention", json=asked)).json()
    assert told["dry_run"] and told["checkpoints"] > 0 and told["bytes"] > 0
    assert await client.threads.get_history(place, limit=50) == before
    assert (await http.post("/threads/retention", json=asked | {"keep_all_days": 7})).json()["checkpoints"] == 0
    done = (await http.post("/threads/retention", json=asked | {"dry_run": False})).json()
    assert done == told | {"dry_run": False}
    after = await client.threads.get_history(place, limit=50)
    assert len(after) == len(before) - told["checkpoints"]
    ends = [one for one in before if not one["next"]]
    assert [one["checkpoint_id"] for one in after if not one["next"]] == [one["checkpoint_id"] for one in ends]
    values = {one["checkpoint_id"]: one["values"] for one in before}
    assert all(one["values"] == values[one["checkpoint_id"]] for one in after)
    await client.runs.wait(place, "echo", input=HI)
    assert len((await client.threads.get_state(place))["values"]["messages"]) == 8  # type: ignore[call-overload]


async def test_a_busy_thread_loses_nothing_to_its_age(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    place = await said(client)
    run = await client.runs.create(place, "slow", input={"steps": 100, "delay": 0.05})
    asked = {"thread_ids": [place, str(uuid.uuid4())], "keep_all_days": 0, "dry_run": False}
    assert (await http.post("/threads/retention", json=asked)).json()["checkpoints"] == 0
    await client.runs.cancel(place, run["run_id"], wait=True)
