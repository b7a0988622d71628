"""The Python SDK of the last minor version, asynchronous and not, in an environment of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients.scenarios import SCENARIOS
from serving import Remote

HERE = Path(__file__).parent
pytestmark = [pytest.mark.client("Python 0.3"), pytest.mark.xdist_group("previous sdk")]  # one environment, one process


@pytest.fixture(scope="session")
def previous_python() -> Path:
    """Made from its lock file; there already, it costs a moment."""
    project = HERE / "previous"
    env = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")}
    uv = [str(Path(sys.executable).with_name("uv")), "sync", "--frozen", "--quiet", "--python", sys.executable]
    subprocess.run([*uv, "--project", str(project)], env=env, check=True, timeout=100)
    return project / ".venv" / "bin" / "python"


@pytest.fixture(scope="module")
def ask(previous_python: Path, server: Remote) -> Iterator[Callable[[str], dict[str, str | None]]]:
    """Has one scenario run: `ask("sync runs_live")`."""
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [str(previous_python), "-m", "clients.one_by_one", server.url]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        into, out = process.stdin, process.stdout

        def ask(line: str) -> dict[str, str | None]:
            into.write(f"{line}\n")
            into.flush()
            answer: dict[str, str | None] = json.loads(out.readline())
            return answer

        yield ask
        into.close()


def test_it_has_no_method_for_the_event_protocol(previous_python: Path) -> None:
    look = "import langgraph_sdk as sdk; print([hasattr(make(url='http://x').threads, 'stream') for make in "
    look += "(sdk.get_client, sdk.get_sync_client)])"
    found = subprocess.run([previous_python, "-c", look], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[False, False]"


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.shows(*s.shows)) for n, s in SCENARIOS.items() if s.previous]
)
def test_scenario(name: str, kind: str, ask: Callable[[str], dict[str, str | None]]) -> None:
    answer = ask(f"{kind} {name}")
    assert answer["failure"] is None, answer["failure"]
    assert str(answer["sdk"]).startswith("0.3.")
