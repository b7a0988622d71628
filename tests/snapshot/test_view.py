"""A snapshot and the events after it give the view that one has who has read every event."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from serving import Server
from snapshot.histories import FAMILIES, Thread, fold, read, shown, watched

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
SEEDS = range(12)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    own = Server(tmp_path_factory.mktemp("view") / "data", env={"THREADMILL_HEARTBEAT": "0.2"}).start()
    yield own
    own.kill()


@pytest.mark.parametrize("seed", SEEDS)
async def test_hot_is_cold_at_every_cut_of_a_random_history(busy: Server, seed: int) -> None:
    async with busy.http as http, watched(http, seed) as thread:
        await thread.live(FAMILIES[seed % len(FAMILIES)], steps=8)
        last = await thread.snapshot()
        await thread.caught_up(last["cursor"])
        compared = 0
        for snapshot in thread.snapshots:
            before = [one for one in thread.told if one["seq"] <= snapshot["cursor"]]
            hot = fold(before)
            if not hot["stale"]:
                assert shown(snapshot) == shown(hot), [one["seq"] for one in before[-3:]]
                compared += 1
            final = fold(thread.told, snapshot)
            if not final["stale"]:
                assert shown(final) == shown(last)
        assert compared > len(thread.snapshots) // 4
        assert last["in_flight"] is None
        assert last["queue"] == []


async def test_after_kill_the_stored_view_is_the_one_that_was_seen(start_server: Any) -> None:
    own = start_server(THREADMILL_HEARTBEAT="0.2")
    views = {}
    for seed in (0, 2, 3):
        async with own.http as http, watched(http, seed) as thread:
            await thread.live(FAMILIES[seed], steps=4)
            last = await thread.snapshot()
            await thread.caught_up(last["cursor"])
            views[thread.id] = shown(last)
    own.restart()
    async with own.http as http:
        for place, seen in views.items():
            cold = (await http.get(f"/threads/{place}/snapshot")).json()
            assert shown(cold) == seen
            told = fold(await read(http, place))
            if not told["stale"]:
                assert shown(told) == seen


async def test_a_crash_in_the_middle_of_an_answer(start_server: Any) -> None:
    own = start_server(THREADMILL_HEARTBEAT="0.2")
    async with own.http as http, watched(http, 1) as thread:
        said = {"messages": [{"role": "user", "content": "hi"}], "n_tokens": 100, "delay": 0.01}
        await thread.command("run.start", assistant_id="chat", input=said)
        while not (flight := (await thread.snapshot())["in_flight"]) or not flight["messages"]:
            pass
        assert flight["attempt"] == 1
    own.restart()
    async with own.http as http:
        again = Thread(http, thread.id, random.Random(0))
        await again.idle()
        last = await again.snapshot()
        assert last["status"] == "completed"
        told = await read(http, thread.id)
        assert shown(fold(told)) == shown(last)
        for snapshot in again.snapshots:
            assert shown(fold(told, snapshot)) == shown(last)
        flights = [one["in_flight"] for one in again.snapshots if one["in_flight"]]
        assert flights
        assert {one["attempt"] for one in flights} <= {1, 2}


async def test_a_crash_that_waits_for_a_choice_is_told_as_it_was_seen(start_server: Any) -> None:
    own = start_server(THREADMILL_HEARTBEAT="0.2", THREADMILL_ON_CRASH="wait")
    async with own.http as http, watched(http, 1) as thread:
        said = {"messages": [{"role": "user", "content": "hi"}], "n_tokens": 100, "delay": 0.01}
        await thread.command("run.start", assistant_id="chat", input=said)
        while not (flight := (await thread.snapshot())["in_flight"]) or not flight["messages"]:
            pass
        while not (await http.get(f"/threads/{thread.id}/state")).json()["values"]:
            pass  # a checkpoint may come to the disk one commit behind what was told of it
    own.restart()
    async with own.http as http:
        last = (await http.get(f"/threads/{thread.id}/snapshot")).json()
        assert last["error"] == "RunCrashed: The server died while this run was running."
        assert last["status"] == "interrupted"
        assert shown(fold(await read(http, thread.id))) == shown(last)


async def test_what_is_in_flight(busy: Server) -> None:
    async with busy.http as http, watched(http, 0) as thread:
        said = {"messages": [{"role": "user", "content": "wait wait"}]}
        await thread.command("run.start", assistant_id="strict", input=said)
        while not (flight := (await thread.snapshot())["in_flight"]) or len(flight["tools"]) < 2:
            pass
        now = thread.snapshots[-1]
        assert now["thread"]["status"] == now["status"] == "running"
        assert [one["status"] for one in flight["tools"]] == ["running", "running"]
        assert {one["tool_name"] for one in flight["tools"]} == {"wait"}
        assert [one["role"] if "role" in one else one["type"] for one in now["messages"]] == ["human", "ai"]
        assert flight["messages"] == []  # what was said before the tools is in the state
        assert flight["started_at"] <= flight["last_event_at"]
        assert [one["position"] for one in now["queue"]] == [None]
        ended = (await http.post(f"/threads/{thread.id}/stop")).json()
        assert ended["run_id"] == flight["run_id"]
        assert ended["status"] == "interrupted"


async def test_text_so_far(busy: Server) -> None:
    async with busy.http as http, watched(http, 0) as thread:
        said = {"messages": [{"role": "user", "content": "go on"}]}
        await thread.command("run.start", assistant_id="strict", input=said)
        while not (flight := (await thread.snapshot())["in_flight"]) or not flight["messages"]:
            pass
        (message,) = flight["messages"]
        assert message["text"].startswith("t0 ")
        assert message["blocks"] == [{"type": "text", "text": message["text"]}]
        assert not message["complete"]
        ended = await http.post(f"/threads/{thread.id}/stop")
        assert ended.status_code == 200
        last = await thread.snapshot()
        await thread.caught_up(last["cursor"])
        kept = last["messages"][-1]
        assert kept["content"][0]["text"].startswith(message["text"])
        assert (await http.post(f"/threads/{thread.id}/stop")).status_code == 404


async def test_a_thread_that_is_new_or_not_there(busy: Server) -> None:
    async with busy.http as http:
        place = (await http.post("/threads", json={"title": "New"})).json()["thread_id"]
        empty = (await http.get(f"/threads/{place}/snapshot")).json()
        assert empty["thread"]["title"] == "New"
        assert shown(empty) == {"values": None, "status": None, "error": None, "in_flight": None, "interrupts": []}
        gone = await http.get("/threads/01a1fc2b-5f4e-7575-b684-250167de9406/snapshot")
        assert gone.status_code == 404
