"""Webhooks: somebody is told how a run ended, whatever happens on the way, and the run never notices."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import UnprocessableEntityError
from serving import Server, progressed, until

pytestmark = [pytest.mark.anyio, pytest.mark.beyond_reference]

KIT = Path(__file__).parent.parent / "kit"
KEY = b"a key of at least twenty-four bytes"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
LONG = {"steps": 10_000, "delay": 0.02}


@dataclass
class Receiver:
    """Notes what arrives. `answers` are the next statuses, by path; without any it is 200. None never answers."""

    answers: dict[str, list[int | None]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def at(self, path: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
        return [(headers, json.loads(body)) for where, headers, body in self.calls if where == path]

    async def arrived(self, path: str, n: int = 1) -> list[tuple[dict[str, str], dict[str, Any]]]:
        async def enough() -> list[Any]:
            return self.at(path) if len(self.at(path)) >= n else []

        return await until(enough)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            one.calls.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            waiting = one.answers.get(self.path)
            status = waiting.pop(0) if waiting else 200
            if status is None:
                over.wait()
                return
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    one.url = f"http://127.0.0.1:{http.server_port}"
    yield one
    over.set()
    http.shutdown()


def project(folder: Path, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    names = ("counter", "boom", "hitl", "slow")
    graphs = {name: f"{KIT}/graphs.py:{name}" for name in names}
    hooks = {"headers": {"x-key": "Bearer ${{ env.LG_WEBHOOK_KEY }}!"}, "url": {"disable_loopback": False}}
    written = {"dependencies": [str(KIT)], "graphs": graphs, "webhooks": hooks} | more
    (folder / "langgraph.json").write_text(json.dumps(written))
    return folder / "langgraph.json"


ENV = {
    "LG_WEBHOOK_KEY": "s3cret",
    "THREADMILL_WEBHOOK_SECRET": SECRET,
    "THREADMILL_WEBHOOK_TIMEOUT": "1",
    "THREADMILL_WEBHOOK_MAX_ATTEMPTS": "2",
    "THREADMILL_RUN_TIMEOUT": "3",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose webhooks may go to this machine."""
    folder = tmp_path_factory.mktemp("told")
    server = Server(folder / "data", project(folder / "p"), ENV).start()
    yield server
    server.kill()


@pytest.fixture
def me(told: Server) -> LangGraphClient:
    return told.client()


async def delivery(server: Server, run_id: str, *statuses: str) -> dict[str, Any]:
    """Wait until the delivery of the run has one of these statuses."""
    async with server.http as http:

        async def there() -> dict[str, Any] | None:
            rows = (await http.get("/webhooks/deliveries?limit=1000")).json()
            return next((row for row in rows if row["run_id"] == run_id and row["status"] in statuses), None)

        found = await until(there)
        assert found is not None
        return found


async def test_the_run_with_its_values_is_sent_signed(me: LangGraphClient, receiver: Receiver, told: Server) -> None:
    thread = (await me.threads.create())["thread_id"]
    await me.runs.wait(thread, "counter", input={"limit": 2}, webhook=f"{receiver.url}/ok")
    ((headers, body),) = await receiver.arrived("/ok")
    (run,) = await me.runs.list(thread)
    added = ("run_started_at", "run_ended_at", "webhook_sent_at", "values")
    times = [body["created_at"], *(body[name] for name in added[:3])]
    assert times == sorted(times)
    assert body["values"] == {"n": 2, "limit": 2}
    assert {name: value for name, value in body.items() if name not in added} == run
    assert headers["content-type"] == "application/json"
    assert headers["x-key"] == "Bearer s3cret!"
    assert headers["webhook-id"] == run["run_id"]
    raw = next(raw for path, _, raw in receiver.calls if path == "/ok")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    row = await delivery(told, run["run_id"], "delivered")
    assert (row["attempts"], row["response_status"], row["error"]) == (1, 200, None)


async def paused(me: LangGraphClient, thread: str, url: str) -> None:
    await me.runs.wait(thread, "hitl", input={"n": 1}, webhook=url)


async def failed(me: LangGraphClient, thread: str, url: str) -> None:
    await me.runs.wait(thread, "boom", input={}, webhook=url, raise_error=False)


async def late(me: LangGraphClient, thread: str, url: str) -> None:
    await me.runs.wait(thread, "slow", input=LONG, webhook=url, raise_error=False)


async def stopped(me: LangGraphClient, thread: str, url: str, action: Any = "interrupt") -> None:
    run = await me.runs.create(thread, "slow", input=LONG, webhook=url)
    await progressed(me, thread)
    await me.runs.cancel(thread, run["run_id"], action=action, wait=True)


async def undone(me: LangGraphClient, thread: str, url: str) -> None:
    await stopped(me, thread, url, "rollback")


async def never_begun(me: LangGraphClient, thread: str, url: str) -> None:
    run = await me.runs.create(thread, "counter", input={}, webhook=url, after_seconds=60)
    await me.runs.cancel(thread, run["run_id"])


@pytest.mark.parametrize(
    ("end", "status", "error", "thread_status"),
    [
        (paused, "success", None, "interrupted"),
        (failed, "error", "ValueError", "error"),
        (late, "timeout", "TimeoutError", "error"),
        (stopped, "interrupted", "UserInterrupt", "interrupted"),
        (undone, "rollback", "UserRollback", "idle"),
        (never_begun, "interrupted", None, "idle"),
    ],
)
async def test_every_end_is_told(
    end: Callable[[LangGraphClient, str, str], Awaitable[None]],
    status: str,
    error: str | None,
    thread_status: str,
    me: LangGraphClient,
    receiver: Receiver,
) -> None:
    path = f"/{end.__name__}"
    thread = (await me.threads.create())["thread_id"]
    await end(me, thread, receiver.url + path)
    ((_, body),) = await receiver.arrived(path)
    assert body["status"] == status
    assert body.get("error", {}).get("error") == error
    assert (await me.threads.get(thread))["status"] == thread_status
    assert [run["status"] for run in await me.runs.list(thread)] == ([] if end is undone else [status])
    assert (body["values"] is None) == (end in (undone, never_begun))
    assert (body["run_started_at"] is None) == (end is never_begun)


async def test_runs_without_a_thread_and_batches_and_crons_too(
    me: LangGraphClient, receiver: Receiver, told: Server
) -> None:
    def asked(path: str, **more: Any) -> Any:
        return {"assistant_id": "counter", "input": {"limit": 1}, "webhook": receiver.url + path, **more}

    await me.runs.wait(None, **asked("/gone"))
    await me.runs.wait(None, **asked("/kept", on_completion="keep"))
    await me.runs.create_batch([asked("/batch"), asked("/batch")])
    cron = await me.crons.create(**asked("/cron"), schedule="* * * * * *")
    assert (await receiver.arrived("/gone"))[0][1]["values"] is None
    assert (await receiver.arrived("/kept"))[0][1]["values"] == {"n": 1, "limit": 1}
    assert len({body["run_id"] for _, body in await receiver.arrived("/batch", 2)}) == 2
    ((_, body), *_) = await receiver.arrived("/cron")
    await me.crons.delete(cron["cron_id"])
    assert body["metadata"]["cron_id"] == cron["cron_id"]


async def test_a_receiver_that_hangs_or_fails_is_asked_again_and_no_run_waits(
    me: LangGraphClient, receiver: Receiver, told: Server
) -> None:
    receiver.answers |= {"/flaky": [500, 200], "/hanging": [None, None]}
    thread = (await me.threads.create())["thread_id"]
    flaky = await me.runs.create(thread, "counter", input={"limit": 1}, webhook=f"{receiver.url}/flaky")
    hanging = await me.runs.create(thread, "counter", input={"limit": 1}, webhook=f"{receiver.url}/hanging")
    assert await me.runs.wait(thread, "counter", input={"limit": 3}) == {"n": 3, "limit": 3}
    assert len(receiver.at("/hanging")) < 2
    (first, _), (second, _) = await receiver.arrived("/flaky", 2)
    assert first["webhook-id"] == second["webhook-id"] == flaky["run_id"]
    assert first["webhook-signature"] != second["webhook-signature"]
    assert (await delivery(told, flaky["run_id"], "delivered"))["attempts"] == 2
    dead = await delivery(told, hanging["run_id"], "dead")
    assert (dead["attempts"], dead["error"], dead["response_status"]) == (2, "No answer within 1 seconds.", None)
    assert (await me.runs.get(thread, hanging["run_id"]))["status"] == "success"


async def test_a_dead_one_is_listed_and_can_be_sent_again(
    me: LangGraphClient, receiver: Receiver, told: Server
) -> None:
    receiver.answers["/moved"] = [410]
    thread = (await me.threads.create())["thread_id"]
    run = await me.runs.create(thread, "counter", input={"limit": 1}, webhook=f"{receiver.url}/moved")
    dead = await delivery(told, run["run_id"], "dead")
    assert (dead["attempts"], dead["response_status"], dead["error"]) == (1, 410, "The answer was 410.")
    async with told.http as http:
        page = await http.get("/webhooks/deliveries?status=dead&limit=1")
        assert [row["status"] for row in page.json()] == ["dead"]
        assert int(page.headers["x-pagination-total"]) >= 1
        place = f"/webhooks/deliveries/{run['run_id']}/retry"
        again = await http.post(place)
        assert (again.status_code, again.json()["status"], again.json()["attempts"]) == (200, "pending", 0)
        (_, first), (_, second) = await receiver.arrived("/moved", 2)
        assert first | {"webhook_sent_at": 0} == second | {"webhook_sent_at": 0}
        await delivery(told, run["run_id"], "delivered")
        assert (await http.post(place)).status_code == 409
        unknown = await http.post("/webhooks/deliveries/01a1fc2b-5f4e-7575-b684-250167de9406/retry")
        assert unknown.status_code == 404
        assert (await http.get("/webhooks/deliveries?status=lost")).status_code == 422
        text = (await http.get("/metrics")).text
        assert 'threadmill_webhooks_total{outcome="delivered"}' in text


async def test_what_was_not_sent_when_the_server_died_is_sent_by_the_next(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers["/killed"] = [None]
    server = Server(tmp_path / "data", project(tmp_path / "p"), ENV).start()
    try:
        me = server.client()
        run = await me.runs.create(None, "counter", input={"limit": 1}, webhook=f"{receiver.url}/killed")
        ((first, body),) = await receiver.arrived("/killed")
        server.restart()
        second, again = (await receiver.arrived("/killed", 2))[1]
        assert first["webhook-id"] == second["webhook-id"] == run["run_id"]
        assert body | {"webhook_sent_at": 0} == again | {"webhook_sent_at": 0}
    finally:
        server.kill()


async def test_a_run_that_crashes_ended_is_told_of(receiver: Receiver, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", project(tmp_path / "p"), ENV | {"THREADMILL_MAX_ATTEMPTS": "1"}).start()
    try:
        me = server.client()
        thread = (await me.threads.create())["thread_id"]
        await me.runs.create(thread, "slow", input=LONG, webhook=f"{receiver.url}/crashed")
        await progressed(me, thread)
        server.restart()
        ((_, body),) = await receiver.arrived("/crashed")
        assert (body["status"], body["error"]["error"], body["values"]) == ("error", "RunCrashed", None)
    finally:
        server.kill()


REFUSED = [
    "http://127.0.0.1:9/x", "http://localhost/", "http://[::1]/", "http://0x7f.1/", "http://169.254.169.254/latest",
    "http://10.1.2.3/", "https://user@192.168.0.1/", "/threads", "//example.com/x", "/ok", "mine", "ftp://example.com/",
    "http://", "http://example.com:99999/", "", "https://example.com/" + "a" * 3000, "https://exa\x00mple.com/", 5, {},
]  # fmt: skip


async def test_what_must_not_be_called_is_refused_when_it_is_named(http: httpx.AsyncClient, thread: str) -> None:
    for url in REFUSED:
        body = {"assistant_id": "counter", "input": {"limit": 1}, "webhook": url}
        for path in (f"/threads/{thread}/runs", f"/threads/{thread}/runs/stream", "/runs", "/runs/wait"):
            answer = await http.post(path, json=body)
            assert answer.status_code == 422, (url, path, answer.text)
            assert "webhook" in answer.json()["detail"]
        assert (await http.post("/runs/batch", json=[body])).status_code == 422
        cron = body | {"schedule": "0 0 * * *"}
        assert (await http.post("/runs/crons", json=cron)).status_code == 422
        made = (await http.post("/runs/crons", json=cron | {"webhook": "https://example.com/"})).json()["cron_id"]
        assert (await http.patch(f"/runs/crons/{made}", json={"webhook": url})).status_code == 422
        await http.delete(f"/runs/crons/{made}")
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


async def test_deliveries_belong_to_whom_the_thread_belongs_to(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers["/hers"] = [410]
    guard = {"path": str(KIT.parent / "auth" / "guard.py") + ":auth"}
    http = {"configurable_headers": {"includes": ["authorization", "x-plan"]}}
    server = Server(tmp_path / "data", project(tmp_path / "p", auth=guard, http=http), ENV).start()
    try:
        alice = get_client(url=server.url, headers={"Authorization": "Bearer alice", "x-plan": "free"})
        thread = (await alice.threads.create())["thread_id"]
        run = await alice.runs.create(thread, "counter", input={"limit": 1}, webhook=f"{receiver.url}/hers")
        ((_, body),) = await receiver.arrived("/hers")
        sent = body["kwargs"]["config"]["configurable"]
        assert (sent["langgraph_auth_user"], sent["langgraph_auth_user_id"]) == (None, "alice")
        kept: Any = (await alice.runs.get(thread, run["run_id"]))["kwargs"]  # type: ignore[typeddict-item]
        assert kept["config"]["configurable"]["authorization"] == "Bearer alice"
        assert ("authorization" in sent, sent["x-plan"]) == (False, "free")
        place = f"/webhooks/deliveries/{run['run_id']}/retry"

        async def dead() -> bool:
            return [row["status"] for row in await seen("alice")] == ["dead"]

        async def seen(name: str) -> Any:
            async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {name}"}) as http:
                return (await http.get("/webhooks/deliveries")).json()

        await until(dead)
        assert await seen("bob") == []
        for name, status in (("bob", 404), ("alice", 200)):
            async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {name}"}) as http:
                assert (await http.post(place)).status_code == status
    finally:
        server.kill()


OWN = """
from fastapi import FastAPI, Request

app = FastAPI()
heard = []

@app.post("/mine")
async def mine(request: Request):
    heard.append([request.headers["webhook-id"], await request.json()])

@app.get("/mine")
async def said():
    return heard
"""


async def test_a_path_leads_to_the_projects_own_routes_and_never_to_the_api(tmp_path: Path) -> None:
    config = project(tmp_path / "p", http={"app": "./own.py:app"})
    (tmp_path / "p" / "own.py").write_text(OWN)
    server = Server(tmp_path / "data", config, ENV).start()
    try:
        me, thread = server.client(), (await server.client().threads.create())["thread_id"]
        run = await me.runs.create(thread, "counter", input={"limit": 1}, webhook="/mine?x=1")
        async with server.http as http:

            async def heard() -> Any:
                return (await http.get("/mine")).json()

            ((name, body),) = await until(heard)
        assert name == body["run_id"] == run["run_id"]
        assert body["values"] == {"n": 1, "limit": 1}
        # Each of these would do something, if it were answered.
        for core in ("/threads", "/%74hreads", "/runs/cancel", f"/threads/{thread}/copy", f"/threads/{thread}/history"):
            run = await me.runs.create(thread, "counter", input={"limit": 1}, webhook=core)
            assert (await delivery(server, run["run_id"], "dead"))["error"] == "The answer was 404.", core
        assert await me.threads.count() == 1
        for trick in ("/mine/../threads", "/mine/%2e%2E/x", "//localhost/threads", "/\\localhost", "/mine#x", "/mi ne"):
            with pytest.raises(UnprocessableEntityError, match="It is not a plain path"):
                await me.runs.create(thread, "counter", input={"limit": 1}, webhook=trick)
    finally:
        server.kill()
