"""Servers that are made to be killed."""

import random
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from serving import Server

import threadmill
import threadmill_checkpoints

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
CODE = [Path(package.__file__ or "").parent for package in (threadmill, threadmill_checkpoints)]


class Victim(Server):
    """A server that comes back on the same port, again and again, and starts from compiled code."""

    def __init__(self, data_dir: Path, config: Path, env: Mapping[str, str]) -> None:
        super().__init__(data_dir, config, {"PYTHONDONTWRITEBYTECODE": "", **env})
        # Not from the range of outgoing connections: one of those could take the port while the server is dead.
        self.port = _quiet_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._code = _code()

    def start(self) -> Server:
        assert _code() == self._code, "the code changed under the test: its servers need not agree"
        return super().start()

    @property
    def file(self) -> Path:
        return self.data_dir / "threadmill.sqlite"


def _code() -> int:
    """When it was last changed."""
    return max(file.stat().st_mtime_ns for place in CODE for file in place.rglob("*.py"))


def _quiet_port() -> int:
    while True:
        port = random.SystemRandom().randrange(12_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Callable[..., Victim]]:
    """`victims(THREADMILL_LEASE="5")`: a new server with these settings, not yet started."""
    made: list[Victim] = []

    def make(config: Path = PROJECT, **env: str) -> Victim:
        made.append(Victim(tmp_path / f"data{len(made)}", config, env))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None:
            one.kill()


@pytest.fixture
def victim(victims: Callable[..., Victim]) -> Victim:
    started = victims()
    started.start()
    return started
