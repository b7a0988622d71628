"""A React page on the stock `useStream`, two lines of it; each exported function of `js/use_stream` is one test."""

from collections.abc import Iterator

import pytest
from clients.js.node import Node, checks, install
from serving import Remote

pytestmark = pytest.mark.client("useStream")

NOT_IN_2_0 = {"page.letsANewMessageInterrupt"}


@pytest.fixture(
    scope="module", params=[pytest.param(line, marks=pytest.mark.xdist_group(f"js {line}")) for line in ("1.12", "2.0")]
)
def node(request: pytest.FixtureRequest, server: Remote) -> Iterator[Node]:
    install()
    with Node("use_stream", request.param, server.url) as node:
        yield node


@pytest.mark.parametrize(
    "check", [pytest.param(name, marks=pytest.mark.shows(*rows)) for name, rows in checks("use_stream").items()]
)
def test_use_stream(node: Node, check: str) -> None:
    if node.line == "2.0" and check in NOT_IN_2_0:
        pytest.skip("this line of the SDK queues it in the browser")
    node.check(check)
