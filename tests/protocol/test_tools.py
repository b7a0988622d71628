"""What is told of tools while they work: start, progress, output, and one end for each call."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from protocol.wire import Thread, at, data, ended, ends, of
from serving import Server

pytestmark = pytest.mark.anyio
ENDED = ("tool-finished", "tool-error")


def call(name: str, place: int = 0, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": f"{name}-{place}"}


async def told_of(
    place: Thread, *calls: dict[str, Any], runs: int = 1, graph: str = "workshop"
) -> list[dict[str, Any]]:
    await place.start(graph, {"calls": list(calls)})
    told = await place.read(ends(runs))
    assert await place.read(ends(runs)) == told, "a reload shows another timeline"
    return told


def timeline(told: list[dict[str, Any]], call_id: str) -> list[dict[str, Any]]:
    return [one for one in of(told, "tools") if one["tool_call_id"] == call_id]


def check_ends(told: list[dict[str, Any]]) -> None:
    """One end for each call that began, before the end of the run."""
    open_calls: set[str] = set()
    for envelope in told:
        if envelope["method"] == "tools":
            event, call_id = data(envelope)["event"], data(envelope)["tool_call_id"]
            if event == "tool-started":
                assert call_id not in open_calls
                open_calls.add(call_id)
            else:
                assert call_id in open_calls, (event, call_id)
                if event in ENDED:
                    open_calls.discard(call_id)
        elif ended(envelope):
            assert not open_calls


async def test_a_synchronous_tool_tells_its_progress(place: Thread) -> None:
    told = await told_of(place, call("sort", n=2))
    begun, *progress, finished = timeline(told, "sort-0")
    assert begun == {"event": "tool-started", "tool_call_id": "sort-0", "tool_name": "sort", "input": {"n": 2}}
    assert [{k: v for k, v in one.items() if k != "tool_call_id"} for one in progress] == [
        {
            "event": "tool-progress",
            "text": f"sorted {n}",
            "phase": "sorting",
            "current": n,
            "total": 2,
            "data": {"text": f"sorted {n}", "phase": "sorting", "done": n, "total": 2},
        }
        for n in (1, 2)
    ]
    assert (finished["event"], finished["output"]["content"]) == ("tool-finished", "sorted 2")
    assert finished["duration_ms"] >= 0
    check_ends(told)


async def test_output_comes_piece_by_piece(place: Thread) -> None:
    told = await told_of(place, call("recite", lines=["a", "b", "c"]))
    events = timeline(told, "recite-0")
    assert [one.get("delta") for one in events] == [None, "a", "b", "c", None]
    assert events[-1]["output"]["content"] == "a b c"
    check_ends(told)


async def test_parallel_calls_are_told_apart(place: Thread) -> None:
    calls = [call("sort", n, n=n) for n in range(1, 5)]
    calls += [call("recite", n, lines=[f"{n}-{line}" for line in range(3)]) for n in range(4)]
    calls += [call("fail", n, why=f"reason {n}") for n in range(2)]
    told = await told_of(place, *calls)
    for n in range(1, 5):
        assert [one["current"] for one in timeline(told, f"sort-{n}")[1:-1]] == list(range(1, n + 1))
    for n in range(4):
        assert [one["delta"] for one in timeline(told, f"recite-{n}")[1:-1]] == [f"{n}-{line}" for line in range(3)]
    for n in range(2):
        assert [one["event"] for one in timeline(told, f"fail-{n}")] == ["tool-started", "tool-error"]
        assert timeline(told, f"fail-{n}")[-1]["message"] == f"reason {n}"
    check_ends(told)


async def test_tools_in_subgraphs_and_without_a_tool_node(place: Thread) -> None:
    told = await told_of(place, call("sort", n=1), graph="parlour")
    inside = [one for one in told if one["method"] == "tools" and data(one)["tool_call_id"] == "sort-0"]
    assert {at(one)[0].partition(":")[0] for one in inside} == {"workshop"}
    direct = [one for one in told if one["method"] == "tools" and one not in inside]
    assert {tuple(at(one)) for one in direct} == {()}
    assert [data(one)["event"] for one in direct] == ["tool-started", "tool-progress", "tool-finished"]
    assert data(direct[-1])["output"] == "sorted 1"
    assert len({data(one)["tool_call_id"] for one in direct}) == 1
    check_ends(told)


async def test_a_tool_that_calls_a_tool(place: Thread) -> None:
    told = await told_of(place, call("outer", n=2))
    assert [one.get("text") for one in timeline(told, "outer-0")] == [None, "before", "after", None]
    (inner,) = {one["tool_call_id"] for one in of(told, "tools")} - {"outer-0"}
    assert [one.get("text") for one in timeline(told, inner)] == [None, "sorted 1", "sorted 2", None]
    check_ends(told)


async def test_a_tool_that_asks_begins_again_with_the_answer(place: Thread) -> None:
    told = await told_of(place, call("ask", question="sure?"), call("sort", n=1))
    (asked,) = of(told, "input.requested")
    assert [one["event"] for one in timeline(told, "ask-0")] == ["tool-started"]  # it waits: that is no end
    await place.ask("input.respond", interrupt_id=asked["interrupt_id"], response="yes")
    told = await place.read(ends(2))
    events = timeline(told, "ask-0")
    assert [one["event"] for one in events] == ["tool-started", "tool-started", "tool-finished"]
    assert events[-1]["output"]["content"] == "they said yes"


@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_a_stop_ends_the_tools_that_were_at_work(place: Thread, http: httpx.AsyncClient, how: str) -> None:
    calls = [call("ponder", n, seconds=60) for n in range(3)]
    run_id = await place.start("workshop", {"calls": [*calls, call("sort", n=1)]})
    begun = [0]

    def all_begun(one: dict[str, Any]) -> bool:
        begun[0] += one["method"] == "tools" and data(one)["event"] == "tool-started"
        return begun[0] == 4

    await place.read(all_begun)
    if how == "stop":
        await place.ask("run.stop")
    else:
        await http.post(f"/threads/{place.id}/runs/{run_id}/cancel?wait=true")
    told = await place.read()
    for n in range(3):
        last = timeline(told, f"ponder-{n}")[-1]
        assert (last["event"], last["code"]) == ("tool-error", "stopped")
    assert timeline(told, "sort-0")[-1]["event"] == "tool-finished"
    check_ends(told)
    assert await place.read() == told


@pytest.mark.parametrize("name", ["ponder", "block"])
async def test_a_silent_tool_is_said_to_be_still_at_work(place: Thread, name: str) -> None:
    told = await told_of(place, call(name, seconds=3.2))
    times = [one["params"]["timestamp"] for one in told if one["method"] == "tools"]
    _, *still, finished = timeline(told, f"{name}-0")
    assert [one["still_working"] for one in still] == [True] * len(still) and len(still) >= 1
    assert 900 <= times[1] - times[0] <= 2000
    assert 900 <= still[0]["duration_ms"] <= 2000
    assert finished["duration_ms"] >= 3000
    check_ends(told)


async def test_the_sdks_v1_stream_has_the_same_timeline(place: Thread, http: httpx.AsyncClient) -> None:
    told = await told_of(place, call("sort", n=3), call("fail", why="no"))
    run_id = told[0]["event_id"].split(":")[1]
    answer = await http.get(f"/threads/{place.id}/runs/{run_id}/stream", params={"stream_mode": "tools"})
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    v1 = [one for line in lines if "event" in (one := httpx.Response(200, text=line).json())]
    assert v1 == of(told, "tools")


async def test_many_runs_leave_no_call_open(server: Any, http: httpx.AsyncClient) -> None:
    """Stops at any moment."""

    async def one(n: int) -> None:
        thread = Thread(server, http)
        calls = [call("recite", k, lines=["x"] * 20) for k in range(3)]
        await thread.start("workshop", {"calls": [*calls, call("ponder", seconds=0.1), call("block", seconds=0.05)]})
        await asyncio.sleep(n * 0.01)
        await thread.send("run.stop")
        told = await thread.read()
        check_ends(told)
        await thread.start("workshop", {"calls": [call("sort", n=1)]})
        check_ends(await thread.read(ends(2)))

    for n in range(0, 20, 4):
        await asyncio.gather(*(one(k) for k in range(n, n + 4)))


async def test_a_tool_that_its_server_left_has_an_end_before_it_begins_anew(serve: Callable[..., Server]) -> None:
    own = serve()
    calls = [call("ponder", seconds=30), call("sort", n=1)]
    async with own.http as http:
        place = Thread(own, http)
        await place.start("parlour", {"calls": calls})
        await place.read(lambda one: one["method"] == "tools" and data(one).get("still_working"))
        await asyncio.to_thread(own.restart)
        await place.read(lambda one: one["method"] == "lifecycle" and data(one).get("attempt") == 2)
        started = [0]

        def again(one: dict[str, Any]) -> bool:
            started[0] += one["method"] == "tools" and data(one).get("tool_name") == "ponder"
            return started[0] == 2

        await place.read(again)
        await place.ask("run.stop")
        told = await place.read()
    check_ends(told)
    events = [one for one in timeline(told, "ponder-0") if one["event"] != "tool-progress"]
    assert [one["event"] for one in events] == ["tool-started", "tool-error"] * 2
    assert [one.get("code") for one in events] == [None, "crashed", None, "stopped"]
    (where,) = {tuple(at(one)) for one in told if one["method"] == "tools" and "ponder-0" in str(data(one))}
    assert where
