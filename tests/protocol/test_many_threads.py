"""`/ws`: one socket for any number of threads."""

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import psutil
import pytest
from protocol.wire import CHANNELS, Peer, Thread, data, ended, ends, mux, of, said, texts
from serving import Remote, Server, until
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.anyio


async def ran(server: Remote, http: httpx.AsyncClient, count: int, graph: str = "chat") -> list[Thread]:
    threads = [Thread(server, http) for _ in range(count)]
    for thread in threads:
        await thread.start(graph, said("hi"))
    for thread in threads:
        await thread.read()
    return threads


def bare(frame: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in frame.items() if key not in ("thread_id", "subscription_id")}


async def metric(http: httpx.AsyncClient, name: str) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


async def test_fifty_threads_on_one_socket(server: Remote, http: httpx.AsyncClient) -> None:
    threads = [Thread(server, http) for _ in range(50)]
    async with mux(server) as peer:
        begun = await peer.ask("subscription.subscribe", cursors={thread.id: 0 for thread in threads})
        assert set(begun["subscriptions"]) == {thread.id for thread in threads}
        started = {}
        for thread in threads:  # each command reaches its thread
            asked = {"assistant_id": "chat", "input": said(thread.id)}
            started[thread.id] = (await peer.ask("run.start", thread_id=thread.id, **asked))["run_id"]
        told = await peer.events(ends(50), within=60)
    for thread in threads:
        mine = [one for one in told if one["thread_id"] == thread.id]
        assert {one["subscription_id"] for one in mine} == {begun["subscriptions"][thread.id]}
        assert [bare(one) for one in mine] == await thread.read()
        assert started[thread.id] in mine[0]["event_id"]
        assert of(mine, "values")[0]["messages"][0]["content"] == thread.id


async def test_twenty_switches_are_one_handshake(server: Remote, http: httpx.AsyncClient) -> None:
    threads = await ran(server, http, 4)
    before = await metric(http, "threadmill_sockets_total")
    async with mux(server) as peer:
        for switch in range(20):
            thread = threads[switch % 4]
            begun = await peer.ask("subscription.subscribe", thread_id=thread.id)
            told = await peer.events()
            assert texts(told) == ["t0 t1 t2 "] and {one["thread_id"] for one in told} == {thread.id}
            await peer.ask("subscription.unsubscribe", subscription_id=begun["subscription_id"])
    assert await metric(http, "threadmill_sockets_total") == before + 1


async def test_going_on_with_all_cursors_in_one_message(server: Remote, http: httpx.AsyncClient) -> None:
    threads = await ran(server, http, 5)
    whole = {thread.id: await thread.read() for thread in threads}
    cursors = {thread.id: whole[thread.id][3 * n]["seq"] for n, thread in enumerate(threads)}
    async with mux(server) as peer:
        begun = await peer.ask("subscription.subscribe", cursors=cursors, channels=CHANNELS)
        told = await peer.events(ends(5))
    for n, thread in enumerate(threads):
        mine = [bare(one) for one in told if one["thread_id"] == thread.id]
        assert mine == whole[thread.id][3 * n + 1 :]
    assert begun["replayed_events"] == len(told)


async def test_commands_are_answered_in_their_order_with_their_ids(server: Remote, http: httpx.AsyncClient) -> None:
    (thread,) = await ran(server, http, 1)
    async with mux(server) as peer:
        sent = []
        for n in range(40):
            method = ("ping", "state.get", "nope", "state.listCheckpoints")[n % 4]
            sent.append(await peer.send(method, thread_id=thread.id))
        for number in sent:
            await peer.answer(number)


async def test_after_unsubscribing_nothing_more_comes(server: Remote, http: httpx.AsyncClient) -> None:
    thread, other = Thread(server, http), Thread(server, http)
    await thread.start("chat", {**said("hi"), "n_tokens": 300, "delay": 0.005})
    async with mux(server) as peer:
        begun = await peer.ask("subscription.subscribe", cursors={thread.id: 0, other.id: 0})
        await peer.events(lambda one: one.get("method") == "messages")
        name = begun["subscriptions"][thread.id]
        await peer.ask("subscription.unsubscribe", subscription_ids=[name])
        peer.pushed.clear()
        for _ in range(5):
            await peer.ask("ping")
            await anyio.sleep(0.02)
        assert peer.pushed == []
        assert await peer.refused("subscription.unsubscribe", subscription_id=name) == "no_such_subscription"
        await peer.ask("run.start", thread_id=other.id, assistant_id="echo", input=said("hi"))  # the other goes on
        assert {one["thread_id"] for one in await peer.events()} == {other.id}
        await peer.ask("run.stop", thread_id=thread.id)
    assert texts(await thread.read())[0].startswith("t0 t1 t2 ")


async def test_a_socket_survives_whatever_it_is_sent(server: Remote, http: httpx.AsyncClient) -> None:
    (thread,) = await ran(server, http, 1)
    wrong: list[Any] = [
        "{",
        "",
        "null",
        "[1]",
        '"x"',
        b"\xff\xfe",
        b"{}",
        "[" * 5000,
        json.dumps({"id": 1}),
        json.dumps({"id": "x", "method": "ping"}),
        "\ud83e".encode("utf-8", "surrogatepass"),
    ]
    subscribing: list[dict[str, Any]] = [
        {"thread_id": "nope"},
        {"thread_id": None},
        {"thread_id": ["x"]},
        {"cursors": {}},
        {"cursors": []},
        {"cursors": "x"},
        {"cursors": {"nope": 1}},
        {"thread_id": thread.id, "channels": []},
        {"thread_id": thread.id, "channels": {"a": 1}},
        {"thread_id": thread.id, "namespaces": [[[]]]},
        {"thread_id": thread.id, "depth": {}},
        {"cursors": {str(uuid.uuid4()): 0 for _ in range(1001)}},
        {},
    ]
    async with mux(server) as peer:
        for frame in wrong:
            await peer.connection.send(frame)
            answer = await peer.frame()
            assert (answer["type"], answer["error"]) == ("error", "invalid_argument"), frame
        for params in subscribing:
            assert await peer.refused("subscription.subscribe", **params) == "invalid_argument", params
        for method in ("subscription.unsubscribe", "auth", "state.get", "feed.subscribe"):
            assert await peer.refused(method, thread_id=[], token={}, subscription_id={}, since="x")
        for name in ("expiry", "closing"):  # tasks of the server are no subscriptions
            assert await peer.refused("subscription.unsubscribe", subscription_id=name) == "no_such_subscription"
        assert await peer.ask("ping") == {"pong": True}
        await peer.ask("subscription.subscribe", thread_id=thread.id, since=2**64, profile=5)
        assert texts(await peer.events()) == ["t0 t1 t2 "]


async def test_a_frame_that_is_too_large_closes_the_socket(serve: Callable[..., Server]) -> None:
    small = serve(THREADMILL_MAX_BODY_BYTES="2048")
    async with mux(small) as peer:
        await peer.connection.send("x" * 4096)
        with pytest.raises(ConnectionClosed) as closed:
            await peer.frame()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


async def test_limits_of_sockets_and_subscriptions(serve: Callable[..., Server]) -> None:
    narrow = serve(THREADMILL_MAX_SOCKETS="2", THREADMILL_MAX_SUBSCRIPTIONS="3")
    async with mux(narrow) as first:
        async with mux(narrow):
            with pytest.raises(ConnectionClosed) as closed:
                async with mux(narrow):
                    pass
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4429

        async def free_again() -> bool:
            try:
                async with mux(narrow):
                    return True
            except ConnectionClosed:
                return False

        await until(free_again)
        begun = await first.ask("subscription.subscribe", cursors={str(uuid.uuid4()): 0 for _ in range(3)})
        one_more = {"thread_id": str(uuid.uuid4())}
        assert await first.refused("subscription.subscribe", **one_more) == "invalid_argument"
        assert await first.refused("feed.subscribe") == "invalid_argument"
        await first.ask("subscription.unsubscribe", subscription_id=begun["subscription_id"])
        await first.ask("subscription.subscribe", **one_more)


async def test_the_simple_profile(server: Remote, http: httpx.AsyncClient) -> None:
    chat, tools, hitl, boom = (Thread(server, http) for _ in range(4))
    async with mux(server) as peer:
        cursors = {thread.id: 0 for thread in (chat, tools, hitl, boom)}
        await peer.ask("subscription.subscribe", cursors=cursors, profile="simple")
        await chat.start("chat", said("hi"))
        await tools.start("tools", said("add 2 3"))
        await hitl.start("hitl", {})
        await boom.start("boom", {})
        found: dict[str, list[Any]] = {thread: [] for thread in cursors}
        left = set(cursors)
        while left:
            frame = await peer.frame()
            assert set(frame) == {"event", "data", "session_id", "seq"}
            found[frame["session_id"]].append((frame["event"], frame["data"]))
            if frame["event"] in ("complete", "error", "interrupted"):
                left.discard(frame["session_id"])
    assert found[chat.id] == [("token", "t0 "), ("token", "t1 "), ("token", "t2 "), ("complete", None)]
    status = [one["event"] for event, one in found[tools.id] if event == "status"]
    assert (status[0], status[-1]) == ("tool-started", "tool-finished")
    assert "".join(one for event, one in found[tools.id] if event == "token") == "Let me see. The result is 5."
    assert [event for event, _ in found[hitl.id]] == ["input", "interrupted"]
    assert found[hitl.id][0][1]["value"] == {"question": "approve?", "n": None}
    assert found[boom.id] == [("error", "ValueError: boom on purpose")]


async def test_a_deleted_thread_ends_its_subscription(server: Remote, http: httpx.AsyncClient) -> None:
    thread, other = await ran(server, http, 2)
    async with mux(server) as peer:
        begun = await peer.ask("subscription.subscribe", cursors={thread.id: 0, other.id: 0})
        await peer.events(ends(2))
        await http.delete(f"/threads/{thread.id}")
        over = await peer.frame()
        name = begun["subscriptions"][thread.id]
        assert over == {"type": "subscription.ended", "subscription_id": name, "thread_id": thread.id}
        assert await peer.refused("subscription.unsubscribe", subscription_id=name) == "no_such_subscription"


async def test_a_server_that_stops_says_so_and_the_next_one_goes_on(serve: Callable[..., Server]) -> None:
    own = serve()
    async with own.http as http:
        thread = Thread(own, http)
        async with mux(own) as peer:
            await peer.ask("subscription.subscribe", thread_id=thread.id)
            await thread.start("chat", {**said("hi"), "n_tokens": 60, "delay": 0.02})
            told = await peer.events(lambda one: of([one], "messages") != [] and data(one).get("delta") is not None)
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.to_thread(own.term))
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        told.append(await peer.frame())
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
        own.start()
        async with mux(own) as peer:
            await peer.ask("subscription.subscribe", cursors={thread.id: told[-1]["seq"]})
            if not any(ended(one) for one in told):
                told += await peer.events()
        whole = await thread.read()
    assert [bare(one) for one in told] == whole
    assert texts(whole)[-1] == "".join(f"t{n} " for n in range(60))


async def test_half_open_peers_are_dropped_within_two_intervals(serve: Callable[..., Server]) -> None:
    quick = serve(THREADMILL_PING="0.3")

    reader, writer = await asyncio.open_connection("127.0.0.1", quick.port)  # never answers a ping
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{quick.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    async with mux(quick, ping_interval=0.1) as alive:  # whose pings are answered, and who answers pings

        async def gone() -> bool:
            async with quick.http as http:
                return await metric(http, 'threadmill_open_streams{kind="socket"}') == 1

        await until(gone, within=5)
        assert await alive.ask("ping") == {"pong": True}
    writer.close()


async def test_a_hundred_idle_sockets_cost_nothing(serve: Callable[..., Server]) -> None:
    own = serve()
    assert own.process is not None
    process = psutil.Process(own.process.pid)
    async with anyio.create_task_group() as group, own.http as http:
        (thread,) = await ran(own, http, 1)
        ready: list[Peer] = []
        done = anyio.Event()

        async def idle() -> None:
            async with mux(own, ping_interval=None) as peer:
                await peer.ask("subscription.subscribe", thread_id=thread.id, since=2**40)
                ready.append(peer)
                await done.wait()

        for _ in range(100):
            group.start_soon(idle)

        async def all_there() -> bool:
            return len(ready) == 100

        await until(all_there)
        before = sum(process.cpu_times()[:2])
        await anyio.sleep(3)
        spent = sum(process.cpu_times()[:2]) - before
        done.set()
    assert spent < 0.3, f"{spent} s of CPU in 3 s"
