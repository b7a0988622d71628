"""How a server is stopped, beyond the drain of its runs (tests/crash/test_drain.py)."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from cli.command import GRAPH, HEADER, eventually, project, waiting
from serving import Server

INPUT = {"assistant_id": "agent", "input": {}}
DRAINING = '"event": "draining"'


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`serve(source)`: a server of a project with this agent, in tmp_path/p."""
    started: list[Server] = []

    def start(source: str, **env: str) -> Server:
        server = Server(tmp_path / "data", project(tmp_path / "p", agent=source), env)
        started.append(server)
        return server.start()

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """The file that `waiting` waits for."""
    return tmp_path / "p" / "go"


def begin(server: Server, http: httpx.Client) -> str:
    """A run that waits; returns where it is."""
    thread = http.post("/threads", json={}).json()["thread_id"]
    run = http.post(f"/threads/{thread}/runs", json=INPUT).json()["run_id"]
    eventually(lambda: http.get(f"/threads/{thread}/state").json()["values"].get("log"))
    return f"/threads/{thread}/runs/{run}"


def told_to_stop(server: Server) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: DRAINING in server.log)


def test_what_is_accepted_during_the_drain_runs_after_the_restart(serve: Callable[..., Server], go: Path) -> None:
    server = serve(waiting("x"))
    with httpx.Client(base_url=server.url, timeout=20) as http:
        first = begin(server, http)
        thread = http.post("/threads", json={}).json()["thread_id"]
        told_to_stop(server)
        assert http.get("/ok").json()["ok"]  # a connection that is open is served
        created = http.post(f"/threads/{thread}/runs", json=INPUT)
        assert created.status_code == 200
        second = f"/threads/{thread}/runs/{created.json()['run_id']}"
        assert http.get(second).json()["status"] == "pending"
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/ok")
        go.touch()
        assert server.process is not None and server.process.wait(15) == 0
    server.start()
    for place in (first, second):
        assert httpx.get(f"{server.url}{place}/join").json()["log"] == ["x", "x"]


def test_who_waits_for_a_run_is_not_told_that_it_is_over(serve: Callable[..., Server], go: Path) -> None:
    server = serve(waiting("x"), THREADMILL_DRAIN_GRACE="0.1")
    with httpx.Client(base_url=server.url, timeout=20) as http:
        place = begin(server, http)
        with http.stream("GET", f"{place}/join") as answer:
            assert answer.status_code == 200
            assert server.term(within=10) == 0
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()
    go.touch()
    server.start()
    assert httpx.get(f"{server.url}{place}/join").json()["log"] == ["x", "x"]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(serve: Callable[..., Server], go: Path, second: signal.Signals) -> None:
    server = serve(waiting("x"), THREADMILL_DRAIN_GRACE="60")
    with httpx.Client(base_url=server.url, timeout=20) as http:
        place = begin(server, http)
        told_to_stop(server)
        assert server.process is not None
        server.process.send_signal(second)
        assert server.process.wait(5) == 128 + second
    go.touch()
    server.start()
    assert httpx.get(f"{server.url}{place}/join").json()["log"] == ["x", "x"]


def test_a_node_that_blocks_its_thread_does_not_keep_the_server(serve: Callable[..., Server], tmp_path: Path) -> None:
    stuck = "def say(state):\n    import time\n    Path(__file__ + '.in').touch()\n    time.sleep(3600)\n"
    server = serve(HEADER + stuck + GRAPH, THREADMILL_DRAIN_GRACE="0.1")
    httpx.post(f"{server.url}/runs", json=INPUT)
    eventually((tmp_path / "p" / "agent.py.in").exists)
    began = time.monotonic()
    assert server.term(within=15) == 0
    assert time.monotonic() - began < 10
