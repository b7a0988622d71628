"""Threads: create, read, change, delete, copy."""

import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError
from serving import progressed, until

pytestmark = pytest.mark.anyio


async def test_a_new_thread_is_idle_and_empty(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    assert uuid.UUID(thread["thread_id"]).version == 7, "time-ordered"
    assert (thread["status"], thread["metadata"], thread["values"]) == ("idle", {}, None)
    assert thread["created_at"] == thread["updated_at"] == thread["state_updated_at"]
    assert thread["created_at"].endswith("+00:00")
    assert await client.threads.get(thread["thread_id"]) == thread


async def test_a_client_may_choose_the_id(client: LangGraphClient) -> None:
    mine = str(uuid.uuid4())
    assert (await client.threads.create(thread_id=mine, metadata={"a": 1}))["thread_id"] == mine
    assert (await client.threads.get(mine))["metadata"] == {"a": 1}


async def test_creating_a_thread_twice_is_a_conflict(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=thread)


async def test_if_exists_do_nothing_returns_the_old_thread_untouched(client: LangGraphClient) -> None:
    old = await client.threads.create(metadata={"a": 1})
    again = await client.threads.create(thread_id=old["thread_id"], metadata={"b": 2}, if_exists="do_nothing")
    assert again == old


@pytest.mark.parametrize("if_exists", ["raise", "do_nothing"])
async def test_the_id_of_a_stateless_runs_thread_is_taken(http: httpx.AsyncClient, if_exists: str) -> None:
    """Also when the run has ended, and the thread is not shown any more."""
    ran = await http.post("/runs/wait", json={"assistant_id": "counter", "input": {"limit": 1}})
    hidden = ran.headers["content-location"].split("/")[2]
    answer = await http.post("/threads", json={"thread_id": hidden, "if_exists": if_exists})
    assert (answer.status_code, answer.json()) == (409, {"detail": f"Thread with ID {hidden} already exists"})


async def test_a_thread_can_be_born_with_state(client: LangGraphClient) -> None:
    steps = [{"values": {"n": 1}, "as_node": "__start__"}, {"values": {"log": ["made up"]}, "as_node": "propose"}]
    thread = await client.threads.create(graph_id="hitl", supersteps=[{"updates": [step]} for step in steps])
    assert thread["status"] == "interrupted", "there is a next node"
    assert thread["values"] == {"log": ["made up"], "n": 1}
    state = await client.threads.get_state(thread["thread_id"])
    assert (state["values"], state["next"]) == ({"log": ["made up"], "n": 1}, ["approve"])
    history = await client.threads.get_history(thread["thread_id"])
    assert [(h["metadata"]["step"], h["metadata"]["source"]) for h in history] == [(1, "update"), (0, "update")]


async def test_a_born_state_is_continued_by_a_run(client: LangGraphClient) -> None:
    steps = [{"values": {"n": 1}, "as_node": "__start__"}, {"values": {"log": ["x"]}, "as_node": "approve"}]
    thread = await client.threads.create(graph_id="hitl", supersteps=[{"updates": [step]} for step in steps])
    assert await client.runs.wait(thread["thread_id"], "hitl") == {"log": ["x", "done"], "n": 1}


async def test_born_state_without_a_graph_tells_what_is_missing(http: httpx.AsyncClient) -> None:
    steps = [{"updates": [{"values": {"n": 1}, "as_node": "__start__"}]}]
    response = await http.post("/threads", json={"supersteps": steps})
    assert response.status_code == 201
    assert "was created, but there were problems updating the state" in response.json()["detail"]


async def test_unknown_threads_are_404_everywhere(http: httpx.AsyncClient) -> None:
    path = f"/threads/{uuid.uuid4()}"
    asked: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"metadata": {}}),
        ("DELETE", "", None),
        ("GET", "/state", None),
        ("POST", "/state", {"values": {}}),
        ("GET", "/history", None),
        ("POST", "/history", {}),
        ("GET", "/runs", None),
    ]
    for method, rest, body in asked:
        response = await http.request(method, path + rest, json=body)
        assert response.status_code == 404, (method, rest)
        assert isinstance(response.json()["detail"], str)


async def test_patch_merges_metadata(client: LangGraphClient) -> None:
    thread = await client.threads.create(metadata={"a": 1, "b": {"c": 1}})
    patched = await client.threads.update(thread["thread_id"], metadata={"b": {"d": 2}, "e": None})
    assert patched["metadata"] == {"a": 1, "b": {"d": 2}, "e": None}, "merged at the top level only"
    assert patched["updated_at"] > thread["updated_at"]
    assert patched["state_updated_at"] == thread["state_updated_at"]
    assert await client.threads.get(thread["thread_id"]) == patched


async def test_a_run_leaves_its_result_on_the_thread(client: LangGraphClient) -> None:
    thread = await client.threads.create(metadata={"mine": True})
    await client.runs.wait(thread["thread_id"], "counter", input={"limit": 2}, config={"tags": ["t"]})
    after = await client.threads.get(thread["thread_id"])
    assert (after["status"], after["values"], after["error"], after["interrupts"]) == (
        "idle",
        {"n": 2, "limit": 2},
        None,
        {},
    )
    assert set(after["metadata"]) == {"mine", "graph_id", "assistant_id"}, "and nothing else"
    assert after["metadata"]["graph_id"] == "counter"
    assert after["config"] == {"tags": ["t"], "configurable": {}}
    assert after["state_updated_at"] > thread["state_updated_at"]


async def test_a_thread_is_busy_from_the_moment_its_run_is_accepted(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"limit": 1}, after_seconds=60)
    assert (await client.threads.get(thread))["status"] == "busy"
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_a_failed_run_leaves_its_error_until_one_succeeds(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "boom", input={"key": thread, "fail_first": 1}, raise_error=False)
    failed = await client.threads.get(thread)
    assert (failed["status"], failed["error"]) == ("error", {"error": "ValueError", "message": "boom on purpose"})
    await client.runs.wait(thread, "boom", input=None)
    healed = await client.threads.get(thread)
    assert (healed["status"], healed["error"]) == ("idle", None)
    assert healed["values"]["log"] == ["first", "second"]


async def test_an_interrupt_is_shown_on_the_thread_by_task(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "hitl", input={"n": 7})
    shown = await client.threads.get(thread)
    task = (await client.threads.get_state(thread))["tasks"][0]
    assert shown["status"] == "interrupted"
    assert shown["interrupts"] == {task["id"]: task["interrupts"]}
    (interrupt,) = task["interrupts"]
    assert interrupt["value"] == {"question": "approve?", "n": 7}
    assert len(interrupt["id"]) == 32 and int(interrupt["id"], 16)


async def test_a_deleted_thread_is_gone_with_all_it_had(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"limit": 1})
    await client.runs.join(thread, run["run_id"])
    await client.threads.delete(thread)
    for gone in (
        client.threads.get(thread),
        client.threads.get_state(thread),
        client.runs.get(thread, run["run_id"]),
        client.threads.delete(thread),
    ):
        with pytest.raises(NotFoundError):
            await gone


@pytest.mark.beyond_reference
async def test_an_id_may_be_used_again_after_deletion_and_starts_empty(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"limit": 3})
    await client.threads.delete(thread)
    await client.threads.create(thread_id=thread)
    assert (await client.threads.get_state(thread))["values"] == {}
    assert await client.runs.list(thread) == []


@pytest.mark.beyond_reference
async def test_deleting_a_thread_stops_its_run(client: LangGraphClient, thread: str) -> None:
    """The run must neither go on writing nor bring the thread back."""
    await client.runs.create(thread, "slow", input={"steps": 1000, "delay": 0.02})
    await progressed(client, thread)
    await client.threads.delete(thread)
    await client.threads.create(thread_id=thread)
    assert await client.runs.wait(thread, "slow", input={"steps": 2, "tag": "new"}) == {
        "log": ["new1", "new2"],
        "tag": "new",
        "steps": 2,
        "done": 2,
    }


async def test_a_copy_has_the_whole_history_and_its_own_future(client: LangGraphClient) -> None:
    original = (await client.threads.create(metadata={"m": 1}))["thread_id"]
    await client.runs.wait(original, "counter", input={"limit": 2})
    copy = (await client.threads.copy(original))["thread_id"]
    assert copy != original
    assert (await client.threads.get(copy))["metadata"]["m"] == 1
    mine, theirs = await client.threads.get_history(original), await client.threads.get_history(copy)
    assert [h["checkpoint_id"] for h in mine] == [h["checkpoint_id"] for h in theirs]
    assert {h["checkpoint"]["thread_id"] for h in theirs} == {copy}
    await client.runs.wait(copy, "counter", input={"limit": 9})
    assert (await client.threads.get_state(copy))["values"]["n"] == 9
    assert (await client.threads.get_state(original))["values"]["n"] == 2


async def test_a_pending_question_can_be_answered_in_the_copy(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "hitl", input={"n": 1})
    copy = (await client.threads.copy(thread))["thread_id"]
    answered = await client.runs.wait(copy, "hitl", command={"resume": "yes"})
    assert answered["log"] == ["propose", {"approve": "yes"}, "done"]
    assert (await client.threads.get(thread))["status"] == "interrupted"


async def test_copying_an_unknown_thread_is_a_conflict(http: httpx.AsyncClient) -> None:
    response = await http.post(f"/threads/{uuid.uuid4()}/copy")
    assert (response.status_code, response.json()) == (409, {"detail": "Conflict"})


@pytest.mark.beyond_reference
async def test_lists_get_title_preview_count_and_activity_with_each_thread(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    assert thread["message_count"] == 0  # type: ignore[typeddict-item]
    question = {"role": "user", "content": "What is a loom?"}
    await client.runs.wait(thread["thread_id"], "echo", input={"messages": [question]})

    async def listed() -> Any:
        (found,) = await client.threads.search(ids=[thread["thread_id"]])
        return found if found["status"] == "idle" else None  # type: ignore[return-value]

    found = await until(listed)
    assert found["message_count"] == 2
    assert "What is a loom?" in found["title"]
    assert "1: What is a loom?" in found["preview"]
    assert found["last_activity_at"] > thread["created_at"]
