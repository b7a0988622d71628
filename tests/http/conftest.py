import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Server

OWN = Path(__file__).parent / "own"


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """A server of the project in tests/http/own, with these sections in its langgraph.json."""
    started: list[Server] = []

    def start(env: dict[str, str] | None = None, **sections: Any) -> Server:
        folder = tmp_path_factory.mktemp("http")
        for file in OWN.glob("*.py"):
            (folder / file.name).write_text(file.read_text())
        graphs = {"who": "./graph.py:who", "blocking": "./graph.py:blocking"}
        config = {"graphs": graphs, "dependencies": ["."], **sections}
        (folder / "langgraph.json").write_text(json.dumps(config))
        started.append(Server(folder / "data", folder / "langgraph.json", env))
        return started[-1].start()

    yield start
    for one in started:
        one.kill()
