"""A stop ends what was meant, all of it and nothing else, whatever it meets."""

import json
import sqlite3
import time
from typing import Any

import anyio
import httpx
import pytest
from serving import Server, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

STOPPED = "This tool call was stopped before it had a result."
LOST = "This tool call has no result: it was broken off."


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


async def new_thread(http: httpx.AsyncClient) -> str:
    return str((await http.post("/threads", json={"metadata": {"graph_id": "strict"}})).json()["thread_id"])


async def start(http: httpx.AsyncClient, thread: str, text: str, graph: str = "strict", **more: Any) -> str:
    given = {"question": text} if graph == "strict_plain" else asked(text)
    body = {"assistant_id": graph, "input": given, "stream_mode": ["messages-tuple"], **more}
    return str((await http.post(f"/threads/{thread}/runs", json=body)).json()["run_id"])


async def stop(http: httpx.AsyncClient, thread: str, **params: Any) -> dict[str, Any]:
    command = {"id": 1, "method": "run.stop", "params": params}
    answer: dict[str, Any] = (await http.post(f"/threads/{thread}/commands", json=command)).json()
    return answer


async def speaking(http: httpx.AsyncClient, thread: str, run: str) -> None:
    """Wait for the first words, or for a tool to be at work."""
    async with http.stream("GET", f"/threads/{thread}/runs/{run}/stream") as response:
        async for line in response.aiter_lines():
            if line.startswith("event: messages"):
                return


async def at_tools(http: httpx.AsyncClient, thread: str) -> None:
    async def next_is_tools() -> bool:
        return bool((await http.get(f"/threads/{thread}/state")).json()["next"] == ["tools"])

    await until(next_is_tools)


async def status(http: httpx.AsyncClient, thread: str, run: str) -> str:
    return str((await http.get(f"/threads/{thread}/runs/{run}")).json()["status"])


async def ended(http: httpx.AsyncClient, thread: str, run: str) -> str:
    async def over() -> str | None:
        now = await status(http, thread, run)
        return None if now in ("pending", "running") else now

    return await until(over)


async def said(http: httpx.AsyncClient, thread: str) -> list[tuple[str, str]]:
    state = (await http.get(f"/threads/{thread}/state")).json()
    return [(one["type"], one["content"]) for one in state["values"].get("messages", [])]


async def goes_on(http: httpx.AsyncClient, thread: str, graph: str = "strict") -> None:
    """The strict model takes the history, and sees what is in the state."""
    before = await said(http, thread)
    body = {"assistant_id": graph, "input": asked("seen")}
    after = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert "__error__" not in after, after
    heard = [(one["type"], one["content"]) for one in after["messages"]]
    assert [one for one in before if one not in heard] == []
    assert heard[-1] == ("ai", "\n".join(f"{who}:{text}" for who, text in heard[:-2]))


async def test_others_are_not_touched(http: httpx.AsyncClient) -> None:
    here, there = await new_thread(http), await new_thread(http)
    first, other = await start(http, here, "tell"), await start(http, there, "tell 60")
    queued, last = await start(http, here, "tell 10"), await start(http, here, "tell 10")
    await speaking(http, here, first)
    assert (await stop(http, here, run_id=last))["result"] == {"run_id": last}
    assert await status(http, here, last) == "interrupted"
    assert await status(http, here, first) == "running", "only the queued one was meant"
    assert (await stop(http, here))["result"] == {"run_id": first}
    assert [await ended(http, here, run) for run in (first, queued)] == ["interrupted", "success"]
    assert await ended(http, there, other) == "success"
    assert [who for who, _ in await said(http, here)] == ["human", "ai", "human", "ai"]


async def test_twice_is_once(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    await start(http, thread, "wait wait_a_little")
    await at_tools(http, thread)
    answers: list[dict[str, Any]] = []

    async def one() -> None:
        answers.append(await stop(http, thread))

    async with anyio.create_task_group() as at_once:
        for _ in range(5):
            at_once.start_soon(one)
    assert {answer.get("error", "stopped") for answer in answers} <= {"stopped", "no_such_run"}
    assert (await stop(http, thread))["error"] == "no_such_run"
    tools = [("tool", STOPPED), ("tool", "waited a little")]
    assert await said(http, thread) == [("human", "wait wait_a_little"), ("ai", "Waiting. "), *tools]
    answered = (await http.get(f"/threads/{thread}/state")).json()["values"]["messages"][2:]
    assert [one["response_metadata"].get("finish_reason") for one in answered] == ["stopped", None]
    await goes_on(http, thread)


async def test_a_race_with_the_end(http: httpx.AsyncClient) -> None:
    endings = set()
    for _ in range(15):
        thread = await new_thread(http)
        run = await start(http, thread, "tell 1")
        await stop(http, thread)
        endings.add(await ended(http, thread, run))
        shown = (await http.get(f"/threads/{thread}")).json()
        assert shown["status"] == "idle"
        assert (await said(http, thread))[:1] == [("human", "tell 1")], "also when nothing was stored yet"
        await goes_on(http, thread)
    assert endings <= {"success", "interrupted"}


async def test_a_paused_run(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    run = await start(http, thread, "wait_here")
    await at_tools(http, thread)
    pause = {"id": 1, "method": "run.pause"}
    assert (await http.post(f"/threads/{thread}/commands", json=pause)).json()["result"]["paused"]
    assert (await stop(http, thread))["result"] == {"run_id": run}
    assert await ended(http, thread, run) == "interrupted"
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["next"] == []
    assert await said(http, thread) == [("human", "wait_here"), ("ai", "Waiting. "), ("tool", "waited here")]
    await goes_on(http, thread)


async def test_a_node_that_does_not_listen_is_left_behind(project: Server, http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    run = await start(http, thread, "tell", "strict_stubborn")
    await speaking(http, thread, run)
    began = time.perf_counter()
    await stop(http, thread)
    assert time.perf_counter() - began <= 0.3
    before = await said(http, thread)

    async def refused() -> bool:
        return "a node goes on after the stop; what it still does is refused" in project.log

    await until(refused)
    await goes_on(http, thread, "strict")
    await anyio.sleep(1.5)  # by now it has returned "too late"
    after = await said(http, thread)
    assert after[: len(before)] == before
    assert "too late" not in [text for _, text in after]


async def test_a_graph_without_messages(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    run = await start(http, thread, "tell", "strict_plain")
    await speaking(http, thread, run)
    await stop(http, thread)
    assert await ended(http, thread, run) == "interrupted"
    shown = (await http.get(f"/threads/{thread}")).json()
    assert (shown["status"], shown["values"]) == ("idle", {"question": "tell"})
    body = {"assistant_id": "strict_plain", "input": {"question": "short"}}
    assert (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()["answer"] == "done"


async def test_what_a_reader_of_the_protocol_is_told(http: httpx.AsyncClient) -> None:
    """Open messages and tools get their end, then comes the state, then the end of the run."""
    thread = await new_thread(http)
    begin = {"id": 1, "method": "run.start", "params": {"assistant_id": "strict_team", "input": asked("tell")}}
    run = (await http.post(f"/threads/{thread}/commands", json=begin)).json()["result"]["run_id"]
    read: list[dict[str, Any]] = []
    body = {"channels": ["messages", "tools", "values", "lifecycle"]}
    async with http.stream("POST", f"/threads/{thread}/stream/events", json=body) as response:
        lines = response.aiter_lines()
        async for line in lines:
            if "content-block-delta" in line:
                break
        await stop(http, thread, run_id=run)
        with anyio.fail_after(5):
            async for line in lines:
                if line.startswith("data: "):
                    read.append(httpx.Response(200, text=line.removeprefix("data: ")).json())
                    if read[-1]["method"] == "lifecycle" and read[-1]["params"]["namespace"] == []:
                        break
    ends = [(one["method"], one["params"]["data"]) for one in read if "delta" not in one["params"]["data"]]
    kinds = [(method, data.get("event"), data.get("code")) for method, data in ends]
    assert kinds[-4:] == [
        ("lifecycle", "interrupted", None),  # of the subgraph
        ("messages", "error", "stopped"),
        ("values", None, None),
        ("lifecycle", "completed", None),
    ]
    assert ends[-1][1]["stopped"]
    spoken = ends[-2][1]["messages"][-1]
    assert spoken["content"][0]["text"].startswith("t0 ")
    assert spoken["response_metadata"] == {"finish_reason": "stopped"}


async def test_the_end_and_the_state_are_one(project: Server, http: httpx.AsyncClient) -> None:
    """What ends the run cannot be written: then nothing of the stop is."""
    thread = await new_thread(http)
    run = await start(http, thread, "wait")
    await at_tools(http, thread)
    with sqlite3.connect(project.data_dir / "threadmill.sqlite") as file:
        file.execute(
            f"CREATE TRIGGER refuse BEFORE UPDATE OF status ON runs WHEN new.run_id = '{run}' "
            "AND new.status = 'interrupted' BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
    try:
        await stop(http, thread)
        assert await ended(http, thread, run) == "error"
        assert await said(http, thread) == [("human", "wait"), ("ai", "Waiting. ")]
    finally:
        with sqlite3.connect(project.data_dir / "threadmill.sqlite") as file:
            file.execute("DROP TRIGGER refuse")
    await goes_on(http, thread)
    assert (await said(http, thread))[2] == ("tool", LOST)


async def test_whoever_notices_says_the_same(project: Server, http: httpx.AsyncClient) -> None:
    """The request, or the worker that finds its row first."""
    reasons = set()
    for by_row in (True, False):
        thread = await new_thread(http)
        run = await start(http, thread, "tell 6000")
        await speaking(http, thread, run)
        if by_row:
            with sqlite3.connect(project.data_dir / "threadmill.sqlite") as file:
                file.execute("UPDATE runs SET stop = 'stop' WHERE run_id = ?", (run,))
            other = await new_thread(http)
            await start(http, other, "tell 60")
            await stop(http, other)  # wakes the worker
        else:
            await stop(http, thread)
        assert await ended(http, thread, run) == "interrupted"
        body = {"channels": ["messages"], "since": 0}
        async with http.stream("POST", f"/threads/{thread}/stream/events", json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and '"stopped"' in line:
                    reasons.add(json.loads(line[6:])["params"]["data"]["message"])
                    break
    assert reasons == {"stopped by the user"}


@pytest.mark.parametrize("how", ["interrupt", "old database"])
async def test_a_new_turn_is_repaired_first(project: Server, http: httpx.AsyncClient, how: str) -> None:
    thread = await new_thread(http)
    run = await start(http, thread, "wait wait_a_little")
    await at_tools(http, thread)
    await http.post(f"/threads/{thread}/runs/{run}/cancel", params={"wait": "1"})
    if how == "old database":
        with sqlite3.connect(project.data_dir / "threadmill.sqlite") as file:
            file.execute("UPDATE threads SET open_calls = NULL WHERE thread_id = ?", (thread,))
    await goes_on(http, thread)
    assert [who for who, _ in await said(http, thread)] == ["human", "ai", "tool", "tool", "human", "ai"]


async def test_calls_in_the_middle_of_a_history_are_answered_there(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    calls = [{"name": "wait", "args": {}, "id": name, "type": "tool_call"} for name in ("a", "b")]
    history = [
        {"type": "human", "content": "one", "id": "1"},
        {"type": "ai", "content": "", "tool_calls": calls, "id": "2"},
        {"type": "human", "content": "two", "id": "3"},
        {"type": "tool", "content": "late", "tool_call_id": "b", "id": "4"},
        {"type": "ai", "content": "fine", "id": "5"},
    ]
    await http.post(f"/threads/{thread}/state", json={"values": {"messages": history}, "as_node": "speak"})
    await goes_on(http, thread)
    assert (await said(http, thread))[:6] == [
        ("human", "one"),
        ("ai", ""),
        ("tool", LOST),
        ("tool", "late"),
        ("human", "two"),
        ("ai", "fine"),
    ]


@pytest.mark.parametrize("graph", ["strict", "strict_adding"])
@pytest.mark.parametrize("since", [(), ("short",)], ids=["at once", "later"])
@pytest.mark.parametrize("asked", [(), ("seen",)], ids=["alone", "with a turn"])
async def test_an_answer_that_the_client_brings_is_the_only_one(
    http: httpx.AsyncClient, graph: str, since: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    """As pages do that run tools themselves, or that close an open call before they send the next turn."""
    thread = await new_thread(http)
    calls = [{"name": "wait", "args": {}, "id": name, "type": "tool_call"} for name in ("a", "b")]
    history = [
        {"type": "human", "content": "short", "id": "1"},
        {"type": "ai", "content": "", "tool_calls": calls, "id": "2"},
        *({"type": "human", "content": text, "id": "3"} for text in since),
    ]
    await http.post(f"/threads/{thread}/state", json={"values": {"messages": history}, "as_node": "speak"})
    brought = {"type": "tool", "content": "by the page", "tool_call_id": "b", "name": "wait"}
    given = [brought, *({"type": "human", "content": text} for text in asked)]
    body = {"assistant_id": graph, "input": {"messages": given}}
    after = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert "__error__" not in after, after
    assert [(one["type"], one["content"]) for one in after["messages"]][:-1] == [
        ("human", "short"),
        ("ai", ""),
        ("tool", LOST),
        ("tool", "by the page"),
        *(("human", text) for text in (*since, *asked)),
    ]


async def test_a_turn_without_words_is_heard_too(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    call = {"name": "wait", "args": {}, "id": "a", "type": "tool_call"}
    history = [{"type": "human", "content": "short"}, {"type": "ai", "content": "", "tool_calls": [call]}]
    body: dict[str, Any] = {"values": {"messages": history}, "as_node": "member"}
    await http.patch(f"/threads/{thread}", json={"metadata": {"graph_id": "strict_team"}})
    await http.post(f"/threads/{thread}/state", json=body)
    body = {"assistant_id": "strict_team", "input": {"beside": "mine"}}
    after = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert [one["content"] for one in after["messages"]][2] == LOST
    states = (await http.post(f"/threads/{thread}/history", json={"limit": 20})).json()
    assert "mine" in [one["values"].get("beside") for one in states]


async def test_what_a_fenced_off_attempt_says_is_refused(project: Server, http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    run = await start(http, thread, "tell 60")
    await speaking(http, thread, run)
    stored = "SELECT max(last_seq) FROM events WHERE run_id = ?"
    with sqlite3.connect(project.data_dir / "threadmill.sqlite", isolation_level=None) as file:
        file.execute("BEGIN IMMEDIATE")
        file.execute("UPDATE runs SET attempt = attempt + 1 WHERE run_id = ?", (run,))  # as another worker would
        before = file.execute(stored, (run,)).fetchone()
        file.execute("COMMIT")

        async def noticed() -> bool:
            return any(run in line and "run lost to another attempt" in line for line in project.log.splitlines())

        await until(noticed)
        assert file.execute(stored, (run,)).fetchone() == before
        file.execute("UPDATE runs SET status = 'error' WHERE run_id = ?", (run,))
    await goes_on(http, thread)
