"""One server for these tests, with graphs that fill every channel."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from serving import Remote, Server

pytest.register_assert_rewrite("protocol.wire")

from protocol.wire import Thread  # noqa: E402  # after that

PROJECT = Path(__file__).with_name("langgraph.json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:  # a frozen stream must fail, not hang the suite
            item.add_marker(pytest.mark.timeout(90))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    own = Server(tmp_path_factory.mktemp("protocol") / "data", PROJECT).start()
    yield own
    own.kill()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Servers of one's own with these graphs and some settings."""
    started: list[Server] = []

    def start(config: Path = PROJECT, **env: str) -> Server:
        started.append(Server(tmp_path / f"data{len(started)}", config, env))
        return started[-1].start()

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def place(server: Remote, http: httpx.AsyncClient) -> Thread:
    """A thread that is not there yet."""
    return Thread(server, http)
