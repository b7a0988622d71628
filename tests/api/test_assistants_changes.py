"""Assistants: made, changed in versions, rolled back, deleted."""

import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError
from serving import Server, progressed

import threadmill_checkpoints
from threadmill import assistants
from threadmill.scope import ALL, Scope
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio

NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
CTX = str(uuid.uuid5(NAMESPACE, "ctx"))


def unknown() -> str:
    return str(uuid.uuid4())


# Create


async def test_an_assistant_is_made_with_all_it_was_given(client: LangGraphClient) -> None:
    own = unknown()
    made = await client.assistants.create(
        "ctx",
        {"tags": ["t"], "recursion_limit": 7, "configurable": {"name": "X"}},
        metadata={"a": {"b": 1}},
        assistant_id=own,
        name="Mine",
        description="what for",
    )
    assert {k: v for k, v in made.items() if k not in ("created_at", "updated_at")} == {
        "assistant_id": own,
        "graph_id": "ctx",
        "config": {"tags": ["t"], "recursion_limit": 7, "configurable": {"name": "X"}},
        "context": {"name": "X"},
        "metadata": {"a": {"b": 1}},
        "name": "Mine",
        "version": 1,
        "description": "what for",
    }
    assert made["created_at"] == made["updated_at"]
    assert await client.assistants.get(own) == made


async def test_only_the_graph_is_needed(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx")
    assert str(uuid.UUID(made["assistant_id"])) == made["assistant_id"]
    assert (made["name"], made["description"], made["config"], made["context"]) == ("Untitled", None, {}, {})


async def test_two_may_be_alike(client: LangGraphClient) -> None:
    one, other = [await client.assistants.create("ctx", {"tags": ["x"]}, name="twin") for _ in range(2)]
    assert one["assistant_id"] != other["assistant_id"]


async def test_an_id_that_is_taken_is_409(client: LangGraphClient) -> None:
    with pytest.raises(ConflictError, match=f"Assistant {CTX} already exists"):
        await client.assistants.create("ctx", assistant_id=CTX)
    with pytest.raises(ConflictError):
        await client.assistants.create("ctx", assistant_id=CTX, if_exists="raise")


async def test_do_nothing_answers_the_old_one_untouched(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx", name="first", metadata={"a": 1})
    again = await client.assistants.create(
        "echo", {"tags": ["x"]}, assistant_id=made["assistant_id"], name="x", metadata={"b": 1}, if_exists="do_nothing"
    )
    assert again == made
    assert len(await client.assistants.get_versions(made["assistant_id"])) == 1


async def test_an_unknown_graph_is_404_and_names_those_there_are(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx")
    for call in (client.assistants.create("nope"), client.assistants.update(made["assistant_id"], graph_id="nope")):
        with pytest.raises(NotFoundError, match=r"'nope' not found.*chat.*ctx.*tools"):
            await call


@pytest.mark.parametrize(
    ("given", "config", "context"),
    [
        ({"context": {"n": 1}}, {"configurable": {"n": 1}}, {"n": 1}),
        ({"config": {"configurable": {"n": 1}}}, {"configurable": {"n": 1}}, {"n": 1}),
        ({"config": {"tags": ["t"]}, "context": {"n": 1}}, {"tags": ["t"], "configurable": {"n": 1}}, {"n": 1}),
        ({"config": {"configurable": {}}, "context": {"n": 1}}, {"configurable": {"n": 1}}, {"n": 1}),
        ({"config": {"configurable": {"n": 1}}, "context": {}}, {"configurable": {"n": 1}}, {"n": 1}),
        ({"config": {"tags": ["t"]}}, {"tags": ["t"]}, {}),
        ({"config": {}, "context": {}}, {}, {}),
    ],
)
async def test_configurable_and_context_mirror_each_other(
    http: httpx.AsyncClient, given: dict[str, Any], config: Any, context: Any
) -> None:
    made = (await http.post("/assistants", json={"graph_id": "ctx", **given})).json()
    assert (made["config"], made["context"]) == (config, context)
    empty = (await http.post("/assistants", json={"graph_id": "ctx"})).json()
    changed = (await http.patch(f"/assistants/{empty['assistant_id']}", json=given)).json()
    assert (changed["config"], changed["context"]) == (config, context)


async def test_configurable_and_context_together_are_400(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx")
    both: Any = {"config": {"configurable": {"name": "x"}}, "context": {"name": "x"}}
    for call in (client.assistants.create("ctx", **both), client.assistants.update(made["assistant_id"], **both)):
        with pytest.raises(BadRequestError, match="Cannot specify both configurable and context"):
            await call
    assert (await client.assistants.get(made["assistant_id"]))["version"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"graph_id": 5},
        {"assistant_id": "bad"},
        {"config": 5},
        {"config": {"configurable": 5}},
        {"config": {"tags": "x"}},
        {"config": {"recursion_limit": "x"}},
        {"context": []},
        {"metadata": []},
        {"name": 5},
        {"description": {}},
        {"if_exists": "zzz"},
    ],
)
async def test_a_field_of_the_wrong_kind_is_422(http: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    response = await http.post("/assistants", json={"graph_id": "ctx", **wrong})
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


@pytest.mark.beyond_reference
async def test_hostile_text_is_kept_as_it_is_or_refused(http: httpx.AsyncClient) -> None:
    nul = {"name": "a\0b", "metadata": {"k\0": "\0"}, "context": {"' OR 1=1 --": "\u2028"}}
    made = (await http.post("/assistants", json={"graph_id": "ctx", **nul})).json()
    assert {key: made[key] for key in nul} == nul
    lone = await http.post("/assistants", content=rb'{"graph_id": "ctx", "name": "\ud83e"}')
    assert lone.status_code == 422


# Change


async def test_a_patch_changes_only_what_it_names(client: LangGraphClient) -> None:
    made = await client.assistants.create(
        "ctx", {"tags": ["t"]}, context={"name": "x"}, metadata={"a": 1}, name="n", description="d"
    )
    name = made["assistant_id"]
    renamed = await client.assistants.update(name, name="m")
    expected = made | {"name": "m", "version": 2, "updated_at": renamed["updated_at"]}
    assert renamed == expected == await client.assistants.get(name)
    assert renamed["updated_at"] > made["updated_at"]
    moved = await client.assistants.update(name, graph_id="echo", description="e")
    assert moved == expected | {
        "graph_id": "echo", "description": "e", "version": 3, "updated_at": moved["updated_at"],
    }  # fmt: skip


async def test_metadata_is_merged_by_key(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx", metadata={"a": 1, "b": {"c": 1}})
    changed = await client.assistants.update(made["assistant_id"], metadata={"b": {"d": 1}, "e": None})
    assert changed["metadata"] == {"a": 1, "b": {"d": 1}, "e": None}


async def test_config_is_replaced(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx", {"tags": ["t"], "configurable": {"a": 1, "b": 1}})
    changed = await client.assistants.update(
        made["assistant_id"], config={"recursion_limit": 5, "configurable": {"a": 2}}
    )
    assert changed["config"] == {"recursion_limit": 5, "configurable": {"a": 2}}
    assert changed["context"] == {"a": 2}


@pytest.mark.beyond_reference
async def test_a_patch_of_the_one_leaves_the_other_a_mirror(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx", {"tags": ["t"], "configurable": {"a": 1}})
    name = made["assistant_id"]
    by_context = await client.assistants.update(name, context={"b": 2})
    assert (by_context["config"], by_context["context"]) == ({"tags": ["t"], "configurable": {"b": 2}}, {"b": 2})
    other_keys = await client.assistants.update(name, config={"tags": ["u"]})
    assert (other_keys["config"], other_keys["context"]) == ({"tags": ["u"], "configurable": {"b": 2}}, {"b": 2})
    cleared = await client.assistants.update(name, context={})
    assert (cleared["config"], cleared["context"]) == ({"tags": ["u"]}, {})


async def test_a_patch_that_changes_nothing_is_a_version(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx")
    assert (await client.assistants.update(made["assistant_id"]))["version"] == 2
    assert len(await client.assistants.get_versions(made["assistant_id"])) == 2


async def test_a_refused_patch_is_no_version(http: httpx.AsyncClient, client: LangGraphClient) -> None:
    name = (await client.assistants.create("ctx"))["assistant_id"]
    assert (await http.patch(f"/assistants/{name}", json={"metadata": 5})).status_code == 422
    assert (await http.patch(f"/assistants/{name}", content=b"")).status_code == 422
    assert (await http.patch(f"/assistants/{name}", json={"graph_id": "nope"})).status_code == 404
    assert len(await client.assistants.get_versions(name)) == 1


# Versions


@pytest.fixture
async def three(client: LangGraphClient) -> str:
    """An assistant in its third version."""
    made = await client.assistants.create("ctx", {"tags": ["1"]}, context={"name": "one"}, name="A", metadata={"v": 1})
    name = made["assistant_id"]
    await client.assistants.update(name, context={"name": "two"}, name="B", metadata={"v": 2, "more": True})
    await client.assistants.update(name, graph_id="echo", config={}, description="third", metadata={"v": 3})
    return name


async def test_versions_are_listed_newest_first(client: LangGraphClient, three: str) -> None:
    versions = await client.assistants.get_versions(three)
    assert [(v["version"], v["graph_id"], v["name"], v["metadata"]["v"]) for v in versions] == [
        (3, "echo", "B", 3),
        (2, "ctx", "B", 2),
        (1, "ctx", "A", 1),
    ]
    assert set(versions[0]) == {
        "assistant_id", "version", "graph_id", "config", "context", "metadata", "created_at", "name", "description",
    }  # fmt: skip
    assert versions[2]["context"] == {"name": "one"} and versions[2]["description"] is None
    now = await client.assistants.get(three)
    assert versions[0]["created_at"] == now["updated_at"]
    assert versions[2]["created_at"] == now["created_at"]


async def test_versions_are_paged_and_filtered(client: LangGraphClient, three: str) -> None:
    assert [v["version"] for v in await client.assistants.get_versions(three, limit=1, offset=1)] == [2]
    assert [v["version"] for v in await client.assistants.get_versions(three, metadata={"v": 1})] == [1]
    assert [v["version"] for v in await client.assistants.get_versions(three, metadata={"more": True})] == [3, 2]


@pytest.mark.beyond_reference
async def test_versions_that_do_not_match_are_an_empty_list(client: LangGraphClient, three: str) -> None:
    assert await client.assistants.get_versions(three, offset=3) == []
    assert await client.assistants.get_versions(three, metadata={"v": 9}) == []


@pytest.mark.beyond_reference
async def test_set_latest_puts_everything_of_a_version_back(client: LangGraphClient, three: str) -> None:
    first = (await client.assistants.get_versions(three))[-1]
    back = await client.assistants.set_latest(three, 1)
    assert {key: back[key] for key in first if key != "created_at"} == {  # type: ignore[literal-required]
        key: value for key, value in first.items() if key != "created_at"
    }
    assert back["context"] == {"name": "one"} and back["graph_id"] == "ctx"
    assert await client.assistants.get(three) == back
    assert len(await client.assistants.get_versions(three)) == 3


async def test_a_change_after_a_rollback_takes_the_next_free_number(client: LangGraphClient, three: str) -> None:
    assert (await client.assistants.set_latest(three, 1))["version"] == 1
    changed = await client.assistants.update(three, name="after")
    assert (changed["version"], changed["metadata"]) == (4, {"v": 1})
    assert [v["version"] for v in await client.assistants.get_versions(three)] == [4, 3, 2, 1]


@pytest.mark.parametrize("version", [0, 4, 999])
async def test_an_unknown_version_is_404(client: LangGraphClient, three: str, version: int) -> None:
    with pytest.raises(NotFoundError, match=f"Version {version} not found"):
        await client.assistants.set_latest(three, version)
    assert (await client.assistants.get(three))["version"] == 3


@pytest.mark.parametrize("body", [{"version": "1"}, {"version": 1.5}, {"version": 2**63}, {"version": True}])
async def test_a_version_is_a_number(http: httpx.AsyncClient, three: str, body: dict[str, Any]) -> None:
    assert (await http.post(f"/assistants/{three}/latest", json=body)).status_code in (404, 422)


async def test_a_whole_number_is_one_however_it_is_written(http: httpx.AsyncClient, three: str) -> None:
    for version in ("1.0", "2e0"):
        answer = await http.post(f"/assistants/{three}/latest", content=f'{{"version": {version}}}')
        assert answer.json()["version"] == int(float(version)), answer.text


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"metadata": 5}, None])
async def test_versions_reject_what_they_cannot_mean(http: httpx.AsyncClient, three: str, body: Any) -> None:
    content = {"content": b""} if body is None else {"json": body}
    assert (await http.post(f"/assistants/{three}/versions", **content)).status_code == 422  # type: ignore[arg-type]


# Unknown


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("DELETE", "?delete_threads=true", None),
        ("POST", "/versions", {}),
        ("POST", "/latest", {"version": 1}),
        ("GET", "/graph", None),
        ("GET", "/schemas", None),
        ("GET", "/subgraphs", None),
        ("GET", "/subgraphs/child", None),
    ],
)
async def test_an_unknown_assistant_is_404_and_a_bad_id_422(
    http: httpx.AsyncClient, method: str, rest: str, body: Any
) -> None:
    assert (await http.request(method, f"/assistants/{unknown()}{rest}", json=body)).status_code == 404
    bad = await http.request(method, f"/assistants/bad{rest}", json=body)
    assert (bad.status_code, bad.json()) == (422, {"detail": "Invalid assistant ID: must be a UUID"})


# Delete


async def test_a_deleted_assistant_is_gone_with_its_versions(
    client: LangGraphClient, http: httpx.AsyncClient, three: str, thread: str
) -> None:
    response = await http.delete(f"/assistants/{three}")
    assert (response.status_code, response.content) == (204, b"")
    for call in (client.assistants.get(three), client.assistants.get_versions(three), client.assistants.delete(three)):
        with pytest.raises(NotFoundError):
            await call
    with pytest.raises(NotFoundError, match="Thread or assistant not found"):
        await client.runs.create(thread, three, input={})
    again = await client.assistants.create("echo", assistant_id=three)
    assert again["version"] == 1
    assert len(await client.assistants.get_versions(three)) == 1


async def test_deleting_an_assistant_leaves_threads(client: LangGraphClient) -> None:
    name = (await client.assistants.create("ctx"))["assistant_id"]
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], name, input={"question": "?"})
    await client.assistants.delete(name)
    assert (await client.threads.get(thread["thread_id"]))["metadata"]["assistant_id"] == name
    assert (await client.threads.get_state(thread["thread_id"]))["values"]["question"] == "?"


@pytest.mark.beyond_reference
async def test_delete_threads_removes_the_threads_that_name_the_assistant(client: LangGraphClient) -> None:
    name = (await client.assistants.create("ctx"))["assistant_id"]
    ran = await client.threads.create()
    await client.runs.wait(ran["thread_id"], name, input={"question": "?"})
    marked = [await client.threads.create(metadata={"assistant_id": name}) for _ in range(3)]
    other = await client.threads.create(metadata={"assistant_id": CTX, "about": name})
    await client.assistants.delete(name, delete_threads=True)
    for gone in (ran, *marked):
        with pytest.raises(NotFoundError):
            await client.threads.get(gone["thread_id"])
    assert await client.threads.get(other["thread_id"])


@pytest.mark.beyond_reference
async def test_delete_threads_stops_what_runs_on_them(client: LangGraphClient) -> None:
    name = (await client.assistants.create("slow"))["assistant_id"]
    thread = (await client.threads.create())["thread_id"]
    await client.runs.create(thread, name, input={"steps": 10_000, "delay": 0.01})
    await progressed(client, thread, 2)
    await client.runs.create(thread, name, input={"steps": 1})
    await client.assistants.delete(name, delete_threads=True)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread)
    assert await client.threads.search(metadata={"assistant_id": name}) == []


# The assistants of the graphs


@pytest.mark.beyond_reference
async def test_a_deleted_default_comes_back_when_the_server_starts_and_a_changed_one_stays_changed(
    own_server: Server,
) -> None:
    client = own_server.client()
    echo = str(uuid.uuid5(NAMESPACE, "echo"))
    await client.assistants.update(CTX, context={"name": "mine"}, description="changed")
    await client.assistants.delete(echo)
    thread = (await client.threads.create())["thread_id"]
    with pytest.raises(Exception, match="echo"):
        await client.runs.create(thread, "echo", input={"messages": []})
    async with own_server.http as http:
        assert (await http.get("/assistants/echo/graph")).status_code == 404
    changed = await client.assistants.get(CTX)
    own_server.restart()
    client = own_server.client()
    assert (await client.assistants.get(echo))["version"] == 1
    assert await client.assistants.get(CTX) == changed
    assert [v["version"] for v in await client.assistants.get_versions(CTX)] == [2, 1]
    assert await client.runs.create(thread, "echo", input={"messages": []})


@pytest.mark.beyond_reference
async def test_assistants_of_a_database_from_before_have_their_first_version(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    spine = Path(threadmill_checkpoints.__file__).parent / "migrations/sqlite/0001_spine.sql"
    with sqlite3.connect(data / "threadmill.sqlite") as old:
        old.executescript(spine.read_text())
        old.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT)")
        old.execute("INSERT INTO migrations (version, name) VALUES (1, 'spine')")
        now = "2026-01-01T00:00:00.000000+00:00"
        row = (CTX, "ctx", "ctx", "old", "{}", "{}", '{"created_by":"system"}', 1, now, now)
        old.execute(f"INSERT INTO assistants VALUES ({', '.join('?' * len(row))})", row)
    old.close()
    server = Server(data)
    try:
        client = server.start().client()
        (version,) = await client.assistants.get_versions(CTX)
        assert (version["version"], version["description"], version["created_at"]) == (1, "old", now)
        assert (await client.assistants.update(CTX, description="new"))["version"] == 2
    finally:
        server.kill()


@pytest.fixture
async def database(tmp_path: Path) -> Any:
    opened = SqliteDatabase(tmp_path / "assistants.sqlite", prepare=migrate_sqlite)
    yield opened
    await opened.close()


@pytest.mark.beyond_reference
async def test_a_default_may_be_given_a_config(database: SqliteDatabase) -> None:
    """What LANGGRAPH_CONFIG is for: {graph id: config}."""
    configs = {"ctx": {"tags": ["t"], "configurable": {"name": "E"}}}
    await database.write(assistants.ensure_defaults, [("ctx", None), ("echo", None)], configs)
    ctx = await database.read(assistants.get, ALL, CTX)
    assert (ctx.config, ctx.context) == (configs["ctx"], {"name": "E"})
    assert (await database.read(assistants.get, ALL, assistants.default_id("echo"))).config == {}
    await database.write(assistants.patch, ALL, CTX, context={"name": "mine"})
    await database.write(assistants.ensure_defaults, [("ctx", None)], configs)
    assert (await database.read(assistants.get, ALL, CTX)).context == {"name": "mine"}


@pytest.mark.beyond_reference
async def test_what_is_outside_the_scope_does_not_exist(database: SqliteDatabase) -> None:
    mine, name = Scope({"owner": "me"}), unknown()
    await database.write(assistants.create, ALL, name, graph_id="ctx", metadata={"owner": "you"})
    wanted = assistants.Filter()
    calls: list[Callable[[Any], Any]] = [
        lambda tx: assistants.get(tx, mine, name),
        lambda tx: assistants.patch(tx, mine, name, name="stolen"),
        lambda tx: assistants.delete(tx, mine, name),
        lambda tx: assistants.versions(tx, mine, name),
        lambda tx: assistants.set_latest(tx, mine, name, 1),
    ]
    for call in calls:
        with pytest.raises(assistants.NotFound):
            await database.write(call)
    with pytest.raises(assistants.Conflict):
        await database.write(assistants.create, mine, name, graph_id="ctx", if_exists="do_nothing")
    assert await database.read(assistants.search, mine, wanted) == ([], 0)
    assert await database.read(assistants.count, mine, wanted) == 0
    untouched = await database.read(assistants.get, Scope({"owner": "you"}), name)
    assert (untouched.name, untouched.version) == ("Untitled", 1)
