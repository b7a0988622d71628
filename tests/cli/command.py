"""The `threadmill` command as a person starts it: a real process, whose output is read while it runs."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import httpx
import warm

T = TypeVar("T")

HEADER = """\
import asyncio, operator
from pathlib import Path
from typing import Annotated
from typing_extensions import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]

"""
GRAPH = """
builder = StateGraph(State).add_node("say", say).add_edge(START, "say")
graph = builder.compile()
"""


def saying(word: str) -> str:
    """The source of a graph that appends this word to its log."""
    return HEADER + f"async def say(state):\n    return {{'log': [{word!r}]}}\n" + GRAPH


def waiting(word: str) -> str:
    """A graph of two nodes: the first says a word, the second waits for the file `go` and says it, too."""
    return f"""{HEADER}
async def say(state):
    return {{"log": [{word!r}]}}

async def wait(state):
    while not Path(__file__).with_name("go").exists():
        await asyncio.sleep(0.01)
    return {{"log": [{word!r}]}}
{GRAPH}
builder = StateGraph(State).add_node("say", say).add_node("wait", wait).add_edge(START, "say").add_edge("say", "wait")
graph = builder.compile()
"""


def project(folder: Path, graphs: Mapping[str, str] | None = None, *, more: str = "", **files: str) -> Path:
    """A folder with a langgraph.json and, for every keyword, a Python file. `more` is JSON to add."""
    folder.mkdir(parents=True, exist_ok=True)
    named = json.dumps(dict(graphs or {"agent": "./agent.py:graph"}))
    (folder / "langgraph.json").write_text(f'{{"graphs": {named}{more and ", " + more}}}')
    for name, source in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
    return folder


def eventually(probe: Callable[[], T | None], process: "Threadmill | None" = None, within: float = 20.0) -> T:
    """Poll until the probe answers something true: for output, files and processes, which do not notify."""
    deadline = time.monotonic() + within
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not in {within} s\n{process.log if process else ''}"
        time.sleep(0.02)
    return answer


class Threadmill:
    """`threadmill <arguments>`; stdout and stderr go to one file each. `cold` starts an interpreter for it."""

    def __init__(
        self, place: Path, *arguments: str | Path, cwd: Path | None = None, cold: bool = False, **env: str
    ) -> None:
        self._out, self._err = place / "stdout", place / "stderr"
        self._out.touch()
        self._err.touch()
        command, cwd = ["-m", "threadmill", *map(str, arguments)], cwd or place
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("THREADMILL_")}
        env = {**inherited, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **env}
        self.process: subprocess.Popen[bytes] | warm.Warm
        if not cold and warm.can_be(env):
            self.process = warm.Warm(command, env, self._out, self._err, cwd)
            return
        with self._out.open("wb") as out, self._err.open("wb") as err:
            command = [sys.executable, *command]
            self.process = subprocess.Popen(command, cwd=cwd, env=env, stdout=out, stderr=err)

    @property
    def log(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def url(self) -> str:
        """Once it serves."""
        return self.says(r'"url": "(http://[^"]+)"', r"API +(http://\S+)")

    def says(self, *patterns: str, times: int = 1) -> str:
        """Wait until one of the patterns is in the log that often; what its first group matched last."""

        def found() -> list[str] | None:
            assert self.process.poll() is None or any(re.search(one, self.log) for one in patterns), self.log
            for pattern in patterns:
                matches = [match[match.re.groups and 1] for match in re.finditer(pattern, self.log)]
                if len(matches) >= times:
                    return matches
            return None

        return eventually(found, self)[-1]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=20)

    def post(self, path: str, body: object) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=20)

    def run(self, graph: str = "agent") -> list[str]:
        """The log of a new run."""
        answer: list[str] = self.post("/runs/wait", {"assistant_id": graph, "input": {}}).json()["log"]
        return answer

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, within: float = 20.0) -> int:
        """Wait for the exit code."""
        return self.process.wait(within)

    def term(self) -> int:
        self.signal(signal.SIGTERM)
        return self.ends()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
