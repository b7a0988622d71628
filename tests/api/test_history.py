"""The past of a thread, newest first."""

import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

pytestmark = pytest.mark.anyio


@pytest.fixture
async def counted(client: LangGraphClient, thread: str) -> str:
    """A thread that counted to 3: five checkpoints."""
    await client.runs.wait(thread, "counter", input={"limit": 3})
    return thread


def numbers(history: list[Any]) -> list[int | None]:
    return [h["values"].get("n") for h in history]


async def test_history_is_newest_first_and_complete(client: LangGraphClient, counted: str) -> None:
    history = await client.threads.get_history(counted)
    steps = [(h["metadata"]["source"], h["metadata"]["step"], h["values"], h["next"]) for h in history]
    assert steps == [
        ("loop", 3, {"n": 3, "limit": 3}, []),
        ("loop", 2, {"n": 2, "limit": 3}, ["count"]),
        ("loop", 1, {"n": 1, "limit": 3}, ["count"]),
        ("loop", 0, {"limit": 3}, ["count"]),
        ("input", -1, {}, ["__start__"]),
    ]
    parents = [h["parent_checkpoint"] for h in history]
    assert parents == [h["checkpoint"] for h in history[1:]] + [None]
    assert history[0] == await client.threads.get_state(counted)


async def test_a_finished_task_carries_its_result(client: LangGraphClient, counted: str) -> None:
    history = await client.threads.get_history(counted)
    results = [task["result"] for h in history for task in h["tasks"]]  # type: ignore[typeddict-item]
    assert results == [{"n": 3}, {"n": 2}, {"n": 1}, {"limit": 3}]


async def test_a_thread_without_runs_has_no_history(client: LangGraphClient, thread: str) -> None:
    assert await client.threads.get_history(thread) == []


async def test_limit_takes_the_newest(client: LangGraphClient, http: httpx.AsyncClient, counted: str) -> None:
    assert numbers(await client.threads.get_history(counted, limit=2)) == [3, 2]
    assert numbers((await http.get(f"/threads/{counted}/history?limit=2")).json()) == [3, 2]


@pytest.mark.parametrize("limit", [0, 1001, "x"])
async def test_a_senseless_limit_is_422(http: httpx.AsyncClient, thread: str, limit: object) -> None:
    response = await http.post(f"/threads/{thread}/history", json={"limit": limit})
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


async def test_before_as_a_query_parameter_is_a_checkpoint_id(
    client: LangGraphClient, http: httpx.AsyncClient, counted: str
) -> None:
    history = await client.threads.get_history(counted)
    before = history[1]["checkpoint"]["checkpoint_id"]
    response = await http.get(f"/threads/{counted}/history", params={"limit": 10, "before": before})
    assert response.json() == history[2:]


@pytest.mark.parametrize(
    "form",
    [
        "config",
        pytest.param("checkpoint", marks=pytest.mark.beyond_reference),
        pytest.param("id only", marks=pytest.mark.beyond_reference),
        pytest.param("string", marks=pytest.mark.beyond_reference),
    ],
)
async def test_before_is_understood_in_every_form_the_sdks_send(
    client: LangGraphClient, http: httpx.AsyncClient, counted: str, form: str
) -> None:
    history = await client.threads.get_history(counted)
    place: Any = history[1]["checkpoint"]
    before = {
        "config": {"configurable": place},
        "checkpoint": place,
        "id only": {"checkpoint_id": place["checkpoint_id"]},
        "string": place["checkpoint_id"],
    }[form]
    response = await http.post(f"/threads/{counted}/history", json={"limit": 2, "before": before})
    assert (response.status_code, response.json()) == (200, history[2:4])


async def test_the_sdk_pages_through_history_with_before(client: LangGraphClient, counted: str) -> None:
    seen: list[int | None] = []
    before: Any = None
    while page := await client.threads.get_history(counted, limit=2, before=before):
        seen += numbers(page)
        before = {"configurable": page[-1]["checkpoint"]}
    assert seen == [3, 2, 1, None, None]


async def test_metadata_filters_checkpoints(client: LangGraphClient, counted: str) -> None:
    await client.runs.wait(counted, "counter", input={"limit": 5}, metadata={"which": "second"})
    second = await client.threads.get_history(counted, metadata={"which": "second"}, limit=20)
    assert numbers(second) == [5, 4, 3, 3], "4 and 5, and the state it started from, before and with its input"
    inputs = await client.threads.get_history(counted, metadata={"source": "input"})
    assert [h["metadata"]["step"] for h in inputs] == [4, -1]
    assert await client.threads.get_history(counted, metadata={"source": "nope"}) == []


async def test_nested_metadata_of_thread_and_run_is_in_every_checkpoint(client: LangGraphClient) -> None:
    """Whatever its keys: what LangGraph writes itself stays."""
    run = {"who": {"teams": ["a", {"b": None}]}, "nothing": None, "source": {"my": 1}, "parents": [1]}
    thread = (await client.threads.create(metadata={"labels": ["x"]}))["thread_id"]
    await client.runs.wait(thread, "nested", input={}, metadata=run | {"counters_since_delta_snapshot": {"log": [1]}})
    found = await client.threads.get_history(thread)
    inner: Any = (await client.threads.get_state(thread, subgraphs=True))["tasks"][0]["state"]
    told: list[Any] = [state["metadata"] for state in (*found, inner)]
    for name, value in (("labels", ["x"]), ("who", run["who"]), ("nothing", None)):
        assert [metadata.get(name, "-") for metadata in told] == [value] * len(told)
    assert {metadata["source"] for metadata in told} == {"input", "loop"}
    assert {str(type(metadata["parents"])) for metadata in told} == {str(dict)}
    assert await client.threads.get_history(thread, metadata={"who": {"teams": ["a"]}, "labels": []}) == found
    assert await client.threads.get_history(thread, metadata={"who": {"teams": ["b"]}}) == []


@pytest.mark.parametrize("key", ["a.b", 'a"b', "a'b", "$", "x') OR 1=1 --"])
async def test_a_metadata_key_is_never_executed(client: LangGraphClient, counted: str, key: str) -> None:
    assert await client.threads.get_history(counted, metadata={key: 1}) == []
    await client.runs.wait(counted, "counter", input={"limit": 1}, metadata={key: 1})
    assert len(await client.threads.get_history(counted, metadata={key: 1})) == 3


async def test_a_checkpoint_restricts_history_to_itself_and_its_past(client: LangGraphClient, counted: str) -> None:
    history = await client.threads.get_history(counted)
    unknown: Any = {"checkpoint_ns": f"child:{uuid.uuid4()}"}
    assert await client.threads.get_history(counted, checkpoint=unknown) == []
    root: Any = {"checkpoint_ns": ""}
    assert await client.threads.get_history(counted, checkpoint=root) == history


async def test_durability_decides_how_many_checkpoints_remain(client: LangGraphClient) -> None:
    for durability, kept in (("exit", [3]), ("sync", [3, 2, 1, None, None]), ("async", [3, 2, 1, None, None])):
        thread = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread, "counter", input={"limit": 3}, durability=durability)  # type: ignore[arg-type]
        assert numbers(await client.threads.get_history(thread)) == kept, durability
