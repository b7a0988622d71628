"""The queue of a thread: shown, reordered, paused; and what is said to a run while it runs."""

import asyncio
import random
from typing import Any

import httpx
import pytest
from serving import Remote, Server, progressed, status_is, until

from threadmill.runs.executor import Control

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]


async def queue(http: httpx.AsyncClient, thread: str) -> list[dict[str, Any]]:
    answer = await http.get(f"/threads/{thread}/queue")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def command(http: httpx.AsyncClient, thread: str, method: str, **params: Any) -> dict[str, Any]:
    body = {"id": 1, "method": method, "params": params}
    return (await http.post(f"/threads/{thread}/commands", json=body)).json()


async def held(client: Any, http: httpx.AsyncClient, thread: str) -> str:
    """A run of `slow` that is under way and will be for long."""
    run = await client.runs.create(thread, "slow", input={"steps": 500, "delay": 0.02, "tag": "held"})
    await status_is(client, thread, run["run_id"], "running")
    return run["run_id"]


async def add(client: Any, thread: str, tag: str) -> str:
    given = {"steps": 2, "delay": 0.005, "tag": tag, "messages": [{"role": "user", "content": f"do {tag}"}]}
    return (await client.runs.create(thread, "slow", input=given, multitask_strategy="enqueue"))["run_id"]


async def test_shown_moved_cancelled(server: Remote, thread: str) -> None:
    client = server.client()
    async with server.http as http:
        running = await held(client, http, thread)
        a, b, c = [await add(client, thread, tag) for tag in "abc"]
        shown = await queue(http, thread)
        assert [(one["run_id"], one["position"], one["status"]) for one in shown] == [
            (running, None, "running"),
            (a, 0, "pending"),
            (b, 1, "pending"),
            (c, 2, "pending"),
        ]
        assert [one["asked"] for one in shown] == [None, "do a", "do b", "do c"]
        assert [one["attempt"] for one in shown] == [1, 0, 0, 0]
        moved = await http.patch(f"/threads/{thread}/runs/{c}", json={"position": 0})
        assert [one["run_id"] for one in moved.json()] == [running, c, a, b]
        moved = await http.patch(f"/threads/{thread}/runs/{c}", json={"position": 99})
        assert [one["run_id"] for one in moved.json()] == [running, a, b, c]
        assert (await http.patch(f"/threads/{thread}/runs/{running}", json={"position": 0})).status_code == 409
        assert (await http.patch(f"/threads/{thread}/runs/{a}", json={"position": -1})).status_code == 422
        assert (await http.patch(f"/threads/{thread}/runs/{a}", json={})).status_code == 422
        await client.runs.cancel(thread, b)
        assert [one["run_id"] for one in await queue(http, thread)] == [running, a, c]
        stopped = (await http.post(f"/threads/{thread}/stop")).json()
        assert (stopped["run_id"], stopped["status"]) == (running, "interrupted")
        await client.runs.join(thread, c)
        log = (await client.threads.get_state(thread))["values"]["log"]
        assert [one for one in log if not one.startswith("held")] == ["a1", "a2", "c1", "c2"]
        assert await queue(http, thread) == []
        assert (await http.post(f"/threads/{thread}/stop")).status_code == 404
        assert (await http.patch(f"/threads/{thread}/runs/{c}", json={"position": 0})).status_code == 409


async def test_reordering_while_runs_are_claimed_loses_and_doubles_none(server: Remote, thread: str) -> None:
    client, dice = server.client(), random.Random(4)
    async with server.http as http:
        ids = {await add(client, thread, f"r{number}."): f"r{number}." for number in range(30)}
        refused = 0
        while waiting := await queue(http, thread):
            moves = [
                http.patch(f"/threads/{thread}/runs/{one['run_id']}", json={"position": dice.randint(0, 30)})
                for one in dice.sample(waiting, min(4, len(waiting)))
            ]
            codes = [answer.status_code for answer in await asyncio.gather(*moves)]
            assert set(codes) <= {200, 409}
            refused += codes.count(409)
        assert refused  # some had just begun
        runs = await client.runs.list(thread, limit=100)
        assert {one["run_id"]: one["status"] for one in runs} == dict.fromkeys(ids, "success")
        log = (await client.threads.get_state(thread))["values"]["log"]
        assert sorted(log) == sorted(f"{tag}{step}" for tag in ids.values() for step in (1, 2))
        assert all(log[place + 1] == f"{log[place][:-1]}2" for place in range(0, 60, 2))  # one after the other


async def test_order_and_pause_outlive_a_crash(own_server: Server) -> None:
    client = own_server.client()
    thread = (await client.threads.create())["thread_id"]
    async with own_server.http as http:
        running = await held(client, http, thread)
        a, b = await add(client, thread, "a"), await add(client, thread, "b")
        await http.patch(f"/threads/{thread}/runs/{b}", json={"position": 0})
        paused = (await http.patch(f"/threads/{thread}/runs/{b}", json={"paused": True})).json()
        assert [(one["run_id"], one["paused"]) for one in paused] == [(running, False), (b, True), (a, False)]
    own_server.restart()
    async with own_server.http as http:
        shown = await queue(http, thread)
        assert [(one["run_id"], one["paused"]) for one in shown] == [(running, False), (b, True), (a, False)]
        assert [one["attempt"] for one in shown] == [2, 0, 0]
        await http.post(f"/threads/{thread}/stop")
        shown = await queue(http, thread)
        assert [(one["run_id"], one["status"]) for one in shown] == [(b, "pending"), (a, "pending")]  # b holds up a
        moved = await http.patch(f"/threads/{thread}/runs/{a}", json={"position": 0})  # ... unless a goes first
        assert moved.status_code == 200
        await client.runs.join(thread, a)
        assert [one["run_id"] for one in await queue(http, thread)] == [b]
        await http.patch(f"/threads/{thread}/runs/{b}", json={"paused": False})
        await client.runs.join(thread, b)
        log = (await client.threads.get_state(thread))["values"]["log"]
        assert [one for one in log if not one.startswith("held")] == ["a1", "a2", "b1", "b2"]


async def test_a_paused_run_goes_on_where_it_was(server: Remote, thread: str) -> None:
    client = server.client()
    async with server.http as http:
        run = (await client.runs.create(thread, "slow", input={"steps": 30, "delay": 0.01}))["run_id"]
        behind = await add(client, thread, "b")
        for steps in (3, 9, 15):
            await progressed(client, thread, steps)
            shown = (await http.patch(f"/threads/{thread}/runs/{run}", json={"paused": True})).json()
            assert [(one["run_id"], one["status"], one["paused"]) for one in shown] == [
                (run, "pending", True),
                (behind, "pending", False),
            ]
            before = (await client.threads.get_state(thread))["values"]
            snapshot = (await http.get(f"/threads/{thread}/snapshot")).json()
            assert snapshot["status"] == snapshot["thread"]["status"] == "paused"
            assert snapshot["values"] == before
            assert (await http.patch(f"/threads/{thread}/runs/{run}", json={"paused": True})).status_code == 200
            await http.patch(f"/threads/{thread}/runs/{run}", json={"paused": False})
        await client.runs.join(thread, run)
        await client.runs.join(thread, behind)
        log = (await client.threads.get_state(thread))["values"]["log"]
        assert log == [str(step) for step in range(1, 31)] + ["b1", "b2"]


async def test_a_pause_answers_with_the_thread_as_it_waits(server: Remote, thread: str) -> None:
    client = server.client()
    async with server.http as http:
        run = (await client.runs.create(thread, "slow", input={"steps": 30, "delay": 0.01}))["run_id"]
        await progressed(client, thread, 3)
        answer = (await command(http, thread, "run.pause"))["result"]
        shown = answer.pop("snapshot")
        assert answer == {"run_id": run, "paused": True, "status": "pending", "cursor": shown["cursor"]}
        assert shown == (await http.get(f"/threads/{thread}/snapshot")).json()
        assert (shown["status"], shown["values"]["done"]) == ("paused", len(shown["values"]["log"]))
        assert [one["run_id"] for one in shown["queue"]] == [run]
        await command(http, thread, "run.resume")
        await client.runs.join(thread, run)
        assert (await client.threads.get_state(thread))["values"]["done"] == 30


async def talking(client: Any, thread: str, tokens: int = 60, messages: Any = "start") -> str:
    """A run that is in the middle of an answer."""
    given = {"messages": messages, "n_tokens": tokens, "delay": 0.01}
    run = (await client.runs.create(thread, "chat", input=given, stream_mode=["values", "messages"]))["run_id"]
    await status_is(client, thread, run, "running")
    return run


def said(state: Any) -> list[str]:
    return [one["content"] for one in state["values"].get("messages", []) if one["type"] == "human"]


async def drained(http: httpx.AsyncClient, thread: str) -> None:
    async def empty() -> bool:
        shown = await queue(http, thread)
        for one in shown:
            if one["paused"]:
                await http.patch(f"/threads/{thread}/runs/{one['run_id']}", json={"paused": False})
        return not shown

    await until(empty, within=30)


async def test_what_is_said_to_a_run_is_in_the_thread_once(server: Remote, thread: str) -> None:
    client = server.client()
    async with server.http as http:
        run = await talking(client, thread)
        for words in ("first", "second", "second"):  # who lost the answer says it again
            message = {"role": "user", "content": words, "id": words}
            told = await command(http, thread, "input.inject", message=message)
            assert told.get("result", told) == {"run_id": run, "message_id": words}, told
        await client.runs.join(thread, run)
        await drained(http, thread)
        assert said(await client.threads.get_state(thread)) == ["start", "first", "second"]
        late = await command(http, thread, "input.inject", message={"role": "user", "content": "late"})
        assert late["error"] == "no_such_run"


async def test_what_was_said_before_is_not_said_to_another_run(server: Remote, thread: str) -> None:
    """Who lost the answer asks again, and by then it may have been answered."""
    client = server.client()
    async with server.http as http:
        first, message = await talking(client, thread), {"role": "user", "content": "first", "id": "first"}
        await command(http, thread, "input.inject", message=message)
        await client.runs.join(thread, first)
        await drained(http, thread)
        before = await client.runs.list(thread)
        again = await command(http, thread, "input.inject", message=message)
        assert again.get("result", again) == {"run_id": first, "message_id": "first"}, again
        question = {"type": "human", "content": "second", "id": "second"}
        second = await talking(client, thread, messages=[question])
        again = await command(http, thread, "input.inject", message=message)
        assert again.get("result", again) == {"run_id": first, "message_id": "first"}, again
        again = await command(http, thread, "input.inject", message={**message, "content": "second", "id": "second"})
        assert again.get("result", again) == {"run_id": second, "message_id": "second"}, again  # it began with it
        queued = await client.runs.create(
            thread, "chat", input={"messages": [{**question, "id": "third"}], "n_tokens": 1}
        )
        again = await command(http, thread, "input.inject", message={**message, "content": "third", "id": "third"})
        assert again.get("result", again) == {"run_id": queued["run_id"], "message_id": "third"}, again
        await client.runs.join(thread, second)
        await drained(http, thread)
        assert said(await client.threads.get_state(thread)) == ["start", "first", "second", "second"]
        assert len(await client.runs.list(thread)) == len(before) + 2


async def test_what_is_said_to_a_run_outlives_a_crash(own_server: Server) -> None:
    client = own_server.client()
    thread = (await client.threads.create())["thread_id"]
    async with own_server.http as http:
        await talking(client, thread, tokens=200)
        for words in ("first", "second"):
            await command(http, thread, "input.inject", message={"role": "user", "content": words})
    own_server.restart()
    async with own_server.http as http:
        await drained(http, thread)
    assert said(await client.threads.get_state(thread)) == ["start", "first", "second"]


async def test_what_is_said_at_once_waits_for_the_question() -> None:
    """To a run that has just begun: it would stand in front of it."""
    control = Control()
    control.say({"role": "user", "content": "and more"})
    assert not control.drain.drain_requested
    control.begin()
    assert control.drain.drain_requested


async def late(client: Any, http: httpx.AsyncClient, thread: str, run: str, question: str) -> None:
    """Say something to a run in its last superstep, and let what becomes of it end."""
    await status_is(client, thread, run, "running")

    async def asked() -> bool:
        return said(await client.threads.get_state(thread))[-1:] == [question]

    await until(asked)
    told = await command(http, thread, "input.inject", message={"role": "user", "content": "late"})
    assert told.get("result", told).get("run_id") == run, told
    await client.runs.join(thread, run)
    await drained(http, thread)


async def test_what_comes_too_late_for_a_fork_goes_on_from_it(server: Remote, thread: str) -> None:
    client = server.client()
    given = {"n_tokens": 100, "delay": 0.01}
    async with server.http as http:
        await client.runs.wait(thread, "chat", input={"messages": "one", "n_tokens": 1})
        back = (await client.threads.get_state(thread))["checkpoint"]["checkpoint_id"]
        await client.runs.wait(thread, "chat", input={"messages": "two", "n_tokens": 1})
        asked = {"input": {"messages": "fork", **given}, "checkpoint_id": back, "stream_mode": ["values", "messages"]}
        await late(client, http, thread, (await client.runs.create(thread, "chat", **asked))["run_id"], "fork")
        assert said(await client.threads.get_state(thread)) == ["one", "fork", "late"]


async def test_what_comes_too_late_for_a_recovery_is_a_turn_of_its_own(own_server: Server) -> None:
    client = own_server.client()
    thread = (await client.threads.create())["thread_id"]
    given = {"messages": [{"role": "user", "content": "tell 60"}]}
    async with own_server.http as http:
        body = {"assistant_id": "strict", "input": given, "on_crash": "wait"}
        crashed = (await http.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]
    await status_is(client, thread, crashed, "running")
    own_server.restart()
    async with own_server.http as http:
        choice = await command(http, thread, "run.recover", choice="regenerate")
        await late(client, http, thread, choice["result"]["run_id"], "tell 60")
    assert said(await client.threads.get_state(thread)) == ["tell 60", "late"]
    after, *_ = await client.runs.list(thread)
    assert "recovers" not in after["kwargs"]  # by which it would be carried out once more
