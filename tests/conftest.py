"""Fixtures of the black-box tests: one server per worker, the official SDK and a raw HTTP client."""

import functools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx._transports.default as transports
import pytest
from hypothesis import HealthCheck, settings
from langgraph_sdk.client import LangGraphClient
from serving import Remote, Server

MEMORY, ROOM = Path("/dev/shm"), 4 << 30
BLACK_BOX = {"api", "streaming"}
LOG_TAIL = 8_000

# The first draw of a fresh clone makes tables for a second or more: how fast that is tells of the machine alone.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        # Half of the suite's time went into waiting for the disk; no test can tell, as none cuts the power of this one.
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
    # Each client reads all certificates, 20 ms, also when it only speaks plain HTTP: thousands of them read them once.
    transports.create_ssl_context = functools.cache(httpx.create_ssl_context)  # type: ignore[attr-defined]
    config.addinivalue_line(
        "markers",
        "beyond_reference: documented behaviour that `langgraph dev` lacks or gets wrong; deselect to run against it",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path, reverse=True)  # short ones, of api, come late: no worker has to be idle then
    # Playwright's loop runs on in its worker, where no other can run any more: the page comes after all others.
    items.sort(key=lambda item: item.path.parent.name == "web")
    for item in items:
        if item.path.parent.name in BLACK_BOX:  # a frozen stream must fail, not hang the suite
            item.add_marker(pytest.mark.timeout(60))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.failed:
        for server in _servers_of(item):
            report.sections.append((f"log of {server.url}", server.log[-LOG_TAIL:]))
    return report


def _servers_of(item: pytest.Item) -> list[Remote]:
    values = getattr(item, "funcargs", {}).values()
    return [value for value in values if isinstance(value, Remote) and value.log]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """The kit project, served; or what THREADMILL_TEST_URL names, for example the reference server."""
    if url := os.environ.get("THREADMILL_TEST_URL"):
        yield Remote(url)
        return
    own = Server(tmp_path_factory.mktemp("served") / "data").start()
    yield own
    own.kill()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers of one's own, with settings: `start_server(THREADMILL_HEARTBEAT="0.2")`."""
    if os.environ.get("THREADMILL_TEST_URL"):
        pytest.skip("needs to start a server")
    started: list[Server] = []

    def start(**env: str) -> Server:
        started.append(Server(tmp_path / f"data{len(started)}", env=env))
        return started[-1].start()

    yield start
    for one in started:
        if one.process is not None:
            one.kill()


@pytest.fixture
def own_server(start_server: Callable[..., Server]) -> Server:
    return start_server()


@pytest.fixture
def client(server: Remote) -> LangGraphClient:
    return server.client()


@pytest.fixture
async def http(server: Remote) -> AsyncIterator[httpx.AsyncClient]:
    async with server.http as raw:
        yield raw


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    """The id of a new, empty thread."""
    return (await client.threads.create())["thread_id"]
