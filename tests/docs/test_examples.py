"""Every example in the documentation that is marked `test` is run, as it stands, against a real server.

    ```python test      runs in a new interpreter
    ```bash test        runs in bash, in an empty folder
    ```json thread      has the keys of what the server answers: thread, run, state, assistant

A comment `<!-- expect: text -->` above a block names what it must print; `<!-- alone -->` runs it without a server.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from serving import Server

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?P<comments>(?:<!--[^\n]*-->\n)*)```(?P<language>\w+) (?P<word>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SECONDS = 60
PORT = "2024"
QUICK = {"THREADMILL_DEMO_DELAY_MS": "0"}  # the default agent, without its pauses


@dataclass(frozen=True)
class Example:
    page: Path
    line: int
    language: str
    word: str
    code: str
    expected: tuple[str, ...]
    alone: bool

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def examples() -> Iterator[Example]:
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in BLOCK.finditer(text):
            expected = tuple(re.findall(r"<!-- expect: (.*?) -->", found["comments"]))
            line = text.count("\n", 0, found.start("code")) + 1
            alone = "<!-- alone -->" in found["comments"]
            yield Example(page, line, found["language"], found["word"], found["code"], expected, alone)


ALL = list(examples())
# What is marked `kill` has a server killed under it: test_kill_example.py.
PROGRAMS = [example for example in ALL if example.language in ("python", "bash") and example.word != "kill"]
OBJECTS = [example for example in ALL if example.language == "json"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As `make run` serves it."""
    env = {**QUICK, "THREADMILL_SHARING": "1"}
    server = Server(tmp_path_factory.mktemp("docs") / "data", ROOT / "langgraph.json", env).start()
    yield server
    server.kill()


def run(example: Example, folder: Path, port: int | str, url: str) -> str:
    code = example.code.replace(f":{PORT}", f":{port}")
    command = {"python": [sys.executable, "-c", code], "bash": ["bash", "-eu", "-c", code]}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("THREADMILL_")}
    env = {**inherited, "PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **QUICK}
    done = subprocess.run(
        command[example.language], cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"{example.name} against {url}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("example", PROGRAMS, ids=lambda example: example.name)
def test_an_example_does_what_its_page_says(example: Example, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert example.word == "test", f"{example.name}: '{example.word}' is no marker"
    assert example.expected, f"{example.name} says nothing about what it prints"
    for tool in ("curl", "jq"):
        if f"{tool} " in example.code and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed here")
    server = None if example.alone else request.getfixturevalue("served")
    port, url = (server.port, server.url) if server else (PORT, "nothing")
    printed = run(example, tmp_path, port, url)
    for text in example.expected:
        assert text in printed, f"{example.name} did not print {text!r}\n{printed[-4000:]}"


def real_objects(server: Server) -> dict[str, Any]:
    with httpx.Client(base_url=server.url, timeout=SECONDS) as http:
        asked = {"assistant_id": "agent", "input": {"messages": "What is 15% of 80?"}}
        thread_id = http.post("/threads", json={}).json()["thread_id"]
        http.post(f"/threads/{thread_id}/runs/wait", json=asked).raise_for_status()
        return {
            "thread": http.get(f"/threads/{thread_id}").json(),
            "run": http.get(f"/threads/{thread_id}/runs").json()[0],
            "state": http.get(f"/threads/{thread_id}/state").json(),
            "assistant": http.post("/assistants/search", json={}).json()[0],
        }


@pytest.mark.parametrize("example", OBJECTS, ids=lambda example: example.name)
def test_an_object_is_shown_with_the_keys_it_has(example: Example, served: Server) -> None:
    shown, real = orjson.loads(example.code), real_objects(served)[example.word]
    assert list(shown) == list(real)


def test_every_marked_block_is_found() -> None:
    marked = [re.findall(r"^```\w+ \w+$", page.read_text("utf-8"), re.MULTILINE) for page in PAGES]
    assert len(ALL) == sum(map(len, marked)) > 10


def test_the_readme_shows_the_whole_life_of_a_thread() -> None:
    """Its Python example creates, streams, lists, resumes and forks, in about ten lines."""
    readme = [example for example in PROGRAMS if example.page.name == "README.md" and example.language == "python"]
    code = "\n".join(example.code for example in readme)
    for call in ("threads.create", "runs.stream", "threads.search", '"resume"', "checkpoint="):
        assert call in code
    assert len([line for line in readme[0].code.splitlines() if line.strip()]) <= 12
