"""Runs on a thread: create, wait, join, list, read, delete, and exactly what comes back."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from serving import Server

pytestmark = pytest.mark.anyio


async def test_a_run_is_a_complete_object(client: LangGraphClient) -> None:
    thread = (await client.threads.create(metadata={"of": "thread"}))["thread_id"]
    run: Any = await client.runs.create(
        thread,
        "counter",
        input={"limit": 1},
        metadata={"of": "run"},
        config={"tags": ["t"], "recursion_limit": 50, "configurable": {"colour": "red"}},
        stream_mode=["values", "custom"],
        interrupt_after=["nothing"],
    )
    assert set(run) >= {"run_id", "thread_id", "assistant_id", "metadata", "status", "kwargs", "multitask_strategy"}
    assert (run["multitask_strategy"], run["thread_id"]) == ("enqueue", thread)
    assert run["status"] in ("pending", "running"), "a free worker may be quicker than the answer"
    assert uuid.UUID(run["run_id"]).version == 7
    assistant = run["assistant_id"]
    assert run["metadata"] == {
        "created_by": "system",
        "graph_id": "counter",
        "assistant_id": assistant,
        "of": "run",
    }
    kwargs = run["kwargs"]
    assert kwargs["input"] == {"limit": 1}
    assert (kwargs["command"], kwargs["webhook"], kwargs["interrupt_before"]) == (None, None, None)
    assert kwargs["context"] == {"colour": "red"}, "configurable and context mirror each other"
    assert (kwargs["stream_mode"], kwargs["interrupt_after"]) == (["values", "custom"], ["nothing"])
    assert (kwargs["temporary"], kwargs["subgraphs"], kwargs["resumable"]) == (False, False, False)
    assert (kwargs["durability"], kwargs["feedback_keys"]) == ("async", None)
    assert (kwargs["config"]["tags"], kwargs["config"]["recursion_limit"]) == (["t"], 50)
    injected = {
        "colour": "red",
        "thread_id": thread,
        "run_id": run["run_id"],
        "graph_id": "counter",
        "assistant_id": assistant,
        "user_id": "",
    }
    assert {k: kwargs["config"]["configurable"].get(k) for k in injected} == injected
    await client.runs.join(thread, run["run_id"])


async def test_headers_say_where_the_run_is(http: httpx.AsyncClient, thread: str) -> None:
    """SDKs learn the run id from content-location, and reconnect to location."""
    body = {"assistant_id": "counter", "input": {"limit": 1}}
    create = await http.post(f"/threads/{thread}/runs", json=body)
    assert create.headers["content-location"] == f"/threads/{thread}/runs/{create.json()['run_id']}"
    assert "location" not in create.headers
    for kind, follow in (("wait", "join"), ("stream", "stream")):
        response = await http.post(f"/threads/{thread}/runs/{kind}", json=body)
        place = response.headers["content-location"]
        assert re.fullmatch(rf"/threads/{thread}/runs/[0-9a-f-]{{36}}", place)
        assert response.headers["location"] == f"{place}/{follow}"
        assert (await http.get(place)).json()["status"] == "success"
    join = await http.get(f"{place}/join")
    assert (join.headers["content-location"], join.headers["location"]) == (place, f"{place}/join")


async def test_the_sdk_is_told_the_run_id_of_a_waited_run(client: LangGraphClient, thread: str) -> None:
    told: list[Any] = []
    await client.runs.wait(thread, "counter", input={"limit": 1}, on_run_created=told.append)
    (run,) = await client.runs.list(thread)
    assert told == [{"run_id": run["run_id"], "thread_id": thread}]


async def test_wait_returns_the_final_values(client: LangGraphClient, thread: str) -> None:
    assert await client.runs.wait(thread, "counter", input={"limit": 3}) == {"n": 3, "limit": 3}


async def test_wait_returns_only_the_output_schema(client: LangGraphClient, thread: str) -> None:
    output = await client.runs.wait(thread, "ctx", input={"question": "?"}, context={"name": "ann"})
    assert output == {"reply": "ann/None/vanilla"}
    assert (await client.threads.get_state(thread))["values"]["secret"] == "not in the output"


async def test_wait_returns_what_was_asked(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "hitl", "input": {"n": 7}}
    output = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    (interrupt,) = output.pop("__interrupt__")
    assert output == {"log": ["propose"], "n": 7}
    assert interrupt == {"value": {"question": "approve?", "n": 7}, "id": interrupt["id"], "response_schema": None}


async def test_a_run_that_asks_is_a_success(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "hitl", input={"n": 1})
    assert [run["status"] for run in await client.runs.list(thread)] == ["success"]


async def test_wait_tells_the_error_with_status_200_and_so_does_a_later_join(
    http: httpx.AsyncClient, thread: str
) -> None:
    waited = await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "boom", "input": {}})
    failure = {"__error__": {"error": "ValueError", "message": "boom on purpose"}}
    assert (waited.status_code, waited.json()) == (200, failure)
    place = waited.headers["content-location"]
    assert (await http.get(f"{place}/join")).json() == failure
    assert (await http.get(place)).json()["status"] == "error"


async def test_the_sdk_raises_the_error_of_a_waited_run(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(Exception, match="ValueError: boom on purpose"):
        await client.runs.wait(thread, "boom", input={})


async def test_a_run_without_input_on_a_new_thread_is_an_error(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(Exception, match="EmptyInputError"):
        await client.runs.wait(thread, "counter")


async def test_join_waits_for_the_end_and_may_be_repeated(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input={"steps": 3, "delay": 0.02, "tag": "s"})
    expected = {"log": ["s1", "s2", "s3"], "steps": 3, "delay": 0.02, "tag": "s", "done": 3}
    assert await client.runs.join(thread, run["run_id"]) == expected
    assert await client.runs.join(thread, run["run_id"]) == expected


async def test_runs_are_listed_newest_first_and_paged(client: LangGraphClient, thread: str) -> None:
    made = [await client.runs.create(thread, "counter", input={"limit": 1}) for _ in range(3)]
    await client.runs.join(thread, made[-1]["run_id"])
    newest_first = [run["run_id"] for run in reversed(made)]
    assert [r["run_id"] for r in await client.runs.list(thread)] == newest_first
    assert [r["run_id"] for r in await client.runs.list(thread, limit=1, offset=1)] == newest_first[1:2]
    assert await client.runs.list(thread, offset=3) == []
    assert len(await client.runs.list(thread, status="success")) == 3
    assert await client.runs.list(thread, status="error") == []


async def test_listing_selects_fields(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"limit": 1})
    listed = await client.runs.list(thread, select=["run_id", "status"])
    assert [set(run) for run in listed] == [{"run_id", "status"}]


async def test_an_unknown_run_is_404(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    unknown = str(uuid.uuid4())
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, unknown)
    with pytest.raises(NotFoundError):
        await client.runs.delete(thread, unknown)
    join = await http.get(f"/threads/{thread}/runs/{unknown}/join")
    assert join.json() == {"__error__": {"error": "HTTPException", "message": "404: Run not found"}}
    nowhere = await http.get(f"/threads/{uuid.uuid4()}/runs/{uuid.uuid4()}/join")
    assert (nowhere.status_code, nowhere.json()) == (404, {"detail": "Thread not found"})


async def test_waiting_at_the_moment_of_the_end_does_not_take_long(start_server: Callable[..., Server]) -> None:
    """A missed wake-up would cost a heartbeat."""
    client = start_server(THREADMILL_HEARTBEAT="600").client()
    place = (await client.threads.create())["thread_id"]
    asked: Any = {"input": {"n": 0, "limit": 1}}

    async def wait(run: Any, key: dict[str, str], after: int) -> None:
        await anyio.sleep(after / 1000)
        if after % 2:
            answer: Any = await client.runs.wait(place, "counter", **asked, headers=key)
        else:
            answer = await client.runs.join(place, run["run_id"])
        assert answer["n"] == 1

    with anyio.fail_after(15):
        for _ in range(15):
            key = {"Idempotency-Key": str(uuid.uuid4())}
            run = await client.runs.create(place, "counter", **asked, headers=key)
            async with anyio.create_task_group() as group:
                for after in range(12):
                    group.start_soon(wait, run, key, after)


async def test_a_run_of_another_thread_is_404(client: LangGraphClient, thread: str) -> None:
    other = (await client.threads.create())["thread_id"]
    run = await client.runs.create(other, "counter", input={"limit": 1})
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, run["run_id"])
    await client.runs.join(other, run["run_id"])


async def test_a_deleted_run_is_gone(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"limit": 1})
    await client.runs.join(thread, run["run_id"])
    await client.runs.delete(thread, run["run_id"])
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, run["run_id"])
    assert await client.runs.list(thread) == []


async def test_messages_are_serialised_by_type(client: LangGraphClient, thread: str) -> None:
    question = {"role": "user", "content": "add 2 3"}
    output: Any = await client.runs.wait(thread, "tools", input={"messages": [question]})
    human, call, tool, answer = output["messages"]
    common = {"additional_kwargs": {}, "response_metadata": {}}
    assert human == {**common, "content": "add 2 3", "type": "human", "name": None, "id": human["id"]}
    assert uuid.UUID(human["id"]), "assigned by the reducer"
    ai = {**common, "type": "ai", "name": None, "invalid_tool_calls": [], "usage_metadata": None}
    asked = {"name": "add", "args": {"a": 2, "b": 3}, "id": "call-1", "type": "tool_call"}
    assert call == {**ai, "content": "Let me see. ", "tool_calls": [asked], "id": call["id"]}
    assert answer == {**ai, "content": "The result is 5.", "tool_calls": [], "id": answer["id"]}
    assert tool == {
        **common,
        "content": "5",
        "type": "tool",
        "name": "add",
        "id": tool["id"],
        "tool_call_id": "call-1",
        "artifact": None,
        "status": "success",
    }


async def test_a_second_turn_sees_the_first(client: LangGraphClient, thread: str) -> None:
    for turn in ("one", "two"):
        output: Any = await client.runs.wait(thread, "echo", input={"messages": [{"role": "user", "content": turn}]})
    assert [m["content"] for m in output["messages"]] == ["one", "1: one", "two", "3: two"]
