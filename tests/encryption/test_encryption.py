"""What people say is nowhere on the disk, and comes back after a restart."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import UnprocessableEntityError
from serving import Server, progressed, status_is, until
from websockets.asyncio.client import connect

from threadmill.encryption import load
from threadmill.errors import ConfigError
from threadmill.langgraph_json.project import load_project

pytestmark = pytest.mark.anyio

KIT = Path(__file__).parent.parent / "kit"
HANDLERS = Path(__file__).with_name("vault.py")
SECRET = "the-cat-is-called-Montgomery"


def project(folder: Path, name: str | None, **more: Any) -> Path:
    """A langgraph.json; without a name nothing is encrypted."""
    graphs = {id: f"{KIT}/graphs.py:{id}" for id in ("echo", "deltas", "hitl", "slow")}
    graphs["who"] = f"{KIT.parent}/http/own/graph.py:who"
    encryption = {"encryption": {"path": f"{HANDLERS}:{name}"}} if name else {}
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": graphs, "dependencies": [str(KIT)], **encryption, **more}))
    return file


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(name: str | None, **more: Any) -> Server:
        """Again on the same data."""
        for one in started:
            one.kill()
        started.append(Server(tmp_path / "data", project(tmp_path, name, **more)))
        return started[-1].start()

    yield start
    for one in started:
        one.kill()


def of(server: Server, tenant: str) -> LangGraphClient:
    header = base64.b64encode(json.dumps({"tenant": tenant}).encode()).decode()
    return get_client(url=server.url, headers={"X-Encryption-Context": header})


def planted(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


async def converse(client: LangGraphClient, *, everywhere: bool = True) -> str:
    """Says the secret in every way there is; returns the thread. Else not in metadata."""
    said = {"messages": [{"role": "user", "content": SECRET}]}
    label = {"label": {"name": SECRET}} if everywhere else {}
    thread_id = (await client.threads.create(metadata={"topic": "cats", **label}))["thread_id"]
    modes = ["values", "messages", "updates"]
    async for _ in client.runs.stream(thread_id, "echo", input=said, stream_mode=modes, metadata=label):
        pass
    await client.threads.update_state(thread_id, said)
    await client.threads.update(thread_id, metadata={"more": "cats"})
    await client.http.put(f"/threads/{thread_id}/draft", json={"content": SECRET})
    asked = (await client.threads.create(metadata=label))["thread_id"]
    await client.runs.wait(asked, "hitl", input={"log": [SECRET]})
    await client.threads.copy(asked)
    await client.runs.wait(None, "echo", input=said)
    await client.runs.create(thread_id, "echo", input=said, after_seconds=3600)
    await client.assistants.create("echo", context={"word": SECRET}, metadata=label)
    await client.store.put_item(["cats"], "one", {"name": SECRET, "age": 3})
    await client.crons.create("echo", schedule="0 0 1 1 *", input=said, metadata=label)
    return str(thread_id)


async def look(server: Server, thread_id: str) -> list[str]:
    """Everything that tells the secret, as a client reads it."""
    client = server.client()
    thread = await client.threads.get(thread_id)
    (cron,) = await client.crons.search()
    (item,) = (await client.store.search_items(["cats"], filter={"name": SECRET}))["items"]
    (found,) = await client.threads.search(values={"messages": [{"content": SECRET}]}, metadata={"topic": "cats"})
    interrupted = await client.threads.search(status="interrupted")
    runs = await client.runs.list(thread_id)
    assistants = await client.assistants.search(limit=100)
    state = await client.threads.get_state(thread_id)
    history = await client.threads.get_history(thread_id, limit=100)
    done = next(run for run in runs if run["status"] == "success")
    async with httpx.AsyncClient(base_url=server.url) as http:
        replay = await http.get(f"/threads/{thread_id}/runs/{done['run_id']}/stream", headers={"Last-Event-ID": "-1"})
        draft = (await http.get(f"/threads/{thread_id}/draft")).json()
    parts = [
        draft,
        thread["values"],
        cron["payload"],
        item["value"],
        found,
        interrupted,
        runs,
        assistants,
        state,
        history,
    ]
    return [*(json.dumps(part) for part in [*parts, thread["title"], thread["preview"]]), replay.text]


@pytest.mark.parametrize("name", ["encryption", "by_tenant"])
async def test_after_a_crash_a_person_chooses(serve: Callable[..., Server], name: str) -> None:
    """What waits for whom is no secret."""
    server = serve(name)
    client = of(server, "zoo")
    places = [(await client.threads.create())["thread_id"] for _ in range(2)]
    async with server.http as http:
        for place in places:
            body = {"assistant_id": "slow", "input": {"steps": 200}, "on_crash": "wait"}
            assert (await http.post(f"/threads/{place}/runs", json=body)).status_code == 200
    for place in places:
        await progressed(client, place)
    server = serve(name)
    client = of(server, "zoo")
    async with server.http as http:
        assert await listed(http) == dict.fromkeys(places, "waiting")
        await client.runs.wait(places[0], "echo", input={"messages": [{"role": "user", "content": SECRET}]})
        command = {"id": 1, "method": "run.recover", "params": {"choice": "keep"}}
        answer = (await http.post(f"/threads/{places[1]}/commands", json=command)).json()
        await client.runs.join(places[1], answer["result"]["run_id"])
        assert await listed(http) == dict.fromkeys(places, "idle")


async def listed(http: httpx.AsyncClient) -> dict[str, str]:
    """Statuses as a list shows them."""
    found: dict[str, str] = {}
    async with http.stream("GET", "/feed?since=0") as feed:
        async for line in feed.aiter_lines():
            if line.startswith("data: {"):
                row = json.loads(line.removeprefix("data: "))
                found[row["thread_id"]] = row["status"]
            if len(found) == 2:
                break
    return found


@pytest.mark.parametrize("name", ["encryption", "by_tenant"])
async def test_a_secret_is_nowhere_on_the_disk_and_everywhere_after_a_restart(
    serve: Callable[..., Server], tmp_path: Path, name: str
) -> None:
    """Who reads needs to know no context: it is kept with what was encrypted."""
    server = serve(name)
    thread_id = await converse(of(server, "zoo"), everywhere=name == "by_tenant")
    for place in await look(server, thread_id):
        assert SECRET in place
    server.kill()
    assert planted(tmp_path / "data") == []
    for place in await look(serve(name), thread_id):
        assert SECRET in place


async def test_encryption_can_begin_on_a_database_that_has_none(serve: Callable[..., Server], tmp_path: Path) -> None:
    """And handlers for JSON can come later than those for blobs."""
    server = serve(None)
    thread_id = await converse(server.client())
    server.kill()
    assert planted(tmp_path / "data")  # so this is a test that can fail
    server = serve("encryption")
    for place in await look(server, thread_id):
        assert SECRET in place
    await server.client().runs.wait(thread_id, "echo", input={"messages": [{"role": "user", "content": SECRET}]})
    server = serve("by_tenant")
    for place in await look(server, thread_id):
        assert SECRET in place
    assert server.log.count("returned a replacement, which is not stored") == 1
    client = of(server, "zoo")
    await client.threads.update(thread_id, metadata={"label": "new"})
    await client.runs.wait(thread_id, "echo", input={"messages": [{"role": "user", "content": "new"}]})
    thread = await server.client().threads.get(thread_id)
    assert (thread["metadata"]["label"], thread["metadata"]["more"]) == ("new", "cats")
    assert [one["content"] for one in thread["values"]["messages"]][-2] == "new"


async def test_the_context_goes_on_with_what_goes_on_by_itself(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Over a crash, on a schedule, from run to run, and when somebody answers who brings no context."""
    server = serve("by_tenant")
    client = of(server, "zoo")
    asked, slow, later = [(await client.threads.create())["thread_id"] for _ in range(3)]
    await client.runs.wait(asked, "hitl", input={"log": [SECRET]})
    inside: Any = await client.runs.wait(None, "who", input={"ask": "itself"})
    assert inside["said"]["thread"]["metadata"] == {"made": "inside"}
    run = await client.runs.create(slow, "slow", input={"steps": 30, "delay": 0.05, "tag": SECRET})
    await progressed(client, slow)
    behind = await client.runs.create(slow, "slow", input={"steps": 1, "tag": SECRET}, multitask_strategy="enqueue")
    cron = await client.crons.create_for_thread(later, "slow", schedule="* * * * * *", input={"tag": SECRET})
    await status_is(client, slow, run["run_id"], "running")
    client = serve("by_tenant").client()
    assert await status_is(client, slow, run["run_id"], "success", "error") == "success"
    assert await status_is(client, slow, behind["run_id"], "success", "error") == "success"
    values: Any = await client.runs.wait(asked, "hitl", command={"resume": "yes"})
    assert values["log"] == [SECRET, "propose", {"approve": "yes"}, "done"]

    async def fired() -> Any:
        return [one for one in await client.runs.list(later, limit=100) if one["status"] not in ("pending", "running")]

    assert {one["status"] for one in await until(fired)} == {"success"}
    await client.crons.delete(cron["cron_id"])
    await client.threads.update_state(asked, {"log": [SECRET]})
    assert (await client.threads.get_state(asked))["values"]["log"][-1] == SECRET
    serve("by_tenant").kill()
    assert planted(tmp_path / "data") == []


async def test_a_tenant_follows_from_the_user_and_plain_keys_are_searched(serve: Callable[..., Server]) -> None:
    server = serve("by_user", auth={"path": f"{HANDLERS}:auth"})
    ada, bob = [get_client(url=server.url, headers={"authorization": name}) for name in ("ada", "bob")]
    thread_id = (await ada.threads.create(metadata={"topic": "cats", "more": SECRET}))["thread_id"]
    await ada.runs.wait(thread_id, "echo", input={"messages": [{"role": "user", "content": SECRET}]})
    (found,) = await ada.threads.search(metadata={"topic": "cats", "graph_id": "echo"})
    assert found["metadata"]["more"] == SECRET
    assert await ada.threads.search(metadata={"more": SECRET}) == []
    assert await bob.threads.search(metadata={"topic": "cats"}) == []
    place = f"{server.url.replace('http', 'ws')}/threads/{thread_id}/stream/events"
    async with connect(place, additional_headers={"authorization": "ada"}) as socket:
        said = {"messages": [{"role": "user", "content": "by socket"}]}
        await socket.send(
            json.dumps({"id": 1, "method": "run.start", "params": {"assistant_id": "echo", "input": said}})
        )
        begun = json.loads(await socket.recv())["result"]
    await status_is(ada, thread_id, begun["run_id"], "success")
    with pytest.raises(UnprocessableEntityError, match="label must not be encrypted"):
        await ada.threads.create(metadata={"label": "authorisation would look for it in vain"})
    made = await ada.assistants.create("echo", metadata={"topic": "dogs", "more": SECRET})
    assert [one["assistant_id"] for one in await bob.assistants.search(metadata={"topic": "dogs"})] == [
        made["assistant_id"]
    ]
    assert await bob.assistants.search(metadata={"more": SECRET}) == []
    async with server.http as http:
        for header in ("no base64", base64.b64encode(b"[]").decode()):
            headers = {"authorization": "ada", "X-Encryption-Context": header}
            answer = await http.post("/threads", json={}, headers=headers)
            assert (answer.status_code, answer.json()["detail"]) == (
                422,
                "X-Encryption-Context must be a JSON object in base64.",
            )


async def test_handlers_for_json_alone_encrypt_the_json(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve("only_json")
    assert "checkpoints and events are not encrypted" in server.log
    client = of(server, "zoo")
    await client.assistants.create("echo", context={"word": SECRET}, metadata={"label": SECRET})
    await client.store.put_item(["cats"], "one", {"name": SECRET})
    asked = {"input": {"messages": [{"role": "user", "content": SECRET}]}, "metadata": {"label": SECRET}}
    await client.crons.create("echo", schedule="0 0 1 1 *", **asked)
    thread_id = (await client.threads.create(metadata={"label": SECRET}))["thread_id"]
    run = await client.runs.create(thread_id, "echo", after_seconds=3600, **asked)
    waiting = (await client.threads.create())["thread_id"]
    await client.runs.wait(waiting, "hitl", input={"log": ["nothing"]})
    client = serve("only_json").client()
    thread = await client.threads.get(thread_id)
    assert thread["metadata"]["label"] == thread["title"] == SECRET
    assert (await client.runs.get(thread_id, run["run_id"]))["kwargs"]["input"] == asked["input"]
    ((question,),) = (await client.threads.get(waiting))["interrupts"].values()
    assert question["value"] == {"question": "approve?", "n": None}
    (cron,) = await client.crons.search()
    assert cron["payload"]["input"] == asked["input"]
    serve("only_json").kill()
    assert planted(tmp_path / "data") == []


async def test_a_crashed_run_is_found_without_its_id(serve: Callable[..., Server]) -> None:
    server = serve("encryption")
    client = server.client()
    thread_id = (await client.threads.create())["thread_id"]
    async with server.http as http:
        body = {"assistant_id": "slow", "input": {"steps": 100, "delay": 0.05}, "on_crash": "wait"}
        run_id = (await http.post(f"/threads/{thread_id}/runs", json=body)).json()["run_id"]
    await progressed(client, thread_id)
    server.restart()
    async with server.http as http:
        asked = {"id": 1, "method": "run.recover", "params": {"choice": "discard"}}
        answer = (await http.post(f"/threads/{thread_id}/commands", json=asked)).json()
    assert answer["result"] == {"choice": "discard", "run_id": None}
    assert run_id not in [run["run_id"] for run in await server.client().runs.list(thread_id)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "nothing has no handlers: it needs encrypt and decrypt for blob, json or both"),
        ("half", "half has one of encrypt.json and decrypt.json; it needs both, or none"),
        ("blocking", r"blocking has a context handler that is no async function of \(user, ctx\)"),
        ("seal", "seal is a function, not a langgraph_sdk.Encryption object"),
        ("absent", "absent is missing, not a langgraph_sdk.Encryption object"),
    ],
)
async def test_handlers_that_cannot_be_honoured_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(load_project(project(tmp_path, name)))


async def test_a_server_whose_data_would_lie_open_does_not_start(serve: Callable[..., Server]) -> None:
    with pytest.raises(RuntimeError, match="half has one of"):
        serve("half")


async def test_a_bundle_is_in_the_clear_and_what_comes_from_it_is_not(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve("encryption")
    client = server.client()
    thread = await converse(client, everywhere=False)
    other = str(uuid4())
    async with server.http as http:
        bundle = (await http.get(f"/threads/{thread}/export")).content
        assert SECRET.encode() in bundle
        done = await http.post("/threads/import", content=bundle, params={"thread_id": other})
        assert done.json() == {"threads": [{"thread_id": other, "created": True}]}
    states = [(await client.threads.get_state(one))["values"] for one in (thread, other)]
    assert states[0] == states[1]
    assert SECRET in str(states[1])
    assert planted(tmp_path / "data") == []
    server.term()
    assert planted(tmp_path / "data") == []


async def test_branches_say_nothing_on_the_disk(serve: Callable[..., Server]) -> None:
    server = serve("by_tenant")
    header = base64.b64encode(json.dumps({"tenant": "acme"}).encode()).decode()
    async with httpx.AsyncClient(base_url=server.url, headers={"X-Encryption-Context": header}, timeout=30) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        place, said = f"/threads/{thread}", {"messages": [{"role": "user", "content": SECRET}]}
        for _ in range(2):
            await http.post(f"{place}/runs/wait", json={"assistant_id": "echo", "input": said})
        shown = (await http.get(f"{place}/branches/messages")).json()["messages"]
        async with server.http as nobody:  # who moves the head need not say under which context the thread is
            moved = await nobody.put(f"{place}/head", json={"checkpoint_id": shown[3]["fork_from"]})
        head = moved.json()["head"]
        fork = (await http.post(f"{place}/fork", json={"title": SECRET})).json()
        assert len((await http.get(f"{place}/branches")).json()["checkpoints"]) == 7
        await http.post(f"/threads/{fork['thread_id']}/runs/wait", json={"assistant_id": "echo", "input": None})
        promoted = await http.post(f"{place}/promote", json={"from_thread_id": fork["thread_id"]})
        assert promoted.json()["head"] not in (None, head)
        shown = (await http.get(f"{place}/branches/messages")).json()["messages"]
        assert [one["preview"] for one in shown[3]["siblings"]] == [f"3: {SECRET}"] * 2
        assert (await http.get(f"/threads/{fork['thread_id']}")).json()["title"] == SECRET
    server.kill()
    assert not planted(server.data_dir)


async def test_a_sealed_message_is_forgotten_too(serve: Callable[..., Server]) -> None:
    """Where it is a part of its own, and where it only stands in writes."""
    server = serve("by_tenant")
    acme = of(server, "acme")
    said = {"messages": [{"role": "user", "content": SECRET}]}
    places = {graph: (await acme.threads.create())["thread_id"] for graph in ("echo", "deltas")}
    for graph, thread in places.items():
        await acme.runs.wait(thread, graph, input=said)
        first: Any = await acme.threads.get_state(thread)
        async with server.http as http:
            for one in first["values"]["messages"]:
                told = await http.post(f"/threads/{thread}/messages/{one['id']}/forget")
                assert told.status_code == 200, server.log[-3000:]
        shown = [
            await acme.threads.get(thread),
            await acme.threads.get_state(thread),
            await acme.threads.get_history(thread),
        ]
        shown += [await acme.runs.list(thread)]
        assert SECRET not in json.dumps(shown)
        assert [one["content"] for one in shown[1]["values"]["messages"]] == ["[forgotten]"] * 2
    served = of(serve("by_tenant"), "acme")  # anew, from what is stored
    for graph, thread in places.items():
        later = await served.runs.wait(thread, graph, input=said)
        assert [one["content"] for one in later["messages"]][:2] == ["[forgotten]"] * 2
        assert later["messages"][-1]["content"].endswith(SECRET)
