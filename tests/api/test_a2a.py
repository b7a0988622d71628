"""Each assistant is an agent for A2A clients: a message is a run, a task its outcome."""

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server, status_is

pytestmark = pytest.mark.anyio

GUARDED = Path(__file__).parents[1] / "auth" / "langgraph.json"
UNKNOWN = "0191fc2b-5f4e-7575-b684-250167de9407"


class Agent:
    """An A2A client of one assistant."""

    def __init__(self, http: httpx.AsyncClient, assistant_id: str) -> None:
        self.http, self.path, self.sent = http, f"/a2a/{assistant_id}", 0

    async def ask(self, method: str, params: Any = None) -> dict[str, Any]:
        answer = await self.http.post(self.path, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        assert answer.status_code == 200, answer.text
        value = answer.json()
        assert (value.pop("jsonrpc"), value.pop("id")) == ("2.0", 1)
        return value

    async def task(self, method: str, params: Any) -> Any:
        return (await self.ask(method, params))["result"]

    async def code(self, method: str, params: Any = None) -> int:
        return int((await self.ask(method, params))["error"]["code"])

    def message(self, text: str | None = None, data: Any = None, **more: Any) -> dict[str, Any]:
        self.sent += 1
        parts: list[Any] = [] if text is None else [{"kind": "text", "text": text}]
        parts += [] if data is None else [{"kind": "data", "data": data}]
        return {"message": {"role": "user", "parts": parts, "messageId": f"m{self.sent}", **more}}

    async def events(self, method: str, params: Any) -> list[Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.http.stream("POST", self.path, json=body) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = [line async for line in answer.aiter_lines()]
        assert {line for line in lines if line.startswith("event:")} == {"event: message"}
        return [json.loads(line[6:])["result"] for line in lines if line.startswith("data: ")]


@pytest.fixture
async def ids(http: httpx.AsyncClient) -> dict[str, str]:
    """Of the assistants, by graph."""
    found = (await http.post("/assistants/search", json={"metadata": {"created_by": "system"}, "limit": 100})).json()
    return {one["graph_id"]: one["assistant_id"] for one in found}


@pytest.fixture
async def echo(http: httpx.AsyncClient, ids: dict[str, str]) -> Agent:
    return Agent(http, ids["echo"])


def texts(history: Any) -> list[tuple[str, str]]:
    return [(one["role"], one["parts"][0]["text"]) for one in history]


async def test_a_message_becomes_a_task_with_an_answer(echo: Agent, client: LangGraphClient) -> None:
    task = await echo.task("message/send", echo.message("hi"))
    thread_id, run_id = task["id"].split(":")
    assert (task["kind"], task["contextId"], task["status"]["state"]) == ("task", thread_id, "completed")
    assert texts(task["history"]) == [("user", "hi"), ("agent", "1: hi")]
    assert task["history"][0]["messageId"] == "m1"
    (artifact,) = task["artifacts"]
    assert artifact["parts"] == [{"kind": "text", "text": "1: hi"}]
    assert (await client.runs.get(thread_id, run_id))["status"] == "success"
    assert await echo.task("tasks/get", {"id": task["id"]}) == task
    last = await echo.task("tasks/get", {"id": task["id"], "historyLength": 1})
    assert texts(last["history"]) == [("agent", "1: hi")]


async def test_a_context_is_a_conversation(echo: Agent) -> None:
    first = await echo.task("message/send", echo.message("hi"))
    second = await echo.task("message/send", echo.message("again", contextId=first["contextId"]))
    assert (second["contextId"], second["id"] != first["id"]) == (first["contextId"], True)
    assert texts(second["history"])[-1] == ("agent", "3: again")
    assert await echo.code("message/send", echo.message("more", taskId=first["id"])) == -32004
    assert await echo.code("message/send", echo.message("more", contextId="nonsense")) == -32602


async def test_a_stream_tells_the_task_the_words_the_outcome(http: httpx.AsyncClient, ids: dict[str, str]) -> None:
    chat = Agent(http, ids["chat"])
    events = await chat.events("message/stream", chat.message("hi", data={"n_tokens": 4, "delay": 0.3}))
    task, *words, artifact, end = events
    assert (task["kind"], task["status"]["state"]) == ("task", "submitted")
    assert texts(task["history"]) == [("user", "hi")]
    said = [one["status"]["message"]["parts"][0]["text"] for one in words]
    assert len(said) > 1
    assert all(later.startswith(sooner) for sooner, later in pairwise(said))
    assert said[-1] == "t0 t1 t2 t3 "
    assert {(one["kind"], one["status"]["state"], one["final"]) for one in words} == {
        ("status-update", "working", False)
    }
    assert (artifact["kind"], artifact["artifact"]["parts"][0]["text"]) == ("artifact-update", "t0 t1 t2 t3 ")
    assert (end["kind"], end["status"]["state"], end["final"]) == ("status-update", "completed", True)
    again = await chat.events("tasks/resubscribe", {"id": task["id"]})
    assert again[-2:] == [artifact, end]


async def test_a_question_is_input_required_and_its_answer_goes_on_with_the_task(
    http: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    hitl = Agent(http, ids["hitl"])
    task = await hitl.task("message/send", hitl.message(data={"n": 3}))
    assert task["status"]["state"] == "input-required"
    (part,) = task["status"]["message"]["parts"]
    assert part["data"]["value"] == {"question": "approve?", "n": 3}
    assert (await hitl.task("tasks/get", {"id": task["id"]}))["status"] == task["status"]
    done = await hitl.task("message/send", hitl.message("yes", taskId=task["id"], contextId=task["contextId"]))
    assert (done["id"], done["status"]["state"]) == (task["id"], "completed")
    assert done["artifacts"][0]["parts"][0]["data"]["log"] == ["propose", {"approve": "yes"}, "done"]
    assert await hitl.task("tasks/get", {"id": task["id"]}) == done
    assert await hitl.code("message/send", hitl.message("yes", taskId=task["id"])) == -32004


async def test_several_questions_are_answered_by_their_ids(http: httpx.AsyncClient, ids: dict[str, str]) -> None:
    both = Agent(http, ids["parallel_hitl"])
    *_, task = await both.events("message/stream", both.message(data={}))
    assert (task["status"]["state"], task["final"]) == ("input-required", True)
    questions = [part["data"]["id"] for part in task["status"]["message"]["parts"]]
    assert len(questions) == 2
    assert await both.code("message/send", both.message("yes", taskId=task["taskId"])) == -32602
    answers = dict.fromkeys(questions, "fine")
    *_, done = await both.events("message/stream", both.message(data=answers, taskId=task["taskId"]))
    assert (done["taskId"], done["status"]["state"]) == (task["taskId"], "completed")


async def test_a_failure_is_a_failed_task(http: httpx.AsyncClient, ids: dict[str, str]) -> None:
    boom = Agent(http, ids["boom"])
    task = await boom.task("message/send", boom.message(data={"key": "a2a"}))
    assert task["status"]["state"] == "failed"
    assert texts([task["status"]["message"]]) == [("agent", "ValueError: boom on purpose")]
    *_, end = await boom.events("message/stream", boom.message(data={"key": "a2a"}))
    assert (end["status"]["state"], end["final"]) == ("failed", True)


async def test_a_task_that_runs_can_be_cancelled_once(
    http: httpx.AsyncClient, ids: dict[str, str], client: LangGraphClient
) -> None:
    slow = Agent(http, ids["slow"])
    body = slow.message(data={"steps": 200, "delay": 0.1}) | {"configuration": {"blocking": False}}
    task = await slow.task("message/send", body)
    assert task["status"]["state"] == "submitted"
    await status_is(client, *task["id"].split(":"), "running")
    assert (await slow.task("tasks/get", {"id": task["id"]}))["status"]["state"] == "working"
    assert await slow.code("message/send", slow.message("more", taskId=task["id"])) == -32004
    assert (await slow.task("tasks/cancel", {"id": task["id"]}))["status"]["state"] == "canceled"
    assert await slow.code("tasks/cancel", {"id": task["id"]}) == -32002


async def test_what_cannot_be_done_has_its_code(http: httpx.AsyncClient, ids: dict[str, str], echo: Agent) -> None:
    hi = echo.message("hi")
    assert await Agent(http, "echo").code("message/send", hi) == -32602
    assert await Agent(http, UNKNOWN).code("message/send", hi) == -32602
    assert await Agent(http, ids["hitl"]).code("message/send", hi) == -32602  # has no messages
    assert await echo.code("message/fly", hi) == -32601
    other = await echo.task("message/send", hi)
    for method in ("tasks/get", "tasks/cancel", "tasks/resubscribe"):
        for name in ("x", UNKNOWN, f"{UNKNOWN}:{UNKNOWN}"):
            assert await echo.code(method, {"id": name}) == -32001, (method, name)
        assert await Agent(http, ids["chat"]).code(method, {"id": other["id"]}) == -32001
    bad: list[Any] = [None, {}, {"message": 5}, {"message": {"parts": [], "messageId": "m"}}]
    bad += [{"message": {"parts": [{"kind": "file"}], "messageId": "m"}}, {"message": {"parts": [5], "messageId": "m"}}]
    for params in bad:
        assert await echo.code("message/send", params) == -32602, params
    for content, code in ((b"{", -32700), (b"[]", -32600), (b'{"id": 1}', -32600)):
        answer = await http.post(echo.path, content=content)
        assert answer.json()["error"]["code"] == code, content


async def test_files_become_blocks_of_the_message(echo: Agent, client: LangGraphClient) -> None:
    file = {"kind": "file", "file": {"mimeType": "image/png", "bytes": "aGk="}}
    message = echo.message("see")
    message["message"]["parts"].append(file)
    task = await echo.task("message/send", message)
    state = await client.threads.get_state(task["contextId"])
    values: Any = state["values"]
    assert values["messages"][0]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image", "mime_type": "image/png", "base64": "aGk="},
    ]


async def test_a_client_may_hand_over_what_an_agent_said(echo: Agent, client: LangGraphClient) -> None:
    said = echo.message("what the other agent said")
    said["message"]["role"] = "agent"
    task = await echo.task("message/send", said)
    assert texts(task["history"])[0] == ("agent", "what the other agent said")
    state: Any = await client.threads.get_state(task["contextId"])
    assert [one["type"] for one in state["values"]["messages"]] == ["ai", "ai"]
    *_, end = await echo.events("message/stream", said | {"message": {**said["message"], "messageId": "other"}})
    assert end["status"]["state"] == "completed"
    opened, *_ = await echo.events("message/stream", said)
    assert texts(opened["history"]) == [("agent", "what the other agent said")]
    said["message"]["role"] = "robot"
    assert await echo.code("message/send", said) == -32602


async def test_a_card_is_found_at_the_agent_itself(http: httpx.AsyncClient, ids: dict[str, str]) -> None:
    """A client that knows no more than the agent's URL looks there, and below it."""
    card = (await http.get("/.well-known/agent-card.json", params={"assistant_id": ids["echo"]})).json()
    for place in (f"/a2a/{ids['echo']}", f"/a2a/{ids['echo']}/.well-known/agent-card.json"):
        assert (await http.get(place)).json() == card
    for unknown in ("echo", UNKNOWN):
        answer = await http.get(f"/a2a/{unknown}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


async def test_a_card_says_where_the_agent_is(http: httpx.AsyncClient, ids: dict[str, str]) -> None:
    place = "/.well-known/agent-card.json"
    card = (await http.get(place, params={"assistant_id": ids["chat"]})).json()
    assert card["description"] == "Streams scripted tokens from a fake chat model."
    assert (card["name"], card["protocolVersion"], card["capabilities"]["streaming"]) == ("chat", "0.3.0", True)
    assert card["skills"][0]["metadata"]["supportsA2A"]
    hello = Agent(http, ids["chat"]).message("hi")
    answer = await http.post(card["url"], json={"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": hello})
    assert answer.json()["result"]["status"]["state"] == "completed"
    for params in ({}, {"assistant_id": "chat"}, {"assistant_id": UNKNOWN}):
        wrong = await http.get(place, params=params)
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, -32602)


# Auth


@pytest.fixture
async def alice_and_bob(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    server = Server(tmp_path / "data", GUARDED).start()
    alice, bob = (
        httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {name}"}) for name in ("alice", "bob")
    )
    async with alice, bob:
        yield alice, bob
    server.kill()


async def test_somebody_elses_task_and_context_do_not_exist(
    alice_and_bob: tuple[httpx.AsyncClient, httpx.AsyncClient],
) -> None:
    alice, bob = alice_and_bob
    (found,) = (await alice.post("/assistants/search", json={"graph_id": "echo"})).json()
    hers, his = Agent(alice, found["assistant_id"]), Agent(bob, found["assistant_id"])
    task = await hers.task("message/send", hers.message("the words of alice"))
    assert (await alice.get(f"/threads/{task['contextId']}")).json()["metadata"]["owner"] == "alice"
    for method in ("tasks/get", "tasks/cancel", "tasks/resubscribe"):
        assert await his.code(method, {"id": task["id"]}) == -32001, method
    for method in ("message/send", "message/stream"):
        for place in ({"contextId": task["contextId"]}, {"taskId": task["id"]}):
            answer = await his.ask(method, his.message("me too", **place))
            assert "words of alice" not in json.dumps(answer)
            assert answer["error"]["code"] in (-32001, -32602), (method, place)
    assert len((await hers.task("tasks/get", {"id": task["id"]}))["history"]) == 2
