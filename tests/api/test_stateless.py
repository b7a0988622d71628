"""Runs without a thread of one's own."""

import re
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import until

pytestmark = pytest.mark.anyio

COUNT = {"assistant_id": "counter", "input": {"limit": 2}}


async def is_gone(http: httpx.AsyncClient, thread: str) -> bool:
    return (await http.get(f"/threads/{thread}")).status_code == 404


async def test_wait_returns_the_values(client: LangGraphClient) -> None:
    assert await client.runs.wait(None, "counter", input={"limit": 2}) == {"n": 2, "limit": 2}


async def test_wait_tells_errors_and_questions(http: httpx.AsyncClient) -> None:
    failed = await http.post("/runs/wait", json={"assistant_id": "boom", "input": {}})
    assert failed.json() == {"__error__": {"error": "ValueError", "message": "boom on purpose"}}
    asked = await http.post("/runs/wait", json={"assistant_id": "hitl", "input": {"n": 1}})
    assert asked.json()["__interrupt__"][0]["value"] == {"question": "approve?", "n": 1}


async def test_stream_ends_with_the_values(client: LangGraphClient) -> None:
    parts = [p async for p in client.runs.stream(None, "counter", input={"limit": 2}, stream_mode=["values", "custom"])]
    assert [(p.event, p.data) for p in parts[1:]] == [
        ("values", {"limit": 2}),
        ("custom", {"n": 1}),
        ("values", {"n": 1, "limit": 2}),
        ("custom", {"n": 2}),
        ("values", {"n": 2, "limit": 2}),
    ]
    assert parts[0].event == "metadata"


async def test_the_thread_disappears_after_the_run(http: httpx.AsyncClient) -> None:
    waited = await http.post("/runs/wait", json=COUNT)
    (thread,) = re.findall("/threads/([^/]+)/", waited.headers["content-location"])
    await until(lambda: is_gone(http, thread))
    created = (await http.post("/runs", json=COUNT)).json()
    await until(lambda: is_gone(http, created["thread_id"]))


async def test_on_completion_keep_leaves_an_ordinary_thread(client: LangGraphClient) -> None:
    run: Any = await client.runs.create(None, "counter", input={"limit": 2}, on_completion="keep")
    assert await client.runs.join(run["thread_id"], run["run_id"]) == {"n": 2, "limit": 2}
    kept = await client.threads.get(run["thread_id"])
    assert (kept["status"], kept["values"]) == ("idle", {"n": 2, "limit": 2})
    assert len(await client.threads.get_history(run["thread_id"])) == 4


async def test_headers_name_the_run(http: httpx.AsyncClient) -> None:
    created = await http.post("/runs", json={**COUNT, "on_completion": "keep"})
    assert created.headers["content-location"].endswith(f"/runs/{created.json()['run_id']}")
    streamed = await http.post("/runs/stream", json=COUNT)
    assert streamed.headers["location"] == streamed.headers["content-location"] + "/stream"
    waited = await http.post("/runs/wait", json=COUNT)
    assert waited.headers["location"] == waited.headers["content-location"] + "/join"


@pytest.mark.beyond_reference
async def test_a_reader_comes_back_to_a_stream_without_a_thread(http: httpx.AsyncClient) -> None:
    streamed = await http.post("/runs/stream", json={**COUNT, "stream_resumable": True})
    place = streamed.headers["location"]
    assert re.fullmatch(r"/runs/[0-9a-f-]{36}/stream", place)
    assert (await http.get(place, headers={"Last-Event-ID": "-1"})).text == streamed.text
    first = re.findall(r"^id: (.+)$", streamed.text, re.MULTILINE)[0]
    rest = (await http.get(place, headers={"Last-Event-ID": first})).text
    assert rest
    assert streamed.text.endswith(rest)
    assert rest != streamed.text


async def test_a_batch_creates_every_run(client: LangGraphClient) -> None:
    payload: Any = [{"assistant_id": "counter", "input": {"limit": n}, "on_completion": "keep"} for n in (1, 2, 3)]
    runs: Any = await client.runs.create_batch(payload)
    assert len({run["thread_id"] for run in runs}) == 3
    outputs = [await client.runs.join(run["thread_id"], run["run_id"]) for run in runs]
    assert outputs == [{"n": n, "limit": n} for n in (1, 2, 3)]


@pytest.mark.beyond_reference
async def test_a_batch_with_one_bad_entry_creates_nothing(http: httpx.AsyncClient, client: LangGraphClient) -> None:
    before = await client.threads.count(metadata={"batch": "bad"})
    good = {**COUNT, "metadata": {"batch": "bad"}, "on_completion": "keep", "after_seconds": 60}
    for entries in ([], [good, {**good, "assistant_id": "nope"}], {"a": 1}):
        response = await http.post("/runs/batch", json=entries)
        assert response.status_code == 422, entries
    assert await client.threads.count(metadata={"batch": "bad"}) == before


@pytest.mark.parametrize("way", ["", "/wait", "/stream"])
async def test_an_unknown_graph_is_422(http: httpx.AsyncClient, way: str) -> None:
    for body in ({"assistant_id": "nope"}, {}):
        response = await http.post(f"/runs{way}", json=body)
        assert response.status_code == 422
        assert isinstance(response.json()["detail"], str)


async def test_any_multitask_strategy_is_ignored(http: httpx.AsyncClient) -> None:
    response = await http.post("/runs/wait", json={**COUNT, "multitask_strategy": "zzz"})
    assert response.json() == {"n": 2, "limit": 2}
