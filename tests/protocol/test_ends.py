"""Nobody waits for ever: a run that never began has an end, and one that was undone while its reader was away."""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import httpx
import orjson
import pytest
from protocol.wire import CHANNELS, Envelope, Thread, data, ended, mux, of, said
from serving import Remote, Server, status_is, until
from streaming.frames import frames

from threadmill.streaming import v2
from threadmill.streaming.view import EMPTY, apply

pytestmark = pytest.mark.anyio


async def cancelled_before_it_began(server: Remote, thread_id: str) -> str:
    client = server.client()
    await client.threads.create(thread_id=thread_id, if_exists="do_nothing")
    run = await client.runs.create(thread_id, "echo", input=said("hi"), after_seconds=600)
    await client.runs.cancel(thread_id, run["run_id"])
    return run["run_id"]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_the_sdk_hears_of_a_run_that_never_began(server: Remote, transport: Any) -> None:
    thread_id = str(uuid.uuid4())
    async with server.client().threads.stream(thread_id, assistant_id="echo", transport=transport) as thread:
        await server.client().threads.create(thread_id=thread_id)
        pending = await server.client().runs.create(thread_id, "echo", input=said("more"), after_seconds=600)
        told: list[Any] = []

        async def read() -> None:
            told.extend([one async for one in thread.subscribe(["lifecycle"])])

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await server.client().runs.cancel(thread_id, pending["run_id"])
    assert any(pending["run_id"] in one["event_id"] for one in told)


async def test_a_run_that_never_began_has_an_end_for_each_reader(
    server: Remote, http: httpx.AsyncClient, place: Thread
) -> None:
    client = server.client()
    await client.threads.create(thread_id=place.id)
    seen: list[Any] = []
    opened = anyio.Event()

    async def watch() -> None:
        async with http.stream("GET", f"/threads/{place.id}/stream") as answer:
            opened.set()
            seen.append((await anext(frames(answer))).data)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await opened.wait()
            run_id = await cancelled_before_it_began(server, place.id)
    assert seen == [{"status": "run_done", "run_id": run_id}]
    (end,) = await place.read()
    assert data(end) == {"event": "completed", "graph_name": "echo", "stopped": True, "began": False}
    assert await place.read_socket() == [end]
    async with mux(server) as peer:
        await peer.ask("subscription.subscribe", thread_id=place.id)
        assert [one["event_id"] for one in await peer.events()] == [end["event_id"]]
    assert apply(EMPTY, end) == {**EMPTY, "cursor": end["seq"]}  # nothing happened
    assert (await http.get(f"/threads/{place.id}/digest?since=0")).json()["runs"] == []
    row = await client.threads.get(place.id)
    assert row["status"] == "idle"
    await place.start("echo", said("after"))
    told = await place.read(since=end["seq"])
    assert [one["event"] for one in of(told, "lifecycle")] == ["running", "completed"]


async def test_one_of_several_runs_ends_nothing(server: Remote, place: Thread) -> None:
    """Who reads the others would take its end for theirs."""
    client = server.client()
    run_id = await place.start("slow", {"steps": 400, "delay": 0.05})
    await place.read(lambda one: one["method"] == "custom")
    queued = await client.runs.create(place.id, "echo", input=said("hi"))
    await client.runs.cancel(place.id, queued["run_id"])
    later = await client.runs.create(place.id, "echo", input=said("hi"), after_seconds=600)
    await place.ask("run.stop", run_id=run_id)
    told = await place.read()
    assert [one["event_id"].split(":")[1] for one in told if ended(one)] == [run_id]
    await client.runs.cancel(place.id, later["run_id"])
    told = await place.read(since=told[-1]["seq"])
    assert [one["event_id"].split(":")[1] for one in told] == [later["run_id"]]


def over_sse(thread: Thread, since: int) -> AsyncIterator[Envelope]:
    return thread.envelopes(since=since)


async def over_socket(thread: Thread, since: int) -> AsyncIterator[Envelope]:
    async with mux(thread.server) as peer:
        await peer.ask("subscription.subscribe", cursors={thread.id: since}, channels=CHANNELS)
        while True:
            yield await peer.frame()


Undo = Callable[[Server, Thread, str], Awaitable[None]]


async def cancelled(server: Server, thread: Thread, run_id: str) -> None:
    await server.client().runs.cancel(thread.id, run_id, action="rollback", wait=True)


async def superseded(server: Server, thread: Thread, run_id: str) -> None:
    await server.client().runs.create(thread.id, "echo", input=said("x"), multitask_strategy="rollback")


async def paused(server: Server, thread: Thread, run_id: str) -> None:
    await thread.ask("run.pause")
    await status_is(server.client(), thread.id, run_id, "pending")
    await server.client().runs.cancel(thread.id, run_id, action="rollback", wait=True)


async def deleted(server: Server, thread: Thread, run_id: str) -> None:
    await server.client().runs.delete(thread.id, run_id)


@pytest.mark.parametrize("undo", [cancelled, superseded, paused, deleted])
async def test_who_was_away_hears_that_the_run_was_undone(
    server: Server, http: httpx.AsyncClient, place: Thread, undo: Undo
) -> None:
    run_id = await place.start("slow", {"steps": 400, "delay": 0.05, "tag": "undone"}, on_crash="wait")
    told = await place.read(lambda one: one["method"] == "custom")
    away = told[-1]["seq"]

    live: list[Envelope] = []
    async with anyio.create_task_group() as group:

        async def stay() -> None:
            live.extend(await place.read(since=away))

        group.start_soon(stay)
        await undo(server, place, run_id)

        async def gone() -> bool:
            return (await http.get(f"/threads/{place.id}/runs/{run_id}")).status_code == 404

        await until(gone)
    whole = live[-1]
    for follow in (over_sse, over_socket):
        with anyio.fail_after(20):
            async for one in follow(place, away):
                if ended(one):
                    break
        assert one["event_id"] == whole["event_id"] and one["seq"] == whole["seq"]
        assert data(one).get("undone", False) is (undo is not deleted)
    # However far the reader had come before it was cut, also in the middle of the end itself.
    for since in {one["seq"] for one in live} - {whole["seq"]}:
        rest = await place.read(since=since)
        assert rest[-1]["event_id"] == whole["event_id"], since
    # v1: the run is no more, and the thread says that it is done.
    assert "Run not found" in (await http.get(f"/threads/{place.id}/runs/{run_id}/stream")).text
    with anyio.fail_after(20):
        async with http.stream("GET", f"/threads/{place.id}/stream", headers={"Last-Event-ID": str(away)}) as answer:
            async for frame in frames(answer):
                if frame.data == {"status": "run_done", "run_id": run_id}:
                    break
    if undo is cancelled:
        digest = (await http.get(f"/threads/{place.id}/digest?since=0")).json()
        assert digest["runs"] == []
        shown = (await http.get(f"/threads/{place.id}/snapshot")).json()
        assert "undone" not in orjson.dumps(shown["values"]).decode()


async def test_who_was_away_over_a_crash_and_an_undoing(serve: Callable[..., Server]) -> None:
    """Nothing is in memory: what the end needs is on disk."""
    own = serve()
    async with own.http as http:
        places = [Thread(own, http) for _ in range(2)]
        runs = [await one.start("slow", {"steps": 400, "delay": 0.05}, on_crash="wait") for one in places]
        away = [(await one.read(lambda one: one["method"] == "custom"))[-1]["seq"] for one in places]
        await own.client().runs.cancel(places[0].id, runs[0], action="rollback", wait=True)
        own.restart()
    async with own.http as http:
        places = [Thread(own, http, one.id) for one in places]
        await places[1].ask("run.recover", choice="discard", run_id=runs[1])
        for place, run_id, since in zip(places, runs, away, strict=True):
            told = await place.read(lambda one: ended(one) and data(one).get("undone", False), since=since)
            assert (told[-1]["event_id"].split(":")[1], data(told[-1])["graph_name"]) == (run_id, "slow")
            assert await place.read(lambda one: ended(one) and data(one).get("undone", False)) != []


@pytest.mark.parametrize("graph", ["echo", "hitl"])
async def test_an_end_is_held_back_only_from_who_gives_no_cursor(place: Thread, graph: str) -> None:
    """SDKs whose other subscriptions are on their way; a question ends these, too. See docs/decisions/0011."""

    until = ended if graph == "echo" else lambda one: one["method"] == "input.requested"

    async def took(**params: Any) -> tuple[float, int]:
        await place.start(graph, said("hi") if graph == "echo" else {})
        began = time.perf_counter()
        seq = (await place.read(until, **params))[-1]["seq"]
        return time.perf_counter() - began, seq

    held, seq = await took()
    assert held > v2.SETTLE_S / 2, "the stream, or the end, is that old by then"
    at_once = []
    for _ in range(10):
        again, seq = await took(since=seq)
        at_once.append(again)
    assert min(at_once) < v2.SETTLE_S / 2, "a fresh end, told at once"
