"""What the event protocol tells of a thread: envelopes, numbers, channels, filters, replays."""

import asyncio
import json
from typing import Any

import anyio
import httpx
import pytest
from protocol.wire import CHANNELS, Thread, at, data, ended, ends, of, said, socket, texts
from serving import Remote

pytestmark = pytest.mark.anyio


async def test_an_envelope_has_the_form_of_the_protocol(place: Thread) -> None:
    run_id = await place.start("chat", said("hi"))
    told = await place.read()
    assert [one["type"] for one in told] == ["event"] * len(told)
    assert [set(one) for one in told] == [{"type", "event_id", "seq", "method", "params"}] * len(told)
    assert [set(one["params"]) for one in told] == [{"namespace", "timestamp", "data"}] * len(told)
    assert told[0]["seq"] == 1
    numbers = [one["seq"] for one in told]
    assert numbers == sorted(set(numbers))
    assert len({one["event_id"] for one in told}) == len(told)
    times = [one["params"]["timestamp"] for one in told]
    assert times == sorted(times) and times[0] > 1_600_000_000_000
    first, last = told[0], told[-1]
    assert (first["method"], data(first)) == ("lifecycle", {"event": "running", "graph_name": "chat"})
    assert (last["method"], data(last)) == ("lifecycle", {"event": "completed", "graph_name": "chat"})
    assert first["event_id"] == f"synth:{run_id}:lc||running"
    assert last["event_id"] == f"synth:{run_id}:lc||completed"


async def test_a_message_comes_in_content_blocks(place: Thread) -> None:
    await place.start("chat", said("hi"))
    told = of(await place.read(), "messages")
    assert [one["event"] for one in told] == [
        "message-start",
        "content-block-start",
        *["content-block-delta"] * 3,
        "content-block-finish",
        "message-finish",
    ]
    start, begun, *deltas, finished, end = told
    assert start["role"] == "ai" and start["id"]
    assert (begun["index"], begun["content"]) == (0, {"type": "text", "text": ""})
    assert [one["delta"] for one in deltas] == [
        {"type": "text-delta", "text": f"t{n} ", "offset": 3 * n} for n in range(3)
    ]
    assert finished["content"] == {"type": "text", "text": "t0 t1 t2 "}
    assert end["length"] == 9 and end["hash"]
    assert {one["id"] for one in told} == {start["id"]}


async def test_a_tool_call_is_told_in_all_channels(place: Thread) -> None:
    await place.start("tools", said("add 2 3"))
    told = await place.read()
    call = [one for one in of(told, "messages") if one.get("content", {}).get("type") == "tool_call"]
    assert [one["content"] for one in call] == [
        {"type": "tool_call", "id": "call-1", "name": "add", "args": {"a": 2, "b": 3}}
    ]
    result = [data(one) for one in told if one["method"] == "messages" and at(one) == ["tools:call-1"]]
    assert [one["event"] for one in result] == [
        "message-start",
        "content-block-start",
        "content-block-delta",
        "content-block-finish",
        "message-finish",
    ]
    assert result[0]["role"] == "tool" and result[0]["tool_call_id"] == "call-1"
    assert result[2]["content"] == {"type": "text", "text": "5"} and "delta" not in result[2]
    assert texts(told, []) == ["Let me see. ", "The result is 5."]
    values = of(told, "values")[-1]["messages"]
    assert [one["type"] for one in values] == ["human", "ai", "tool", "ai"]
    assert values[1]["content"] == [
        {"type": "text", "text": "Let me see. ", "index": 0},
        {"type": "tool_call", "id": "call-1", "name": "add", "args": {"a": 2, "b": 3}},
    ]
    assert [list(one) for one in of(told, "updates")] == [["agent"], ["tools"], ["agent"]]
    assert of(told, "custom") == [{"status": "adding 2 and 3"}, {"status": "added"}]
    assert [("result" in one, one["name"]) for one in of(told, "tasks")] == [
        (over, name) for name in ("agent", "tools", "agent") for over in (False, True)
    ]


async def test_the_state_of_the_graph_is_stored_as_the_graph_made_it(place: Thread, http: httpx.AsyncClient) -> None:
    """Blocks are how the protocol shows content; a graph finds its strings."""
    await place.start("chat", said("hi"))
    await place.read()
    state = (await http.get(f"/threads/{place.id}/state")).json()
    assert state["values"]["messages"][-1]["content"] == "t0 t1 t2 "


async def test_a_checkpoint_is_named_before_its_values(place: Thread, http: httpx.AsyncClient) -> None:
    await place.start("counter", {"limit": 3})
    told = await place.read()
    steps = [(one["method"], data(one)) for one in told if one["method"] in ("checkpoints", "values")]
    kinds = [kind for kind, _ in steps]
    assert kinds == ["checkpoints", "checkpoints", "values", *["checkpoints", "values"] * 3]
    named = [told for kind, told in steps if kind == "checkpoints"]
    assert [one["step"] for one in named] == [-1, 0, 1, 2, 3]
    assert [one.get("parent_id") for one in named[1:]] == [one["id"] for one in named[:-1]]
    assert named[-1]["next"] == []
    history = (await http.get(f"/threads/{place.id}/history")).json()
    stored = {one["checkpoint"]["checkpoint_id"]: one["values"] for one in history}
    for (_, before), (_, values) in zip(steps[1::2], steps[2::2], strict=True):
        assert stored[before["id"]] == values


async def test_subgraphs_in_subgraphs_begin_and_end_in_their_place(place: Thread) -> None:
    await place.start("matryoshka", said("hi"))
    told = await place.read()
    lives = [(tuple(one.partition(":")[0] for one in at(e)), data(e)["event"]) for e in told if is_life(e)]
    assert lives == [
        ((), "running"),
        (("small",), "started"),
        (("small", "smallest"), "started"),
        (("small", "smallest"), "completed"),
        (("small",), "completed"),
        ((), "completed"),
    ]
    for one in told:
        if is_life(one) and data(one)["event"] == "started":
            path = at(one)
            assert data(one)["namespace"] == path
            assert data(one)["graph_name"] == path[-1].partition(":")[0]
            assert data(one)["trigger_call_id"] == path[-1].partition(":")[2]
    spoke = {len(at(one)) for one in told if one["method"] == "messages"}
    assert spoke == {2}
    assert texts(told) == ["inmost"]


def is_life(envelope: dict[str, Any]) -> bool:
    return bool(envelope["method"] == "lifecycle")


async def test_namespaces_are_prefixes_and_depth_counts_below_them(place: Thread) -> None:
    await place.start("matryoshka", said("hi"))
    whole = await place.read()
    small, smallest = max((at(one) for one in whole), key=len)

    async def chosen(**filters: Any) -> list[dict[str, Any]]:
        """Exactly what the answer counts; a ping shows that nothing more came."""
        async with socket(place.server, f"/threads/{place.id}/stream/events") as peer:
            counted = await peer.ask("subscription.subscribe", **{"channels": CHANNELS, **filters})
            found = [await peer.frame() for _ in range(counted["replayed_events"])]
            await peer.ask("ping")
            assert not peer.pushed
            return found

    def below(prefix: list[str], depth: int = 9) -> list[dict[str, Any]]:
        return [e for e in whole if at(e)[: len(prefix)] == prefix and len(at(e)) - len(prefix) <= depth]

    assert await chosen(namespaces=[[]], depth=0) == below([], 0)
    assert await chosen(namespaces=[[]], depth=1) == below([], 1)
    assert await chosen(depth=0) == await chosen(namespaces=[], depth=0) == whole
    assert await chosen(namespaces=[["small"]]) == below([small])
    assert await chosen(namespaces=[[small]], depth=0) == below([small], 0)
    assert await chosen(namespaces=[["small", "smallest"]]) == below([small, smallest])
    assert await chosen(namespaces=[["other"], ["small", "smallest"]]) == below([small, smallest])
    assert await chosen(namespaces=[["smallest"]]) == []
    assert [one["seq"] for one in await chosen(channels=["lifecycle"])] == [e["seq"] for e in whole if is_life(e)]


async def test_custom_events_by_name(place: Thread) -> None:
    await place.start("weather", said("?"))
    everything = await place.read(channels=["custom", "lifecycle"])
    assert of(everything, "custom") == [{"name": "wind", "knots": 7}, {"name": "rain", "mm": 2}, "no object"]
    windy = await place.read(channels=["custom:wind", "lifecycle"])
    assert of(windy, "custom") == [{"name": "wind", "knots": 7}]
    assert [one for one in everything if one["method"] != "custom" or one in windy] == windy  # same numbers, with gaps


@pytest.mark.parametrize("how", ["read", "read_socket"])
async def test_replays_are_the_same_and_since_goes_on_after_it(place: Thread, how: str) -> None:
    read = getattr(place, how)
    await place.start("sub", said("one"))
    live = await place.read()
    await place.start("tools", said("add 2 3"))
    whole = await read(ends(2))
    assert whole[: len(live)] == live
    assert await read(ends(2)) == whole
    for cut in range(0, len(whole) - 1, 3):
        since = whole[cut]["seq"]
        left = sum(ended(one) for one in whole[cut + 1 :])
        assert await read(ends(left), since=since) == whole[cut + 1 :], since
    for nonsense in (-1, 0, "5", None, 1.5, True, 2**63, 2**64):
        assert await read(since=nonsense) == live


async def test_a_reader_cut_off_among_envelopes_of_one_number_gets_the_rest(place: Thread) -> None:
    """A message with more blocks than one event has numbers for."""
    calls = [{"name": "sort", "args": {"n": 0}, "id": f"call-{n}"} for n in range(40)]
    await place.start("workshop", {"calls": calls})
    whole = await place.read()
    numbers = [one["seq"] for one in whole]
    shared = next(number for number in numbers if numbers.count(number) > 1)
    assert len({one["event_id"] for one in whole}) == len(whole) and numbers == sorted(numbers)
    for cut in (place_in for place_in, number in enumerate(numbers) if number == shared):
        seen = {one["event_id"] for one in whole[: cut + 1]}
        rest = await place.read(since=shared)
        assert [one for one in rest if one["event_id"] not in seen] == whole[cut + 1 :]


async def test_all_readers_of_a_live_run_see_the_same(place: Thread) -> None:
    found: dict[str, list[Any]] = {}

    async def reader(name: str, how: Any) -> None:
        found[name] = await how()

    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(reader(f"sse {n}", place.read))
            group.create_task(reader(f"socket {n}", place.read_socket))
        await place.start("chat", {**said("hi"), "n_tokens": 50, "delay": 0.005})
    assert all(one == found["sse 0"] for one in found.values())
    assert texts(found["sse 0"]) == ["".join(f"t{n} " for n in range(50))]


async def test_a_stream_waits_for_its_thread_and_outlives_its_runs(place: Thread) -> None:
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(place.read(ends(2)))
        await anyio.sleep(0.1)  # so that the stream is there before the thread
        await place.start("echo", said("one"))
        await place.start("echo", said("two"))  # at once: it is queued
    told = reading.result()
    assert [len(one["messages"]) for one in of(told, "values")][-1] == 4
    numbers = [one["seq"] for one in told]
    assert numbers == sorted(numbers)


async def test_runs_of_other_endpoints_are_told_too(place: Thread, http: httpx.AsyncClient) -> None:
    await http.post("/threads", json={"thread_id": place.id})
    asked = {"assistant_id": "tools", "input": said("add 2 3"), "stream_mode": ["messages-tuple", "values"]}
    await http.post(f"/threads/{place.id}/runs/wait", json=asked)
    told = await place.read()
    assert texts(told, []) == ["Let me see. ", "The result is 5."]
    assert [one["event"] for one in of(told, "tools")][0::3] == ["tool-started", "tool-finished"]
    assert of(told, "values")[-1]["messages"][-1]["content"][0]["text"] == "The result is 5."


async def test_a_failing_run_says_why(place: Thread) -> None:
    await place.start("boom", {})
    told = await place.read()
    assert data(told[-1]) == {
        "event": "failed",
        "graph_name": "boom",
        "error": "ValueError: boom on purpose",
    }
    assert of(told, "values")[-1] == {"log": ["first"]}


async def test_a_stopped_run_breaks_off_what_it_said(place: Thread) -> None:
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(place.read())
        await place.start("strict", said("talk"))
        await place.read(lambda one: one["method"] == "messages" and data(one).get("delta", {}).get("offset", 0) > 30)
        await place.ask("run.stop")
    told = reading.result()
    assert data(told[-1]) == {"event": "completed", "stopped": True, "graph_name": "strict"}
    broken = [one for one in of(told, "messages") if one["event"] == "error"]
    assert [one["code"] for one in broken] == ["stopped"]
    (said_so_far,) = texts(told)
    assert of(told, "values")[-1]["messages"][-1]["content"][0]["text"] == said_so_far


async def test_what_happens_beside_a_run_does_not_disturb_its_messages(place: Thread, http: httpx.AsyncClient) -> None:
    """A queued run that is cancelled is told in the middle of the one that runs."""
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(place.read(lambda one: ended(one) and run_id in one["event_id"]))
        run_id = await place.start("chat", {**said("hi"), "n_tokens": 40, "delay": 0.02})
        await place.read(lambda one: one["method"] == "messages")
        for _ in range(3):
            queued = await place.start("echo", said("never"))
            await http.post(f"/threads/{place.id}/runs/{queued}/cancel")
    told = reading.result()
    assert texts(told) == ["".join(f"t{n} " for n in range(40))]
    assert [one["event"] for one in of(told, "messages")].count("message-start") == 1
    assert await place.read(lambda one: ended(one) and run_id in one["event_id"]) == told


WRONG: list[tuple[Any, str]] = [
    ({}, "channels is required"),
    ({"channels": []}, "channels is required"),
    ({"channels": "values"}, "channels is required"),
    ({"channels": [1]}, "channels is required"),
    ([], "channels is required"),
    ({"channels": ["values", "nope"]}, "unsupported entries: nope"),
    ({"channels": ["custom:"]}, "unsupported entries: custom:"),
    ({"channels": ["values"], "namespaces": "x"}, "namespaces"),
    ({"channels": ["values"], "namespaces": [[1]]}, "namespaces"),
    ({"channels": ["values"], "depth": "a"}, "depth"),
    ({"channels": ["values"], "depth": -1}, "depth"),
]


@pytest.mark.parametrize(("body", "reason"), WRONG)
async def test_what_cannot_be_subscribed_to(place: Thread, body: Any, reason: str) -> None:
    answer = await place.http.post(f"/threads/{place.id}/stream/events", json=body)
    assert answer.status_code == 400
    assert reason in answer.json()["detail"]


async def test_bodies_that_are_no_json(place: Thread) -> None:
    for path in ("stream/events", "commands"):
        answer = await place.http.post(f"/threads/{place.id}/{path}", content=b"{")
        assert (answer.status_code, answer.json()) == (400, {"detail": "Invalid JSON body"})


async def test_the_stream_of_a_deleted_thread_ends(place: Thread, http: httpx.AsyncClient) -> None:
    await place.start("echo", said("hi"))
    found: list[Any] = []
    with anyio.fail_after(10):
        async for one in place.envelopes(channels=["lifecycle"]):
            found.append(one)
            if ended(one):
                assert (await http.delete(f"/threads/{place.id}")).status_code == 204
    assert len(found) == 2


async def test_the_headers_of_the_stream(place: Thread) -> None:
    async with place.http.stream("POST", f"/threads/{place.id}/stream/events", json={"channels": CHANNELS}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in answer.headers["cache-control"]
        assert answer.headers["x-accel-buffering"] == "no"


async def test_the_simple_profile_over_sse(server: Remote, place: Thread) -> None:
    await place.start("chat", said("hi"))
    await place.read()
    lines: list[str] = []
    body = {"channels": CHANNELS, "profile": "simple"}
    async with place.http.stream("POST", f"/threads/{place.id}/stream/events", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                lines.append(line)
                if "complete" in line:
                    break
    frames = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert [(one["event"], one["data"]) for one in frames] == [
        *(("token", f"t{n} ") for n in range(3)),
        ("complete", None),
    ]
    assert {one["session_id"] for one in frames} == {place.id}


async def test_an_id_that_is_none(http: httpx.AsyncClient) -> None:
    answer = await http.post("/threads/nope/stream/events", json={"channels": ["values"]})
    assert answer.status_code == 422
    asked = {"id": 1, "method": "run.start", "params": {"assistant_id": "echo"}}
    refused = await http.post("/threads/nope/commands", json=asked)
    assert (refused.status_code, refused.json()["error"]) == (200, "invalid_argument")
