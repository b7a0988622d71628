"""The JavaScript SDK, three lines of it; each exported function of `js/sdk` is one test."""

from collections.abc import Iterator

import pytest
from clients.js.node import LINES, Node, checks, install
from serving import Remote

NOT_IN_2_0 = {"crons.keepATimezone", "runs.areCancelledTogether", "threads.areFoundByValue", "threads.arePruned"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(line, marks=[pytest.mark.client(f"JavaScript {line}"), pytest.mark.xdist_group(f"js {line}")])
        for line in LINES
    ],
)
def node(request: pytest.FixtureRequest, server: Remote) -> Iterator[Node]:
    install()
    with Node("sdk", request.param, server.url) as node:
        yield node


@pytest.mark.parametrize(
    "check", [pytest.param(name, marks=pytest.mark.shows(*rows)) for name, rows in checks("sdk").items()]
)
def test_js_sdk(node: Node, check: str) -> None:
    if node.line == "2.0" and check in NOT_IN_2_0:
        pytest.skip("this line of the SDK has no method for it")
    node.check(check)
