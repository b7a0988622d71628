"""A node that blocks the graphs' event loop is named, and stops nothing but other graphs."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import KIT, Server, until

BLOCKING_LINE = next(
    number
    for number, line in enumerate((KIT.parent / "graphs.py").read_text().splitlines(), start=1)
    if "time.sleep(" in line
)


def lines(server: Server, event: str) -> list[dict[str, Any]]:
    known = [json.loads(line) for line in server.log.splitlines() if line.startswith("{") and line.endswith("}")]
    return [line for line in known if re.search(event, line["event"])]


@pytest.mark.anyio
async def test_a_blocking_node_is_named_once_per_stall(start_server: Callable[..., Server]) -> None:
    server = start_server(THREADMILL_STALL="0.2")
    client = server.client()
    asked = 0
    async with server.http as http:
        await http.get("/ok")
        for stalls in (1, 2):
            thread = (await client.threads.create())["thread_id"]
            run = await client.runs.create(thread, "blocking", input={"seconds": 2})

            async def reported(wanted: int = stalls) -> bool:
                return len(lines(server, "a node blocks")) == wanted

            await until(reported)
            began = time.monotonic()
            while (await client.runs.get(thread, run["run_id"]))["status"] == "running":  # it blocks, and we are served
                for method, path, body in (("GET", "/ok?check_db=true", None), ("POST", "/threads/search", {})):
                    before = time.monotonic()
                    assert (await http.request(method, path, json=body)).status_code == 200
                    assert time.monotonic() - before < 0.5
                    asked += 1
            assert 0.5 < time.monotonic() - began < 10
        assert asked > 20

        async def over() -> bool:
            return len(lines(server, "event loop runs again")) == 2

        await until(over)
    for line in lines(server, "a node blocks"):
        assert line["level"] == "warning"
        assert line["node"] == "block"
        assert line["where"] == f"{Path(KIT).parent / 'graphs.py'}:{BLOCKING_LINE}"
    assert len(lines(server, "a node blocks")) == 2


@pytest.mark.anyio
async def test_nodes_that_wait_or_block_their_own_thread_are_no_stall(start_server: Callable[..., Server]) -> None:
    server = start_server(THREADMILL_STALL="0.2")
    client = server.client()
    await client.runs.wait(None, "slow", input={"steps": 2, "delay": 0.5})
    assert server.term() == 0
    assert not lines(server, "loop")
