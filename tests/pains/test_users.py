"""Z8: what the server keeps of one user is shown to the next."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from serving import Server

pytestmark = pytest.mark.anyio

NAMES = ("alice", "bob", "carol", "dave")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    own = Server(tmp_path / "data", Path(__file__).parents[1] / "auth" / "langgraph.json").start()
    yield own
    own.kill()


async def test_graphs_that_run_at_once_know_their_own_user(guarded: Server) -> None:
    clients = {name: get_client(url=guarded.url, headers={"Authorization": f"Bearer {name}"}) for name in NAMES}

    async def ask(name: str) -> None:
        answer: Any = await clients[name].runs.wait(None, "who", input={})
        assert (answer["said"]["id"], answer["said"]["name"]) == (name, name)

    async with anyio.create_task_group() as group:
        for _ in range(12):
            for name in NAMES:
                group.start_soon(ask, name)


async def test_contexts_and_questions_of_runs_at_once_do_not_mix(client: LangGraphClient) -> None:
    async def ask(n: int) -> None:
        name = NAMES[n % len(NAMES)]
        config: Any = {"configurable": {"name": name, "colour": f"colour {n}"}}
        answer: Any = await client.runs.wait(None, "ctx", input={"question": "?"}, config=config)
        assert answer == {"reply": f"{name}/colour {n}/vanilla"}
        place = (await client.threads.create())["thread_id"]
        asked: Any = await client.runs.wait(place, "hitl", input={"n": n})
        assert [one["value"]["n"] for one in asked["__interrupt__"]] == [n]
        told: Any = await client.runs.wait(place, "hitl", command={"resume": n})
        assert told["log"] == ["propose", {"approve": n}, "done"]

    async with anyio.create_task_group() as group:
        for n in range(40):
            group.start_soon(ask, n)
