"""Commands that are ended when their test is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.command import Threadmill


@pytest.fixture
def threadmill(tmp_path: Path) -> Iterator[Callable[..., Threadmill]]:
    """`threadmill("serve", "--config", folder, THREADMILL_LEASE="5")`: a command that is under way."""
    started: list[Threadmill] = []

    def start(*arguments: str | Path, cwd: Path | None = None, cold: bool = False, **env: str) -> Threadmill:
        place = tmp_path / f"command{len(started)}"
        place.mkdir()
        started.append(Threadmill(place, *arguments, cwd=cwd, cold=cold, **env))
        return started[-1]

    yield start
    for one in started:
        one.close()
