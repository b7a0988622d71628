"""The stream of a whole thread: every run on it, for whoever watches."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from streaming.frames import Frame, frames

pytestmark = [pytest.mark.anyio, pytest.mark.beyond_reference]

STEPS = {"input": {"steps": 2, "delay": 0.01}, "stream_mode": ["values", "custom"]}


@asynccontextmanager
async def watching(http: httpx.AsyncClient, thread: str, query: str = "", **headers: str) -> AsyncIterator[list[Frame]]:
    """What the stream has said so far, in a list that grows."""
    seen: list[Frame] = []
    opened = anyio.Event()

    async def read() -> None:
        async with http.stream("GET", f"/threads/{thread}/stream{query}", headers=headers) as answer:
            assert answer.status_code == 200
            opened.set()
            async for frame in frames(answer):
                seen.append(frame)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await opened.wait()
        yield seen
        group.cancel_scope.cancel()


async def ends(seen: list[Frame], runs: int) -> None:
    with anyio.fail_after(10):
        while sum(frame.data.get("status") == "run_done" for frame in named(seen, "metadata")) < runs:
            await anyio.sleep(0.01)


async def ran(http: httpx.AsyncClient, thread: str) -> Any:
    return (await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "slow", **STEPS})).json()


def named(seen: list[Frame], event: str) -> list[Frame]:
    return [frame for frame in seen if frame.event == event]


async def test_it_stays_open_over_runs_and_numbers_every_event(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    async with watching(http, thread) as seen:
        first = await client.runs.create(thread, "slow", **STEPS)
        second = await client.runs.create(thread, "slow", **STEPS)
        await ends(seen, 2)
    told = [frame.data for frame in named(seen, "metadata")]
    ids = [first["run_id"], second["run_id"]]
    assert told == [
        part for run in ids for part in ({"run_id": run, "attempt": 1}, {"status": "run_done", "run_id": run})
    ]
    assert [frame.data for frame in named(seen, "custom")] == [{"step": 1}, {"step": 2}] * 2
    numbers = [int(frame.id) for frame in seen if frame.event]
    assert numbers == sorted(numbers)


async def test_a_cursor_brings_back_what_was_missed(http: httpx.AsyncClient, thread: str) -> None:
    await ran(http, thread)
    async with watching(http, thread, **{"Last-Event-ID": "-"}) as everything:
        await ends(everything, 1)
    middle = everything[2].id
    async with watching(http, thread, **{"Last-Event-ID": middle}) as rest:
        await ends(rest, 1)
    assert [(frame.id, frame.data) for frame in rest] == [(frame.id, frame.data) for frame in everything[3:]]
    async with watching(http, thread) as live:
        await ran(http, thread)
        await ends(live, 1)
    assert int(live[0].id) > int(everything[-1].id)


async def test_lifecycle_tells_of_starts_and_ends_only(http: httpx.AsyncClient, thread: str) -> None:
    async with watching(http, thread, "?stream_modes=lifecycle") as seen:
        await ran(http, thread)
        await ends(seen, 1)
    assert {frame.event for frame in seen} == {"metadata"}


async def test_state_update_brings_the_state_a_run_left(http: httpx.AsyncClient, thread: str) -> None:
    async with watching(http, thread, "?stream_modes=state_update&stream_modes=lifecycle") as seen:
        left = await ran(http, thread)
        with anyio.fail_after(10):
            while not named(seen, "state_update"):
                await anyio.sleep(0.01)
    assert [frame.data for frame in named(seen, "state_update")] == [left]


async def test_a_message_is_whole_for_a_reader_that_comes_in_the_middle(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    chat: Any = {"input": {"messages": [{"role": "user", "content": "hi"}], "n_tokens": 6, "delay": 0.1}}
    async with watching(http, thread) as first:
        await client.runs.create(thread, "chat", **chat, stream_mode="messages")
        with anyio.fail_after(10):
            while len(named(first, "messages/partial")) < 3:
                await anyio.sleep(0.01)
        seen = named(first, "messages/partial")[1]
        async with (
            watching(http, thread) as late,
            watching(http, thread, **{"Last-Event-ID": str(seen.id)}) as back,
        ):
            await ends(first, 1)
            await ends(late, 1)
            await ends(back, 1)
    whole = [(frame.id, frame.data[0]["content"]) for frame in named(first, "messages/partial")]
    assert whole[-1][1] == "t0 t1 t2 t3 t4 t5 "
    told = [(frame.id, frame.data[0]["content"]) for frame in named(late, "messages/partial")]
    assert 0 < len(told) <= len(whole) - 3
    assert told == whole[-len(told) :]
    assert [(frame.id, frame.data) for frame in back] == [
        (frame.id, frame.data) for frame in first if frame.event and int(str(frame.id)) > int(str(seen.id))
    ]


async def test_the_sdk_joins_it(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    await ran(http, thread)
    parts = await client.threads.join_stream(thread, stream_mode=["run_modes"], last_event_id="-")
    async for part in parts:
        if part.event == "metadata" and part.data.get("status") == "run_done":
            break
    else:
        pytest.fail("the stream ended without the end of the run")


async def test_a_deleted_thread_ends_it(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    with anyio.fail_after(10):
        async with http.stream("GET", f"/threads/{thread}/stream") as answer:
            await client.threads.delete(thread)
            assert [frame async for frame in frames(answer)] == []


async def test_an_unknown_mode_or_thread_is_refused(http: httpx.AsyncClient, thread: str) -> None:
    wrong = await http.get(f"/threads/{thread}/stream?stream_modes=zzz")
    assert (wrong.status_code, wrong.json()["detail"][:22]) == (422, "stream_modes: 'zzz' is")
    gone = await http.get("/threads/3a23b1e0-02c1-4c55-857d-b0d35f0453b4/stream")
    assert gone.status_code == 404
