"""The scripts in examples/ run as they stand, and print what they are there to show."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Server

EXAMPLES = Path(__file__).parents[2] / "examples"
SHOWN = {
    "thread_per_topic": (
        "orders: Where is order 4711? (idle, 4 messages)",
        "sums: What is 15% of 80? (idle, 4 messages)",
    ),
    "resume_any_thread": ("4712", "ai: 15 / 100 * 80 = 12"),
    "fork_from_a_checkpoint": (
        "What if: 4 messages",
        "20 / 100 * 80 = 16",
        "the source still ends with: 15 / 100 * 80 = 12",
    ),
}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    env = {"THREADMILL_DEMO_DELAY_MS": "0"}
    own = Server(tmp_path_factory.mktemp("scripts") / "data", EXAMPLES.parent / "langgraph.json", env).start()
    yield own.port
    own.kill()


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.[ps][yh]")), ids=lambda script: script.name)
def test_a_script_shows_what_it_is_for(script: Path, port: int, tmp_path: Path) -> None:
    tools = [] if script.suffix == ".py" else [tool for tool in ("curl", "jq") if shutil.which(tool) is None]
    if tools:
        pytest.skip(f"{tools[0]} is not installed here")
    copied = tmp_path / script.name
    copied.write_text(script.read_text("utf-8").replace(":2024", f":{port}"), "utf-8")
    command = [sys.executable] if script.suffix == ".py" else ["bash"]
    done = subprocess.run(
        [*command, str(copied)], env=os.environ, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for text in SHOWN[script.stem]:
        assert text in done.stdout, done.stdout


def test_each_use_is_shown_in_both_ways() -> None:
    assert {script.name for script in EXAMPLES.glob("*.[ps][yh]")} == {
        f"{name}.{ending}" for name in SHOWN for ending in ("py", "sh")
    }
