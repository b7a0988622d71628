"""A React page on the stock `useStream`, two lines of it; each exported function of `js/use_stream` that shows
something is one test."""

import re
from collections.abc import Callable, Iterator

import pytest
from clients.js.node import HERE, LINES, Node, install, nodes, pairs
from serving import Remote

HOOKED = ("1.12", "2.0")
LACKING = {"2.0": {"page.letsANewMessageInterrupt": "page.queuesANewMessage"}}
METHODS = {
    *("threads.create", "threads.getState", "threads.getHistory"),
    *("runs.create", "runs.stream", "runs.joinStream", "runs.cancel"),
}


@pytest.fixture(scope="module")
def started(server: Remote) -> Iterator[Callable[[str], Node]]:
    with nodes("use_stream", server.url) as started:
        yield started


@pytest.fixture
def node(request: pytest.FixtureRequest, started: Callable[[str], Node]) -> Node:
    return started(request.param)


@pytest.mark.parametrize(
    ("node", "check"), pairs("use_stream", HOOKED, "useStream", LACKING, lacks=False), indirect=["node"]
)
def test_use_stream(node: Node, check: str) -> None:
    node.check(check)


@pytest.mark.parametrize(("node", "check"), pairs("use_stream", HOOKED, "", LACKING, lacks=True), indirect=["node"])
def test_use_stream_lacks(node: Node, check: str) -> None:
    node.check(check)


@pytest.mark.parametrize("line", HOOKED)
def test_the_hook_asks_for_nothing_else(line: str) -> None:
    install()
    dist = HERE / "node_modules" / LINES[line] / "dist"
    source = "\n".join(file.read_text("utf-8") for part in ("react", "ui") for file in (dist / part).glob("*.js"))
    assert set(re.findall(r"\bclient\.(\w+\.\w+)\(", source)) <= METHODS
