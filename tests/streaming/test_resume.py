"""A reader that lost its connection, came late, or comes back after the server died."""

from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server
from streaming.frames import Frame, events, frames, join, only, run, stream, view

pytestmark = pytest.mark.anyio

MODES = ["values", "updates", "custom"]
SLOW = {"steps": 8, "delay": 0.02}
HI = {"messages": [{"role": "user", "content": "hi"}], "n_tokens": 20}


async def place_of(http: httpx.AsyncClient, thread: str) -> str:
    """The path of the newest run of the thread."""
    newest = (await http.get(f"/threads/{thread}/runs?limit=1")).json()[0]
    return f"/threads/{thread}/runs/{newest['run_id']}"


@pytest.fixture
async def counted(http: httpx.AsyncClient, thread: str) -> list[Frame]:
    return await run(http, thread, "counter", input={"limit": 5}, stream_mode=MODES, stream_resumable=True)


async def test_a_replay_from_the_beginning_is_what_was_live(
    http: httpx.AsyncClient, thread: str, counted: list[Frame]
) -> None:
    place = await place_of(http, thread)
    assert await join(http, place, "-1") == counted
    assert await join(http, place, "0") == counted


async def test_a_finished_run_can_be_replayed_again_and_again(
    http: httpx.AsyncClient, thread: str, counted: list[Frame]
) -> None:
    place = await place_of(http, thread)
    for _ in range(3):
        assert await join(http, place, "-1") == counted


@pytest.mark.beyond_reference
async def test_ids_grow_and_never_repeat_also_from_run_to_run(http: httpx.AsyncClient, thread: str) -> None:
    read: list[Frame] = []
    for _ in range(3):
        read += await run(http, thread, "counter", input={"limit": 9}, stream_mode=MODES, stream_resumable=True)
    ids = [str(frame.id) for frame in read]
    assert len(set(ids)) == len(ids)
    ordered = [tuple(int(part) for part in i.replace("-", ".").split(".")) for i in ids]
    assert ordered == sorted(ordered)


@pytest.mark.beyond_reference
async def test_every_id_continues_exactly_behind_itself(
    http: httpx.AsyncClient, thread: str, counted: list[Frame]
) -> None:
    place = await place_of(http, thread)
    for i, frame in enumerate(counted):
        assert await join(http, place, frame.id) == counted[i + 1 :], f"after event {i}"


@pytest.mark.beyond_reference
@pytest.mark.parametrize("cursor", ["absent", "empty", "-1", "0", "garbage", "older run", "newer run", "future"])
async def test_any_cursor_leads_a_new_reader_to_the_whole_run(
    http: httpx.AsyncClient, thread: str, cursor: str
) -> None:
    given: Any = {"stream_mode": MODES, "stream_resumable": True}
    older = await run(http, thread, "counter", input={"limit": 2}, **given)
    whole = await run(http, thread, "counter", input={"limit": 5}, **given)
    place = await place_of(http, thread)
    newer = await run(http, thread, "counter", input={"limit": 7}, **given)
    sent = {
        "absent": None,
        "empty": "",
        "older run": older[1].id,
        "newer run": newer[1].id,
        "future": "9" * 15,
        "garbage": "not-an-id",
    }.get(cursor, cursor)
    read = await join(http, place, sent)
    assert view(read) == view(whole)
    assert view(read)["values"] == {"n": 5, "limit": 5}
    assert view(read)["custom"] == [{"n": 3}, {"n": 4}, {"n": 5}], "each once"
    ids = [frame.id for frame in read]
    assert len(set(ids)) == len(ids)


@pytest.mark.beyond_reference
@pytest.mark.parametrize("cursor", [None, "-1", "0", "garbage", "9" * 15])
async def test_any_cursor_works_while_the_run_is_running(
    http: httpx.AsyncClient, thread: str, cursor: str | None
) -> None:
    given: Any = {"input": SLOW, "stream_mode": MODES, "stream_resumable": True}
    async with stream(http, thread, "slow", **given) as (response, live):
        async for frame in live:
            if frame.data == {"step": 3}:
                break
        read = await join(http, response.headers["content-location"], cursor)
    assert view(read)["custom"] == [{"step": i + 1} for i in range(8)]
    assert view(read)["values"]["log"] == [str(i + 1) for i in range(8)]


async def test_a_cut_stream_goes_on_where_it_was_cut(http: httpx.AsyncClient, thread: str) -> None:
    given: Any = {"input": SLOW, "stream_mode": ["values"], "stream_resumable": True}
    read: list[Frame] = []
    async with stream(http, thread, "slow", **given) as (response, live):
        place = response.headers["content-location"]
        async for frame in live:
            read.append(frame)
            if frame.event == "values" and frame.data.get("done") == 3:
                break
    read += await join(http, place, read[-1].id)
    assert read == await join(http, place, "-1")
    assert [values.get("done") for values in only(read, "values")] == [None, *range(9)]


async def test_a_stream_cut_after_every_event_still_tells_all_once(http: httpx.AsyncClient, thread: str) -> None:
    created = await http.post(
        f"/threads/{thread}/runs",
        json={"assistant_id": "slow", "input": SLOW, "stream_mode": ["values"], "stream_resumable": True},
    )
    place, cursor, seen = created.headers["content-location"], "-1", []
    while True:
        async with http.stream("GET", f"{place}/stream", headers={"Last-Event-ID": cursor}) as response:
            one = await anext(frames(response), None)
        if one is None:
            break
        seen.append(one)
        cursor = str(one.id)
    assert seen == await join(http, place, "-1")
    assert [values.get("done") for values in only(seen, "values")] == [None, *range(9)]


@pytest.mark.beyond_reference
async def test_a_run_that_was_not_made_resumable_can_be_joined_late_too(http: httpx.AsyncClient, thread: str) -> None:
    live = await run(http, thread, "counter", input={"limit": 3}, stream_mode=MODES)
    assert events(await join(http, await place_of(http, thread))) == events(live)


@pytest.mark.beyond_reference
async def test_a_failure_is_replayed(http: httpx.AsyncClient, thread: str) -> None:
    live = await run(http, thread, "boom", input={}, stream_mode="values", stream_resumable=True)
    replayed = await join(http, await place_of(http, thread), "-1")
    assert replayed == live
    assert replayed[-1].event == "error"


@pytest.mark.beyond_reference
@pytest.mark.parametrize("cursor", [None, "-1", "0", "middle", "garbage"])
async def test_tokens_come_back_as_the_same_messages(http: httpx.AsyncClient, thread: str, cursor: str | None) -> None:
    """After the end tokens may be replayed as whole messages: fewer events, the same view."""
    given: Any = {"input": HI, "stream_mode": ["messages", "values"], "stream_resumable": True}
    live = await run(http, thread, "chat", **given)
    cut = len(live) // 2
    sent = live[cut].id if cursor == "middle" else cursor
    read = await join(http, await place_of(http, thread), sent)
    if cursor == "middle":
        read = live[: cut + 1] + read
    assert view(read) == view(live)
    (text,) = view(read)["messages"].values()
    assert text == "".join(f"t{i} " for i in range(20))


@pytest.mark.beyond_reference
async def test_the_sdk_can_join_a_finished_run(client: LangGraphClient, thread: str) -> None:
    made = await client.runs.create(
        thread, "counter", input={"limit": 3}, stream_mode=["values", "custom"], stream_resumable=True
    )
    await client.runs.join(thread, made["run_id"])
    parts = [p async for p in client.runs.join_stream(thread, made["run_id"])]
    assert [p.data for p in parts if p.event == "custom"] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert parts[-1].data == {"n": 3, "limit": 3}


@pytest.mark.beyond_reference
async def test_everything_is_replayed_after_the_server_was_killed(own_server: Server) -> None:
    async with own_server.http as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        given: Any = {"input": {"limit": 5}, "stream_mode": MODES, "stream_resumable": True}
        live = await run(http, thread, "counter", **given)
        place = await place_of(http, thread)
    own_server.restart()
    async with own_server.http as http:
        assert await join(http, place, "-1") == live
        assert await join(http, place) == live
        assert await join(http, place, live[4].id) == live[5:]
        more = await run(http, thread, "counter", **{**given, "input": {"limit": 7}})
    assert not {frame.id for frame in more} & {frame.id for frame in live}, "no id is given twice"


@pytest.mark.beyond_reference
async def test_threads_states_and_questions_survive_a_kill(own_server: Server) -> None:
    client = own_server.client()
    thread = (await client.threads.create(metadata={"kept": True}))["thread_id"]
    await client.runs.wait(thread, "hitl", input={"n": 1})
    before = [await client.threads.get(thread), await client.threads.get_history(thread)]
    own_server.restart()
    client = own_server.client()
    assert [await client.threads.get(thread), await client.threads.get_history(thread)] == before
    output: Any = await client.runs.wait(thread, "hitl", command={"resume": "yes"})
    assert output["log"] == ["propose", {"approve": "yes"}, "done"]
