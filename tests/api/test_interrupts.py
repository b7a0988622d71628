"""People who are asked: what is pending, where it shows, and every way to answer it."""

import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server, until
from streaming.frames import run as streamed
from streaming.frames import stream
from streaming.test_thread_stream import ends, named, watching

import threadmill_checkpoints
from threadmill import threads
from threadmill.scope import ALL
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = [pytest.mark.anyio, pytest.mark.beyond_reference]

UNKNOWN = "0" * 32
ANSWERS: list[Any] = [False, "", None]  # falsy ones are answers too
PENDING = {
    "trio": ["a", "b", "c"],
    "nested_pair": ["left", "right"],
    "deeper": ["inner"],
    "shop": ["buy apple?", "buy book?", "buy car?"],
}
GIVEN = {"shop": {"wanted": ["apple", "book", "car"]}}


def question(interrupt: dict[str, Any]) -> str:
    value = interrupt["value"]
    return str(value["ask"] if isinstance(value, dict) else value)


async def begun(client: LangGraphClient, graph: str, **options: Any) -> str:
    """A thread on which the graph has asked."""
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, graph, input=GIVEN.get(graph, {"log": []}), **options)
    return thread


async def pending(client: LangGraphClient, thread: str) -> dict[str, str]:
    """Ids by question; the state, the thread and the list of threads must agree on them."""
    state: Any = await client.threads.get_state(thread)
    shown = await client.threads.get(thread)
    (found,) = await client.threads.search(ids=[thread], select=["interrupts", "status", "values"])
    assert shown["interrupts"] == {task["id"]: task["interrupts"] for task in state["tasks"] if task["interrupts"]}
    assert found["interrupts"] == shown["interrupts"]
    assert values(found) == values(state)
    return {question(one): one["id"] for one in state["interrupts"]}


def values(state: Any) -> Any:
    """LangGraph gives a tool's message another id each time it is read, until its superstep is over."""
    found = state["values"]
    return [message["content"] for message in found["messages"]] if "messages" in found else found


def answers(output: dict[str, Any]) -> list[Any]:
    if "messages" in output:
        return [message["content"] for message in output["messages"] if message["type"] == "tool"]
    return [note[1] for note in output["log"] if isinstance(note, list)]


async def test_each_question_can_be_answered_alone_and_a_crash_forgets_none(own_server: Server) -> None:
    """One answer, kill -9, the next: in parallel nodes and tools, in subgraphs, and with every durability."""
    client = own_server.client()
    cases = [(graph, durability) for graph in PENDING for durability in ("async", "exit")]
    on = {case: await begun(client, case[0], durability=case[1]) for case in cases}
    first = left = {case: await pending(client, on[case]) for case in cases}
    assert {case: sorted(left[case]) for case in cases} == {case: PENDING[case[0]] for case in cases}
    for number, answer in enumerate(ANSWERS):
        own_server.restart()
        client = own_server.client()
        for case, wanted in [(case, PENDING[case[0]][number]) for case in cases if number < len(PENDING[case[0]])]:
            graph, durability = case
            assert await pending(client, on[case]) == left[case], "the same ids after kill -9"
            assert (await client.threads.get(on[case]))["status"] == "interrupted"
            command: Any = {"resume": {left[case][wanted]: answer}}
            output: Any = await client.runs.wait(on[case], graph, command=command, durability=durability)  # type: ignore[arg-type]
            left = left | {case: await pending(client, on[case])}
            still = PENDING[graph][number + 1 :]
            assert left[case] == {name: first[case][name] for name in still}
            assert sorted(question(one) for one in output.get("__interrupt__", [])) == still
            if not still:
                said = [f"{name[4:-1]}: {answer}" for name, answer in zip(PENDING[graph], ANSWERS, strict=False)]
                assert answers(output) == (said if graph == "shop" else ANSWERS[: number + 1]), case
                assert (await client.threads.get(on[case]))["status"] == "idle"
    assert not any(left.values())


@pytest.mark.parametrize("graph", ["trio", "nested_pair", "shop"])
async def test_all_questions_can_be_answered_at_once(client: LangGraphClient, graph: str) -> None:
    thread = await begun(client, graph)
    left = await pending(client, thread)
    output: Any = await client.runs.wait(thread, graph, command={"resume": {left[name]: name[::-1] for name in left}})
    assert "__interrupt__" not in output
    assert [str(answer)[-2:] for answer in answers(output)] == [name[::-1][-2:] for name in PENDING[graph]]
    assert await pending(client, thread) == {}


async def test_one_node_asks_one_thing_after_the_other(client: LangGraphClient) -> None:
    thread = await begun(client, "thrice")
    seen = set()
    for wanted, answer in zip(("first", "second", "third"), ANSWERS, strict=True):
        asked = await pending(client, thread)
        assert list(asked) == [wanted]
        seen.add(asked[wanted])
        output: Any = await client.runs.wait(thread, "thrice", command={"resume": {asked[wanted]: answer}})
    assert len(seen) == 3
    assert answers(output) == ANSWERS


async def test_a_long_question_is_told_whole(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "hitl", input={"n": "why? " * 1000})
    (asked,) = (await client.threads.get(thread))["interrupts"].values()
    assert asked[0]["value"] == {"question": "approve?", "n": "why? " * 1000}


async def test_a_bare_answer_is_used_once(client: LangGraphClient) -> None:
    """LangGraph gives it to the next question too when the thread is continued."""
    thread = await begun(client, "thrice")
    await client.runs.wait(thread, "thrice", command={"resume": "once"})
    asked = await pending(client, thread)
    await client.runs.wait(thread, "thrice")
    assert await pending(client, thread) == asked
    assert list(asked) == ["second"]


@pytest.mark.parametrize("level", ["child", "deep"])
async def test_a_bare_answer_holds_after_a_change_in_a_subgraph(client: LangGraphClient, level: str) -> None:
    """The subgraph of the question, or the one around it: then it is asked anew, under another id."""
    thread = await begun(client, "deeper")
    state: Any = await client.threads.get_state(thread, subgraphs=True)
    around: Any = state["tasks"][0]["state"]
    changed = around if level == "child" else around["tasks"][0]["state"]
    answer: Any = await client.threads.update_state(thread, {"log": ["changed"]}, checkpoint=changed["checkpoint"])
    assert answer["checkpoint"]["checkpoint_map"].keys() >= changed["checkpoint"]["checkpoint_map"].keys()
    output: Any = await client.runs.wait(thread, "deeper", command={"resume": "yes"})
    assert "__interrupt__" not in output
    assert "changed" in output["log"]
    assert answers(output) == ["yes"]


async def test_an_answer_may_name_the_newest_checkpoint(client: LangGraphClient) -> None:
    """As LangGraph's Studio does."""
    thread = await begun(client, "thrice")
    head: Any = (await client.threads.get_state(thread))["checkpoint"]
    await client.runs.wait(thread, "thrice", command={"resume": "A"}, checkpoint=head)
    await client.runs.wait(thread, "thrice")
    assert list(await pending(client, thread)) == ["second"]
    output: Any = await client.runs.wait(thread, "thrice", command={"resume": "B"}, checkpoint=head)
    assert [question(one) for one in output["__interrupt__"]] == ["third"]
    output = await client.runs.wait(thread, "thrice", command={"resume": "C"}, checkpoint=head)
    assert answers(output) == ["A", "B", "C"]


@pytest.mark.parametrize("graph", ["trio", "thrice"])
async def test_an_answer_that_nobody_waits_for_is_ignored(client: LangGraphClient, graph: str) -> None:
    thread = await begun(client, graph)
    first = await pending(client, thread)
    answered = min(first, key=lambda name: name)
    for resume in ({first[answered]: "A"}, {first[answered]: "again"}, {UNKNOWN: "B"}, {}):
        await client.runs.wait(thread, graph, command={"resume": resume})
        asked = await pending(client, thread)
        assert answered not in asked
        assert sorted(asked) == (["second"] if graph == "thrice" else ["b", "c"])
    answers_left = {asked[name]: name for name in asked}
    while "__interrupt__" in (output := await client.runs.wait(thread, graph, command={"resume": answers_left})):  # type: ignore[operator]
        answers_left = {one["id"]: question(one) for one in output["__interrupt__"]}  # type: ignore[call-overload]
    assert answers(output)[0] == "A"  # type: ignore[arg-type]


@pytest.mark.parametrize("resume", [{UNKNOWN: "x"}, {}, "bare"])
async def test_a_strict_resume_is_refused_and_leaves_the_thread_as_it_was(
    client: LangGraphClient, http: httpx.AsyncClient, resume: Any
) -> None:
    assert (await http.get("/info")).json()["flags"]["strict_resume"] is True
    thread = await begun(client, "trio")
    before, asked = await client.threads.get(thread), await pending(client, thread)
    run = await client.runs.create(thread, "trio", command={"resume": resume}, strict_resume=True)
    output: Any = await client.runs.join(thread, run["run_id"])
    assert output["__error__"]["error"] == "UnknownInterruptError"
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "error"
    after = await client.threads.get(thread)
    for name in ("status", "error", "values", "interrupts", "state_updated_at"):
        assert after[name] == before[name], name  # type: ignore[literal-required]
    output = await client.runs.wait(
        thread, "trio", command={"resume": {asked[name]: name for name in asked}}, strict_resume=True
    )
    assert answers(output) == ["a", "b", "c"]


async def test_a_strict_resume_refuses_an_answer_sent_twice(client: LangGraphClient) -> None:
    thread = await begun(client, "thrice")
    asked = await pending(client, thread)
    command: Any = {"resume": {asked["first"]: "yes"}}
    await client.runs.wait(thread, "thrice", command=command, strict_resume=True)
    with pytest.raises(Exception, match="UnknownInterruptError: Unknown or already-consumed interrupt"):
        await client.runs.wait(thread, "thrice", command=command, strict_resume=True)
    assert list(await pending(client, thread)) == ["second"]
    output: Any = await client.runs.wait(
        thread, "thrice", command={"resume": "bare is for the one"}, strict_resume=True
    )
    assert [question(one) for one in output["__interrupt__"]] == ["third"]


@pytest.mark.parametrize("command", [{"resume": "bare"}, {"resume": "x", "update": {"n": 1}}])
async def test_a_bare_answer_to_several_fails_and_loses_nothing(client: LangGraphClient, command: Any) -> None:
    thread = await begun(client, "trio")
    asked = await pending(client, thread)
    with pytest.raises(Exception, match="RuntimeError: When there are multiple pending interrupts"):
        await client.runs.wait(thread, "trio", command=command)
    assert (await client.threads.get(thread))["status"] == "error"
    assert await pending(client, thread) == asked
    output: Any = await client.runs.wait(thread, "trio", command={"resume": {asked[name]: name for name in asked}})
    assert answers(output) == ["a", "b", "c"]


async def test_a_failure_beside_questions_keeps_them(client: LangGraphClient) -> None:
    thread = await begun(client, "trio")
    asked = await pending(client, thread)
    failing: Any = {"resume": {asked["a"]: "A"}, "update": {"n": 13}}
    with pytest.raises(Exception, match="ValueError: thirteen"):
        await client.runs.wait(thread, "trio", command=failing)
    assert sorted(await pending(client, thread)) == ["a", "b", "c"]


async def test_an_update_that_cannot_be_applied_does_not_break_the_thread(client: LangGraphClient) -> None:
    """LangGraph stores an update before it applies it: a second value for `n` leaves a state that nobody can read."""
    thread = await begun(client, "trio")
    await client.runs.wait(thread, "trio", command={"update": {"n": 1}})
    asked = await pending(client, thread)
    with pytest.raises(Exception, match="InvalidUpdateError"):
        await client.runs.wait(thread, "trio", command={"update": {"n": 2}})
    assert await pending(client, thread) == asked
    output: Any = await client.runs.wait(thread, "trio", command={"resume": dict.fromkeys(asked.values(), "y")})
    assert (answers(output), output["n"]) == (["y", "y", "y"], 1)


async def test_an_answer_used_before_a_crash_does_not_answer_the_next_question(own_server: Server) -> None:
    client = own_server.client()
    thread = await begun(client, "busy_pair")
    asked = await pending(client, thread)
    command: Any = {"resume": {asked["first"]: "A", asked["work"]: "go"}, "update": {"n": 2}}
    run = await client.runs.create(thread, "busy_pair", command=command)

    async def asks_on() -> bool:
        state: Any = await client.threads.get_state(thread)
        return "second" in [question(one) for one in state["interrupts"]]

    await until(asks_on)
    own_server.restart()
    client = own_server.client()
    await client.runs.join(thread, run["run_id"])
    assert list(await pending(client, thread)) == ["second"]
    output: Any = await client.runs.wait(thread, "busy_pair", command={"resume": "B"})
    assert output["log"] == [["first", "A"], ["second", "B"], ["work", "go"], "done"]


async def test_a_question_goes_with_the_thread_and_ends_when_the_thread_moves_on(client: LangGraphClient) -> None:
    thread = await begun(client, "trio")
    asked = await pending(client, thread)
    copied = (await client.threads.copy(thread))["thread_id"]
    assert await pending(client, copied) == asked
    assert (await client.threads.get(copied))["status"] == "interrupted"
    await client.threads.prune([copied], strategy="keep_latest")
    assert await pending(client, copied) == asked
    await client.threads.update_state(copied, None, as_node="__end__")
    assert await pending(client, copied) == {}
    output: Any = await client.runs.wait(thread, "trio", command={"resume": dict.fromkeys(asked.values(), "y")})
    assert answers(output) == ["y", "y", "y"], "the copy has its own"
    (run, *_) = await client.runs.list(thread)
    await client.threads.update(thread, metadata={"still": "here"})
    assert await pending(client, thread) == {}
    assert (await client.threads.get(thread))["status"] == "idle"
    await client.runs.delete(thread, run["run_id"])
    shown = await client.threads.get(thread)
    assert shown["status"] == "interrupted"
    assert {one["id"] for task in shown["interrupts"].values() for one in task} == set(asked.values()), (
        "so are its answers"
    )
    assert shown["values"] == {"log": []}


async def test_a_cancelled_answer_leaves_the_question(client: LangGraphClient) -> None:
    thread = await begun(client, "trio")
    asked = await pending(client, thread)
    run = await client.runs.create(thread, "trio", command={"resume": {asked["a"]: "A"}}, after_seconds=60)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert await pending(client, thread) == asked


async def test_a_rolled_back_answer_can_be_given_again(client: LangGraphClient) -> None:
    thread = await begun(client, "busy_pair")
    asked = await pending(client, thread)
    command: Any = {"resume": {asked["work"]: "go"}, "update": {"n": 1}}
    run = await client.runs.create(thread, "busy_pair", command=command)

    async def runs() -> bool:
        return (await client.runs.get(thread, run["run_id"]))["status"] == "running"

    await until(runs)
    await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
    assert await pending(client, thread) == asked
    assert (await client.threads.get(thread))["status"] == "interrupted"


async def test_a_rolled_back_answer_is_not_used(client: LangGraphClient) -> None:
    thread = await begun(client, "busy_pair")
    await client.runs.wait(thread, "busy_pair", command={"resume": {(await pending(client, thread))["first"]: "A"}})
    asked = await pending(client, thread)
    command: Any = {"resume": {asked["second"]: "taken back", asked["work"]: "go"}, "update": {"n": 5}}
    run = await client.runs.create(thread, "busy_pair", command=command)

    async def used() -> bool:
        state: Any = await client.threads.get_state(thread)
        return [question(one) for one in state["interrupts"]] == ["work"]

    await until(used)
    await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
    assert await pending(client, thread) == asked
    output: Any = {"__interrupt__": [{"id": asked[name], "value": name} for name in asked]}
    while "__interrupt__" in output:
        resume = {one["id"]: f"new {question(one)}" for one in output["__interrupt__"]}
        output = await client.runs.wait(thread, "busy_pair", command={"resume": resume})
    assert "taken back" not in answers(output)
    assert answers(output)[1:] == ["new second", "new work"]


# Streams


async def test_each_approval_shows_in_the_stream_of_the_run_that_asks(http: httpx.AsyncClient, thread: str) -> None:
    body: dict[str, Any] = {"input": {"log": []}}
    for wanted in ("one", "two", "three"):
        seen = await streamed(http, thread, "approvals", stream_mode=["updates", "values"], **body)
        told = [frame.data["__interrupt__"] for frame in seen if frame.event and "__interrupt__" in frame.data]
        assert [[question(one) for one in asked] for asked in told] == [[wanted]] * 2, "in updates and in values"
        body = {"command": {"resume": "y"}}
    last = await streamed(http, thread, "approvals", **body)
    assert answers(last[-1].data) == ["y", "y", "y"]


async def test_each_approval_shows_in_the_open_stream_of_the_thread(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    async with watching(http, thread) as seen:
        await client.runs.create(thread, "approvals", input={"log": []}, stream_mode=["updates", "values"])
        for number in range(1, 4):
            await ends(seen, number)
            command: Any = {"resume": number}
            await client.runs.create(thread, "approvals", command=command, stream_mode=["updates", "values"])
        await ends(seen, 4)
    for mode in ("updates", "values"):
        told = [frame.data["__interrupt__"] for frame in named(seen, mode) if "__interrupt__" in frame.data]
        assert [[question(one) for one in asked] for asked in told] == [["one"], ["two"], ["three"]]
    assert answers(named(seen, "values")[-1].data) == [1, 2, 3]


# A new turn on a thread that waits


async def test_a_client_can_demand_that_no_question_is_passed_over(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    thread = await begun(client, "trio")
    asked = await pending(client, thread)
    body = {"assistant_id": "trio", "input": {"log": ["typed"]}, "if_interrupted": "reject"}
    refused = await http.post(f"/threads/{thread}/runs", json=body)
    assert refused.status_code == 409
    detail = refused.json()["detail"]
    assert all(one in detail for one in asked.values()), detail
    assert "command.resume" in detail
    assert len(await client.runs.list(thread)) == 1
    assert await pending(client, thread) == asked
    answer = {"command": {"resume": dict.fromkeys(asked.values(), "y")}}
    done = await http.post(f"/threads/{thread}/runs/wait", json={**body, **answer})
    assert answers(done.json()) == ["y", "y", "y"], "an answer beside an input is an answer"
    assert (await http.post(f"/threads/{thread}/runs/wait", json=body)).status_code == 200, "nothing is pending"
    assert (await http.post(f"/threads/{thread}/runs/wait", json={**body, "if_interrupted": "x"})).status_code == 422
    proceed = await http.post(f"/threads/{thread}/runs/wait", json={**body, "if_interrupted": "proceed"})
    assert "typed" in proceed.json()["log"], "the default: a new turn"


async def test_a_turn_that_was_queued_before_the_question_is_refused_when_it_begins(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    body = {"assistant_id": "busy_pair", "input": {"log": ["typed"]}, "if_interrupted": "reject", "after_seconds": 0.5}
    await http.post(f"/threads/{thread}/runs", json=body)
    await client.runs.wait(thread, "busy_pair", input={"log": []})
    asked = await pending(client, thread)
    (late,) = [run for run in await client.runs.list(thread) if run["status"] != "success"]
    output: Any = await client.runs.join(thread, late["run_id"])
    assert output["__error__"]["error"] == "ThreadInterrupted"
    assert all(one in output["__error__"]["message"] for one in asked.values())
    assert await pending(client, thread) == asked
    assert (await client.threads.get(thread))["status"] == "interrupted"


async def test_a_questioned_thread_keeps_its_answer_beside_an_input(
    http: httpx.AsyncClient, client: LangGraphClient
) -> None:
    thread = await begun(client, "approvals")
    body = {"command": {"resume": "y"}, "input": {"log": ["typed"]}, "stream_mode": "values"}
    async with stream(http, thread, "approvals", **body) as (_, read):
        told = [frame.data async for frame in read if frame.event == "values"]
    assert told[-1]["log"] == [["one", "y"]]


# Databases from before


async def test_what_was_pending_before_the_rows_is_pending_still(tmp_path: Path) -> None:
    file = tmp_path / "threads.sqlite"
    folder = Path(threadmill_checkpoints.__file__).parent / "migrations/sqlite"
    old = sqlite3.connect(file)
    old.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT)")
    for step in sorted(folder.glob("000[1-4]_*.sql")):
        old.executescript(step.read_text())
        old.execute("INSERT INTO migrations (version, name) VALUES (?, ?)", (int(step.name[:4]), step.name))
    asked = ("null", "true", '"text"', '{"a":[1,null,false]}', "2")
    listed = ",".join(f'{{"id":"i{n}","value":{value}}}' for n, value in enumerate(asked))
    for name, interrupts in (
        ("asks", f'{{"t1":[{listed}],"t2":[{{"id":"j","value":"?"}}]}}'),
        ("idle", "{}"),
        ("new", None),
    ):
        old.execute(
            "INSERT INTO threads (thread_id, created_at, updated_at, state_updated_at, last_activity_at, metadata, "
            "config, interrupts) VALUES (?, '1', '1', '1', '1', '{}', '{}', ?)",
            (name, interrupts),
        )
    old.commit()
    old.close()
    database = SqliteDatabase(file, prepare=migrate_sqlite)
    shown = {name: (await database.read(threads.get, ALL, name)).interrupts for name in ("asks", "idle", "new")}
    await database.close()
    t1 = [{"id": f"i{n}", "value": value} for n, value in enumerate([None, True, "text", {"a": [1, None, False]}, 2])]
    assert shown == {"asks": {"t1": t1, "t2": [{"id": "j", "value": "?"}]}, "idle": {}, "new": None}


async def test_a_row_tells_who_asked_and_where(own_server: Server) -> None:
    client = own_server.client()
    thread = await begun(client, "deeper")
    (run,) = await client.runs.list(thread)
    state: Any = await client.threads.get_state(thread, subgraphs=True)
    inner = state["tasks"][0]["state"]["tasks"][0]["state"]
    own_server.kill()
    with sqlite3.connect(own_server.data_dir / "threadmill.sqlite") as database:
        rows = database.execute("SELECT run_id, task_id, namespace FROM interrupts").fetchall()
    assert rows == [(run["run_id"], state["tasks"][0]["id"], inner["checkpoint"]["checkpoint_ns"])]
