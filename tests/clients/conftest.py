"""The server that clients talk to, and the record of what each of them really asked of it."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from clients import record
from serving import KIT, Remote, Server

pytest.register_assert_rewrite("clients.scenario", "clients.scenarios")

HERE = Path(__file__).parent
PASSED = pytest.StashKey[bool]()
NO_ROUTE = "(no route)"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "client(name): the column of docs/compatibility.md that a test belongs to")
    config.addinivalue_line("markers", "shows(*rows): the rows that it makes true")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """The graphs of the kit, with a store that searches by meaning, and webhooks that may go to this machine."""
    if url := os.environ.get("THREADMILL_TEST_URL"):
        yield Remote(url)
        return
    folder = tmp_path_factory.mktemp("clients")
    project = json.loads(KIT.read_text("utf-8"))
    for graph_id, graph in project["graphs"].items():
        spec = graph if isinstance(graph, dict) else {"path": graph}
        project["graphs"][graph_id] = {**spec, "path": str(KIT.parent / spec["path"])}
    project["graphs"] |= {name: f"{HERE}/voices.py:{name}" for name in ("weather", "duet")}
    project["dependencies"] = [str(KIT.parent)]
    project["store"] = {"index": {"dims": 3, "embed": f"{HERE}/meaning.py:embed", "fields": ["text"]}}
    project["webhooks"] = {"url": {"disable_loopback": False}}
    (folder / "langgraph.json").write_text(json.dumps(project), "utf-8")
    own = Server(folder / "data", folder / "langgraph.json").start()
    yield own
    own.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


def answered(server: Remote) -> dict[str, int]:
    """How often each route was answered with success, in the server's own count."""
    numbers = httpx.get(f"{server.url}/metrics?format=json", timeout=10).json()
    counts: dict[str, int] = {}
    for one in numbers["api"]["http_requests_total"]:
        if 200 <= one["status"] < 300 and one["path"] != NO_ROUTE:
            route = f"{one['method']} {re.sub(r':[a-z]+}', '}', one['path'])}"  # {namespace:path}
            counts[route] = counts.get(route, 0) + one["count"]
    return counts


@pytest.fixture(autouse=True)
def recorded(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compares what this test shows with record.json, or with RECORD=1 writes it there."""
    client = request.node.get_closest_marker("client")
    if client is None or os.environ.get("THREADMILL_TEST_URL"):
        yield
        return
    served: Remote | None = request.getfixturevalue("server") if "server" in request.fixturenames else None
    before = answered(served) if served else {}
    yield
    if not request.node.stash.get(PASSED, False):
        return
    after = answered(served) if served else {}
    after["GET /metrics"] = after.get("GET /metrics", 1) - 1  # the look before
    routes = [route for route, count in after.items() if count > before.get(route, 0)]
    shows = [row for mark in request.node.iter_markers("shows") for row in mark.args]
    test = f"{request.path.name}::{request.node.name}"
    record.keep(test, client.args[0], shows, routes, write=bool(os.environ.get("RECORD")))
