"""Stop: it stops what was meant, all of it, and the conversation goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server, until

pytestmark = pytest.mark.anyio

WORDS = {"messages": [{"role": "user", "content": "tell"}], "n_tokens": 200, "delay": 0.01}


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def texts(values: Any) -> list[str]:
    return [message["content"] for message in values["messages"]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    own = Server(tmp_path_factory.mktemp("pains") / "data", Path(__file__).parent / "project" / "langgraph.json")
    yield own.start()
    own.kill()


async def tool_is_called(client: LangGraphClient, place: str) -> None:
    async def next_is_tools() -> bool:
        return (await client.threads.get_state(place))["next"] == ["tools"]

    await until(next_is_tools)


async def test_a_call_cut_by_rollback_leaves_nothing_that_a_model_rejects(project: Server) -> None:
    """H1: an orphan tool call makes the provider refuse every later message."""
    client = project.client()
    place = (await client.threads.create())["thread_id"]
    run = await client.runs.create(place, "strict", input=human("look 60"))
    await tool_is_called(client, place)
    await client.runs.cancel(place, run["run_id"], wait=True, action="rollback")
    assert texts(await client.runs.wait(place, "strict", input=human("hello"))) == ["hello", "I heard hello."]
    run = await client.runs.create(place, "strict", input=human("look 60"))
    await tool_is_called(client, place)
    after: Any = await client.runs.wait(place, "strict", input=human("stop"), multitask_strategy="rollback")
    assert texts(after)[2:] == ["stop", "I heard stop."]


async def test_a_call_cut_by_a_crash_is_made_again(tmp_path: Path) -> None:
    """H1: the same after `kill -9`."""
    server = Server(tmp_path / "data", Path(__file__).parent / "project" / "langgraph.json").start()
    try:
        client = server.client()
        place = (await client.threads.create())["thread_id"]
        run = await client.runs.create(place, "strict", input=human("look 0.5"))
        await tool_is_called(client, place)
        server.restart()
        client = server.client()
        assert texts(await client.runs.join(place, run["run_id"]))[-1] == "It was found."
        assert texts(await client.runs.wait(place, "strict", input=human("hello")))[-1] == "I heard hello."
    finally:
        server.kill()


async def test_what_was_read_before_a_stop_can_be_read_again(client: LangGraphClient, thread: str) -> None:
    """C1: Stop throws away the words that the user has already read."""
    read: list[str] = []
    stream = client.runs.stream(thread, "chat", input=WORDS, stream_mode="messages-tuple", stream_resumable=True)
    run_id = ""
    async for part in stream:
        if part.event == "metadata":
            run_id = part.data["run_id"]
        elif part.event == "messages":
            read.append(part.data[0]["content"])
            if len(read) == 20:
                await client.runs.cancel(thread, run_id, wait=True)
    again = [
        part.data[0]["content"]
        async for part in client.runs.join_stream(thread, run_id, last_event_id="-1")
        if part.event == "messages"
    ]
    assert len(read) >= 20
    assert again == read
    assert texts((await client.threads.get_state(thread))["values"]) == ["tell"]


async def test_a_stop_that_comes_early_is_not_lost(client: LangGraphClient) -> None:
    """C4: the stop races with the start, and the abandoned reply lands behind a newer one."""

    async def once(pause: float) -> None:
        place = (await client.threads.create())["thread_id"]
        stopped = await client.runs.create(place, "chat", input=WORDS, stream_mode="messages-tuple")
        await anyio.sleep(pause)
        await client.runs.cancel(place, stopped["run_id"])
        answer: Any = await client.runs.wait(place, "chat", input={**human("newer"), "n_tokens": 1, "delay": 0})
        assert (await client.runs.get(place, stopped["run_id"]))["status"] == "interrupted"
        assert texts(answer)[-2:] == ["newer", "t0 "]
        assert [message["type"] for message in answer["messages"]].count("ai") == 1
        assert (await client.threads.get_state(place))["values"]["messages"] == answer["messages"]

    async with anyio.create_task_group() as group:
        for n in range(20):  # before the run is claimed, while it starts, while it speaks
            group.start_soon(once, n * 0.002)


async def test_a_stop_stops_no_other_thread(client: LangGraphClient) -> None:
    """C5: Stop in one tab ends the reply in another."""
    places = [(await client.threads.create())["thread_id"] for _ in range(4)]
    said = {**WORDS, "n_tokens": 60}
    runs = [
        (await client.runs.create(place, "chat", input=said, stream_mode="messages-tuple"))["run_id"]
        for place in places
    ]
    await client.runs.cancel(places[0], runs[0], wait=True)
    await client.runs.cancel_many(thread_id=places[1], run_ids=runs)
    for place, run_id, status in zip(places, runs, ("interrupted", "interrupted", "success", "success"), strict=True):
        await client.runs.join(place, run_id)
        assert (await client.runs.get(place, run_id))["status"] == status
    whole: Any = (await client.threads.get_state(places[3]))["values"]
    assert texts(whole)[-1] == "".join(f"t{n} " for n in range(60))


async def test_a_stop_reaches_subgraphs_and_what_runs_side_by_side(project: Server, tmp_path: Path) -> None:
    """C6: the run is said to be over while its subgraphs go on working."""
    client = project.client()
    marks = tmp_path / "marks"
    place = (await client.threads.create())["thread_id"]
    run = await client.runs.create(place, "ticking", input={"file": str(marks)})

    async def both_tick() -> bool:
        return marks.exists() and marks.stat().st_size > 4

    await until(both_tick)
    await client.runs.cancel(place, run["run_id"], wait=True)
    left = marks.stat().st_size
    await client.runs.wait(None, "strict", input=human("look 0.3"))  # thirty ticks long
    assert marks.stat().st_size == left
