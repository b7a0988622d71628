"""What somebody has begun to write in a thread, on any device; it is theirs, and no part of the thread."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Remote, Server

TEAM = """
from langgraph.graph import START, MessagesState, StateGraph
from langgraph_sdk import Auth

auth = Auth()

@auth.authenticate
async def authenticate(authorization):
    return authorization or "nobody"

@auth.on.threads.update
async def writers(ctx, value):
    return ctx.user.identity != "reader"

builder = StateGraph(MessagesState)
builder.add_node("say", lambda state: {"messages": "hello"})
builder.add_edge(START, "say")
graph = builder.compile()
"""
PICTURE = [{"type": "text", "text": "what is this?"}, {"type": "image", "base64": "iVBORw0K", "mime_type": "image/png"}]

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
def place(thread: str) -> str:
    return f"/threads/{thread}/draft"


async def test_a_draft_is_written_read_and_deleted(server: Remote, place: str) -> None:
    async with server.http as http:
        none = {"content": None, "revision": None, "updated_at": None}
        assert (await http.get(place)).json() == none
        first = (await http.put(place, json={"content": "to be"})).json()
        assert (await http.get(place)).json() == {"content": "to be", **first}
        second = (await http.put(place, json={"content": PICTURE})).json()
        answer = await http.get(place)
        assert answer.json() == {"content": PICTURE, **second}
        assert second["revision"] != first["revision"]
        assert second["updated_at"] > first["updated_at"]
        known = {"if-none-match": answer.headers["etag"]}
        assert (await http.get(place, headers=known)).status_code == 304
        assert (await http.delete(place)).status_code == 204
        assert (await http.delete(place)).status_code == 204
        assert (await http.get(place, headers=known)).json() == none


async def test_who_knows_an_older_one_does_not_write_over_a_newer_one(server: Remote, place: str) -> None:
    async with server.http as http:
        first = (await http.put(place, json={"content": "desk", "revision": ""})).json()["revision"]
        assert (await http.put(place, json={"content": "phone", "revision": ""})).status_code == 409
        second = (await http.put(place, json={"content": "desk again", "revision": first})).json()["revision"]
        for late in (
            (await http.put(place, json={"content": "phone", "revision": first})),
            await http.delete(place, params={"revision": first}),
        ):
            assert (late.status_code, late.json()["detail"]) == (409, "The draft has changed: read it again.")
        assert (await http.get(place)).json()["content"] == "desk again"
        assert (await http.delete(place, params={"revision": second})).status_code == 204
        assert (await http.put(place, json={"content": "phone", "revision": second})).status_code == 409


async def test_what_is_no_draft_is_refused(server: Remote, place: str) -> None:
    async with server.http as http:
        for body in ({}, {"content": None}, {"content": ["text"]}, {"content": {"type": "text"}}):
            assert (await http.put(place, json=body)).status_code == 422, body
        large = await http.put(place, json={"content": "x" * 12_000_000})
        assert (large.status_code, large.json()["detail"]) == (413, "A draft has at most 12,000,000 bytes.")
        gone = "/threads/01a1fc2b-5f4e-7575-b684-250167de9406/draft"
        assert (await http.get(gone)).status_code == 404
        assert (await http.put(gone, json={"content": "x"})).status_code == 404
        assert (await http.delete(gone)).status_code == 404


async def test_the_thread_does_not_change_and_what_is_made_of_it_has_none(
    server: Remote, client: LangGraphClient, thread: str, place: str
) -> None:
    await client.runs.wait(thread, "echo", input={"messages": [{"role": "user", "content": "hello"}]})
    newer = (await client.threads.create())["thread_id"]
    async with server.http as http:

        async def shown() -> list[Any]:
            snapshot = (await http.get(f"/threads/{thread}/snapshot")).json()
            listed: Any = await client.threads.search(ids=[thread, newer])
            return [snapshot, listed]

        before = await shown()
        await http.put(place, json={"content": "a secret thought"})
        assert await shown() == before
        assert "a secret thought" not in (await http.get(f"/threads/{thread}/export")).text
        fork = (await http.post(f"/threads/{thread}/fork", json={})).json()["thread_id"]
        copy: Any = (await client.threads.copy(thread))["thread_id"]
        for one in (fork, copy):
            assert (await http.get(f"/threads/{one}/draft")).json()["content"] is None
        await http.delete(place)
        assert await shown() == before


def drafts(server: Server) -> list[str]:
    with closing(sqlite3.connect(server.data_dir / "threadmill.sqlite")) as database:
        return [content for (content,) in database.execute("SELECT content FROM drafts")]


async def test_it_goes_with_its_thread_and_outlives_a_crash(own_server: Server) -> None:
    client = own_server.client()
    kept, gone = [(await client.threads.create())["thread_id"] for _ in range(2)]
    async with own_server.http as http:
        for one in (kept, gone):
            await http.put(f"/threads/{one}/draft", json={"content": one})
        await client.threads.delete(gone)
        assert drafts(own_server) == [f'"{kept}"']
    own_server.restart()
    async with own_server.http as http:
        assert (await http.get(f"/threads/{kept}/draft")).json()["content"] == kept


async def test_what_is_forgotten_is_no_draft_any_more(own_server: Server) -> None:
    """As it is left in another one's box when a run was refused, and told to be forgotten."""
    client = own_server.client()
    thread, other = [(await client.threads.create())["thread_id"] for _ in range(2)]
    for one in (thread, other):
        await client.runs.wait(one, "echo", input={"messages": [{"role": "user", "content": "my card is 4111"}]})
    state: Any = await client.threads.get_state(thread)
    async with own_server.http as http:
        for one in (thread, other):
            said = [{"type": "text", "text": "my card is 4111"}]
            await http.put(f"/threads/{one}/draft", json={"content": said})
        told = await http.post(f"/threads/{thread}/messages/{state['values']['messages'][0]['id']}/forget")
        assert told.json()["erased"]["drafts"] == 1
        assert (await http.get(f"/threads/{thread}/draft")).json()["content"] is None
        assert (await http.get(f"/threads/{other}/draft")).json()["content"] == said


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Server]:
    """Everybody sees all threads, and all but one may write in them."""
    (tmp_path / "team.py").write_text(TEAM)
    config = '{"graphs": {"echo": "./team.py:graph"}, "auth": {"path": "./team.py:auth"}}'
    (tmp_path / "langgraph.json").write_text(config)
    server = Server(tmp_path / "data", tmp_path / "langgraph.json").start()
    yield server
    server.kill()


async def test_each_user_has_a_draft_of_their_own(team: Server) -> None:
    async with team.http as http:

        async def asked(who: str, method: str, content: str | None = None) -> Any:
            body = {} if content is None else {"json": {"content": content, "revision": ""}}
            return await http.request(method, place, headers={"authorization": who}, **body)

        made = await http.post("/threads", json={}, headers={"authorization": "ada"})
        place = f"/threads/{made.json()['thread_id']}/draft"
        assert (await asked("ada", "PUT", "of ada")).status_code == 200
        assert (await asked("bob", "GET")).json()["content"] is None
        assert (await asked("bob", "PUT", "of bob")).status_code == 200
        assert (await asked("ada", "GET")).json()["content"] == "of ada"
        assert (await asked("bob", "DELETE")).status_code == 204
        assert (await asked("ada", "GET")).json()["content"] == "of ada"
        assert (await asked("reader", "PUT", "x")).status_code == 403
        assert (await asked("reader", "DELETE")).status_code == 403
