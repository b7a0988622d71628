"""A real server, real clients, and bad luck that a seed repeats (THREADMILL_SEED). Long form: THREADMILL_CHAOS=long."""

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crash.conftest import Victim, victims

__all__ = ["victims"]

LONG = os.environ.get("THREADMILL_CHAOS") == "long"
SEED = int(os.environ.get("THREADMILL_SEED") or (random.SystemRandom().randrange(10**6) if LONG else 0))
HERE = Path(__file__).parent
PROJECT = HERE / "project" / "langgraph.json"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(900 if LONG else 90))


def scaled(short: int, long: int) -> int:
    return long if LONG else short


@pytest.fixture
def chance() -> random.Random:
    return random.Random(SEED)


@pytest.fixture
def tell(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], None]]:
    """Print the figures of a scenario, also when it passes; a scenario that fails prints its seed."""
    began = time.monotonic()

    def line(text: str) -> None:
        with capsys.disabled():
            seconds = time.monotonic() - began
            sys.stderr.write(f"\n{request.node.name}: {text} ({seconds:.1f} s, THREADMILL_SEED={SEED})\n")

    sys.stdout.write(f"to repeat: THREADMILL_SEED={SEED}" + " THREADMILL_CHAOS=long" * LONG)
    yield line


@pytest.fixture
def server(victims: Callable[..., Victim]) -> Victim:
    one = victims(config=PROJECT)
    one.start()
    return one
