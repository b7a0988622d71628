"""/metrics tells exactly what happened."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import Server, until

from threadmill.metrics import Metrics, Snapshot

UNKNOWN = "01a1fbab-0000-7000-8000-000000000000"


def parsed(text: str) -> dict[str, float]:
    """`name{label="value",...}`, with labels in their order, and its value."""
    told = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
            told[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return told


async def scrape(http: httpx.AsyncClient) -> dict[str, float]:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return parsed(answer.text)


def told(metrics: Metrics) -> dict[str, float]:
    return parsed(metrics.text(Snapshot()).decode())


async def shows(http: httpx.AsyncClient, name: str, value: float) -> dict[str, float]:
    """Wait until it does."""

    async def shown() -> dict[str, float]:
        now = await scrape(http)
        return now if now[name] == value else {}

    return await until(shown)


# A scripted day


@pytest.mark.anyio
async def test_threads_and_runs_are_counted_exactly(own_server: Server) -> None:
    client = own_server.client()
    made = [(await client.threads.create(if_exists="do_nothing"))["thread_id"] for _ in range(5)]
    await client.threads.create(thread_id=made[0], if_exists="do_nothing")  # is there
    await client.threads.copy(made[0])
    await client.runs.wait(made[1], "echo", input={"messages": "hi"})
    await client.runs.wait(UNKNOWN, "echo", input={"messages": "hi"}, if_not_exists="create")
    await client.runs.wait(made[2], "boom", input={}, raise_error=False)
    await client.runs.wait(None, "echo", input={"messages": "hi"})
    late = await client.runs.create(made[3], "echo", input={}, after_seconds=3600)
    await client.runs.cancel(made[3], late["run_id"], wait=True)
    gone = await client.runs.create(made[4], "echo", input={}, after_seconds=3600)
    await client.threads.delete(made[4])
    assert gone["status"] == "pending"
    async with own_server.http as http:
        with pytest.raises(httpx.HTTPStatusError):
            (await http.post("/threads", json={"thread_id": made[0]})).raise_for_status()
        now = await scrape(http)
        assert now['threadmill_threads_created_total{kind="kept"}'] == 7
        assert now['threadmill_threads_created_total{kind="stateless"}'] == 1
        assert now["threadmill_runs_created_total"] == 6
        assert now['threadmill_runs_ended_total{status="success"}'] == 3
        assert now['threadmill_runs_ended_total{status="error"}'] == 1
        assert now['threadmill_runs_ended_total{status="interrupted"}'] == 2
        assert now['threadmill_runs_ended_total{status="timeout"}'] == 0
        assert now['threadmill_http_requests_total{method="POST",path="/threads",status="200"}'] == 6
        assert now['threadmill_http_requests_total{method="POST",path="/threads",status="409"}'] == 1
        assert now['threadmill_http_requests_total{method="POST",path="/runs/wait",status="200"}'] == 1
        assert now['threadmill_http_request_seconds_count{method="POST",path="/threads"}'] == 7


@pytest.mark.anyio
async def test_counts_of_threads_outlive_a_crash(own_server: Server) -> None:
    client = own_server.client()
    for _ in range(3):
        await client.threads.create()
    own_server.restart()
    await client.threads.create()
    async with own_server.http as http:
        assert (await scrape(http))['threadmill_threads_created_total{kind="kept"}'] == 4


@pytest.mark.anyio
async def test_the_queue_and_the_workers(start_server: Callable[..., Server]) -> None:
    server = start_server(THREADMILL_MAX_CONCURRENT_RUNS="2")
    client = server.client()
    threads = [(await client.threads.create())["thread_id"] for _ in range(3)]
    slow = {"assistant_id": "slow", "input": {"steps": 600, "delay": 0.1}}
    async with server.http as http:
        asked = [threads[0], threads[0], threads[1], threads[2]]  # runs, waits for it, runs, waits for a worker
        for thread in asked:
            await http.post(f"/threads/{thread}/runs", json=slow)
        await http.post(f"/threads/{threads[2]}/runs", json=slow | {"after_seconds": 3600})
        now = await shows(http, 'threadmill_runs{status="running"}', 2)
        assert now['threadmill_runs{status="pending"}'] == 3
        assert [now[f"threadmill_workers_{name}"] for name in ("max", "active", "available")] == [2, 2, 0]
        longest, free = (now[f"threadmill_queue_{name}wait_max_seconds"] for name in ("", "unblocked_"))
        assert 0 < free < longest < 60
        assert 0 < now["threadmill_queue_wait_median_seconds"] <= longest
        plain = (await http.get("/metrics?format=json")).json()
        assert list(plain) == ["queue", "api", "workers"]
        assert plain["workers"] == {"max": 2, "active": 2, "available": 0}
        assert (plain["queue"]["n_pending"], plain["queue"]["n_running"]) == (3, 2)
        assert plain["queue"]["pending_runs_wait_time_max_secs"] >= longest
        assert plain["queue"]["pending_unblocked_runs_wait_time_max_secs"] >= free
        assert {"method": "POST", "path": "/threads/{thread_id}/runs", "status": 200, "count": 5} in plain["api"][
            "http_requests_total"
        ]
        assert (await http.get("/metrics?format=xml")).status_code == 422


@pytest.mark.anyio
async def test_thirty_seven_connections_are_thirty_seven_sessions(own_server: Server) -> None:
    thread = (await own_server.client().threads.create())["thread_id"]
    asked = {"assistant_id": "echo", "input": {"messages": "hi"}, "after_seconds": 3600}
    async with own_server.http as http, AsyncExitStack() as open_ones:
        run = (await http.post(f"/threads/{thread}/runs", json=asked)).json()["run_id"]
        for _ in range(37):
            await open_ones.enter_async_context(http.stream("GET", f"/threads/{thread}/runs/{run}/stream"))
        now = await scrape(http)
        assert (now["threadmill_sessions"], now["threadmill_sessions_peak"]) == (37, 37)
        assert now['threadmill_open_streams{kind="events"}'] == 37
        assert now["threadmill_session_seconds_count"] == 0
        await open_ones.aclose()
        now = await shows(http, "threadmill_sessions", 0)
        assert now["threadmill_sessions_peak"] == 37
        assert now["threadmill_session_seconds_count"] == 37
        joined = asyncio.create_task(http.get(f"/threads/{thread}/runs/{run}/join"))
        now = await shows(http, 'threadmill_open_streams{kind="wait"}', 1)
        assert (now["threadmill_sessions"], now["threadmill_sessions_peak"]) == (0, 37)  # waiting is no session
        await http.post(f"/threads/{thread}/runs/{run}/cancel")
        await joined


@pytest.mark.anyio
async def test_readers_that_come_back(own_server: Server) -> None:
    thread = (await own_server.client().threads.create())["thread_id"]
    asked = {"assistant_id": "echo", "input": {"messages": "hi"}, "stream_resumable": True}
    async with own_server.http as http:
        answer = await http.post(f"/threads/{thread}/runs/stream", json=asked)
        ids = [line[4:] for line in answer.text.splitlines() if line.startswith("id: ")]
        stream = answer.headers["location"]
        now = await scrape(http)
        names = [f"threadmill_stream_{name}_total" for name in ("reconnects", "resumes_failed")]
        assert [now[name] for name in names] == [0, 0]
        for came_with in (ids[0], ids[-1], None, "-1"):
            await http.get(stream, headers={"Last-Event-ID": came_with} if came_with else {})
        now = await scrape(http)
        assert [now[name] for name in names] == [2, 0]
        for came_with in ("garbage", "999999"):
            await http.get(stream, headers={"Last-Event-ID": came_with})
        now = await scrape(http)
        assert [now[name] for name in names] == [4, 2]
        assert now["threadmill_streams_broken_total"] == 0


@pytest.mark.anyio
async def test_the_first_output_of_each_run_is_measured_once(own_server: Server) -> None:
    async with own_server.http as http:
        for modes in (["values"], ["messages", "values"], ["updates"], ["custom"]):
            asked = {"assistant_id": "echo", "input": {"messages": "hi"}, "stream_mode": modes}
            await http.post("/runs/wait", json=asked)
        now = await scrape(http)
    assert now["threadmill_first_output_seconds_count"] == 3  # nothing custom there
    assert 0 < now["threadmill_first_output_seconds_sum"] < 30


@pytest.mark.anyio
async def test_a_blocked_loop_is_measured(own_server: Server) -> None:
    peak = 'threadmill_event_loop_lag_peak_seconds{loop="graphs"}'
    async with own_server.http as http:

        async def both_loops_are_watched() -> bool:
            now = await scrape(http)
            return all(
                now[f'threadmill_event_loop_lag_seconds_count{{loop="{one}"}}'] > 1 for one in ("http", "graphs")
            )

        await until(both_loops_are_watched)
        await own_server.client().runs.wait(None, "blocking", input={"seconds": 1})

        async def seen() -> bool:
            return (await scrape(http))[peak] > 0.8

        assert await until(seen)


@pytest.mark.anyio
async def test_ids_and_unknown_paths_make_no_series(own_server: Server) -> None:
    async with own_server.http as http:
        for number in range(3):
            await http.get(f"/nowhere/{number}")
            await http.get(f"/threads/01a1fbab-0000-7000-8000-00000000000{number}")
        await http.request("PROPFIND", "/ok")
        await http.request("PROPFIND", "/nowhere")
        now = await scrape(http)
        series = {name: value for name, value in now.items() if name.startswith("threadmill_http_requests_total")}
        assert series.pop('threadmill_http_requests_total{method="GET",path="(no route)",status="404"}') == 3
        assert series.pop('threadmill_http_requests_total{method="GET",path="/threads/{thread_id}",status="404"}') == 3
        assert series.pop('threadmill_http_requests_total{method="other",path="(no route)",status="404"}') == 1
        assert series.pop('threadmill_http_requests_total{method="other",path="/ok",status="405"}') == 1
        assert list(series) == ['threadmill_http_requests_total{method="GET",path="/ok",status="200"}']


@pytest.mark.anyio
async def test_metrics_need_no_credentials(tmp_path: Path) -> None:
    (tmp_path / "guard.py").write_text(
        "from langgraph_sdk import Auth\nauth = Auth()\n\n@auth.authenticate\nasync def nobody(headers):\n"
        "    raise Auth.exceptions.HTTPException(status_code=401, detail='no')\n"
    )
    (tmp_path / "agent.py").write_text(
        "from typing import TypedDict\nfrom langgraph.graph import START, StateGraph\n"
        "class State(TypedDict):\n    n: int\n"
        "graph = StateGraph(State).add_node('a', lambda s: s).add_edge(START, 'a').compile()\n"
    )
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}, "auth": {"path": "./guard.py:auth"}}))
    server = Server(tmp_path / "data", config).start()
    try:
        async with server.http as http:
            assert (await http.post("/threads", json={})).status_code == 401
            now = await scrape(http)
            assert now['threadmill_http_requests_total{method="POST",path="/threads",status="401"}'] == 1
    finally:
        server.kill()


# With a clock that is moved


def test_a_session_lasts_from_opening_to_end() -> None:
    now = [100.0]
    metrics = Metrics(clock=lambda: now[0])
    with metrics.stream("events"):
        now[0] += 10
        with metrics.stream("events"), metrics.stream("wait"):
            now[0] += 50
        assert told(metrics)["threadmill_sessions"] == 1
    numbers = told(metrics)
    assert numbers["threadmill_session_seconds_count"] == 2
    assert numbers["threadmill_session_seconds_sum"] == 60 + 50
    assert numbers['threadmill_session_seconds_bucket{le="60.0"}'] == 2
    assert numbers['threadmill_session_seconds_bucket{le="15.0"}'] == 0
    assert (numbers["threadmill_sessions"], numbers["threadmill_sessions_peak"]) == (0, 2)


@pytest.mark.parametrize(
    ("events", "measured"),
    [
        ([("metadata", ()), ("values", ()), ("values", ())], 3),  # the first state is the input
        ([("values", ()), ("messages", ()), ("values", ())], 2),
        ([("custom", ())], 1),
        ([("values", ()), ("updates", ())], 2),
        ([("values", ()), ("tasks", ()), ("debug", ()), ("checkpoints", ())], None),
    ],
)
def test_the_first_output_is_the_first_thing_that_the_graph_said(
    events: list[tuple[str, tuple[str, ...]]], measured: int | None
) -> None:
    """One second passes before each event."""
    created = datetime(2026, 1, 1, tzinfo=UTC)
    now, recorded = [created], []
    metrics = Metrics(now=lambda: now[0])
    run: Any = SimpleNamespace(attempt=1, created_at=created.isoformat())
    record = metrics.first_output(run, lambda method, namespace, data: recorded.append((method, namespace)))
    for method, namespace in [*events, ("messages", ())] if measured else events:
        now[0] += timedelta(seconds=1)
        record(method, namespace, b"{}")
    assert recorded[: len(events)] == events
    numbers = told(metrics)
    assert numbers["threadmill_first_output_seconds_count"] == bool(measured)
    assert numbers["threadmill_first_output_seconds_sum"] == (measured or 0)


def test_a_later_attempt_is_not_measured() -> None:
    def record(method: str, namespace: tuple[str, ...], data: bytes) -> None: ...

    run: Any = SimpleNamespace(attempt=2, created_at="2026-01-01T00:00:00+00:00")
    assert Metrics().first_output(run, record) is record


def test_each_runtime_has_its_own_numbers() -> None:
    one, other = Metrics(), Metrics()
    one.request("GET", "/ok", 200, 0.01)
    assert told(one)['threadmill_http_requests_total{method="GET",path="/ok",status="200"}'] == 1
    assert 'threadmill_http_requests_total{method="GET",path="/ok",status="200"}' not in told(other)


def test_every_metric_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    named = set(re.findall(r"`(threadmill_\w+)`", page))
    families = text_string_to_metric_families(Metrics().text(Snapshot()).decode())
    told = {one.name + "_total" * (one.type == "counter") for one in families if one.name.startswith("threadmill_")}
    assert {name for name in told if not name.endswith("_created")} == named
