"""The Idempotency-Key header: a submit that is repeated because its answer got lost makes one run."""

import uuid

import anyio
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

pytestmark = [pytest.mark.anyio, pytest.mark.beyond_reference]

BODY = {"assistant_id": "echo", "input": {"messages": [{"role": "user", "content": "once"}]}}


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


async def test_the_same_key_gives_the_same_run(http: httpx.AsyncClient, thread: str, key: dict[str, str]) -> None:
    path = f"/threads/{thread}/runs"
    first = await http.post(path, json=BODY, headers=key)
    again = await http.post(path, json=BODY, headers=key)
    assert again.status_code == 200
    assert again.json()["run_id"] == first.json()["run_id"]
    assert again.headers["content-location"] == first.headers["content-location"]
    assert len((await http.get(path)).json()) == 1


async def test_another_key_gives_another_run(client: LangGraphClient, thread: str) -> None:
    made = {
        (await client.runs.create(thread, "counter", input={"limit": 1}, headers={"Idempotency-Key": k}))["run_id"]
        for k in ("one", "two")
    }
    assert len(made) == 2


async def test_concurrent_repeats_make_one_run(http: httpx.AsyncClient, thread: str, key: dict[str, str]) -> None:
    answers: list[httpx.Response] = []

    async def submit() -> None:
        answers.append(await http.post(f"/threads/{thread}/runs", json=BODY, headers=key))

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(submit)
    assert {a.status_code for a in answers} == {200}
    assert len({a.json()["run_id"] for a in answers}) == 1


@pytest.mark.parametrize("way", ["wait", "stream"])
async def test_a_repeated_wait_or_stream_joins_the_first_run(
    http: httpx.AsyncClient, thread: str, key: dict[str, str], way: str
) -> None:
    path = f"/threads/{thread}/runs"
    first = await http.post(f"{path}/{way}", json=BODY, headers=key)
    again = await http.post(f"{path}/{way}", json=BODY, headers=key)
    assert again.headers["content-location"] == first.headers["content-location"]
    assert "1: once" in again.text
    values = (await http.get(f"/threads/{thread}/state")).json()["values"]
    assert [m["content"] for m in values["messages"]] == ["once", "1: once"]


async def test_a_repeat_is_not_a_conflict_under_reject(
    http: httpx.AsyncClient, thread: str, key: dict[str, str]
) -> None:
    body = {**BODY, "multitask_strategy": "reject", "after_seconds": 60}
    first = await http.post(f"/threads/{thread}/runs", json=body, headers=key)
    again = await http.post(f"/threads/{thread}/runs", json=body, headers=key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert (await http.post(f"/threads/{thread}/runs", json=body)).status_code == 409
