"""Answering, changing and redirecting a thread that waits: command {resume, update, goto}."""

from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

pytestmark = pytest.mark.anyio


@pytest.fixture
async def asked(client: LangGraphClient, thread: str) -> str:
    await client.runs.wait(thread, "hitl", input={"n": 1})
    return thread


@pytest.fixture
async def asked_twice(client: LangGraphClient, thread: str) -> str:
    await client.runs.wait(thread, "parallel_hitl", input={})
    return thread


async def questions(client: LangGraphClient, thread: str) -> dict[str, str]:
    """Interrupt ids by question."""
    state: Any = await client.threads.get_state(thread)
    return {interrupt["value"]: interrupt["id"] for interrupt in state["interrupts"]}


async def test_resume_answers_and_the_graph_goes_on(client: LangGraphClient, asked: str) -> None:
    output: Any = await client.runs.wait(asked, "hitl", command={"resume": "yes"})
    assert output == {"log": ["propose", {"approve": "yes"}, "done"], "n": 1}
    after = await client.threads.get(asked)
    assert (after["status"], after["interrupts"]) == ("idle", {})


@pytest.mark.parametrize("answer", [False, 0, "", [], {"choice": 1}, [1, {"a": None}], "да 🧵"])
async def test_any_value_is_an_answer_also_a_falsy_one(client: LangGraphClient, asked: str, answer: Any) -> None:
    output: Any = await client.runs.wait(asked, "hitl", command={"resume": answer})
    assert output["log"] == ["propose", {"approve": answer}, "done"]


async def test_update_changes_the_state_along_with_the_answer(client: LangGraphClient, asked: str) -> None:
    output = await client.runs.wait(asked, "hitl", command={"resume": "y", "update": {"n": 9}})
    assert output == {"log": ["propose", {"approve": "y"}, "done"], "n": 9}


async def test_update_alone_asks_again(client: LangGraphClient, asked: str) -> None:
    output: Any = await client.runs.wait(asked, "hitl", command={"update": {"n": 9}})
    assert [i["value"] for i in output["__interrupt__"]] == [{"question": "approve?", "n": 9}]


@pytest.mark.parametrize("target", ["done", {"node": "done", "input": {"n": 3}}, ["done"]])
async def test_goto_runs_a_node_of_an_idle_thread(client: LangGraphClient, asked: str, target: Any) -> None:
    await client.runs.wait(asked, "hitl", command={"resume": "y"})
    output: Any = await client.runs.wait(asked, "hitl", command={"goto": target})
    assert output["log"] == ["propose", {"approve": "y"}, "done", "done"]


async def test_goto_beside_an_open_question_leaves_it_open(client: LangGraphClient, asked: str) -> None:
    output: Any = await client.runs.wait(asked, "hitl", command={"goto": "done"})
    assert [i["value"]["question"] for i in output["__interrupt__"]] == ["approve?"]
    assert (await client.threads.get(asked))["status"] == "interrupted"


@pytest.mark.parametrize("command", [{}, {"resume": None}, {"goto": []}, {"update": {}}, {"update": []}])
async def test_a_command_that_says_nothing_leaves_the_input(
    http: httpx.AsyncClient, thread: str, command: dict[str, Any]
) -> None:
    body = {"assistant_id": "counter", "command": command}
    assert (await http.post(f"/threads/{thread}/runs/wait", json={**body, "input": {"n": 5}})).json() == {"n": 6}
    assert (await http.post(f"/threads/{thread}/runs/wait", json=body)).json() == {"n": 6}


async def test_a_command_wins_over_input(client: LangGraphClient, asked: str) -> None:
    output = await client.runs.wait(asked, "hitl", input={"n": 5}, command={"resume": "c"})
    assert output == {"log": ["propose", {"approve": "c"}, "done"], "n": 1}


async def test_new_input_starts_over_and_replaces_the_question(client: LangGraphClient, asked: str) -> None:
    output: Any = await client.runs.wait(asked, "hitl", input={"n": 5})
    assert output["log"] == ["propose", "propose"]
    assert [i["value"]["n"] for i in output["__interrupt__"]] == [5]
    assert len((await client.threads.get(asked))["interrupts"]) == 1


async def test_continuing_without_an_answer_asks_again(client: LangGraphClient, asked: str) -> None:
    output: Any = await client.runs.wait(asked, "hitl")
    assert [i["value"] for i in output["__interrupt__"]] == [{"question": "approve?", "n": 1}]


async def test_two_questions_are_pending_side_by_side(client: LangGraphClient, asked_twice: str) -> None:
    shown = await client.threads.get(asked_twice)
    asked = [interrupt["value"] for task in shown["interrupts"].values() for interrupt in task]
    assert sorted(asked) == ["left?", "right?"]
    assert len(shown["interrupts"]) == 2


async def test_a_bare_answer_to_two_questions_is_an_error(client: LangGraphClient, asked_twice: str) -> None:
    with pytest.raises(Exception, match="RuntimeError: When there are multiple pending interrupts"):
        await client.runs.wait(asked_twice, "parallel_hitl", command={"resume": "x"})


async def test_two_questions_are_answered_at_once_by_id(client: LangGraphClient, asked_twice: str) -> None:
    ids = await questions(client, asked_twice)
    answers = {ids["left?"]: "L", ids["right?"]: "R"}
    output: Any = await client.runs.wait(asked_twice, "parallel_hitl", command={"resume": answers})
    assert output["log"] == [["left", "L"], ["right", "R"], "done"]


async def test_one_of_two_questions_can_be_answered_first(client: LangGraphClient, asked_twice: str) -> None:
    ids = await questions(client, asked_twice)
    partly: Any = await client.runs.wait(asked_twice, "parallel_hitl", command={"resume": {ids["right?"]: "R"}})
    assert [i["value"] for i in partly["__interrupt__"]] == ["left?"]
    state = await client.threads.get_state(asked_twice)
    assert (state["next"], state["values"]) == (["left"], {"log": [["right", "R"]]})
    output: Any = await client.runs.wait(asked_twice, "parallel_hitl", command={"resume": {ids["left?"]: "L"}})
    assert output["log"] == [["left", "L"], ["right", "R"], "done"]


@pytest.mark.beyond_reference
async def test_null_is_an_answer_or_is_refused_but_not_a_crash(http: httpx.AsyncClient, asked: str) -> None:
    body = {"assistant_id": "hitl", "command": {"resume": None}}
    response = await http.post(f"/threads/{asked}/runs/wait", json=body)
    assert response.status_code == 422 or "__error__" not in response.json()
