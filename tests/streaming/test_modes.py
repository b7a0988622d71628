"""Each stream mode, alone and together: event names, payloads, order."""

from typing import Any

import httpx
import pytest
from streaming.frames import Frame, events, only, run

pytestmark = pytest.mark.anyio

HI = {"messages": [{"role": "user", "content": "hi", "id": "u1"}], "n_tokens": 2}
HUMAN = {
    "content": "hi",
    "additional_kwargs": {},
    "response_metadata": {},
    "type": "human",
    "name": None,
    "id": "u1",
}
AI = {
    "additional_kwargs": {},
    "response_metadata": {},
    "type": "ai",
    "name": None,
    "tool_calls": [],
    "invalid_tool_calls": [],
    "usage_metadata": None,
}


async def test_metadata_comes_first_and_names_run_and_attempt(http: httpx.AsyncClient, thread: str) -> None:
    first, *_ = await run(http, thread, "counter", input={"limit": 1})
    (made,) = (await http.get(f"/threads/{thread}/runs")).json()
    assert first == Frame("metadata", {"run_id": made["run_id"], "attempt": 1})


async def test_events_have_no_id_unless_the_stream_is_resumable(http: httpx.AsyncClient, thread: str) -> None:
    plain = await run(http, thread, "counter", input={"limit": 2})
    assert {frame.id for frame in plain} == {None}
    resumable = await run(http, thread, "counter", input={"limit": 4}, stream_resumable=True)
    assert all(frame.id for frame in resumable)


@pytest.mark.parametrize("mode", ["values", ["values"], [], None])
async def test_values_is_the_whole_state_after_each_step_and_the_default(
    http: httpx.AsyncClient, thread: str, mode: Any
) -> None:
    asked = {} if mode is None else {"stream_mode": mode}
    assert events(await run(http, thread, "counter", input={"limit": 2}, **asked))[1:] == [
        ("values", {"limit": 2}),
        ("values", {"n": 1, "limit": 2}),
        ("values", {"n": 2, "limit": 2}),
    ]


async def test_values_and_updates_show_the_output_schema(http: httpx.AsyncClient, thread: str) -> None:
    """What a graph keeps for itself is in its state, and not in the streams of its clients."""
    modes = ["values", "updates"]
    frames = await run(http, thread, "ctx", input={"question": "?"}, stream_mode=modes, stream_resumable=True)
    shown = [("updates", {"reply": {"reply": "nobody/None/vanilla"}}), ("values", {"reply": "nobody/None/vanilla"})]
    assert events(frames)[1:] == shown
    frames = await run(http, thread, "ctx", input={"question": "?"}, stream_mode="values")
    assert events(frames)[1:] == shown[1:], "the output of the run before is not told again"
    (_, made) = (await http.get(f"/threads/{thread}/runs")).json()
    again = await http.get(f"/threads/{thread}/runs/{made['run_id']}/stream", headers={"Last-Event-ID": "-1"})
    assert "not in the output" not in again.text
    assert (await http.get(f"/threads/{thread}/state")).json()["values"]["secret"] == "not in the output"
    assert (await http.get(f"/threads/{thread}")).json()["values"]["secret"] == "not in the output"


async def test_values_carry_whole_messages(http: httpx.AsyncClient, thread: str) -> None:
    first, last = only(await run(http, thread, "chat", input=HI, stream_mode="values"), "values")
    assert first == {"messages": [HUMAN], "n_tokens": 2}
    answer = last["messages"][1]
    assert last == {"messages": [HUMAN, {**AI, "content": "t0 t1 ", "id": answer["id"]}], "n_tokens": 2}


async def test_updates_name_the_node(http: httpx.AsyncClient, thread: str) -> None:
    assert events(await run(http, thread, "hitl", input={"n": 1}, stream_mode="updates"))[1] == (
        "updates",
        {"propose": {"log": ["propose"]}},
    )


async def test_what_a_node_returned_is_told_with_the_id_it_keeps(http: httpx.AsyncClient, thread: str) -> None:
    modes = ["updates", "tasks", "debug"]
    read = await run(http, thread, "echo", input=HI, stream_mode=modes)
    (update,) = only(read, "updates")
    results = [task["result"] for task in only(read, "tasks") if "result" in task]
    results += [told["payload"]["result"] for told in only(read, "debug") if told["type"] == "task_result"]
    state = (await http.get(f"/threads/{thread}/state")).json()["values"]
    answer = state["messages"][-1]["id"]
    assert [one["messages"][0]["id"] for one in (update["say"], *results)] == [answer] * 3


async def test_messages_accumulate_token_by_token(http: httpx.AsyncClient, thread: str) -> None:
    _, about, *partials = await run(http, thread, "chat", input=HI, stream_mode="messages")
    assert about.event == "messages/metadata"
    ((message_id, described),) = about.data.items()
    known = {"langgraph_node": "talk", "langgraph_step": 1, "graph_id": "chat", "thread_id": thread}
    assert {k: described["metadata"].get(k) for k in known} == known
    assert {p.event for p in partials} == {"messages/partial"}
    assert [p.data for p in partials[:2]] == [
        [{**AI, "content": "t0 ", "id": message_id}],
        [{**AI, "content": "t0 t1 ", "id": message_id}],
    ]
    assert partials[-1].data == partials[1].data


async def test_a_message_nobody_streamed_is_complete_at_once(http: httpx.AsyncClient, thread: str) -> None:
    question = {"role": "user", "content": "add 2 3"}
    read = await run(http, thread, "tools", input={"messages": [question]}, stream_mode="messages")
    ((result,),) = only(read, "messages/complete")
    assert (result["type"], result["content"], result["tool_call_id"]) == ("tool", "5", "call-1")
    described = [next(iter(d)) for d in only(read, "messages/metadata")]
    assert len(described) == len(set(described)) == 3, "call, result, answer: each once"
    calls = [m["tool_calls"] for (m,) in only(read, "messages/partial") if m["tool_calls"]]
    assert calls[-1] == [{"name": "add", "args": {"a": 2, "b": 3}, "id": "call-1", "type": "tool_call"}]
    assert only(read, "messages/partial")[-1][0]["content"] == "The result is 5."


async def test_messages_tuple_is_chunk_and_metadata(http: httpx.AsyncClient, thread: str) -> None:
    read = await run(http, thread, "chat", input=HI, stream_mode="messages-tuple")
    pairs = only(read, "messages")
    assert [chunk["content"] for chunk, _ in pairs] == ["t0 ", "t1 ", ""]
    assert [chunk["chunk_position"] for chunk, _ in pairs] == [None, None, "last"]
    chunk, about = pairs[0]
    assert chunk == {
        **AI,
        "content": "t0 ",
        "type": "AIMessageChunk",
        "id": chunk["id"],
        "tool_call_chunks": [],
        "chunk_position": None,
    }
    assert len({chunk["id"] for chunk, _ in pairs}) == 1
    assert (about["langgraph_node"], about["langgraph_step"]) == ("talk", 1)
    assert about["langgraph_triggers"] == ["branch:to:talk"]
    assert about["langgraph_path"] == ["__pregel_pull", "talk"]
    assert about["langgraph_checkpoint_ns"].startswith("talk:")
    assert (about["thread_id"], about["run_id"]) == (thread, read[0].data["run_id"])


async def test_tool_call_chunks_are_streamed_in_messages_tuple(http: httpx.AsyncClient, thread: str) -> None:
    question = {"role": "user", "content": "add 2 3"}
    read = await run(http, thread, "tools", input={"messages": [question]}, stream_mode="messages-tuple")
    calls = [chunk["tool_call_chunks"] for chunk, _ in only(read, "messages") if chunk.get("tool_call_chunks")]
    assert calls == [
        [{"name": "add", "args": '{"a": 2, "b": 3}', "id": "call-1", "index": 0, "type": "tool_call_chunk"}]
    ]


async def test_custom_is_what_the_graph_wrote(http: httpx.AsyncClient, thread: str) -> None:
    question = {"role": "user", "content": "add 2 3"}
    read = await run(http, thread, "tools", input={"messages": [question]}, stream_mode="custom")
    assert events(read)[1:] == [("custom", {"status": "adding 2 and 3"}), ("custom", {"status": "added"})]


async def test_tasks_start_and_end(http: httpx.AsyncClient, thread: str) -> None:
    _, start, end = await run(http, thread, "counter", input={"limit": 1}, stream_mode="tasks")
    assert (start.event, end.event) == ("tasks", "tasks")
    assert {k: v for k, v in start.data.items() if k not in ("id", "metadata")} == {
        "name": "count",
        "input": {"limit": 1},
        "triggers": ["branch:to:count"],
    }
    ended = {"id": start.data["id"], "name": "count", "error": None, "result": {"n": 1}, "interrupts": []}
    assert end.data == ended


async def test_checkpoints_show_every_saved_state(http: httpx.AsyncClient, thread: str) -> None:
    read = only(await run(http, thread, "counter", input={"limit": 1}, stream_mode="checkpoints"), "checkpoints")
    shown = [(c["metadata"]["source"], c["metadata"]["step"], c["values"], c["next"]) for c in read]
    assert shown == [
        ("input", -1, {}, ["__start__"]),
        ("loop", 0, {"limit": 1}, ["count"]),
        ("loop", 1, {"n": 1, "limit": 1}, []),
    ]
    ids = [c["config"]["configurable"]["checkpoint_id"] for c in read]
    history = (await http.get(f"/threads/{thread}/history?limit=10")).json()
    assert ids == [h["checkpoint_id"] for h in reversed(history)]
    parents = [c["parent_config"] and c["parent_config"]["configurable"]["checkpoint_id"] for c in read]
    assert parents == [None, *ids[:-1]]
    assert [[t["name"] for t in c["tasks"]] for c in read] == [["__start__"], ["count"], []]


async def test_debug_is_checkpoints_and_tasks_with_their_step(http: httpx.AsyncClient, thread: str) -> None:
    read = only(await run(http, thread, "counter", input={"limit": 1}, stream_mode="debug"), "debug")
    assert [(d["type"], d["step"]) for d in read] == [
        ("checkpoint", -1),
        ("checkpoint", 0),
        ("task", 1),
        ("task_result", 1),
        ("checkpoint", 1),
    ]
    assert {frozenset(d) for d in read} == {frozenset({"type", "step", "timestamp", "payload"})}
    assert (read[2]["payload"]["name"], read[3]["payload"]["result"]) == ("count", {"n": 1})
    assert read[4]["payload"]["values"] == {"n": 1, "limit": 1}
    assert read[4]["payload"]["checkpoint"]["thread_id"] == thread


async def test_events_are_those_of_langchain_under_the_id_of_the_run(http: httpx.AsyncClient, thread: str) -> None:
    read = await run(http, thread, "chat", input=HI, stream_mode="events")
    items = only(read, "events")
    names = [item["event"] for item in items]
    assert names[0] == "on_chain_start" and names[-1] == "on_chain_end"
    assert items[0]["run_id"] == items[-1]["run_id"] == read[0].data["run_id"]
    tokens = [i["data"]["chunk"]["content"] for i in items if i["event"] == "on_chat_model_stream"]
    assert "".join(tokens) == "t0 t1 "
    assert set(items[0]) >= {"event", "data", "name", "tags", "run_id", "metadata", "parent_ids"}


async def test_modes_together_keep_the_order_in_which_things_happened(http: httpx.AsyncClient, thread: str) -> None:
    modes = ["values", "updates", "custom"]
    assert events(await run(http, thread, "counter", input={"limit": 1}, stream_mode=modes))[1:] == [
        ("values", {"limit": 1}),
        ("custom", {"n": 1}),
        ("updates", {"count": {"n": 1}}),
        ("values", {"n": 1, "limit": 1}),
    ]


async def test_tokens_come_before_the_update_they_make_up(http: httpx.AsyncClient, thread: str) -> None:
    modes = ["messages-tuple", "updates", "values"]
    names = [frame.event for frame in await run(http, thread, "chat", input=HI, stream_mode=modes)]
    assert names == ["metadata", "values", "messages", "messages", "messages", "updates", "values"]


async def test_every_mode_at_once(http: httpx.AsyncClient, thread: str) -> None:
    modes = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints", "debug"]
    read = await run(http, thread, "chat", input=HI, stream_mode=modes)
    names = {frame.event for frame in read}
    assert names == {"metadata", "values", "updates", "messages", "tasks", "checkpoints", "debug"}


async def test_an_entrypoint_streams_its_tasks_and_result(http: httpx.AsyncClient, thread: str) -> None:
    read = await run(http, thread, "functional", input=[1], stream_mode=["updates", "values"])
    result = {"total": 2, "doubled": [2]}
    expected = [("updates", {"double": 2}), ("updates", {"functional": result}), ("values", result)]
    assert events(read)[1:] == expected
