"""The JavaScript SDK, three lines of it; each exported function of `js/sdk` that shows something is one test."""

import re
from collections.abc import Callable, Iterator

import pytest
from clients.js.node import HERE, LINES, Node, checks, nodes, pairs
from serving import Remote

LACKING = {
    "2.0": {
        "crons.keepATimezone": "lacking.timezones",
        "runs.areCancelledTogether": "lacking.cancellingMany",
        "threads.areFoundByValue": "lacking.extracting",
        "threads.arePruned": "lacking.pruning",
        **{check: "lacking.theEventProtocol" for check in checks("sdk") if check.startswith("protocol.")},
    }
}

OUTSIDE = {"threads.patchState"}  # PATCH /threads/{thread_id}/state, which the Agent Server refuses, too


@pytest.fixture(scope="module")
def started(server: Remote) -> Iterator[Callable[[str], Node]]:
    with nodes("sdk", server.url) as started:
        yield started


@pytest.fixture
def node(request: pytest.FixtureRequest, started: Callable[[str], Node]) -> Node:
    return started(request.param)


@pytest.mark.parametrize(
    ("node", "check"), pairs("sdk", LINES, "JavaScript {}", LACKING, lacks=False), indirect=["node"]
)
def test_js_sdk(node: Node, check: str) -> None:
    node.check(check)


@pytest.mark.parametrize(("node", "check"), pairs("sdk", LINES, "", LACKING, lacks=True), indirect=["node"])
def test_js_sdk_lacks(node: Node, check: str) -> None:
    node.check(check)


@pytest.mark.parametrize(
    "node", [pytest.param(line, marks=pytest.mark.xdist_group(f"js {line}")) for line in LINES], indirect=True
)
def test_checks_use_every_method(node: Node) -> None:
    """So an endpoint that none of them reaches is one that the SDK has no method for."""
    told = "\n".join(file.read_text("utf-8") for file in (HERE / "sdk").glob("*.mjs"))
    used = {".".join(call) for call in re.findall(r"\b(?:client|through|other)\.(\w+)\s*\.(\w+)\(", told)}
    assert set(node.check("lacking.methods")) - used == OUTSIDE
