"""Links by which whoever has them reads a conversation as it was."""

import base64
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import KIT, Remote, Server, until

pytestmark = [pytest.mark.anyio, pytest.mark.beyond_reference]
GUARDED = Path(__file__).parents[1] / "auth" / "langgraph.json"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
GONE = {"detail": "There is no such link, or no longer."}
FIELDS = {"title", "created_at", "shared_at", "messages"}


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    own = Server(tmp_path_factory.mktemp("sharing") / "data", GUARDED, {"THREADMILL_SHARING": "true"}).start()
    yield own
    own.kill()


def of(server: Server, name: str | None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {name}"} if name else {}
    return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30)


@pytest.fixture
async def alice(sharing: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with of(sharing, "alice") as http:
        yield http


@pytest.fixture
async def stranger(sharing: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with of(sharing, None) as http:
        yield http


async def say(http: httpx.AsyncClient, thread: str, content: Any, **more: Any) -> None:
    asked = {"assistant_id": "echo", "input": {"messages": [{"role": "user", "content": content}]}, **more}
    (await http.post(f"/threads/{thread}/runs/wait", json=asked)).raise_for_status()


async def talk(http: httpx.AsyncClient, *said: Any, **fields: Any) -> str:
    thread: str = (await http.post("/threads", json=fields)).raise_for_status().json()["thread_id"]
    for one in said:
        await say(http, thread, one)
    return thread


async def share(http: httpx.AsyncClient, thread: str, **body: Any) -> dict[str, Any]:
    answer = await http.post(f"/threads/{thread}/shares", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def shares(http: httpx.AsyncClient, thread: str) -> list[Any]:
    return list((await http.get(f"/threads/{thread}/shares")).raise_for_status().json())


async def read(http: httpx.AsyncClient, link: dict[str, Any]) -> dict[str, Any]:
    answer = await http.get(f"/shared/{link['token']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def texts(http: httpx.AsyncClient, link: dict[str, Any]) -> list[str]:
    return [one["content"] for one in (await read(http, link))["messages"]]


async def is_gone(http: httpx.AsyncClient, token: str) -> bool:
    answer = await http.get(f"/shared/{token}")
    return (answer.status_code, answer.json()) == (404, GONE)


async def state(http: httpx.AsyncClient, thread: str) -> Any:
    return (await http.get(f"/threads/{thread}/state")).raise_for_status().json()


def database(server: Server) -> Any:
    return closing(sqlite3.connect(server.data_dir / "threadmill.sqlite", timeout=20))


# Its life


async def test_a_link_shows_the_conversation_as_it_was(alice: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    thread = await talk(alice, "one", metadata={"private": "metadata"})
    link = await share(alice, thread)
    assert link["url"] == f"/s/{link['token']}"
    assert len(link["token"]) == 43
    assert link["checkpoint_id"] == (await state(alice, thread))["checkpoint"]["checkpoint_id"]
    assert (link["thread_id"], link["expires_at"]) == (thread, None)
    await say(alice, thread, "two")
    found = await read(stranger, link)
    assert set(found) == FIELDS
    assert (found["title"], found["shared_at"]) == ("one", link["created_at"])
    assert found["created_at"] == (await alice.get(f"/threads/{thread}")).json()["created_at"]
    assert [one["content"] for one in found["messages"]] == ["one", "1: one"]
    assert await texts(stranger, await share(alice, thread)) == ["one", "1: one", "two", "3: two"]


async def test_of_a_message_only_what_is_shown_reaches_a_stranger(
    alice: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    picture = {"type": "image_url", "image_url": {"url": PIXEL}}
    thread = await talk(alice, [{"type": "text", "text": "look"}, picture, {"type": "file", "path": "/home/alice"}])
    call = {"id": "c1", "name": "look_up", "args": {"order": 7, "with": {"apiKey": "hush-hush"}}}
    said = [
        {"role": "system", "content": "you are a secret agent"},
        {"role": "assistant", "content": "", "tool_calls": [call], "response_metadata": {"finish_reason": "stopped"}},
        {"role": "tool", "content": "it is blue", "tool_call_id": "c1", "artifact": {"row": "internal"}},
        {"role": "user", "content": "thanks", "name": "alice-7", "additional_kwargs": {"author": "alice-7"}},
        {"role": "assistant", "content": "so", "additional_kwargs": {"reasoning_content": "hm", "trace": "internal"}},
    ]
    (await alice.post(f"/threads/{thread}/state", json={"values": {"messages": said}, "as_node": "say"})).json()
    first, _, *rest = (await read(stranger, await share(alice, thread)))["messages"]
    assert first["content"] == [{"type": "text", "text": "look"}, picture]
    told = json.dumps(rest)
    for hidden in ("secret agent", "hush-hush", "internal", "alice-7", "artifact"):
        assert hidden not in told
    assert [set(one) - {"id"} for one in rest] == [
        {"type", "content", "tool_calls", "response_metadata"},
        {"type", "content", "tool_call_id", "status"},
        {"type", "content"},
        {"type", "content", "additional_kwargs"},
    ]
    assert rest[0]["tool_calls"][0]["args"] == {"order": 7, "with": {"apiKey": "•••"}}
    assert rest[3]["additional_kwargs"] == {"reasoning_content": "hm"}
    link = await share(alice, thread, redact=["tool-results"])
    redacted = (await read(stranger, link))["messages"]
    assert [one["content"] for one in redacted[2:]] == ["", "[redacted]", "thanks", "so"]
    assert "it is blue" not in json.dumps(redacted)


LOOSE = """
from typing import TypedDict
from langchain_core.messages import AIMessage, ChatMessage, FunctionMessage, HumanMessage, SystemMessageChunk
from langgraph.graph import START, StateGraph

class State(TypedDict):
    messages: list

def say(state):
    call = {"id": "c1", "name": "look_up", "args": {"pairs": ({"password": "internal"},)}}
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=", "file_id": "internal"}
    blocks = [
        {"type": "text", "text": "a fox", "annotations": ["internal"], "extras": {"signature": "internal"}},
        {"type": "reasoning", "reasoning": "hm", "encrypted_content": "internal"},
        {"type": "image", "source": source, "cache_control": "internal"},
        {"type": "image_url", "image_url": {"url": "https://example.com/fox.png", "owner": "internal"}},
        "internal",
    ]
    return {"messages": [
        HumanMessage([{"type": "text-plain", "text": "internal"}]),
        ChatMessage("internal", role="system"),
        SystemMessageChunk("internal"),
        {"type": "message", "role": "Developer", "content": "internal"},
        {"role": "assistant", "content": {"trace": "internal"}, "additional_kwargs": "internal",
            "tool_calls": ["internal", {"args": {7: 8}}]},
        "internal",
        FunctionMessage("a result", name="look_up"),
        AIMessage("", tool_calls=[call]),
        AIMessage(blocks),
        ChatMessage("well", role="critic"),
    ]}

loose = StateGraph(State).add_node("say", say).add_edge(START, "say").compile()
"""


async def test_a_state_of_any_kind_tells_no_more(tmp_path: Path) -> None:
    (tmp_path / "loose.py").write_text(LOOSE)
    (tmp_path / "langgraph.json").write_text(
        json.dumps({"graphs": {"loose": "./loose.py:loose"}, "dependencies": ["."]})
    )
    server = Server(tmp_path / "data", tmp_path / "langgraph.json", {"THREADMILL_SHARING": "1"}).start()
    try:
        async with server.http as http:
            thread = await talk(http)
            await say(http, thread, "one", assistant_id="loose")
            link = await share(http, thread, redact=["tool-results"])
            found = await read(http, link)
    finally:
        server.kill()
    assert "internal" not in json.dumps(found)
    assert found["title"] is None
    nothing, loose, result, call, blocks, critic = found["messages"]
    assert (set(nothing), set(loose)) == ({"id", "type"}, {"type", "tool_calls"})
    assert (result["content"], critic["content"], critic["type"]) == ("[redacted]", "well", "critic")
    assert call["tool_calls"][0]["args"] == {"pairs": [{"password": "•••"}]}
    assert blocks["content"] == [
        {"type": "text", "text": "a fox"},
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "image", "source": {"media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/fox.png"}},
    ]


async def test_a_title_tells_nothing_that_came_later(alice: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    thread = await talk(alice, "one")
    at = (await state(alice, thread))["checkpoint"]["checkpoint_id"]
    link = await share(alice, thread, checkpoint_id=at)
    first = (await alice.get(f"/threads/{thread}/branches/messages")).json()["messages"][0]["fork_from"]
    await say(alice, thread, "something private", checkpoint_id=first)
    assert (await alice.get(f"/threads/{thread}")).json()["title"] == "something private"
    assert (await read(stranger, link))["title"] == "one"
    await alice.patch(f"/threads/{thread}", json={"title": "A name"})
    assert (await read(stranger, link))["title"] == "A name"
    assert await texts(stranger, link) == ["one", "1: one"]


async def test_what_is_no_place_to_share_is_refused(alice: httpx.AsyncClient) -> None:
    thread, empty = await talk(alice, "one"), await talk(alice)
    tried: list[tuple[str, dict[str, Any], int]] = [
        (empty, {}, 409),
        (thread, {"checkpoint_id": "1ef00000-0000-6000-8000-000000000000"}, 404),
        (thread, {"redact": ["messages"]}, 422),
        (thread, {"ttl": 0}, 422),
        (thread, {"expires_at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}, 422),
        (thread, {"expires_at": "2100-01-01T00:00:00"}, 422),  # in which zone?
        (thread, {"expires_at": "2100-01-01T00:00:00Z", "ttl": 5}, 422),
        (thread, {"expires_at": "9999-12-31T23:59:59-14:00"}, 422),  # in UTC there is no such year
    ]
    for place, body, status in tried:
        answer = await alice.post(f"/threads/{place}/shares", json=body)
        assert answer.status_code == status, (body, answer.text)
    assert await shares(alice, thread) == []


async def test_links_are_listed_without_what_opens_them_and_revoked_at_once(
    alice: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    thread = await talk(alice, "one")
    first, second = await share(alice, thread), await share(alice, thread, redact=["tool-results"])
    listed = await shares(alice, thread)
    assert [one["share_id"] for one in listed] == [second["share_id"], first["share_id"]]
    assert [one["redact"] for one in listed] == [["tool-results"], []]
    for hidden in (first["token"], second["token"]):
        assert hidden not in json.dumps(listed)
    assert (await alice.delete(f"/threads/{thread}/shares/{first['share_id']}")).status_code == 204
    assert await is_gone(stranger, first["token"])
    assert await texts(stranger, second) == ["one", "1: one"]
    assert [one["share_id"] for one in await shares(alice, thread)] == [second["share_id"]]
    for missing in (first["share_id"], thread):
        assert (await alice.delete(f"/threads/{thread}/shares/{missing}")).status_code == 404


async def test_a_link_ends_when_its_time_is_over(alice: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    thread = await talk(alice, "one")
    brief = await share(alice, thread, ttl=0.05)
    long = await share(alice, thread, ttl=60)
    made = datetime.fromisoformat(long["created_at"])
    assert datetime.fromisoformat(long["expires_at"]) == made + timedelta(minutes=60)
    named = await share(alice, thread, expires_at="2100-01-01T01:00:00+01:00")
    assert named["expires_at"] == "2100-01-01T00:00:00.000000+00:00"
    assert await texts(stranger, brief) == ["one", "1: one"]
    await until(lambda: is_gone(stranger, brief["token"]))
    assert [one["share_id"] for one in await shares(alice, thread)] == [named["share_id"], long["share_id"]]
    assert await texts(stranger, long) == ["one", "1: one"]


async def test_a_deleted_thread_takes_its_links_along(
    sharing: Server, alice: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    thread = await talk(alice, "one")
    link = await share(alice, thread)
    await alice.delete(f"/threads/{thread}")
    assert await is_gone(stranger, link["token"])
    with database(sharing) as opened:
        assert opened.execute("SELECT count(*) FROM shares WHERE thread_id = ?", (thread,)).fetchone() == (0,)


async def test_copies_forks_and_files_have_no_links(alice: httpx.AsyncClient) -> None:
    thread = await talk(alice, "one")
    link = await share(alice, thread)
    copy = (await alice.post(f"/threads/{thread}/copy", json={})).json()["thread_id"]
    fork = (await alice.post(f"/threads/{thread}/fork", json={})).json()["thread_id"]
    bundle = (await alice.get(f"/threads/{thread}/export")).content
    assert link["share_id"].encode() not in bundle
    for other in (copy, fork):
        assert await shares(alice, other) == []
    assert len(await shares(alice, thread)) == 1


async def test_a_fork_shares_what_it_has_from_its_source(alice: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    source = await talk(alice, "one")
    fork = (await alice.post(f"/threads/{source}/fork", json={})).json()["thread_id"]
    await say(alice, fork, "two")
    begun = (await alice.get(f"/threads/{fork}/branches/messages")).json()["messages"][1]["checkpoint_id"]
    link = await share(alice, fork, checkpoint_id=begun)
    await alice.delete(f"/threads/{source}")
    assert await texts(stranger, link) == ["one", "1: one"]


# What is pruned and forgotten


@pytest.mark.parametrize("how", ["keep_latest", "by age"])
async def test_pruning_keeps_what_a_link_shows(alice: httpx.AsyncClient, stranger: httpx.AsyncClient, how: str) -> None:
    thread = await talk(alice, "one")
    link, revoked = await share(alice, thread), None
    for said in ("two", "three"):
        await say(alice, thread, said)
        revoked = revoked or await share(alice, thread)
    assert revoked is not None
    await alice.delete(f"/threads/{thread}/shares/{revoked['share_id']}")
    if how == "keep_latest":
        await alice.post("/threads/prune", json={"thread_ids": [thread], "strategy": "keep_latest"})
    else:
        body = {"thread_ids": [thread], "keep_all_days": 0, "keep_turns_months": 0, "dry_run": False}
        assert (await alice.post("/threads/retention", json=body)).json()["checkpoints"] > 0
    left = [one["checkpoint"]["checkpoint_id"] for one in (await alice.get(f"/threads/{thread}/history")).json()]
    assert left == [(await state(alice, thread))["checkpoint"]["checkpoint_id"], link["checkpoint_id"]]
    assert await texts(stranger, link) == ["one", "1: one"]


async def test_a_fork_that_goes_on_from_what_a_link_shows_loses_nothing_by_pruning(alice: httpx.AsyncClient) -> None:
    thread = await talk(alice, "one")
    link = await share(alice, thread)
    await say(alice, thread, "two")
    at = (await alice.get(f"/threads/{thread}/branches/messages")).json()["messages"][2]["checkpoint_id"]
    fork = (await alice.post(f"/threads/{thread}/fork", json={"checkpoint_id": at})).json()["thread_id"]
    before = (await alice.get(f"/threads/{fork}/history")).json()
    assert link["checkpoint_id"] in [one["checkpoint"]["checkpoint_id"] for one in before[1:-1]]
    await alice.post("/threads/prune", json={"thread_ids": [thread], "strategy": "keep_latest"})
    assert (await alice.get(f"/threads/{fork}/history")).json() == before


async def test_a_branch_that_is_deleted_takes_its_links_along(
    alice: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    thread = await talk(alice, "one", "two")
    link = await share(alice, thread)
    turn = (await alice.get(f"/threads/{thread}/branches/messages")).json()["messages"][2]["fork_from"]
    await say(alice, thread, "zwei", checkpoint_id=turn)
    assert (await alice.delete(f"/threads/{thread}/branches/{link['checkpoint_id']}")).status_code == 200
    assert await is_gone(stranger, link["token"])
    assert await shares(alice, thread) == []


async def test_what_is_forgotten_is_shown_no_longer(alice: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    thread = await talk(alice, "the cat is called Montgomery")
    link = await share(alice, thread)
    said = (await state(alice, thread))["values"]["messages"]
    for one in said:
        (await alice.post(f"/threads/{thread}/messages/{one['id']}/forget")).raise_for_status()
    found = await stranger.get(f"/shared/{link['token']}")
    assert "Montgomery" not in found.text
    assert [one["content"] for one in found.json()["messages"]] == ["[forgotten]"] * 2


async def test_a_delta_channel_is_shown_too(start_server: Callable[..., Server]) -> None:
    server = start_server(THREADMILL_SHARING="1")
    async with server.http as http:
        thread = await talk(http)
        for said in ("one", "two"):
            await say(http, thread, said, assistant_id="deltas")
        shown = (await state(http, thread))["values"]["messages"]
        link = await share(http, thread)
        await say(http, thread, "three", assistant_id="deltas")
        assert await texts(http, link) == [one["content"] for one in shown] != []


async def test_it_works_where_what_is_stored_is_encrypted(tmp_path: Path) -> None:
    vault = Path(__file__).parents[1] / "encryption" / "vault.py"
    config = {
        "graphs": {"echo": f"{KIT.parent}/graphs.py:echo"},
        "dependencies": [str(KIT.parent)],
        "encryption": {"path": f"{vault}:by_tenant"},
        "auth": {"path": f"{GUARDED.parent}/guard.py:auth"},
    }
    (tmp_path / "langgraph.json").write_text(json.dumps(config))
    server = Server(tmp_path / "data", tmp_path / "langgraph.json", {"THREADMILL_SHARING": "1"}).start()
    try:
        async with of(server, "alice") as http, of(server, None) as somebody:
            http.headers["X-Encryption-Context"] = base64.b64encode(b'{"tenant": "cats"}').decode()
            thread = await talk(http, "Montgomery")
            await http.patch(f"/threads/{thread}", json={"title": "The name of Montgomery"})
            found = await read(somebody, await share(http, thread))
            assert found["title"] == "The name of Montgomery"
            assert [one["content"] for one in found["messages"]] == ["Montgomery", "1: Montgomery"]
    finally:
        server.kill()
    stored = b"".join(file.read_bytes() for file in server.data_dir.iterdir())
    assert b"Montgomery" not in stored


# Who may


async def test_only_who_may_change_a_thread_shares_it(
    sharing: Server, alice: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    thread = await talk(alice, "one")
    link = await share(alice, thread)
    async with of(sharing, "bob") as bob:
        for http, status in ((bob, 404), (stranger, 401)):
            for method, place in (("GET", ""), ("POST", ""), ("DELETE", f"/{link['share_id']}")):
                answer = await http.request(method, f"/threads/{thread}/shares{place}", json={})
                assert answer.status_code == status, (method, answer.text)
        own = await talk(bob, "bob's")
        answer = await bob.delete(f"/threads/{own}/shares/{link['share_id']}")
        assert answer.status_code == 404
        assert await texts(bob, link) == ["one", "1: one"]
    assert await texts(stranger, link) == ["one", "1: one"]


async def test_a_link_opens_that_one_conversation_and_nothing_else(
    alice: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    thread = await talk(alice, "one")
    link = await share(alice, thread)
    async with httpx.AsyncClient(
        base_url=stranger.base_url, headers={"Authorization": f"Bearer {link['token']}"}
    ) as claims:
        assert (await claims.get(f"/threads/{thread}")).status_code == 404  # a user of that name, whose it is not
    for path in ("", "/state", "/history", "/shares", "/export", "/snapshot"):
        assert (await stranger.get(f"/threads/{thread}{path}")).status_code == 401, path
    for token in ("", "x", link["token"][:-1], link["share_id"], f"{link['token']}%00", "é" * 43):
        assert (await stranger.get(f"/shared/{token}")).status_code == 404, token
    for method in ("POST", "PUT", "DELETE"):
        assert (await stranger.request(method, f"/shared/{link['token']}")).status_code == 405


async def test_neither_caches_nor_search_engines_nor_other_sites_learn_of_it(
    sharing: Server, alice: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    link = await share(alice, await talk(alice, "one"))
    for token in (link["token"], "unknown"):
        headers = (await stranger.get(f"/shared/{token}")).headers
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-robots-tag"] == "noindex"
    page = await stranger.get(link["url"])
    assert page.headers["x-robots-tag"] == "noindex"
    assert page.headers["referrer-policy"] == "no-referrer"


async def test_what_opens_a_link_is_neither_in_the_database_nor_in_the_log(
    alice: httpx.AsyncClient, sharing: Server
) -> None:
    thread = await talk(alice, "one")
    link = await share(alice, thread)
    assert (await alice.get(link["url"])).status_code in (200, 503)  # built or not
    with database(sharing) as opened:
        opened.execute("UPDATE checkpoints SET type = 'pickle' WHERE thread_id = ?", (thread,))
        opened.commit()
    assert (await alice.get(f"/shared/{link['token']}")).status_code == 500
    await until(lambda: _logged(sharing, "/shared/…"))
    assert link["token"] not in sharing.log
    for file in sharing.data_dir.iterdir():
        assert link["token"].encode() not in file.read_bytes(), file


async def _logged(server: Server, path: str) -> bool:
    return any(json.loads(line).get("path") == path for line in server.log.splitlines() if line.startswith("{"))


async def test_it_is_off_unless_it_is_turned_on(
    server: Remote, sharing: Server, http: httpx.AsyncClient, alice: httpx.AsyncClient
) -> None:
    thread = await talk(http, "one")
    off = {"detail": "Sharing is off on this server: THREADMILL_SHARING turns it on."}
    for method, place in (("GET", ""), ("POST", ""), ("DELETE", f"/{thread}")):
        answer = await http.request(method, f"/threads/{thread}/shares{place}", json={})
        assert (answer.status_code, answer.json()) == (403, off), method
    assert await is_gone(http, "x" * 43)
    assert (await http.get("/info")).json()["flags"]["sharing"] is False
    assert (await alice.get("/info")).json()["flags"]["sharing"] is True


async def test_what_was_shared_is_closed_when_sharing_is_turned_off(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", KIT, {"THREADMILL_SHARING": "on"}).start()
    try:
        async with server.http as http:
            link = await share(http, await talk(http, "one"))
            assert await texts(http, link) == ["one", "1: one"]
        del server.env["THREADMILL_SHARING"]
        server.restart()
        async with server.http as http:
            assert await is_gone(http, link["token"])
    finally:
        server.kill()


async def test_a_long_conversation_is_shown_whole(alice: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    told = {"format": "threadmill-transcript"}
    messages = [{"role": ("user", "assistant")[n % 2], "content": f"message {n}"} for n in range(10_000)]
    made = await alice.post("/threads/import", json={**told, "messages": messages})
    link = await share(alice, made.json()["threads"][0]["thread_id"])
    found = await read(stranger, link)
    assert [one["content"] for one in found["messages"]] == [one["content"] for one in messages]
