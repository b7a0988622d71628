"""What a server does with what its dead predecessor left behind."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from cli.command import Threadmill
from crash.conftest import PROJECT, Victim
from crash.rows import ask, left_of
from langgraph_sdk.errors import NotFoundError
from serving import progressed, status_is, until
from streaming.frames import Frame, frames, join, only, stream, view

pytestmark = pytest.mark.anyio

LIVE: Any = {"stream_mode": ["values", "custom"], "stream_resumable": True}
PROMPTLY = 3.0  # seconds: less than a heartbeat


async def read_until(read: AsyncIterator[Frame], enough: Callable[[Frame], bool]) -> list[Frame]:
    seen = []
    async for frame in read:
        seen.append(frame)
        if enough(frame):
            return seen
    raise AssertionError(f"the stream ended early: {seen[-1:]}")


async def new_thread(server: Victim) -> str:
    return (await server.client().threads.create())["thread_id"]


async def killed_at(server: Victim, thread: str, assistant: str, enough: Callable[[Frame], bool], **body: Any) -> Any:
    """Start a run, kill the server when the reader has seen enough, start it again: (place, frames until then)."""
    async with server.http as http, stream(http, thread, assistant, **{**LIVE, **body}) as (response, live):
        seen = await read_until(live, enough)
        server.kill()
    server.start()
    return response.headers["content-location"], seen


async def finished(server: Victim, place: str, cursor: str | None) -> list[Frame]:
    async with server.http as http:
        with anyio.fail_after(10):
            return await join(http, place, cursor)


async def values_of(server: Victim, thread: str) -> Any:
    return (await server.client().threads.get_state(thread))["values"]


# Going on


@pytest.mark.parametrize(("durability", "kept"), [("sync", range(10, 12)), ("async", range(2, 12)), ("exit", [1])])
async def test_a_killed_run_goes_on_from_its_last_checkpoint(victim: Victim, durability: str, kept: Any) -> None:
    """Killed at the beginning of step 10. `sync` has the nine steps before it, `exit` has none and starts anew."""
    thread = await new_thread(victim)
    place, seen = await killed_at(
        victim,
        thread,
        "slow",
        lambda frame: frame.data == {"step": 10},
        input={"steps": 15, "delay": 0.03},
        durability=durability,
    )
    rest = await finished(victim, place, seen[-1].id)
    (opening,) = only(rest, "metadata")
    assert opening["attempt"] == 2
    first = only(rest, "custom")[0]["step"]
    assert first in kept
    assert only(rest, "custom") == [{"step": n} for n in range(first, 16)]
    assert (await values_of(victim, thread))["log"] == [str(n + 1) for n in range(15)]
    assert view(seen + rest) == view(await finished(victim, place, "-1"))


async def test_durability_exit_writes_no_checkpoint_before_the_end(victim: Victim) -> None:
    thread = await new_thread(victim)
    async with victim.http as http:
        body = {**LIVE, "input": {"steps": 5}, "durability": "exit"}
        async with stream(http, thread, "slow", **body) as (_, live):
            await read_until(live, lambda frame: frame.data == {"step": 4})
            assert left_of(victim.file, thread)["checkpoints"] == 0
            rest = [frame async for frame in live]
    assert rest[-1].event == "values"
    assert left_of(victim.file, thread)["checkpoints"] == 1


@pytest.mark.parametrize("at", ["metadata", "updates"])
async def test_an_answer_to_a_question_is_not_lost_with_the_server(victim: Victim, at: str) -> None:
    """Killed while the node that asked works on the answer, and while the node behind it works."""
    thread = await new_thread(victim)
    asked: Any = await victim.client().runs.wait(thread, "ask", input={"seconds": 0.3})
    assert asked["__interrupt__"]
    place, seen = await killed_at(
        victim,
        thread,
        "ask",
        lambda frame: frame.event == at,
        command={"resume": "yes"},
        stream_mode=["updates", "values"],
    )
    rest = await finished(victim, place, seen[-1].id)
    assert only(rest, "metadata")[0]["attempt"] == 2
    assert (await values_of(victim, thread))["log"] == ["before", "answer yes", "acted"]
    assert (await victim.client().threads.get(thread))["status"] == "idle"


async def test_an_update_that_comes_with_an_answer_is_made_once(victim: Victim) -> None:
    thread = await new_thread(victim)
    await victim.client().runs.wait(thread, "ask", input={"seconds": 0.3})
    command = {"resume": "yes", "update": {"log": ["noted"]}}
    place, seen = await killed_at(victim, thread, "ask", lambda frame: frame.event == "metadata", command=command)
    await finished(victim, place, seen[-1].id)
    assert sorted((await values_of(victim, thread))["log"]) == ["acted", "answer yes", "before", "noted"]


async def test_a_stateless_run_goes_on(victim: Victim) -> None:
    body = {**LIVE, "assistant_id": "slow", "input": {"steps": 8, "delay": 0.03}}
    async with victim.http as http, http.stream("POST", "/runs/stream", json=body) as response:
        seen = await read_until(frames(response), lambda frame: frame.data == {"step": 4})
        victim.kill()
    victim.start()
    read = await finished(victim, response.headers["location"].removesuffix("/stream"), "-1")
    assert only(read, "values")[-1]["log"] == [str(n + 1) for n in range(8)]
    assert [opening["attempt"] for opening in only(read, "metadata")] == [1, 2]
    assert read[:5] == seen[:5], "what was shown in the beginning had long been on disk"


async def test_what_waits_in_the_queue_keeps_its_order(victim: Victim) -> None:
    thread, client = await new_thread(victim), victim.client()
    runs = [await client.runs.create(thread, "slow", input={"steps": 3, "delay": 0.05, "tag": tag}) for tag in "abcd"]
    await progressed(client, thread)
    victim.restart()
    await status_is(victim.client(), thread, runs[-1]["run_id"], "success")
    expected = [f"{tag}{n + 1}" for tag in "abcd" for n in range(3)]
    assert (await values_of(victim, thread))["log"] == expected


async def test_a_run_for_later_is_not_forgotten(victim: Victim) -> None:
    thread = await new_thread(victim)
    run = await victim.client().runs.create(thread, "slow", input={"steps": 1}, after_seconds=2)
    victim.restart()
    assert (await victim.client().runs.get(thread, run["run_id"]))["status"] in ("pending", "running", "success")
    await status_is(victim.client(), thread, run["run_id"], "success")
    ((created, first),) = ask(
        victim.file,
        "SELECT julianday(runs.created_at) * 86400, julianday(events.at) * 86400 FROM runs JOIN events USING (run_id) "
        "ORDER BY events.first_seq LIMIT 1",
    )
    assert first - created >= 1.9


# Giving up


async def test_a_run_that_kills_the_server_is_given_up(victims: Callable[..., Victim]) -> None:
    victim = victims(THREADMILL_MAX_ATTEMPTS="2")
    victim.start()
    thread = await new_thread(victim)
    with suppress(httpx.TransportError):  # it may die before it answers
        await victim.client().runs.create(thread, "deadly", input={}, stream_mode="values", stream_resumable=True)
    ((run,),) = ask(victim.file, "SELECT run_id FROM runs")
    assert await _deaths(victim, thread, run) == 2
    assert (await victim.client().runs.get(thread, run))["status"] == "error"
    assert (await victim.client().threads.get(thread))["status"] == "error"
    output: Any = await victim.client().runs.wait(thread, "deadly", input={"kill": False})
    assert output["log"][-1] == "survived"
    assert (await victim.client().threads.get(thread))["status"] == "idle"


async def _deaths(victim: Victim, thread: str, run_id: str) -> int:
    """Start the server again until the run is given up; it may die before it answers or after."""

    async def over() -> str | None:
        if victim.process is not None and victim.process.poll() is not None:
            return "dead"
        with suppress(httpx.TransportError):
            async with victim.http as http:  # the SDK would try again and again
                run = (await http.get(f"/threads/{thread}/runs/{run_id}")).json()
            return "given up" if run["status"] == "error" else None
        return None

    deaths = 0
    while await until(over) == "dead":
        deaths += 1
        try:
            victim.start()
        except RuntimeError as died:
            assert "exited with -9" in str(died)
    return deaths


@pytest.fixture
async def given_up(victims: Callable[..., Victim]) -> tuple[Victim, str, str]:
    """A server, and the thread and place of a run that was under way when its predecessor died for the last time."""
    victim = victims(THREADMILL_MAX_ATTEMPTS="1")
    victim.start()
    thread = await new_thread(victim)
    at_three = {"input": {"steps": 30, "delay": 0.05}, "durability": "sync"}
    place, _ = await killed_at(victim, thread, "slow", lambda frame: frame.data == {"step": 3}, **at_three)
    return victim, thread, place


async def test_the_reader_of_a_run_that_was_given_up_hears_so_at_once(given_up: tuple[Victim, str, str]) -> None:
    victim, _, place = given_up
    with anyio.fail_after(PROMPTLY):
        read = await finished(victim, place, "-1")
    assert read[-1].event == "error"
    assert read[-1].data["error"] == "RunCrashed"
    assert {"step": 1} in only(read, "custom"), "after what had come"


async def test_a_thread_shows_the_state_its_lost_run_reached(given_up: tuple[Victim, str, str]) -> None:
    victim, thread, _ = given_up
    reached = await values_of(victim, thread)
    assert reached["log"][:2] == ["1", "2"]
    assert (await victim.client().threads.get(thread))["values"] == reached


# Stopping


@pytest.mark.parametrize(("action", "status"), [("interrupt", "interrupted"), ("rollback", None)])
async def test_a_stop_asked_for_just_before_the_end_is_honoured(
    victim: Victim, action: Any, status: str | None
) -> None:
    """The node blocks its event loop, so that the stop cannot reach it while the server lives."""
    thread, client = await new_thread(victim), victim.client()
    run = await client.runs.create(thread, "blocking", input={"seconds": 60}, durability="sync")
    await status_is(client, thread, run["run_id"], "running")
    await client.runs.cancel(thread, run["run_id"], action=action)
    victim.restart()
    client = victim.client()
    if status is None:
        with pytest.raises(NotFoundError):
            await client.runs.get(thread, run["run_id"])
    else:
        assert (await client.runs.get(thread, run["run_id"]))["status"] == status
        assert ask(victim.file, "SELECT attempt FROM runs") == [(1,)], "it was not started again"
    assert (await client.threads.get(thread))["status"] == ("idle" if action == "rollback" else "interrupted")
    output: Any = await client.runs.wait(thread, "slow", input={"steps": 1})
    assert output["log"] == ["1"]


async def test_the_reader_of_a_stopped_run_hears_its_end_at_once(victim: Victim) -> None:
    thread, client = await new_thread(victim), victim.client()
    run = await client.runs.create(thread, "blocking", input={"seconds": 60}, stream_resumable=True)
    await status_is(client, thread, run["run_id"], "running")
    await client.runs.cancel(thread, run["run_id"])
    victim.restart()
    with anyio.fail_after(PROMPTLY):
        await finished(victim, f"/threads/{thread}/runs/{run['run_id']}", "-1")


@pytest.mark.parametrize("cancelled_in", ["approve", "act"])
async def test_a_rolled_back_answer_leaves_the_question_open(victim: Victim, cancelled_in: str) -> None:
    thread, client = await new_thread(victim), victim.client()
    await client.runs.wait(thread, "ask", input={"seconds": 0.3})
    async with victim.http as http:
        body = {"command": {"resume": "no"}, "stream_mode": ["updates"]}
        async with stream(http, thread, "ask", **body) as (response, live):
            event = "metadata" if cancelled_in == "approve" else "updates"
            await read_until(live, lambda frame: frame.event == event)
            run_id = response.headers["content-location"].rpartition("/")[2]
            await client.runs.cancel(thread, run_id, action="rollback", wait=True)
    assert (await client.threads.get(thread))["status"] == "interrupted"
    state = await client.threads.get_state(thread)
    assert [task["name"] for task in state["tasks"] if task["interrupts"]] == ["approve"]
    output: Any = await client.runs.wait(thread, "ask", command={"resume": "yes"})
    assert output["log"] == ["before", "answer yes", "acted"]


async def test_deleting_a_thread_under_a_run_leaves_nothing(victim: Victim) -> None:
    client = victim.client()
    thread = (await client.threads.create(metadata={"topic": "doomed"}))["thread_id"]
    await client.runs.wait(thread, "slow", input={"steps": 1})
    for tag in "ab":
        await client.runs.create(thread, "slow", input={"steps": 50, "delay": 0.02, "tag": tag})
    await progressed(client, thread, 2)
    assert all(left_of(victim.file, thread).values()), "there is something to delete"
    await client.threads.delete(thread)
    nothing = dict.fromkeys(left_of(victim.file, thread), 0)
    assert left_of(victim.file, thread) == nothing
    assert victim.term() == 0
    assert left_of(victim.file, thread) == nothing, "nor does the run write on"


async def test_a_thread_deleted_just_before_a_kill_stays_deleted(victim: Victim) -> None:
    thread, client = await new_thread(victim), victim.client()
    await client.runs.create(thread, "slow", input={"steps": 100, "delay": 0.02})
    await progressed(client, thread, 2)
    await client.threads.delete(thread)
    victim.restart()
    assert not any(left_of(victim.file, thread).values())
    with pytest.raises(NotFoundError):
        await victim.client().threads.get(thread)


# One server at a time


async def test_a_second_server_on_the_same_data_is_refused(victim: Victim, tmp_path: Path) -> None:
    command = ("serve", "--config", PROJECT, "--port", "0", "--data-dir", victim.data_dir)
    second = Threadmill(tmp_path, *command)
    assert await anyio.to_thread.run_sync(second.ends) == 1
    assert "Traceback" not in second.out + second.log
    said = [line for line in second.log.splitlines() if str(victim.data_dir) in line and "Another" in line]
    assert said == [f"Another Threadmill server uses {victim.data_dir}: stop it, or give this one another --data-dir."]
    async with victim.http as http:
        assert (await http.get("/ok")).status_code == 200, "the first one does not mind"


async def test_the_lock_does_not_outlive_its_server(victim: Victim) -> None:
    for _ in range(2):
        victim.restart()
        async with victim.http as http:
            assert (await http.get("/ok")).status_code == 200
