"""`select`: only some fields of a state, and of its values only some keys."""

from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

pytestmark = [pytest.mark.anyio, pytest.mark.beyond_reference]

FIELDS = ["values", "next", "tasks", "checkpoint", "metadata", "created_at", "parent_checkpoint", "interrupts"]


@pytest.fixture
async def asked(client: LangGraphClient, thread: str) -> str:
    await client.runs.wait(thread, "hitl", input={"n": 7})
    return thread


@pytest.fixture
async def inside(client: LangGraphClient, thread: str) -> tuple[str, Any]:
    """A thread whose subgraph asks, and the subgraph's state."""
    await client.runs.wait(thread, "deeper", input={"log": [], "n": 1})
    state: Any = await client.threads.get_state(thread, subgraphs=True)
    return thread, state["tasks"][0]["state"]["tasks"][0]["state"]


@pytest.mark.parametrize("field", FIELDS)
async def test_a_field_alone(client: LangGraphClient, asked: str, field: str) -> None:
    whole: Any = await client.threads.get_state(asked)
    assert await client.threads.get_state(asked, select=[field]) == {field: whole[field]}


async def test_one_value_wherever_a_state_is_read(client: LangGraphClient, http: httpx.AsyncClient, asked: str) -> None:
    whole: Any = await client.threads.get_state(asked)
    only = {"values": {"n": 7}, "next": ["approve"]}
    select: Any = ["values.n", "next"]
    assert await client.threads.get_state(asked, select=select) == only
    assert await client.threads.get_state(asked, checkpoint=whole["checkpoint"], select=select) == only
    assert await client.threads.get_state(asked, checkpoint_id=whole["checkpoint_id"], select=select) == only
    history = await client.threads.get_history(asked, limit=3, select=select)
    assert history == [only, {"values": {"n": 7}, "next": ["propose"]}, {"values": {}, "next": ["__start__"]}]
    got = await http.get(f"/threads/{asked}/history", params={"limit": 3, "select": select})
    assert got.json() == history


@pytest.mark.parametrize(
    ("select", "values"),
    [
        (["values.n", "values.log"], {"n": 7, "log": ["propose"]}),
        (["values.n", "values"], {"n": 7, "log": ["propose"]}),
        (["values.absent"], {}),
        (["values.n.deeper"], {}),
    ],
)
async def test_which_values(client: LangGraphClient, asked: str, select: Any, values: Any) -> None:
    assert await client.threads.get_state(asked, select=select) == {"values": values}


async def test_of_a_thread_without_state_and_of_a_state_that_is_no_object(client: LangGraphClient, thread: str) -> None:
    assert await client.threads.get_state(thread, select=["values.n", "next"]) == {"values": {}, "next": []}
    await client.runs.wait(thread, "functional", input=[1])  # type: ignore[arg-type]
    assert await client.threads.get_state(thread, select=["values.n"]) == {"values": {}}


async def test_what_there_is_not_is_refused(http: httpx.AsyncClient, asked: str) -> None:
    place = {"checkpoint": {"checkpoint_id": "x"}, "select": ["nope"]}
    answers = [
        await http.get(f"/threads/{asked}/state?select=nope"),
        await http.get(f"/threads/{asked}/state/x?select=nope"),
        await http.post(f"/threads/{asked}/state/checkpoint", json=place),
        await http.get(f"/threads/{asked}/history?select=nope"),
        await http.post(f"/threads/{asked}/history", json={"select": ["nope"]}),
    ]
    assert [(answer.status_code, answer.json()["detail"][:15]) for answer in answers] == [(422, "select: 'nope' ")] * 5


async def test_the_state_of_a_subgraph_is_read_by_its_namespace(
    client: LangGraphClient, inside: tuple[str, Any]
) -> None:
    thread, inner = inside
    place = {"checkpoint_ns": inner["checkpoint"]["checkpoint_ns"]}
    found: Any = await client.threads.get_state(thread, checkpoint=place)  # type: ignore[arg-type]
    assert (found["values"], found["next"]) == (inner["values"], ["inner"])
    assert [one["value"]["ask"] for one in found["interrupts"]] == ["inner"]
    part: Any = await client.threads.get_state(thread, checkpoint=place, select=["values.n"])  # type: ignore[arg-type]
    assert part == {"values": {"n": 1}}
    history: Any = await client.threads.get_history(thread, checkpoint=place, select=["next"])  # type: ignore[arg-type]
    assert history == [{"next": ["inner"]}, {"next": ["enter"]}, {"next": ["__start__"]}]
