"""Every form of graph a project may give, and every value a graph may return."""

import time
import uuid
from typing import Any

import anyio
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

pytestmark = pytest.mark.anyio


async def test_an_entrypoint_runs_and_remembers_what_it_saved(client: LangGraphClient, thread: str) -> None:
    assert await client.runs.wait(thread, "functional", input=[1, 2]) == {"total": 6, "doubled": [2, 4]}  # type: ignore[arg-type]
    assert await client.runs.wait(thread, "functional", input=[1]) == {"total": 8, "doubled": [2]}  # type: ignore[arg-type]
    assert (await client.threads.get_state(thread))["values"] == {"total": 8, "doubled": [2]}


async def test_a_builder_is_compiled(client: LangGraphClient, thread: str) -> None:
    assert await client.runs.wait(thread, "builder", input={"n": 1}) == {"n": 2}


async def test_a_factory_builds_the_graph_from_the_config_of_the_run(client: LangGraphClient, thread: str) -> None:
    config: Any = {"configurable": {"node": "named"}}
    parts = client.runs.stream(thread, "factory", input={"n": 1}, config=config, stream_mode="updates")
    assert [part.data async for part in parts][1:] == [{"named": {"n": 2}}]


async def test_the_environment_of_the_project_is_set(client: LangGraphClient, thread: str) -> None:
    output: Any = await client.runs.wait(thread, "ctx", input={"question": "?"})
    assert output["reply"].endswith("/vanilla")


async def test_the_store_is_shared_by_threads(client: LangGraphClient) -> None:
    user = str(uuid.uuid4())
    first: Any = await client.runs.wait(None, "remember", input={"user": user, "fact": "likes looms"})
    assert first["recalled"] == "nothing"
    second: Any = await client.runs.wait(None, "remember", input={"user": user})
    assert second["recalled"] == "likes looms"


async def test_a_run_starts_from_the_stored_thread_not_from_memory(client: LangGraphClient) -> None:
    """The graph object is shared by all threads; nothing of one may appear in another."""
    threads = [(await client.threads.create())["thread_id"] for _ in range(3)]
    for n, thread in enumerate(threads):
        await client.runs.wait(thread, "counter", input={"limit": n + 1})
    assert [(await client.threads.get_state(t))["values"]["n"] for t in threads] == [1, 2, 3]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("unicode", "grüß Gott, 你好, 🧵"),
        ("separator", "line\u2028separator\r\nnext"),
        ("bytes", "cmF3IP8="),
        ("set", [1]),
        ("nan", None),
        ("infinity", None),
        ("pydantic", {"x": 1, "label": "π"}),
        ("dataclass", {"left": 1, "right": "r"}),
        ("datetime", "2026-01-02T03:04:05+00:00"),
        ("uuid", "00000000-0000-0000-0000-000000000007"),
        ("enum", "dark"),
        ("tuple", [1, 2]),
        ("int_keys", {"1": "one"}),
    ],
)
async def test_odd_values_have_a_form_on_the_wire(client: LangGraphClient, thread: str, name: str, wire: Any) -> None:
    output: Any = await client.runs.wait(thread, "odd", input={"want": [name]})
    assert output["got"] == {name: wire}
    state: Any = await client.threads.get_state(thread)
    assert state["values"]["got"] == {name: wire}


async def test_half_a_character_does_not_break_a_run(client: LangGraphClient, thread: str) -> None:
    output: Any = await client.runs.wait(thread, "odd", input={"want": ["lone_surrogate"]})
    assert output["got"]["lone_surrogate"].startswith("half ")
    assert output["got"]["lone_surrogate"].endswith(" pair")
    assert (await client.threads.get_state(thread))["values"] == output


@pytest.mark.beyond_reference
async def test_a_number_no_checkpoint_can_hold_becomes_text_and_fails_nothing(
    http: httpx.AsyncClient, thread: str
) -> None:
    """LangGraph's own serialiser refuses integers over 64 bits, and with them the run."""
    body = {"assistant_id": "odd", "input": {"want": ["huge"]}}
    answer = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert answer.json()["got"] == {"huge": str(2**70)}
    state = await http.get(f"/threads/{thread}/state")
    assert state.json()["values"]["got"] == {"huge": str(2**70)}
    after = await http.post(f"/threads/{thread}/runs/wait", json={**body, "input": {"want": ["tuple"]}})
    assert after.json()["got"] == {"tuple": [1, 2]}


@pytest.mark.beyond_reference
async def test_a_node_that_blocks_its_loop_does_not_block_the_api(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    slowest = 0.0
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: client.runs.wait(None, "blocking", input={"seconds": 1.0}))
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            asked = time.monotonic()
            assert (await http.get("/ok")).status_code == 200
            slowest = max(slowest, time.monotonic() - asked)
    assert slowest < 0.5
