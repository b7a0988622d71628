"""Tools with effects, over kills, retries and answers: each effect happens once.

THREADMILL_LEDGER_KILLS sets how many kills there are; the default fits into the suite.
"""

import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from serving import Server, until

from threadmill import idempotency_key, once

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("THREADMILL_LEDGER_KILLS", "10"))
SEED = int(os.environ.get("THREADMILL_SEED", "4"))
PROJECT = Path(__file__).parent / "project" / "langgraph.json"
STEPS, RUNS = 4, 5


class Outside(ThreadingHTTPServer):
    """Counts what reaches it. `/linger` is answered when `free` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paid, self.charged, self.lingering = Counter[str](), 0, Counter[str]()
        self.free = threading.Event()
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Outside

    def do_POST(self) -> None:
        data = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            if self.path == "/pay":
                self.server.paid[data["key"]] += 1
            elif self.path == "/charge":
                self.server.charged += 1
            else:
                self.server.lingering[data["key"]] += 1
        if self.path == "/linger":
            self.server.free.wait(30)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"receipt {data.get('number')}".encode())

    def log_message(self, *args: Any) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the caller was killed
            pass


@pytest.fixture
def outside() -> Iterator[Outside]:
    own = Outside()
    yield own
    own.free.set()
    own.shutdown()


@pytest.fixture
def server(tmp_path: Path, outside: Outside) -> Iterator[Server]:
    env = {"OUTSIDE": outside.url, "THREADMILL_MAX_ATTEMPTS": "100000"}
    own = Server(tmp_path / "data", PROJECT, env=env)
    yield own.start()
    own.kill()


async def begin(http: httpx.AsyncClient, assistant: str) -> tuple[str, str]:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": assistant, "input": {"messages": [{"role": "user", "content": "go"}]}}
    return thread, (await http.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]


async def ended(http: httpx.AsyncClient, thread: str, run: str) -> str:
    async def over() -> str | None:
        status = (await http.get(f"/threads/{thread}/runs/{run}")).json()["status"]
        return None if status in ("pending", "running") else str(status)

    return await until(over, within=30)


async def answers(http: httpx.AsyncClient, thread: str) -> list[str]:
    state = (await http.get(f"/threads/{thread}/state")).json()
    return [message["content"] for message in state["values"]["messages"] if message["type"] == "tool"]


@pytest.mark.timeout(120 + 20 * KILLS)
async def test_a_service_that_knows_keys(server: Server, outside: Outside, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed at any moment: also between the effect and its receipt, where only the key helps."""
    chance, effects, kills = random.Random(SEED), 0, 0
    while kills < KILLS // 2:
        async with server.http as http:
            runs = [await begin(http, "payer") for _ in range(RUNS)]
            effects += RUNS * STEPS * 2
            before = outside.paid.total()
            wanted = before + chance.randrange(1, RUNS * STEPS)

            async def met(wanted: int = wanted) -> bool:
                return outside.paid.total() >= wanted

            await until(met)
        await anyio.to_thread.run_sync(server.restart)
        kills += 1
        async with server.http as http:
            for thread, run in runs:
                assert await ended(http, thread, run) == "success"
                assert await answers(http, thread) == [f"receipt {n}" for n in range(STEPS) for _ in range(2)]
    assert len(outside.paid) == effects, "distinct effects"
    again = outside.paid.total() - effects
    with capsys.disabled():
        sys.stderr.write(f"\n{kills} kills, {effects} effects: each once; asked again with its key {again} times\n")


@pytest.mark.timeout(120 + 20 * KILLS)
async def test_a_service_that_knows_no_keys(
    server: Server, outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed after the receipt was stored and before the tool had returned."""
    async with server.http as http:
        runs = [await begin(http, "charger") for _ in range(RUNS)]
    kills = 0
    while kills < KILLS - KILLS // 2:
        step = kills + 1

        async def waiting(step: int = step) -> bool:
            return outside.lingering.total() >= RUNS * step

        await until(waiting)
        await anyio.to_thread.run_sync(server.restart)
        kills += 1

    outside.free.set()
    async with server.http as http:
        for thread, run in runs:
            assert await ended(http, thread, run) == "success"
            assert await answers(http, thread) == [f"receipt {n} receipt {n}" for n in range(STEPS)]
    assert outside.charged == RUNS * STEPS * 2, "each effect once"
    assert len(outside.lingering) == RUNS * STEPS, "one key for each tool call"
    with capsys.disabled():
        sys.stderr.write(f"\n{kills} kills, {outside.charged} effects at a service without keys: each once\n")


async def test_an_answer_does_not_repeat_what_came_before_the_question(server: Server, outside: Outside) -> None:
    outside.free.set()
    async with server.http as http:
        thread, run = await begin(http, "asker")
        assert await ended(http, thread, run) == "success"
        assert outside.charged == 1
        state = (await http.get(f"/threads/{thread}/state")).json()
        body = {"assistant_id": "asker", "command": {"resume": "yes"}}
        await http.post(f"/threads/{thread}/runs/wait", json=body)
        assert await answers(http, thread) == ["receipt 0 yes receipt 0"]
        assert outside.charged == 2
        # Who goes back to have it done anew wants it done anew.
        again = {"assistant_id": "asker", "checkpoint_id": state["checkpoint"]["checkpoint_id"], "input": None}
        await http.post(f"/threads/{thread}/runs/wait", json=again)
        assert outside.charged == 3


async def test_outside_of_the_server_it_just_calls() -> None:
    called: list[int] = []

    @once
    def act(number: int) -> int:
        called.append(number)
        return number

    @once(retry=False)
    async def act_later(number: int) -> int:
        return act(number)

    assert [act(1), act(1), await act_later(2)] == called == [1, 1, 2]
    assert idempotency_key() is None
