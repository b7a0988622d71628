"""What people say is nowhere on the disk, and comes back after a restart."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from serving import Server, progressed

pytestmark = pytest.mark.anyio

KIT = Path(__file__).parent.parent / "kit"
SECRET = "the-cat-is-called-Montgomery"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(name: str | None) -> Server:
        """Again on the same data; without a name nothing is encrypted."""
        for one in started:
            one.kill()
        graphs = {id: f"{KIT}/graphs.py:{id}" for id in ("echo", "hitl", "slow")}
        encryption = {"encryption": {"path": f"{Path(__file__).with_name('vault.py')}:{name}"}} if name else {}
        (tmp_path / "langgraph.json").write_text(
            json.dumps({"graphs": graphs, "dependencies": [str(KIT)], **encryption})
        )
        started.append(Server(tmp_path / "data", tmp_path / "langgraph.json"))
        return started[-1].start()

    yield start
    for one in started:
        one.kill()


def planted(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


async def converse(server: Server) -> str:
    """Says the secret in every way there is; returns the thread."""
    client = server.client()
    said = {"messages": [{"role": "user", "content": SECRET}]}
    thread_id = (await client.threads.create(metadata={"topic": "cats"}))["thread_id"]
    async for _ in client.runs.stream(thread_id, "echo", input=said, stream_mode=["values", "messages", "updates"]):
        pass
    await client.threads.update_state(thread_id, said)
    await client.threads.update(thread_id, metadata={"more": "cats"})
    asked = (await client.threads.create())["thread_id"]
    await client.runs.wait(asked, "hitl", input={"log": [SECRET]})
    await client.runs.wait(None, "echo", input=said)
    await client.runs.create(thread_id, "echo", input=said, after_seconds=3600)
    await client.assistants.create("echo", context={"word": SECRET})
    await client.store.put_item(["cats"], "one", {"name": SECRET, "age": 3})
    await client.crons.create("echo", schedule="0 0 1 1 *", input=said)
    return thread_id


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
    parts = [thread["values"], cron["payload"], item["value"], found, interrupted, runs, assistants, state, history]
    return [*(json.dumps(part) for part in [*parts, thread["title"], thread["preview"]]), replay.text]


async def test_a_secret_is_nowhere_on_the_disk_and_everywhere_after_a_restart(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve("encryption")
    assert "handlers for JSON are not called" in server.log
    thread_id = await converse(server)
    for place in await look(server, thread_id):
        assert SECRET in place
    server.kill()
    assert planted(tmp_path / "data") == []
    for place in await look(serve("encryption"), thread_id):
        assert SECRET in place


async def test_encryption_can_begin_on_a_database_that_has_none(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(None)
    thread_id = await converse(server)
    server.kill()
    assert planted(tmp_path / "data")  # so this is a test that can fail
    for place in await look(serve("encryption"), thread_id):
        assert SECRET in place


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
        ("only_json", "needs handlers for encrypt.blob and decrypt.blob"),
        ("by_user", "keys that depend on the user are not supported"),
        ("seal", "seal is a function, not a langgraph_sdk.Encryption object"),
        ("absent", "absent is missing, not a langgraph_sdk.Encryption object"),
    ],
)
async def test_a_server_whose_data_would_lie_open_does_not_start(
    serve: Callable[..., Server], name: str, reason: str
) -> None:
    with pytest.raises(RuntimeError, match=reason):
        serve(name)
