"""One server, what it says of itself, and things of each kind on it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis.openapi import from_url
from serving import Server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    own = Server(tmp_path_factory.mktemp("described") / "data", env={"THREADMILL_SHARING": "1"}).start()
    yield own
    own.kill()


@pytest.fixture(scope="package")
def described(server: Server) -> schemathesis.BaseSchema:
    return from_url(f"{server.url}/openapi.json")


@pytest.fixture(scope="package")
def spec(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{server.url}/openapi.json").json()
    return answer
