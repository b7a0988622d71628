"""`POST /events`: what `/ws` carries, over one response where no WebSocket gets through."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from protocol.wire import CHANNELS, Peer, Thread, data, ends, mux, of, said, texts
from serving import Remote, Server, until

pytestmark = pytest.mark.anyio


class Response:
    """The frames of one response, read as those of a socket."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def recv(self) -> str:
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "data":
                return value
            assert name in ("event", "", ":") and value in ("message", "", "heartbeat"), line
        raise EOFError


@asynccontextmanager
async def many(http: httpx.AsyncClient, **params: Any) -> AsyncIterator[tuple[dict[str, Any], Peer]]:
    async with http.stream("POST", "/events", json=params) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        peer = Peer(Response(answer))  # type: ignore[arg-type]
        ready = await peer.frame()
        assert ready.pop("type") == "ready"
        yield ready, peer


def named(frame: dict[str, Any]) -> dict[str, Any]:
    """Without what each connection has of its own."""
    return {key: value for key, value in frame.items() if key != "subscription_id"}


async def test_many_threads_and_the_list_over_one_response(server: Remote, http: httpx.AsyncClient) -> None:
    threads = [Thread(server, http) for _ in range(12)]
    cursors = {thread.id: 0 for thread in threads}
    async with many(http, cursors=cursors, feed={}) as (ready, peer), mux(server) as socket:
        assert set(ready["subscriptions"]) == set(cursors)
        await socket.ask("subscription.subscribe", cursors=cursors)
        for thread in threads:
            await thread.start("chat", said(thread.id))
        listed: dict[str, str] = {}
        told: list[Any] = []

        def all_told(frame: Any) -> bool:
            told.append(frame)
            if frame["type"] == "feed":
                assert frame["subscription_id"] == ready["feed"]["subscription_id"]
                listed[frame["data"]["thread_id"]] = frame["data"]["status"]
            over = [one for one in told if one["type"] == "event" and of([one], "lifecycle")]
            return len(over) == 24 and [listed.get(thread.id) for thread in threads] == ["idle"] * 12

        await peer.events(all_told, within=60)
        same = await socket.events(ends(12), within=60)
    for thread in threads:
        mine = [one for one in told if one.get("thread_id") == thread.id]
        assert {one["subscription_id"] for one in mine} == {ready["subscriptions"][thread.id]}
        assert [named(one) for one in mine] == [named(one) for one in same if one.get("thread_id") == thread.id]
        assert of(mine, "values")[0]["messages"][0]["content"] == thread.id


async def test_it_goes_on_with_all_cursors(server: Remote, http: httpx.AsyncClient) -> None:
    threads = [Thread(server, http) for _ in range(4)]
    for thread in threads:
        await thread.start("chat", said("hi"))
    whole = {thread.id: await thread.read() for thread in threads}
    cursors = {thread.id: whole[thread.id][3 * n]["seq"] for n, thread in enumerate(threads)}
    async with many(http, cursors=cursors, channels=CHANNELS) as (ready, peer):
        told = await peer.events(ends(4))
        for n, thread in enumerate(threads):
            mine = [one["seq"] for one in told if one["thread_id"] == thread.id]
            assert mine == [one["seq"] for one in whole[thread.id][3 * n + 1 :]]
        assert ready["replayed_events"] == len(told)
        await http.delete(f"/threads/{threads[0].id}")
        gone = await peer.frame()
        assert (gone["type"], gone["thread_id"]) == ("subscription.ended", threads[0].id)
        await threads[1].start("chat", said("more"))  # the others go on
        assert {one["thread_id"] for one in await peer.events()} == {threads[1].id}
    async with many(http, thread_id=threads[1].id, profile="simple") as (_, peer):
        told = await peer.events(lambda one: one["event"] == "complete")
        assert "".join(one["data"] for one in told if one["event"] == "token") == "t0 t1 t2 "
    async with many(http, thread_id=threads[2].id, channels=["messages"]) as (_, peer):
        assert texts(await peer.events(lambda one: data(one)["event"] == "message-finish")) == ["t0 t1 t2 "]
        await http.delete(f"/threads/{threads[2].id}")
        assert (await peer.frame())["type"] == "subscription.ended"
        with pytest.raises(EOFError):  # nothing is left to follow
            await peer.frame()


async def test_what_cannot_be_followed_is_refused(server: Remote, http: httpx.AsyncClient) -> None:
    refused: list[tuple[Any, int]] = [
        ({}, 400),
        ([], 400),
        ({"channels": ["values"]}, 400),
        ({"thread_id": str(uuid.uuid4()), "channels": []}, 400),
        ({"thread_id": "nope"}, 422),
        ({"thread_id": 7}, 422),
        ({"cursors": []}, 422),
        ({"feed": 7}, 422),
        ({"feed": {"since": "x"}}, 422),
        ({"cursors": {str(uuid.uuid4()): 0 for _ in range(1001)}}, 422),
        ({"cursors": {str(uuid.uuid4()): 0 for _ in range(1000)}, "feed": {}}, 422),
    ]
    for body, status in refused:
        assert (await http.post("/events", json=body)).status_code == status, str(body)[:200]
    assert (await http.post("/events", content=b"{")).status_code == 400


async def test_nobody_follows_what_is_not_theirs(serve: Any) -> None:
    guarded: Server = serve(Path(__file__).with_name("guarded.json"))
    alice, bob = (
        httpx.AsyncClient(base_url=guarded.url, headers={"Authorization": f"Bearer {name}"}, timeout=30)
        for name in ("alice", "bob")
    )
    async with alice, bob, guarded.http as nobody:
        hers, his = Thread(guarded, alice), Thread(guarded, bob)
        await hers.start("echo", said("secret"))
        await hers.read()
        await his.start("echo", said("open"))
        for body in ({"thread_id": hers.id}, {"cursors": {hers.id: 0}}):
            assert (await bob.post("/events", json=body)).status_code == 404
            assert (await nobody.post("/events", json=body)).status_code == 401
        async with many(bob, cursors={hers.id: 0, his.id: 0}, feed={"since": 0}) as (ready, peer):
            assert (list(ready["subscriptions"]), ready["missing"]) == ([his.id], [hers.id])
            await hers.start("echo", said("secret"))
            await hers.read(ends(2))
            last = (await bob.post("/threads", json={})).json()["thread_id"]
            told = await peer.events(lambda one: one["type"] == "feed" and one["data"]["thread_id"] == last)
            assert hers.id not in json.dumps(told)


async def test_a_response_that_is_left_leaves_nothing_behind(serve: Any) -> None:
    quick: Server = serve(THREADMILL_HEARTBEAT="0.1")

    async def open_streams() -> float:
        async with quick.http as http:
            lines = (await http.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("threadmill_open_streams"))

    async with quick.http as http:
        cursors = {str(uuid.uuid4()): 0 for _ in range(50)}
        async with http.stream("POST", "/events", json={"cursors": cursors, "feed": {}}) as answer:
            lines = answer.aiter_lines()
            while await anext(lines) != ": heartbeat":
                pass
            assert await open_streams() == 1

        async def none_left() -> bool:
            return await open_streams() == 0

        await until(none_left)
        async with http.stream("POST", "/events", json={"cursors": cursors, "feed": {}}) as answer:
            rest = asyncio.create_task(answer.aread())
            await asyncio.to_thread(quick.term)
            assert b": the server is stopping" in await rest
