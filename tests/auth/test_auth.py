"""Who may do what, with the handlers of tests/auth/guard.py."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client
from serving import Server

pytestmark = pytest.mark.anyio

OPEN = {"/ok", "/info", "/metrics", "/shared/{token}"}  # never need a caller
BODIES: dict[str, Any] = {
    "/commands": {"id": 1, "method": "agent.getTree", "params": {}},
    "/runs": {"assistant_id": "echo", "input": {"messages": []}},
    "/compare": {"variants": [{"assistant_id": "echo", "input": {"messages": []}}]},
    "/promote": {"checkpoint_id": "1ef00000-0000-6000-8000-000000000000"},
    "/merge": {"checkpoint_id": "1ef00000-0000-6000-8000-000000000000", "summary": "x"},
    "/head": {"checkpoint_id": "1ef00000-0000-6000-8000-000000000000"},
    "/recover": {"choice": "keep"},
    "/runs/crons": {"assistant_id": "echo", "schedule": "0 0 * * *", "input": {"messages": []}},
    "/stream/events": {"channels": ["values"]},
    "/draft": {"content": "x"},
    "/state": {"values": {"messages": []}},
    "/state/checkpoint": {"checkpoint": {"checkpoint_id": "1ef00000-0000-6000-8000-000000000000"}},
}
WORDS = "the words of alice"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    project = Path(__file__).with_name("langgraph.json")
    own = Server(tmp_path_factory.mktemp("guarded") / "data", project, {"THREADMILL_SHARING": "1"}).start()
    yield own
    own.kill()


def client_of(server: Server, name: str) -> Any:
    return get_client(url=server.url, headers={"Authorization": f"Bearer {name}"})


@pytest.fixture
async def bob(guarded: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=guarded.url, headers={"Authorization": "Bearer bob"}, timeout=20) as client:
        yield client


@pytest.fixture
async def ids(guarded: Server) -> dict[str, str]:
    """A thread of Alice's, with a finished run."""
    alice = client_of(guarded, "alice")
    thread = await alice.threads.create(metadata={"topic": WORDS})
    place = thread["thread_id"]
    said = {"messages": [{"role": "user", "content": WORDS}]}
    await alice.runs.wait(place, "echo", input=said)
    (run,) = await alice.runs.list(place)
    state = await alice.threads.get_state(place)
    said_first: Any = state["values"]
    return {
        "thread_id": place,
        "run_id": run["run_id"],
        "checkpoint_id": state["checkpoint"]["checkpoint_id"],
        "message_id": said_first["messages"][0]["id"],
    }


async def routes(server: Server) -> list[tuple[str, str]]:
    async with server.http as http:
        api = (await http.get("/openapi.json", headers={"Authorization": "Bearer bob"})).json()
    return [(method.upper(), path) for path, methods in api["paths"].items() for method in methods]


def body_of(path: str) -> Any:
    ending = max((known for known in BODIES if path.endswith(known)), key=len, default="")
    if "/runs" in path and not ending:
        ending = "/runs"
    return BODIES.get(ending, {})


async def test_without_credentials_every_route_is_401(guarded: Server) -> None:
    async with guarded.http as http:
        for method, path in await routes(guarded):
            if path in OPEN:
                continue
            url = re.sub(r"\{\w+\}", "01a1fc2b-5f4e-7575-b684-250167de9406", path)
            answer = await http.request(method, url, json=body_of(path))
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.json() == {"detail": f"Say who you are to see {url}."}


async def test_a_stranger_is_not_told_what_there_is(guarded: Server, bob: httpx.AsyncClient) -> None:
    for method, path, known in (("GET", "/assistants", 405), ("DELETE", "/threads", 405), ("GET", "/not/there", 404)):
        async with guarded.http as http:
            answer = await http.request(method, path)
        assert (answer.status_code, answer.json()) == (401, {"detail": f"Say who you are to see {path}."})
        assert (await bob.request(method, path)).status_code == known


async def test_somebody_elses_thread_does_not_exist_on_any_route(
    guarded: Server, bob: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    tried = 0
    for method, path in await routes(guarded):
        if "{thread_id}" not in path:
            continue
        answer = await bob.request(method, path.format(**ids, name="x", share_id="x"), json=body_of(path))
        # Three answers of the wire that say "not found" in their own way: copying, joining an unknown run, a command.
        gone = (
            answer.status_code == 404
            or "404: " in answer.text
            or (path.endswith("/commands") and answer.json()["error"] == "no_such_run")
            or (path.endswith("/copy") and answer.status_code == 409)
        )
        assert gone, (method, path, answer.status_code, answer.text)
        assert WORDS not in answer.text, (method, path)
        tried += 1
    assert tried >= 18


async def test_somebody_elses_run_cannot_be_joined(guarded: Server, ids: dict[str, str]) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        await client_of(guarded, "bob").runs.join(ids["thread_id"], ids["run_id"])
    assert await client_of(guarded, "alice").runs.join(ids["thread_id"], ids["run_id"])


async def test_a_command_starts_nothing_on_somebody_elses_thread(
    guarded: Server, bob: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    start = {"id": 1, "method": "run.start", "params": {"assistant_id": "echo", "input": {"messages": []}}}
    answer = await bob.post(f"/threads/{ids['thread_id']}/commands", json=start)
    assert answer.json()["type"] == "error"
    assert WORDS not in answer.text
    assert len(await client_of(guarded, "alice").runs.list(ids["thread_id"])) == 1


async def test_lists_and_counts_leave_out_what_is_somebody_elses(
    guarded: Server, bob: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    for body in ({}, {"ids": [ids["thread_id"]]}, {"metadata": {"topic": WORDS}}, {"metadata": {"owner": "alice"}}):
        found = (await bob.post("/threads/search", json=body)).json()
        assert ids["thread_id"] not in [thread["thread_id"] for thread in found]
    assert (await bob.post("/threads/count", json={"metadata": {"topic": WORDS}})).json() == 0
    alice = client_of(guarded, "alice")
    assert ids["thread_id"] in [thread["thread_id"] for thread in await alice.threads.search(limit=100)]


async def test_a_search_finds_nothing_of_somebody_elses(
    guarded: Server, bob: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    his = (await client_of(guarded, "bob").threads.create(metadata={"test": "search"}))["thread_id"]
    await client_of(guarded, "bob").runs.wait(his, "echo", input={"messages": ["the words of bob"]})
    bodies: list[dict[str, Any]] = [
        {},
        {"thread_ids": [ids["thread_id"]]},
        {"metadata": {"owner": "alice"}},
        {"limit": 1},
    ]
    for body in (*bodies, {"kinds": ["title"]}):
        answer = (await bob.post("/search", json={"query": "words", **body})).json()
        assert {hit["thread_id"] for hit in answer["hits"]} <= {his}, body
        assert WORDS not in str(answer)
    assert (await bob.post("/search", json={"query": WORDS})).json() == {"hits": [], "next_cursor": None}
    assert (await bob.post("/threads/count", json={"query": WORDS})).json() == 0
    found = (await bob.post("/threads/search", json={"query": "words", "select": ["thread_id"]})).json()
    assert found == [{"thread_id": his}]
    async with httpx.AsyncClient(base_url=guarded.url, headers={"Authorization": "Bearer alice"}) as alice:
        hits = (await alice.post("/search", json={"query": WORDS, "limit": 100})).json()["hits"]
    assert ids["thread_id"] in [hit["thread_id"] for hit in hits]


async def test_an_id_in_a_body_opens_no_door(bob: httpx.AsyncClient, ids: dict[str, str]) -> None:
    smuggled = {"assistant_id": "echo", "input": {"messages": []}, "config": {"configurable": ids}}
    answer = await bob.post("/runs/wait", json=smuggled)
    assert WORDS not in answer.text
    cancelled = await bob.post("/runs/cancel", json={"thread_id": ids["thread_id"], "run_ids": [ids["run_id"]]})
    assert cancelled.status_code == 404
    taken = await bob.post("/threads", json={"thread_id": ids["thread_id"], "if_exists": "do_nothing"})
    assert taken.status_code == 409
    assert WORDS not in taken.text
    ran = await bob.post(f"/threads/{ids['thread_id']}/runs/wait", json=BODIES["/runs"] | {"if_not_exists": "create"})
    assert ran.status_code == 404
    stateless = await bob.get(f"/runs/{ids['run_id']}/stream")
    assert WORDS not in stateless.text
    assert "404: Run not found" in stateless.text


async def test_somebody_elses_idempotency_key_shows_nothing_of_their_run(
    guarded: Server, bob: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    said = {"assistant_id": "echo", "input": {"messages": [{"role": "user", "content": WORDS}]}}
    async with httpx.AsyncClient(base_url=guarded.url, headers={"Authorization": "Bearer alice"}) as alice:
        for path in ("/runs", f"/threads/{ids['thread_id']}/runs"):
            mine = {"Idempotency-Key": ids["run_id"] + path}
            first = await alice.post(path, json=said, headers=mine)
            assert (await alice.post(path, json=said, headers=mine)).json()["run_id"] == first.json()["run_id"]
            answer = await bob.post(path, json=said | {"input": {"messages": []}}, headers=mine)
            assert answer.status_code in (404, 409), answer.text
            assert WORDS not in answer.text
            assert first.json()["run_id"] not in answer.text


async def test_a_thread_made_with_a_run_belongs_to_who_ran(guarded: Server) -> None:
    carol = client_of(guarded, "carol")
    place = "0191fc2b-5f4e-7575-b684-250167de9407"
    hello = {"messages": [{"role": "user", "content": "hello"}]}
    await carol.runs.wait(place, "echo", input=hello, if_not_exists="create")
    assert (await carol.threads.get(place))["metadata"]["owner"] == "carol"


async def test_a_graph_knows_who_runs_it(guarded: Server) -> None:
    alice = client_of(guarded, "alice")
    answer = await alice.runs.wait(
        None, "who", input={}, config={"configurable": {"langgraph_auth_user_id": "root", "user_id": "root"}}
    )
    assert answer["said"] == {
        "id": "alice", "name": "alice", "plan": "free", "permissions": ["threads:all"], "user_id": "alice",
    }  # fmt: skip


async def test_what_no_handler_allows_is_403(bob: httpx.AsyncClient) -> None:
    (assistant,) = (await bob.post("/assistants/search", json={"graph_id": "who"})).json()
    place = f"/assistants/{assistant['assistant_id']}"
    for method, path in (("POST", "/assistants"), ("PATCH", place), ("DELETE", place), ("POST", f"{place}/latest")):
        answer = await bob.request(method, path, json={"graph_id": "who", "version": 1})
        assert (answer.status_code, answer.json()) == (403, {"detail": "Forbidden"}), (method, path)
    assert (await bob.get(place)).json() == assistant


async def test_a_clients_context_sets_nothing_that_is_the_servers(bob: httpx.AsyncClient) -> None:
    smuggled = {"langgraph_auth_user_id": "root", "__pregel_checkpointer": None, "run_id": "x", "user_id": "root"}
    answer = await bob.post("/runs/wait", json={"assistant_id": "who", "input": {}, "context": smuggled})
    assert answer.json()["said"]["id"] == "bob"
    assert answer.json()["said"]["user_id"] == "bob"


async def test_a_fork_belongs_to_who_makes_it(guarded: Server, bob: httpx.AsyncClient, ids: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=guarded.url, headers={"Authorization": "Bearer alice"}) as alice:
        fork = (await alice.post(f"/threads/{ids['thread_id']}/fork", json={"metadata": {"owner": "bob"}})).json()
        assert fork["metadata"] == {**fork["metadata"], "owner": "alice", "topic": WORDS}
        known = (await alice.get(f"/threads/{ids['thread_id']}?include=lineage")).json()["lineage"]["forks"]
        assert fork["thread_id"] in [one["thread_id"] for one in known]
    assert (await bob.get(f"/threads/{fork['thread_id']}")).status_code == 404


async def test_a_file_belongs_to_who_imports_it(guarded: Server, bob: httpx.AsyncClient, ids: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=guarded.url, headers={"Authorization": "Bearer alice"}) as alice:
        bundle = (await alice.get(f"/threads/{ids['thread_id']}/export")).content
    assert (await bob.get(f"/threads/{ids['thread_id']}/export")).status_code == 404
    assert (await bob.post("/threads/import", content=bundle)).status_code == 409  # as for any id that is taken
    mine = str(uuid4())
    done = await bob.post("/threads/import", content=bundle, params={"thread_id": mine})
    assert done.json() == {"threads": [{"thread_id": mine, "created": True}]}
    assert (await bob.get(f"/threads/{mine}")).json()["metadata"]["owner"] == "bob"
    for (run,) in [(await bob.get(f"/threads/{mine}/runs")).json()]:
        assert run["kwargs"]["config"]["configurable"].get("langgraph_auth_user") is None
    async with httpx.AsyncClient(base_url=guarded.url, headers={"Authorization": "Bearer alice"}) as alice:
        assert (await alice.get(f"/threads/{mine}")).status_code == 404


async def test_a_handler_may_refuse(bob: httpx.AsyncClient) -> None:
    forbidden = await bob.post("/runs/wait", json=BODIES["/runs"] | {"metadata": {"forbidden": True}})
    assert (forbidden.status_code, forbidden.json()) == (403, {"detail": "Not this one."})


async def test_a_file_without_an_auth_object_does_not_start_an_open_server(tmp_path: Path) -> None:
    kit = Path(__file__).parent.parent / "kit"
    graph = f'{{"graphs": {{"echo": "{kit}/graphs.py:echo"}}, "auth": {{"path": "{kit}/graphs.py:auth"}}}}'
    (tmp_path / "langgraph.json").write_text(graph)
    with pytest.raises(RuntimeError, match=r"exited with 1\n(.*\n)*.*auth.path: auth is missing"):
        Server(tmp_path / "data", tmp_path / "langgraph.json").start()


# Where everything has an owner: tests/auth/owners.py


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    project = Path(__file__).with_name("owners.json")
    own = Server(tmp_path_factory.mktemp("owned") / "data", project).start()
    yield own
    own.kill()


async def test_the_agents_of_the_project_can_be_run_by_whoever_may_run(owned: Server) -> None:
    alice = client_of(owned, "alice")
    made = await alice.runs.create(None, "who", input={})
    assert await alice.assistants.search() == []  # they have no owner
    by_id = await alice.runs.wait(None, made["assistant_id"], input={})
    assert by_id["said"]["name"] == "alice"
    assert (await alice.crons.create("who", schedule="0 0 1 1 *", input={}))["user_id"] == "alice"
    hers = await alice.assistants.create("who", name="hers")
    assert (await alice.runs.wait(None, hers["assistant_id"], input={}))["said"]["name"] == "alice"
    async with httpx.AsyncClient(base_url=owned.url, headers={"Authorization": "Bearer bob"}) as bob:
        assert (await bob.post("/runs/wait", json={"assistant_id": hers["assistant_id"]})).status_code == 404
        assert (await bob.post("/runs/wait", json={"assistant_id": "who"})).json()["said"]["name"] == "bob"


@pytest.mark.parametrize("context", [None, {"colour": "red"}])
async def test_a_handler_says_what_a_run_is_given(owned: Server, context: Any) -> None:
    alice = client_of(owned, "alice")
    place = (await alice.threads.create())["thread_id"]
    answer = await alice.runs.wait(place, "who", input={}, context=context)
    (run,) = await alice.runs.list(place)
    assert answer["seen"] == [run["assistant_id"].replace("-", ""), run["run_id"]]  # a UUID, though a graph was named
    assert answer["said"]["tenant"] == "of alice"
    assert run["kwargs"]["config"]["configurable"]["tenant"] == "of alice"
    assert context is None or run["kwargs"]["context"]["colour"] == "red"


async def test_whom_the_handler_does_not_name_is_401(owned: Server) -> None:
    async with httpx.AsyncClient(base_url=owned.url, headers={"Authorization": "Bearer nobody"}) as nobody:
        answer = await nobody.post("/threads", json={})
    assert (answer.status_code, answer.json()) == (401, {"detail": "Unauthorized"})


async def test_nobody_makes_a_thread_for_somebody_else(owned: Server) -> None:
    body: dict[str, Any] = {"assistant_id": "who", "input": {}, "on_completion": "keep"}
    async with httpx.AsyncClient(base_url=owned.url, headers={"Authorization": "Bearer mallory"}) as mallory:
        for path in ("/runs", "/runs/wait"):
            planted = await mallory.post(path, json=body | {"metadata": {"owner": "victim"}})
            assert planted.status_code == 404, planted.text
        cron = {"assistant_id": "who", "schedule": "* * * * * *", "on_run_completed": "keep"}
        assert (await mallory.post("/runs/crons", json=cron | {"metadata": {"owner": "victim"}})).status_code == 404
        made = (await mallory.post("/runs/crons", json=cron | {"enabled": False})).json()["cron_id"]
        changed = await mallory.patch(f"/runs/crons/{made}", json={"metadata": {"owner": "victim"}})
        assert changed.status_code == 404
        for metadata in ({}, {"topic": "mine"}, {"owner": "mallory"}):
            assert (await mallory.post("/runs/wait", json=body | {"metadata": metadata})).status_code == 200
    assert await client_of(owned, "victim").threads.search() == []
