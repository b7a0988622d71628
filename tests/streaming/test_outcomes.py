"""How a stream tells subgraphs, questions, breakpoints and failures."""

from typing import Any

import httpx
import pytest
from streaming.frames import events, only, run

pytestmark = pytest.mark.anyio

QUESTION = {"question": "approve?", "n": 1}


async def test_a_subgraph_is_silent_unless_asked_for(http: httpx.AsyncClient, thread: str) -> None:
    modes = ["updates", "custom", "messages-tuple"]
    names = [f.event for f in await run(http, thread, "sub", input={"messages": []}, stream_mode=modes)]
    assert not [name for name in names if name and "|" in name]
    assert "custom" not in names, "what the subgraph wrote"


@pytest.mark.parametrize("mode", ["values", "updates", "custom", "tasks", "checkpoints", "debug", "messages-tuple"])
async def test_events_of_a_subgraph_carry_its_namespace(http: httpx.AsyncClient, thread: str, mode: str) -> None:
    read = await run(http, thread, "sub", input={"messages": []}, stream_mode=mode, stream_subgraphs=True)
    names = [f.event for f in read if f.event and "|" in f.event]
    assert names, "the subgraph spoke"
    history = (await http.get(f"/threads/{thread}/history?limit=10")).json()
    (task,) = next(h for h in history if h["next"] == ["child"])["tasks"]
    name = "messages" if mode == "messages-tuple" else mode
    assert set(names) == {f"{name}|child:{task['id']}"}


async def test_updates_of_a_subgraph_come_before_those_of_its_parent(http: httpx.AsyncClient, thread: str) -> None:
    read = await run(http, thread, "sub", input={"messages": []}, stream_mode="updates", stream_subgraphs=True)
    assert [next(iter(f.data)) for f in read[1:]] == ["before", "inner", "child"]


async def test_accumulated_messages_of_a_subgraph_have_no_namespace(http: httpx.AsyncClient, thread: str) -> None:
    read = await run(http, thread, "sub", input={"messages": []}, stream_mode="messages", stream_subgraphs=True)
    assert [m["content"] for (m,) in only(read, "messages/partial")][:2] == ["in", "inner"]
    nodes = [about["metadata"]["langgraph_node"] for d in only(read, "messages/metadata") for about in d.values()]
    assert nodes == ["before", "inner"]


async def test_the_last_values_carry_the_question(http: httpx.AsyncClient, thread: str) -> None:
    *_, before, last = only(await run(http, thread, "hitl", input={"n": 1}, stream_mode="values"), "values")
    (interrupt,) = last.pop("__interrupt__")
    assert before == last == {"log": ["propose"], "n": 1}
    assert interrupt == {"value": QUESTION, "id": interrupt["id"], "response_schema": None}


async def test_updates_carry_the_question(http: httpx.AsyncClient, thread: str) -> None:
    *_, last = only(await run(http, thread, "hitl", input={"n": 1}, stream_mode="updates"), "updates")
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert last == {"__interrupt__": [{**state["interrupts"][0], "response_schema": None}]}


async def test_two_questions_are_told_one_by_one(http: httpx.AsyncClient, thread: str) -> None:
    updates = only(await run(http, thread, "parallel_hitl", input={"n": 1}, stream_mode="updates"), "updates")
    assert [[i["value"] for i in u["__interrupt__"]] for u in updates] == [["left?"], ["right?"]]


async def test_a_task_that_asks_ends_with_its_question(http: httpx.AsyncClient, thread: str) -> None:
    *_, last = only(await run(http, thread, "hitl", input={"n": 1}, stream_mode="tasks"), "tasks")
    assert (last["name"], last["error"], last["result"]) == ("approve", None, {})
    assert [i["value"] for i in last["interrupts"]] == [QUESTION]


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
async def test_a_breakpoint_is_an_empty_interrupt(http: httpx.AsyncClient, thread: str, where: str) -> None:
    given: Any = {where: ["propose"], "stream_mode": ["updates", "values"]}
    read = events(await run(http, thread, "hitl", input={"n": 1}, **given))
    assert read[-1] == ("updates", {"__interrupt__": []})
    assert ("updates", {"propose": {"log": ["propose"]}}) in read or where == "interrupt_before"


@pytest.mark.parametrize("modes", ["values", "updates", "tasks", "debug", "custom", ["values", "updates"], "events"])
async def test_a_failure_is_the_last_event_in_every_mode(http: httpx.AsyncClient, thread: str, modes: Any) -> None:
    read = await run(http, thread, "boom", input={}, stream_mode=modes)
    assert events(read)[-1] == ("error", {"error": "ValueError", "message": "boom on purpose"})
    assert len(only(read, "error")) == 1
    assert read[0].event == "metadata"


async def test_what_succeeded_before_a_failure_is_streamed(http: httpx.AsyncClient, thread: str) -> None:
    read = await run(http, thread, "boom", input={}, stream_mode=["updates", "values"])
    assert events(read)[1:3] == [("updates", {"first": {"log": ["first"]}}), ("values", {"log": ["first"]})]


async def test_a_failed_task_tells_its_error(http: httpx.AsyncClient, thread: str) -> None:
    *_, last = only(await run(http, thread, "boom", input={}, stream_mode="tasks"), "tasks")
    assert (last["name"], last["result"]) == ("second", {})
    assert last["error"] == {"error": "ValueError", "message": "boom on purpose"}


async def test_a_refused_run_is_a_plain_answer_not_a_stream(http: httpx.AsyncClient, thread: str) -> None:
    response = await http.post(f"/threads/{thread}/runs/stream", json={"assistant_id": "nope"})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/json"
