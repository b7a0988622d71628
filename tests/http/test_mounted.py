"""Threadmill inside another web service (tests/http/host.py): below a path, with the host's lifespan and users."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest
import warm
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from serving import Server, progressed, until

pytestmark = pytest.mark.anyio

HELLO = {"messages": [{"role": "user", "content": "hello"}]}


class Host(Server):
    def start(self) -> Server:
        command = ["-m", "uvicorn", "host:app", "--port", str(self.port), "--log-level", "warning"]
        self.env["HOST_DATA"] = str(self.data_dir)
        self.process = warm.Warm(command, self.env, self.log_file, cwd=Path(__file__).parent)
        return self._awaited(self.process)

    def client_of(self, name: str) -> LangGraphClient:
        return get_client(url=f"{self.url}/deep/agent", headers={"x-user": name})


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    own = Host(tmp_path_factory.mktemp("mounted") / "data")
    own.start()
    yield own
    own.kill()


async def test_the_official_sdk_works_below_the_path(host: Host) -> None:
    alice = host.client_of("alice")
    thread_id = (await alice.threads.create())["thread_id"]
    made: list[Any] = []
    stream = alice.runs.stream(
        thread_id, "echo", input=HELLO, stream_mode="updates", stream_resumable=True, on_run_created=made.append
    )
    events = [part.event async for part in stream]
    assert events == ["metadata", "updates"]
    again = alice.runs.join_stream(thread_id, made[0]["run_id"], last_event_id="-1")
    assert [part.event async for part in again] == events
    state = await alice.threads.get_state(thread_id)
    assert state["values"]["messages"][-1]["content"] == "1: hello"


async def test_location_leads_back_to_the_run(host: Host) -> None:
    base = f"{host.url}/deep/agent"
    async with httpx.AsyncClient(base_url=base, headers={"x-user": "alice"}, timeout=20) as http:
        answer = await http.post("/runs/stream", json={"assistant_id": "echo", "input": HELLO, "on_completion": "keep"})
        again = await http.get(answer.headers["location"], headers={"Last-Event-ID": "-1"})
        assert again.text.startswith("event: metadata")
        assert {"url": "/deep/agent"} in (await http.get("/openapi.json")).json()["servers"]


async def test_the_hosts_user_owns_what_they_make(host: Host) -> None:
    alice, bob = host.client_of("alice"), host.client_of("bob")
    thread_id = (await alice.threads.create())["thread_id"]
    run = await alice.runs.create(thread_id, "echo", input=HELLO)
    assert run["kwargs"]["config"]["configurable"]["langgraph_auth_user"]["plan"] == "free"
    assert run["kwargs"]["config"]["configurable"]["langgraph_auth_user_id"] == "alice"
    with pytest.raises(httpx.HTTPStatusError, match="not found"):
        await bob.threads.get(thread_id)
    assert thread_id not in [one["thread_id"] for one in await bob.threads.search(limit=100)]
    await alice.store.put_item(["notes"], "one", {"mine": True})
    assert await bob.store.get_item(["notes"], "one") is None
    with pytest.raises(httpx.HTTPStatusError, match="Forbidden"):
        await bob.assistants.create("echo")
    async with httpx.AsyncClient(base_url=host.url) as http:
        assert (await http.post("/deep/agent/threads/search", json={})).status_code == 401
        assert thread_id in (await http.get("/everything")).json()  # the host's own code sees all


async def test_host_code_posts_a_message_that_everybody_sees(host: Host) -> None:
    alice = host.client_of("alice")
    thread_id = (await alice.threads.create())["thread_id"]
    await alice.runs.wait(thread_id, "echo", input=HELLO)
    base = f"{host.url}/deep/agent/threads/{thread_id}"
    async with httpx.AsyncClient(headers={"x-user": "alice"}, timeout=20) as http:
        query = {"stream_modes": ["run_modes", "state_update"]}
        async with http.stream("GET", f"{base}/stream", params=query) as stream:
            told = await http.post(f"{host.url}/say/{thread_id}", params={"text": "A refund has arrived."})
            assert told.status_code == 200, told.text
            lines = stream.aiter_lines()
            frames: dict[str, Any] = {}
            with anyio.fail_after(10):
                while not {"posted", "state_update"} <= frames.keys():
                    line = await anext(lines)
                    if line.startswith("event: "):
                        frames[line[7:]] = orjson.loads((await anext(lines)).removeprefix("data: "))
    message = told.json()
    assert (message["content"], message["additional_kwargs"]) == ("A refund has arrived.", {"author": "alice"})
    assert frames["posted"]["author"] == "alice"
    assert frames["posted"]["message"]["id"] == message["id"]
    assert frames["state_update"]["messages"][-1]["content"] == "A refund has arrived."
    state = await alice.threads.get_state(thread_id)
    assert state["values"]["messages"][-1]["additional_kwargs"]["author"] == "alice"
    assert state["checkpoint"]["checkpoint_id"] == frames["posted"]["checkpoint"]["checkpoint_id"]
    assert (await alice.threads.get(thread_id))["preview"] == "A refund has arrived."


async def test_a_busy_thread_refuses_a_message_or_lets_it_wait(host: Host) -> None:
    alice = host.client_of("alice")
    thread_id = (await alice.threads.create())["thread_id"]
    run = await alice.runs.create(thread_id, "chat", input=HELLO, after_seconds=3600)
    async with httpx.AsyncClient(base_url=host.url, headers={"x-user": "alice"}, timeout=20) as http:
        assert (await http.post(f"/say/{thread_id}", params={"text": "now"})).status_code == 409
        async with anyio.create_task_group() as group:
            answers: list[httpx.Response] = []

            async def say() -> None:
                answers.append(await http.post(f"/say/{thread_id}", params={"text": "later", "wait": True}))

            group.start_soon(say)
            await alice.runs.cancel(thread_id, run["run_id"])
        assert answers[0].status_code == 200, answers[0].text
        assert (await http.post("/say/01a1fc2b-5f4e-7575-b684-250167de9406?text=x")).status_code == 404
    messages = (await alice.threads.get_state(thread_id))["values"]["messages"]
    assert [message["content"] for message in messages] == ["later"]


async def test_it_goes_on_after_a_restart_of_the_host(tmp_path: Path) -> None:
    own = Host(tmp_path / "data")
    own.start()
    try:
        alice = own.client_of("alice")
        thread_id = (await alice.threads.create())["thread_id"]
        run = await alice.runs.create(thread_id, "slow", input={"steps": 4, "delay": 0.2})
        await progressed(alice, thread_id)
        own.term()  # drains, which puts the run back
        own.start()

        async def done() -> bool:
            return (await alice.runs.get(thread_id, run["run_id"]))["status"] == "success"

        assert await until(done)
    finally:
        own.kill()
