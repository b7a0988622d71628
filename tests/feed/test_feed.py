"""The list feed: what a list of threads shows, kept up to date from a cursor."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from serving import KIT, Remote, Server, progressed, until
from websockets.asyncio.client import connect

from threadmill import feed, threads
from threadmill.events.log import EventLog
from threadmill.scope import ALL
from threadmill.signals import Signals
from threadmill.streaming import feed as readers
from threadmill.streaming.feed import FeedReader
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
SLACK = 1 if os.environ.get("THREADMILL_CHAOS") == "long" else 5  # what the list owes is a second
NOWHERE = "01a1fc2b-5f4e-7575-b684-250167de9406"


@dataclass
class Sidebar:
    """What a list makes of the feed."""

    threads: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: dict[str, list[str]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    cursor: int = 0
    resyncs: int = 0

    def take(self, event: str, data: dict[str, Any], cursor: int) -> None:
        assert cursor > self.cursor or event == "resync"
        self.cursor = cursor
        if event == "resync":
            self.threads.clear()
            self.resyncs += 1
        elif event == "deleted":
            self.threads.pop(data["thread_id"], None)
            self.deleted.add(data["thread_id"])
        else:
            self.threads[data["thread_id"]] = data
            self.statuses.setdefault(data["thread_id"], []).append(data["status"])

    async def shows(self, thread_id: str, within: float = 5, **wanted: Any) -> dict[str, Any]:
        async def there() -> dict[str, Any] | None:
            row = self.threads.get(thread_id)
            return row if row is not None and wanted.items() <= row.items() else None

        there.__name__ = str(wanted)
        return await until(there, within=within)

    async def leaves(self, thread_id: str, status: str) -> None:
        async def gone() -> bool:
            return self.threads[thread_id]["status"] != status

        await until(gone, within=SLACK)


@asynccontextmanager
async def following(
    server: Remote, since: int | None = None, who: str | None = None, shown: Iterable[str] = ()
) -> AsyncIterator[Sidebar]:
    bar = Sidebar({place: {} for place in shown}, cursor=since or 0)
    ready = asyncio.Event()
    headers = {} if who is None else {"Authorization": f"Bearer {who}"}
    if since is not None:
        headers["Last-Event-ID"] = str(since)

    async def read() -> None:
        async with (
            httpx.AsyncClient(base_url=server.url, headers=headers, timeout=None) as http,
            http.stream("GET", "/feed") as response,
        ):
            assert response.status_code == 200
            ready.set()
            event, data = "", ""
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "data":
                    data = value
                elif name == "id":
                    bar.take(event, json.loads(data), int(value))

    task = asyncio.create_task(read())
    await asyncio.wait_for(ready.wait(), 5)
    try:
        yield bar
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_thread_from_its_making_to_its_end(server: Remote) -> None:
    client = server.client()
    async with server.http as http, following(server, since=0) as bar:
        place = (await client.threads.create(metadata={"folder": "x"}))["thread_id"]
        row = await bar.shows(place, status="idle", title=None, unread=False)
        assert row["metadata"] == {"folder": "x"}
        assert row["message_count"] == 0
        said = {"messages": [{"role": "user", "content": "hello there"}], "n_tokens": 30, "delay": 0.1}
        # A model that nobody listens to would not stream, and be done at once.
        await client.runs.create(place, "chat", input=said, stream_mode="messages-tuple")
        await bar.shows(place, status="running", title="hello there")
        row = await bar.shows(place, status="idle", message_count=2, unread=True)
        assert row["preview"].startswith("t0 t1")
        await http.patch(f"/threads/{place}", json={"title": "Renamed"})
        await bar.shows(place, title="Renamed")
        await http.put(f"/threads/{place}/read", json={})
        await bar.shows(place, unread=False)
        await client.threads.delete(place)
        await until(lambda: _true(place in bar.deleted), within=5)
        assert place not in bar.threads


async def _true(value: bool) -> bool:
    return value


async def test_every_status_that_a_list_shows(server: Remote) -> None:
    client = server.client()
    async with server.http as http, following(server) as bar:

        async def begun(graph: str, **given: Any) -> str:
            place = (await client.threads.create())["thread_id"]
            await client.runs.create(place, graph, input=given)
            return place

        waiting, failed = await begun("hitl"), await begun("boom")
        await bar.shows(waiting, status="waiting", unread=True)
        await bar.shows(failed, status="failed", unread=True)
        await client.runs.create(waiting, "hitl", command={"resume": "yes"})
        await bar.shows(waiting, status="idle")
        held = await begun("slow", steps=200, delay=0.02)
        await bar.shows(held, status="running")
        assert (await http.get("/feed", params={"since": "x"})).status_code == 422
        command = {"id": 1, "method": "run.pause", "params": {}}
        await http.post(f"/threads/{held}/commands", json=command)
        await bar.shows(held, status="paused")
        later = (await client.threads.create())["thread_id"]
        await client.runs.create(later, "echo", input={"messages": []}, after_seconds=60)
        await bar.shows(later, status="queued")
        await http.post(f"/threads/{held}/stop")
        await bar.shows(held, status="idle")
        (run,) = await client.runs.list(later)
        await client.runs.cancel(later, run["run_id"])
        await bar.shows(later, status="idle", unread=False)


AFTER_A_CRASH = ("keep", "continue", "regenerate", "discard", "keep by command", "a message")


async def test_after_a_crash_a_person_is_waited_for_until_they_choose_or_write_on(own_server: Server) -> None:
    client = own_server.client()
    places = {way: (await client.threads.create())["thread_id"] for way in AFTER_A_CRASH}
    async with own_server.http as http:
        for place in places.values():
            body = {"assistant_id": "slow", "input": {"steps": 200}, "on_crash": "wait"}
            assert (await http.post(f"/threads/{place}/runs", json=body)).status_code == 200
    for place in places.values():
        await progressed(client, place)
    await asyncio.to_thread(own_server.restart)

    async def go_on(way: str, place: str, http: httpx.AsyncClient) -> httpx.Response:
        if way == "a message":
            return await http.post(f"/threads/{place}/runs", json={"assistant_id": "slow", "input": {"steps": 1}})
        if way == "keep by command":
            command = {"id": 1, "method": "run.recover", "params": {"choice": "keep"}}
            return await http.post(f"/threads/{place}/commands", json=command)
        (run,) = await client.runs.list(place)
        return await http.post(f"/threads/{place}/runs/{run['run_id']}/recover", json={"choice": way})

    async with own_server.http as http, following(own_server, since=0) as bar:
        for place in places.values():
            await bar.shows(place, status="waiting")
            assert (await client.threads.get(place))["status"] == "interrupted"
        for way, place in places.items():
            assert (await go_on(way, place, http)).is_success
            await bar.leaves(place, "waiting")
        for place in places.values():
            await bar.shows(place, status="idle", within=20)
            assert bar.statuses[place].count("waiting") == 1


async def test_a_cursor_lasts_over_a_crash_and_tells_only_what_is_new(own_server: Server) -> None:
    client = own_server.client()
    places = [(await client.threads.create())["thread_id"] for _ in range(5)]
    async with following(own_server, since=0) as bar:
        for place in places:
            await bar.shows(place)
        cursor = bar.cursor
    own_server.restart()
    await client.threads.delete(places[0])
    await client.runs.wait(places[1], "echo", input={"messages": "hi"})
    for title in ("one", "two", "three"):
        await client.http.patch(f"/threads/{places[2]}", json={"title": title})
    own_server.restart()
    async with following(own_server, since=cursor) as again, following(own_server, since=0) as fresh:
        await again.shows(places[2], title="three")
        await until(lambda: _true(again.deleted == {places[0]}))
        assert again.threads.keys() == {places[1], places[2]}
        assert again.statuses == {places[1]: ["idle"], places[2]: ["idle"]}  # one entry each, as it is now
        await fresh.shows(places[2], title="three")
        assert fresh.threads.keys() == set(places[1:])
        assert fresh.cursor == again.cursor


async def test_stateless_runs_are_in_no_list(server: Remote) -> None:
    client = server.client()
    async with following(server) as bar:
        await client.runs.wait(None, "echo", input={"messages": "hi"})
        place = (await client.threads.create())["thread_id"]
        await bar.shows(place)
        assert bar.threads.keys() == {place}


async def test_many_threads_come_in_pages(own_server: Server) -> None:
    async with own_server.http as http:
        made = set()
        for _ in range(450):
            made.add((await http.post("/threads", json={})).json()["thread_id"])
    async with following(own_server, since=0) as bar:
        await until(lambda: _true(bar.threads.keys() == made))


async def test_over_a_socket(server: Remote) -> None:
    client = server.client()
    async with connect(f"{server.url.replace('http', 'ws')}/ws") as socket:
        assert json.loads(await socket.recv())["type"] == "ready"
        await socket.send(json.dumps({"id": 1, "method": "feed.subscribe", "params": {}}))
        reply = json.loads(await socket.recv())
        assert reply["type"] == "success"
        place = (await client.threads.create())["thread_id"]
        frame = json.loads(await socket.recv())
        assert (frame["type"], frame["event"], frame["data"]["thread_id"]) == ("feed", "thread", place)
        assert frame["cursor"] > reply["result"]["cursor"]
        assert frame["subscription_id"] == reply["result"]["subscription_id"]
    await client.threads.delete(place)
    async with connect(f"{server.url.replace('http', 'ws')}/ws") as socket:
        await socket.recv()
        await socket.send(json.dumps({"id": 1, "method": "feed.subscribe", "params": {"since": frame["cursor"]}}))
        await socket.recv()
        gone = json.loads(await socket.recv())
        assert (gone["event"], gone["data"]) == ("deleted", {"thread_id": place})
        name = gone["subscription_id"]
        unsubscribe = {"id": 2, "method": "subscription.unsubscribe", "params": {"subscription_id": name}}
        await socket.send(json.dumps(unsubscribe))
        assert json.loads(await socket.recv())["id"] == 2


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    own = Server(tmp_path / "data", Path(__file__).parents[1] / "auth" / "langgraph.json").start()
    yield own
    own.kill()


async def test_everybody_has_a_feed_and_markers_of_their_own(guarded: Server) -> None:
    alice = get_client(url=guarded.url, headers={"Authorization": "Bearer alice"})
    bob = get_client(url=guarded.url, headers={"Authorization": "Bearer bob"})
    async with following(guarded, since=0, who="alice") as hers, following(guarded, since=0, who="bob") as his:
        place = (await alice.threads.create())["thread_id"]
        await alice.runs.wait(place, "echo", input={"messages": "secret"})
        await hers.shows(place, status="idle", unread=True)
        own = (await bob.threads.create())["thread_id"]
        await his.shows(own)
        await alice.threads.delete(place)
        await until(lambda: _true(place in hers.deleted))
        last = (await bob.threads.create())["thread_id"]
        await his.shows(last)
        assert his.threads.keys() == {own, last}
        assert his.deleted == set()
    async with guarded.http as http:
        assert (await http.get("/feed")).status_code == 401


async def test_read_markers(server: Remote, thread: str) -> None:
    client = server.client()
    async with server.http as http:

        async def unread() -> bool:
            body = {"ids": [thread], "include": ["unread"], "select": ["thread_id"]}
            (row,) = (await http.post("/threads/search", json=body)).json()
            return bool(row["unread"])

        assert not await unread()
        await client.runs.wait(thread, "echo", input={"messages": "one"})
        assert await unread()
        marked = (await http.put(f"/threads/{thread}/read", json={})).json()
        assert marked["unread"] is False
        assert not await unread()
        await client.runs.wait(thread, "hitl", input={})
        assert await unread()  # a question
        ahead = (await http.put(f"/threads/{thread}/read", json={"seq": 10**15})).json()
        assert ahead["seq"] < 10**9  # what is yet to come is not read
        again = (await http.put(f"/threads/{thread}/read", json={"seq": marked["seq"]})).json()
        assert again == {"thread_id": thread, "seq": marked["seq"], "unread": True}
        assert (await http.put(f"/threads/{NOWHERE}/read", json={})).status_code == 404
        assert (await http.put(f"/threads/{thread}/read", json={"seq": -1})).status_code == 422
        (row,) = (await http.post("/threads/search", json={"ids": [thread]})).json()
        assert "unread" not in row


async def test_a_digest_is_what_the_events_after_the_marker_say(server: Remote, thread: str) -> None:
    client = server.client()
    async with server.http as http:
        await client.runs.wait(thread, "chat", input={"messages": "before"})
        since = (await http.put(f"/threads/{thread}/read", json={})).json()["seq"]
        missed = [("tools", "add 2 3"), ("tools", "divide 1 0"), ("chat", "hi")]
        for graph, said in missed:
            params = {"assistant_id": graph, "input": {"messages": said}}
            body = {"id": 1, "method": "run.start", "params": params}
            run = (await http.post(f"/threads/{thread}/commands", json=body)).json()["result"]["run_id"]
            await client.runs.join(thread, run)
        started = await client.runs.create(thread, "boom", input={})
        await client.runs.join(thread, started["run_id"])
        digest = (await http.get(f"/threads/{thread}/digest")).json()
        assert digest["since"] == since
        assert digest["tools"] == {
            "calls": 2,
            "errors": 1,
            "by_name": {"add": {"calls": 1, "errors": 0}, "divide": {"calls": 1, "errors": 1}},
        }
        assert [one["status"] for one in digest["runs"]] == ["completed"] * 3 + ["failed"]
        assert digest["runs"][-1]["error"] == "ValueError: boom on purpose"
        listed = await client.runs.list(thread, limit=4)
        assert [one["run_id"] for one in digest["runs"]] == [one["run_id"] for one in reversed(listed)]
        assert all(one["seconds"] == (one["ended_at"] - one["started_at"]) / 1000 for one in digest["runs"])
        assert digest["messages"] == {"count": 5, "last": "t0 t1 t2 "}
        assert digest["questions"] == []
        await http.put(f"/threads/{thread}/read", json={})
        nothing = (await http.get(f"/threads/{thread}/digest")).json()
        assert (nothing["tools"]["calls"], nothing["runs"], nothing["messages"]["count"]) == (0, [], 0)
        assert (await http.get(f"/threads/{thread}/digest", params={"since": since})).json() == digest
        await client.runs.wait(thread, "hitl", input={})
        asked = (await http.get(f"/threads/{thread}/digest")).json()
        assert [one["value"]["question"] for one in asked["questions"]] == ["approve?"]
        assert (await http.get(f"/threads/{NOWHERE}/digest")).status_code == 404


async def test_what_nobody_told_of_is_found_by_one_look_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, since = 0, feed.since

    def counted(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        return since(*given)

    monkeypatch.setattr(feed, "since", counted)
    monkeypatch.setattr(readers, "LOOK_S", 0.01)
    signals = Signals()
    database = SqliteDatabase(tmp_path / "file", synchronous="NORMAL", readers=1, prepare=migrate_sqlite)
    reader = FeedReader(database, EventLog(database, signals), signals, 0.02)
    waiting = [reader.follow(ALL, "", 0) for _ in range(3)]
    for one in waiting:
        assert [await anext(one) for _ in range(3)] == [[]] * 3
    assert looks == 3, "one when it began"
    await database.write(threads.create, "a")
    for one in waiting:
        while not (found := await anext(one)):
            pass
        assert [entry.thread_id for entry in found] == ["a"]
    await database.close()


async def test_a_list_that_was_away_for_too_long_begins_anew(tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    graphs = {"echo": f"{KIT.parent / 'graphs.py'}:echo"}
    sweeping = {"ttl": {"sweep_interval_minutes": 0.002}}
    config.write_text(json.dumps({"dependencies": ["."], "graphs": graphs, "checkpointer": sweeping}))
    own = Server(tmp_path / "data", config, {"THREADMILL_FEED_DELETIONS": "2"}).start()
    try:
        client = own.client()
        places = [(await client.threads.create())["thread_id"] for _ in range(6)]
        async with following(own, since=0) as bar, following(own, since=0) as live:
            await bar.shows(places[5])
            cursor = bar.cursor
            for place in places[:2]:
                await client.threads.delete(place)
            await until(lambda: _true(set(places[:2]) == bar.deleted))
            recent = bar.cursor
            async with following(own, since=cursor) as again:  # so many are still known
                await until(lambda: _true(again.deleted == set(places[:2])))
            for place in places[2:4]:
                await client.threads.delete(place)
            await until(lambda: _true(_tombstones(own) == 2))
            await until(lambda: _true(live.deleted == set(places[:4])))
            assert (live.resyncs, live.threads.keys()) == (0, set(places[4:]))
        own.restart()
        async with following(own, since=cursor, shown=places) as away, following(own, since=0) as fresh:
            await until(lambda: _true(away.resyncs == 1 and away.threads.keys() == set(places[4:])))
            await fresh.shows(places[5])
            await client.threads.update(places[4], metadata={"on": "it goes"})
            for bar in (away, fresh):
                await bar.shows(places[4], metadata={"on": "it goes"})
            assert (away.resyncs, fresh.resyncs) == (1, 0)
        async with following(own, since=recent) as bar:  # it knows of all that is forgotten
            await until(lambda: _true(bar.deleted == set(places[2:4])))
            assert bar.resyncs == 0
        async with connect(f"{own.url.replace('http', 'ws')}/ws") as socket:
            await socket.recv()
            await socket.send(json.dumps({"id": 1, "method": "feed.subscribe", "params": {"since": cursor}}))
            await socket.recv()
            frames = [json.loads(await socket.recv()) for _ in range(5)]
        assert [(one["event"], one["data"].get("thread_id")) for one in frames] == [
            ("resync", None),
            ("thread", places[5]),
            ("deleted", places[2]),
            ("deleted", places[3]),
            ("thread", places[4]),
        ]
        assert frames[0]["cursor"] == 0
    finally:
        own.kill()


def _tombstones(server: Server) -> int:
    with closing(sqlite3.connect(server.data_dir / "threadmill.sqlite")) as file:
        return int(file.execute("SELECT count(*) FROM changes WHERE deleted = 1").fetchone()[0])


async def test_a_list_that_is_being_sent_misses_no_deletion(tmp_path: Path) -> None:
    """Deleted and forgotten between two pages, of a thread that was on the first: also then it begins anew."""
    database = SqliteDatabase(tmp_path / "file", synchronous="NORMAL", readers=1, prepare=migrate_sqlite)
    try:
        for n in range(4):
            await database.write(threads.create, f"t{n}")
        await database.write(threads.delete, ALL, "t0")
        await database.write(feed.prune, 0)
        first, cursor, known = await database.read(feed.since, ALL, "", 0, 0, 2)
        assert [one.thread_id for one in first] == ["t1", "t2"]
        second, _, known = await database.read(feed.since, ALL, "", cursor, known, 2)
        assert [one.thread_id for one in second] == ["t3"]  # no resync for what it never knew
        await database.write(threads.delete, ALL, "t1")
        await database.write(feed.prune, 0)
        again, after, known = await database.read(feed.since, ALL, "", cursor, known, 2)
        assert [one.thread_id for one in again] == ["", "t2", "t3"]
        assert await database.read(feed.newest) > after
        assert (await database.read(feed.since, ALL, "", after, known, 2))[0] == []
        assert await database.read(feed.since, ALL, "", cursor, 0, 2) == (again, after, known)  # so does a cursor alone
    finally:
        await database.close()
