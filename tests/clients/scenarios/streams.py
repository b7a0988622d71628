"""Streams of the first protocol: `client.runs.stream`, `join_stream` and `client.threads.join_stream`"""

import warnings
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from clients.cutting import cutting
from clients.scenario import human, new_thread, scenario, texts
from serving import progressed, status_is

MODES = ["values", "updates", "messages", "messages-tuple", "custom", "tasks", "checkpoints", "debug", "events"]
STEPS = {"tag": "s", "steps": 6, "delay": 0.05}


async def read(stream: Any) -> list[Any]:
    return [part async for part in stream]


def named(parts: list[Any], event: str) -> list[Any]:
    return [part.data for part in parts if part.event == event]


@scenario("stream modes", "run id from the headers")
async def streams_have_modes(client: Any) -> None:
    told: list[Any] = []
    for mode in MODES:
        place = await new_thread(client)
        parts = await read(
            client.runs.stream(place, "tools", input=human("add 2 3"), stream_mode=mode, on_run_created=told.append)
        )
        assert parts[0].event == "metadata" and parts[0].data["run_id"] == told[-1]["run_id"]
        assert {part.event.split("/")[0] for part in parts[1:]} == {mode.removesuffix("-tuple")}, mode
    place = await new_thread(client)
    parts = await read(client.runs.stream(place, "tools", input=human("add 2 3"), stream_mode=MODES))
    assert named(parts, "values")[-1]["messages"][-1]["content"] == "The result is 5."
    assert [next(iter(update)) for update in named(parts, "updates")] == ["agent", "tools", "agent"]
    assert [part["status"] for part in named(parts, "custom")] == ["adding 2 and 3", "added"]
    chunks = [chunk["content"] for chunk, _ in named(parts, "messages") if chunk["type"] == "AIMessageChunk"]
    assert "".join(chunks) == "Let me see. The result is 5."
    assert named(parts, "messages/partial")[-1][0]["content"] == "The result is 5."


@scenario("tokens")
async def streams_bring_tokens_as_they_come(client: Any) -> None:
    place = await new_thread(client)
    stream = client.runs.stream(
        place, "chat", input={**human("hi"), "n_tokens": 5, "delay": 0.05}, stream_mode="messages-tuple"
    )
    during: set[str] = set()
    words = []
    async for part in stream:
        if part.event == "messages":
            words.append(part.data[0]["content"])
            if len(words) < 3:
                during.add((await client.threads.get(place))["status"])
    assert [word for word in words if word] == [f"t{n} " for n in range(5)]
    assert during == {"busy"}


@scenario("subgraph streams")
async def streams_show_subgraphs(client: Any) -> None:
    place = await new_thread(client)
    asked: dict[str, Any] = {"input": {"messages": []}, "stream_mode": ["updates", "custom"]}
    quiet = await read(client.runs.stream(place, "sub", **asked))
    assert {part.event for part in quiet} == {"metadata", "updates"}
    told = await read(client.runs.stream(place, "sub", stream_subgraphs=True, **asked))
    inner = {part.event.split(":")[0] for part in told if "|" in part.event}
    assert inner == {"updates|child", "custom|child"}


@scenario("join a run that is under way", "resume a cut stream (`Last-Event-ID`)")
async def streams_are_joined(client: Any) -> None:
    place = await new_thread(client)
    run = await client.runs.create(place, "slow", input=STEPS, stream_mode=["values", "custom"], stream_resumable=True)
    where = (place, run["run_id"])
    await progressed(client, place)
    live = await read(client.runs.join_stream(*where))
    assert named(live, "custom")[-1] == {"step": 6}
    everything = await read(client.runs.join_stream(*where, last_event_id="-1"))
    assert named(everything, "custom") == [{"step": n} for n in range(1, 7)]
    assert all(part.id for part in everything)
    for cut in range(len(everything)):
        rest = await read(client.runs.join_stream(*where, last_event_id=everything[cut].id))
        assert rest == everything[cut + 1 :]
    steps = await read(client.runs.join_stream(*where, last_event_id="-1", stream_mode="custom"))
    assert {part.event for part in steps} == {"custom"}


@scenario("subgraph streams", "join a run that is under way")
async def a_join_keeps_subgraphs(client: Any) -> None:
    place = await new_thread(client)
    run = await client.runs.create(
        place, "sub", input={"messages": []}, stream_mode=["updates"], stream_subgraphs=True, stream_resumable=True
    )
    parts = await read(client.runs.join_stream(place, run["run_id"], last_event_id="-1"))
    assert any(part.event.startswith("updates|child:") for part in parts)


@scenario("a reader that leaves", "cancel on disconnect")
async def readers_leave(client: Any) -> None:
    for on_disconnect, ends in (("continue", "success"), ("cancel", "interrupted")):
        place = await new_thread(client)
        steps = 6 if ends == "success" else 500
        stream = client.runs.stream(
            place, "slow", input={**STEPS, "steps": steps}, stream_mode="custom", on_disconnect=on_disconnect
        )
        async with aclosing(stream):
            async for part in stream:
                if part.event == "custom":
                    break
        (run,) = await client.runs.list(place)
        await status_is(client, place, run["run_id"], ends)
    place = await new_thread(client)
    run = await client.runs.create(place, "slow", input={**STEPS, "steps": 500}, stream_mode="custom")
    stream = client.runs.join_stream(place, run["run_id"], cancel_on_disconnect=True)
    async with aclosing(stream):
        async for part in stream:
            if part.event == "custom":
                break
    await status_is(client, place, run["run_id"], "interrupted")


@scenario("the stream of a thread")
async def threads_have_a_stream(client: Any) -> None:
    place = await new_thread(client)
    runs = [
        (await client.runs.create(place, "slow", input={"steps": 1}, stream_mode="custom"))["run_id"] for _ in range(2)
    ]
    await client.runs.join(place, runs[-1])
    for modes in ("run_modes", ["lifecycle", "state_update"]):
        stream = client.threads.join_stream(place, stream_mode=modes, last_event_id="-")
        if not hasattr(stream, "__aiter__"):  # a coroutine that gives the stream, in the asynchronous client
            stream = await stream
        ended: list[str] = []
        events: set[str] = set()
        async with aclosing(stream):
            async for part in stream:
                events.add(part.event)
                if part.event == "metadata" and part.data.get("status") == "run_done":
                    ended.append(part.data["run_id"])
                    if len(ended) == len(runs):
                        break
        assert ended == runs
        assert ("custom" in events) == (modes == "run_modes")


@scenario('typed parts (`version="v2"`)')
async def streams_are_typed(client: Any) -> None:
    place = await new_thread(client)
    parts = await read(
        client.runs.stream(place, "echo", input=human("hi"), stream_mode=["values", "updates"], version="v2")
    )
    last = [part for part in parts if part["type"] == "values"][-1]
    assert (texts(last["data"]), last["ns"]) == (["hi", "1: hi"], [])


@scenario("feedback keys")
async def feedback_keys_change_nothing(client: Any) -> None:
    place = await new_thread(client)
    parts = await read(
        client.runs.stream(place, "echo", input=human("hi"), stream_mode="values", feedback_keys=["score"])
    )
    assert {part.event for part in parts} == {"metadata", "values"}


async def goes_on_when_cut(client: Any, url: str, through: Callable[[str], Any]) -> None:
    """No scenario, as it needs two clients: `through(url)` makes one whose connections the proxy may cut."""
    place = await new_thread(client)
    async with cutting(url, after=900) as proxy:
        stream = through(proxy).runs.stream(place, "slow", input=STEPS, stream_mode="custom", stream_resumable=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "attempting reconnect"
            parts = await read(stream)
    assert named(parts, "custom") == [{"step": n} for n in range(1, 7)]
    (run,) = await client.runs.list(place)
    assert run["status"] == "success"
