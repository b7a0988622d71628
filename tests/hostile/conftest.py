"""One server of a careless project for all of these tests: none of them may harm it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hostile.asking import Api
from serving import Server

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    sharing = {"THREADMILL_SHARING": "true"}
    own = Server(tmp_path_factory.mktemp("hostile") / "data", PROJECT, sharing).start()
    yield own
    own.kill()


@pytest.fixture(scope="package")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


@pytest.fixture
def thread(http: httpx.Client) -> str:
    return str(http.post("/threads", json={}).json()["thread_id"])


@pytest.fixture(scope="package")
def api(http: httpx.Client) -> Api:
    return Api(http)
