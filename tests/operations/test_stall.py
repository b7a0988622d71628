"""A node that blocks the graphs' event loop is named, and stops nothing but other graphs."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.command import GRAPH, HEADER, project
from serving import KIT, Server, until


def sleeping_line(file: Path) -> str:
    """Where this file's nodes block, as file:line."""
    (number,) = (n for n, line in enumerate(file.read_text().splitlines(), start=1) if "time.sleep(" in line)
    return f"{file}:{number}"


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
            run = await client.runs.create(thread, "blocking", input={"seconds": 1.5})

            async def reported(wanted: int = stalls) -> bool:
                return len(lines(server, "a node blocks")) == wanted

            await until(reported)
            while (await client.runs.get(thread, run["run_id"]))["status"] == "running":  # it blocks, and we are served
                for method, path, body in (("GET", "/ok?check_db=true", None), ("POST", "/threads/search", {})):
                    before = time.monotonic()
                    assert (await http.request(method, path, json=body)).status_code == 200
                    assert time.monotonic() - before < 1
                    asked += 1
        assert asked > 4

        async def over() -> bool:
            return len(lines(server, "event loop runs again")) == 2

        await until(over)
    for line in lines(server, "a node blocks"):
        assert line["level"] == "warning"
        assert line["node"] == "block"
        assert line["where"] == sleeping_line(KIT.parent / "graphs.py")
    assert len(lines(server, "a node blocks")) == 2


@pytest.mark.anyio
async def test_a_function_called_by_a_node_is_found_too(tmp_path: Path) -> None:
    source = HEADER + (
        "from langchain_core.runnables import RunnableLambda\n\n"
        "def inner(word):\n    import time\n    time.sleep(1)\n    return {'log': [word]}\n\n"
        "async def later(word):\n    return inner(word)\n\n"
        "async def say(state):\n    return await asyncio.create_task(RunnableLambda(later).ainvoke('x'))\n"
    )
    server = Server(tmp_path / "data", project(tmp_path / "p", agent=source + GRAPH), {"THREADMILL_STALL": "0.2"})
    server.start()
    await server.client().runs.wait(None, "agent", input={})
    server.kill()
    (line,) = lines(server, "a node blocks")
    assert line["node"] == "say"
    assert line["where"] == sleeping_line(tmp_path / "p" / "agent.py")


@pytest.mark.anyio
async def test_nodes_that_wait_or_block_their_own_thread_are_no_stall(start_server: Callable[..., Server]) -> None:
    server = start_server(THREADMILL_STALL="0.2")
    client = server.client()
    await client.runs.wait(None, "slow", input={"steps": 2, "delay": 0.5})
    assert server.term() == 0
    assert not lines(server, "loop")
