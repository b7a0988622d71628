"""A server with strict agents, and what one says to them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from serving import Server


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    own = Server(tmp_path_factory.mktemp("stops") / "data", Path(__file__).parent / "langgraph.json")
    yield own.start()
    own.kill()


@pytest.fixture
async def http(project: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with project.http as raw:
        yield raw
