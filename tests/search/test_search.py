"""What was said, done and answered is found by its words, by whoever may see it."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import ormsgpack
import pytest
from langchain_core.messages import HumanMessage
from langgraph_sdk.client import LangGraphClient
from serving import KIT, Server

from threadmill import threads
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import forks
from threadmill_checkpoints.saver.sqlite import SqliteSaver
from threadmill_checkpoints.search import find, index
from threadmill_checkpoints.search.texts import plain, texts
from threadmill_checkpoints.serde import Serializer
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio
VAULT = Path(__file__).parents[1] / "encryption" / "vault.py"


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text, **more}]}


async def talk(client: LangGraphClient, text: str, graph: str = "echo", **thread: Any) -> str:
    place = (await client.threads.create(**thread))["thread_id"]
    await client.runs.wait(place, graph, input=said(text), raise_error=False)
    return place


async def search(http: httpx.AsyncClient, query: str, **more: Any) -> list[dict[str, Any]]:
    answer = await http.post("/search", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["hits"])


async def kinds(http: httpx.AsyncClient, query: str, **more: Any) -> list[str]:
    return [hit["kind"] for hit in await search(http, query, **more)]


async def test_a_hit_names_its_thread_and_the_first_checkpoint_that_has_it(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    place = await talk(client, "Where is my Armadillo parcel?")
    await client.runs.wait(place, "echo", input=said("and now something else"))
    (hit,) = await search(http, "armadillo", roles=["human"])
    assert (hit["thread_id"], hit["role"], hit["kind"]) == (place, "human", "message")
    assert hit["snippet"] == "Where is my [[Armadillo]] parcel?"
    assert hit["title"] == "Where is my Armadillo parcel?"
    thread = await client.threads.get(place)
    assert str(thread["created_at"]) < hit["at"] < str(thread["updated_at"])
    at = await client.threads.get_state(place, checkpoint_id=hit["checkpoint_id"])
    assert at["values"]["messages"][-1]["id"] == hit["message_id"]
    history = await client.threads.get_history(place, limit=50)
    earlier = [one for one in history if one["checkpoint"]["checkpoint_id"] < hit["checkpoint_id"]]
    assert all(not one["values"].get("messages") for one in earlier)


async def test_arguments_and_results_of_tools_are_found(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    place = await talk(client, "add 41770 5", graph="tools")
    (asked,) = await search(http, "41770", kinds=["tool_args"])
    assert (asked["thread_id"], asked["role"]) == (place, "ai")
    assert asked["snippet"] == 'add {"a": [[41770]], "b": 5}'
    (result,) = await search(http, "41775", kinds=["tool_result"])
    assert (result["thread_id"], result["role"], result["snippet"]) == (place, "tool", "[[41775]]")
    assert asked["checkpoint_id"] < result["checkpoint_id"]
    assert set(await kinds(http, "41775")) == {"message", "tool_result"}


async def test_titles_and_how_a_thread_ended(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    place = (await client.threads.create())["thread_id"]
    await http.patch(f"/threads/{place}", json={"title": "Quagga expedition"})
    (hit,) = await search(http, "quagga")
    assert (hit["kind"], hit["thread_id"], hit["checkpoint_id"]) == ("title", place, None)
    await http.patch(f"/threads/{place}", json={"title": "Zebra expedition"})
    assert await search(http, "quagga") == []
    failed = (await client.threads.create())["thread_id"]
    await client.runs.wait(failed, "boom", input={}, raise_error=False)
    thread: Any = await client.threads.get(failed)
    hits = await search(http, thread["error"]["message"], kinds=["status"])
    assert failed in [hit["thread_id"] for hit in hits]
    assert failed in [hit["thread_id"] for hit in await search(http, thread["error"]["error"], status="error")]


async def test_scripts_without_spaces_are_found_by_any_part(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    here = "我的iPhone貛獾退款什么时候到账？ドングリと바둑이를"
    await talk(client, here)
    for query in ("獾", "貛獾", "貛獾退款", "貛獾退款什么时候到账", "iPhone貛", "獾 退", "ドング", "ン", "바둑이"):
        (hit,) = await search(http, query, roles=["human"])
        assert hit["snippet"].replace("[[", "").replace("]]", "").strip("…") in here
        assert all(f"[[{part}]]" in hit["snippet"] for part in query.split()) or query == "獾 退"
    assert not await search(http, "獾貛")


async def test_words_phrases_and_beginnings(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    place = await talk(client, "The Wolverine's café-receipt RF-90217 came late", metadata={"test": "words"})
    for query in ("wolverine", "WOLV", "cafe late", "late cafe", "rf-90217", "90217", '"came late"', 'wolv "rf-90217'):
        assert [hit["thread_id"] for hit in await search(http, query, roles=["human"])] == [place], query
    for query in ('"late came"', '"wolv"', "wolverine badgerless", "erine", "", "  ", '"', "?!", "🦡", "\x00"):
        assert await search(http, query, metadata={"test": "words"}) == [], query


HOSTILE = (
    *(
        '"',
        '""',
        "*",
        "a*",
        "AND",
        "wombat AND",
        "NOT wombat",
        "wombat OR",
        "NEAR(wombat",
        "NEAR(a b, 2)",
        "text:wombat",
    ),
    *(
        "^wombat",
        "{text}: x",
        "-wombat",
        "(",
        ")",
        "'; DROP TABLE threads; --",
        "wombat\x00",
        'a"b"c',
        "\\",
        "+",
        "\x1f",
    ),
    *("%", "_", "[[", "]]", "a" * 500, "\ud7ff", "款" * 500),
)


async def test_nothing_that_people_type_is_syntax(http: httpx.AsyncClient) -> None:
    for query in HOSTILE:
        await search(http, query)
        assert (await http.post("/threads/search", json={"query": query})).status_code == 200, query


async def test_what_is_no_search(http: httpx.AsyncClient) -> None:
    for body in (
        {},
        {"query": "a" * 501},
        {"query": "a", "limit": 0},
        {"query": "a", "cursor": "x"},
        {"query": "a", "kinds": ["x"]},
        {"query": "a", "since": "9999-12-31T23:59:59-14:00"},
    ):
        assert (await http.post("/search", json=body)).status_code == 422, body
    assert (await http.post("/search", json={"query": "a", "thread_ids": ["x"]})).status_code == 400


async def test_filters(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    one = await talk(client, "pangolin one", metadata={"topic": "a"})
    two = await talk(client, "pangolin two", metadata={"topic": "b"})

    async def where(**more: Any) -> set[str]:
        return {hit["thread_id"] for hit in await search(http, "pangolin", **more)}

    assert await where() == {one, two}
    assert await where(thread_ids=[one]) == {one} and await where(thread_ids=[]) == set()
    assert await where(metadata={"topic": "b"}) == {two}
    assert await where(status="idle") == {one, two} and await where(status="busy") == set()
    assert await where(roles=["human"]) == {one, two} and await where(roles=["system"]) == set()
    first, second = sorted((await search(http, "pangolin", roles=["human"])), key=lambda hit: str(hit["at"]))
    assert await where(roles=["human"], until=second["at"]) == {first["thread_id"]}
    assert await where(roles=["human"], since=second["at"]) == {second["thread_id"]}
    found = (await http.post("/threads/search", json={"query": "pangolin two", "select": ["thread_id"]})).json()
    assert found == [{"thread_id": two}]
    assert (await http.post("/threads/count", json={"query": "pangolin"})).json() == 2


async def test_a_cursor_goes_on_where_it_was_whatever_comes_meanwhile(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    places = [await talk(client, f"capybara {number}") for number in range(5)]
    seen, cursor = [], None
    for page in range(5):
        body = {"query": "capybara", "roles": ["human"], "limit": 1, "cursor": cursor}
        answer = (await http.post("/search", json=body)).json()
        seen += [hit["thread_id"] for hit in answer["hits"]]
        cursor = answer["next_cursor"]
        await talk(client, f"capybara again {page}")
    assert seen == places[::-1] and cursor is None


async def test_what_is_deleted_is_not_found(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    place = await talk(client, "thylacine seen")
    run = await client.runs.create(place, "echo", input=said("thylacine again"))
    await client.runs.join(place, run["run_id"])
    assert len(await search(http, "thylacine", roles=["human"])) == 2
    await client.runs.delete(place, run["run_id"])
    assert [hit["snippet"] for hit in await search(http, "thylacine", roles=["human"])] == ["[[thylacine]] seen"]
    await client.threads.delete(place)
    assert await search(http, "thylacine") == []


async def test_a_copy_is_no_second_hit_and_has_it_when_the_source_is_gone(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    source = await talk(client, "numbat in the garden")
    copy: Any = await client.threads.copy(source)
    (hit,) = await search(http, "numbat", roles=["human"])
    assert hit["thread_id"] == source
    (hit,) = await search(http, "numbat", roles=["human"], thread_ids=[copy["thread_id"]])
    assert hit["thread_id"] == copy["thread_id"]
    await client.threads.delete(source)
    (hit,) = await search(http, "numbat", roles=["human"])
    assert hit["thread_id"] == copy["thread_id"]
    assert await client.threads.get_state(copy["thread_id"], checkpoint_id=hit["checkpoint_id"])


async def test_sealed_content_is_in_no_index(tmp_path: Path) -> None:
    """Nor is what was indexed before encryption was configured."""
    file = tmp_path / "langgraph.json"
    project = {"graphs": {"echo": f"{KIT.parent}/graphs.py:echo"}}
    file.write_text(json.dumps(project))
    server = Server(tmp_path / "data", file).start()
    try:
        await talk(server.client(), "a plain dugong")
        async with server.http as http:
            assert await search(http, "dugong")
        server.term()
        file.write_text(json.dumps(project | {"encryption": {"path": f"{VAULT}:encryption"}}))
        server.start()
        await talk(server.client(), "a sealed dugong")
        async with server.http as http:
            for path in ("/search", "/threads/search", "/threads/count"):
                answer = await http.post(path, json={"query": "dugong"})
                assert answer.status_code == 501, path
                assert answer.json()["detail"].startswith("There is no search where data is encrypted")
        with sqlite3.connect(server.data_dir / "threadmill.sqlite") as connection:
            assert connection.execute("SELECT count(*) FROM search_docs").fetchone() == (0,)
            assert connection.execute("SELECT count(*) FROM search_index").fetchone() == (0,)
    finally:
        server.kill()


# What lies on the disk


def test_messages_are_read_without_their_classes() -> None:
    fields = {"content": [{"type": "text", "text": "hello"}, {"type": "image"}], "type": "human", "id": "m1"}
    gone = ormsgpack.Ext(5, ormsgpack.packb(("nobodys.module", "Message", fields, "model_construct")))
    (found,) = texts(plain(ormsgpack.packb(gone)))
    assert (found.kind, found.role, found.message_id, found.text) == ("message", "human", "m1", "hello")
    _, packed = Serializer().pack(HumanMessage("hi", id="m2"))
    assert [(one.role, one.text) for one in texts(plain(packed))] == [("human", "hi")]
    assert list(texts(plain(ormsgpack.packb({"content": "a page", "size": 3})))) == []


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    one = SqliteDatabase(tmp_path / "threadmill.sqlite", prepare=migrate_sqlite)
    yield one
    await one.close()


def checkpoint(number: int, messages: list[Any]) -> Any:
    id = f"1f1e563b-6259-6835-8005-{number:012x}"
    versions = {"messages": f"{number:032}.0"}
    return {
        "v": 4,
        "id": id,
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"messages": messages},
        "channel_versions": versions,
        "versions_seen": {},
        "updated_channels": None,
    }


def told(database: SqliteDatabase, thread_id: str, *texts: str) -> list[str]:
    """One checkpoint for each more text; returns their ids."""
    saver, ids, messages = SqliteSaver(database, serde=Serializer()), list[str](), list[Any]()
    for number, text in enumerate(texts, 1):
        messages = [*messages, HumanMessage(text, id=f"{thread_id}-{number}")]
        parent = {"checkpoint_id": ids[-1]} if ids else {}
        config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **parent}}
        made = checkpoint(number, messages)
        saver.put(config, made, {"source": "loop", "step": number, "parents": {}}, made["channel_versions"])
        ids.append(made["id"])
    return ids


async def indexed(database: SqliteDatabase) -> None:
    while (batch := await database.read(index.waiting, Serializer())) is not None:
        await database.write(index.put, batch)


async def test_a_fork_is_searched_with_what_it_inherits(database: SqliteDatabase) -> None:
    await database.write(threads.create, "source")
    ids = told(database, "source", "first caracal", "second caracal", "third caracal")
    await database.write(threads.create, "fork")
    await database.write(forks.fork, "source", ids[1], "fork")
    await indexed(database)

    async def of(*thread_ids: str) -> set[tuple[str, str]]:
        where = await database.read(lambda tx: threads.Filter(ids=thread_ids).where(tx, threads.ALL))
        wanted = find.Wanted("caracal")
        hits = await database.read(find.find, wanted, where, everything=False, limit=9, forks=list(thread_ids))
        return {(hit.snippet, hit.thread_id) for hit in hits}

    assert await of("fork") == {("first [[caracal]]", "fork"), ("second [[caracal]]", "fork")}
    assert {snippet for snippet, _ in await of("source")} == {f"{n} [[caracal]]" for n in ("first", "second", "third")}


async def test_it_goes_on_where_it_was(database: SqliteDatabase) -> None:
    await database.write(threads.create, "one")
    told(database, "one", "an okapi")
    before = await database.read(index.waiting, Serializer())
    await indexed(database)
    assert before is not None
    await database.write(index.put, before)  # somebody slow
    await database.write(threads.create, "two")
    told(database, "two", "an okapi")
    await indexed(database)
    hits = await database.read(find.find, find.Wanted("okapi"), ("TRUE", {}), everything=True, limit=9)
    assert [hit.thread_id for hit in hits] == ["two", "one"]


async def test_what_changed_while_it_was_read_is_not_indexed_as_it_was(database: SqliteDatabase) -> None:
    await database.write(threads.create, "one")
    told(database, "one", "a quokka")
    batch = await database.read(index.waiting, Serializer())
    assert batch is not None and len(batch.docs) == 1
    await database.write(lambda tx: tx.run("UPDATE blobs SET hash = x'00'"))
    await database.write(index.put, batch)
    assert not await database.read(find.find, find.Wanted("quokka"), ("TRUE", {}), everything=True, limit=9)
    await database.write(threads.patch, threads.ALL, "one", metadata=None, title="about quokkas")
    batch = await database.read(index.waiting, Serializer())
    assert batch is not None and batch.threads == ["one"]
    await database.write(threads.forget_words, "one", lambda _: "about nothing")
    await database.write(index.put, batch)
    assert not await database.read(find.find, find.Wanted("about"), ("TRUE", {}), everything=True, limit=9)
    await indexed(database)
    assert await database.read(find.find, find.Wanted("about nothing"), ("TRUE", {}), everything=True, limit=9)


async def test_states_from_before_there_were_parts_are_found(database: SqliteDatabase) -> None:
    await database.write(threads.create, "old")
    (id,) = told(database, "old", "an old kakapo")
    state = checkpoint(1, [HumanMessage("an old kakapo", id="m1")])
    kind, data = Serializer().dumps_typed(state)

    def as_before(tx: Any) -> None:
        tx.run("DELETE FROM blob_refs")
        tx.run("DELETE FROM blobs")
        tx.run("UPDATE checkpoints SET type = :kind, checkpoint = :data, channels = NULL", kind=kind, data=data)

    await database.write(as_before)
    await indexed(database)
    hits = await database.read(find.find, find.Wanted("kakapo"), ("TRUE", {}), everything=True, limit=9)
    assert [(hit.thread_id, hit.checkpoint_id, hit.message_id) for hit in hits] == [("old", id, "m1")]
