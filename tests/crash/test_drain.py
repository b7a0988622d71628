"""SIGTERM: no new work, runs get their grace, streams are told, and nothing has to be done twice."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from crash.conftest import Victim
from crash.rows import ask
from crash.test_recovery import LIVE, finished, new_thread, read_until, values_of
from streaming.frames import Frame, frames, only

pytestmark = pytest.mark.anyio


async def drained(
    victim: Victim, thread: str, assistant: str, enough: Callable[[Frame], bool], **body: Any
) -> tuple[str, list[Frame], int]:
    """Terminate the server under a stream: (place, all that the stream said, comments too, exit code)."""
    asked = {"assistant_id": assistant, **LIVE, **body}
    async with victim.http as http, http.stream("POST", f"/threads/{thread}/runs/stream", json=asked) as response:
        live: AsyncIterator[Frame] = frames(response, comments=True)
        seen = await read_until(live, enough)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as both:
                codes: list[int] = []

                async def terminate() -> None:
                    codes.append(await anyio.to_thread.run_sync(victim.term))

                both.start_soon(terminate)
                seen += [frame async for frame in live]
    return response.headers["content-location"], seen, codes[0]


def told(seen: list[Frame]) -> list[str]:
    return [frame.data for frame in seen if frame.event is None and "stopping" in str(frame.data)]


async def test_a_run_is_put_back_at_its_next_checkpoint(victim: Victim) -> None:
    thread = await new_thread(victim)
    place, seen, code = await drained(
        victim, thread, "slow", lambda frame: frame.data == {"step": 5}, input={"steps": 40, "delay": 0.05}
    )
    assert code == 0
    assert told(seen), "the reader learns that it should come back"
    last = [frame for frame in seen if frame.event][-1].id
    victim.start()
    rest = await finished(victim, place, last)
    assert only(rest, "metadata")[0]["attempt"] == 2
    steps = [data["step"] for data in only(seen, "custom") + only(rest, "custom")]
    assert steps == list(range(1, 41)), "no step was done twice"
    assert (await values_of(victim, thread))["log"] == [str(n + 1) for n in range(40)]
    assert ask(victim.file, "SELECT crashes, status FROM runs") == [(0, "success")]


async def test_a_run_that_ends_within_the_grace_ends(victim: Victim) -> None:
    thread = await new_thread(victim)
    said = {"messages": [{"role": "user", "content": "hi"}], "n_tokens": 20, "delay": 0.02}
    body = {"input": said, "stream_mode": ["messages-tuple", "values"]}
    place, seen, code = await drained(victim, thread, "chat", lambda frame: frame.event == "messages", **body)
    assert code == 0
    tokens = "".join(f"t{n} " for n in range(20))
    assert "".join(chunk["content"] for chunk, _ in only(seen, "messages")) == tokens, "the answer was not cut"
    victim.start()
    await finished(victim, place, "-1")
    values = await values_of(victim, thread)
    assert [message["content"] for message in values["messages"]] == ["hi", tokens]


async def test_a_run_that_outlasts_the_grace_is_put_back(victims: Callable[..., Victim]) -> None:
    victim = victims(THREADMILL_DRAIN_GRACE="0.2")
    victim.start()
    thread = await new_thread(victim)
    place, seen, code = await drained(
        victim, thread, "slow", lambda frame: frame.data == {"step": 1}, input={"steps": 2, "delay": 1.5}
    )
    assert code == 0
    assert told(seen)
    assert only(seen, "custom") == [{"step": 1}]
    victim.start()
    rest = await finished(victim, place, "-1")
    assert [opening["attempt"] for opening in only(rest, "metadata")] == [1, 2]
    assert (await values_of(victim, thread))["log"] == ["1", "2"]
    assert ask(victim.file, "SELECT crashes, status FROM runs") == [(0, "success")]


async def test_what_waited_behind_a_run_waits_on(victim: Victim) -> None:
    thread, client = await new_thread(victim), victim.client()
    asked: dict[str, Any] = {"input": {"steps": 20, "delay": 0.05, "tag": "a"}}

    async def queue_another(frame: Frame) -> None:
        await client.runs.create(thread, "slow", input={"steps": 1, "tag": "b"})

    async with victim.http as http:
        body = {"assistant_id": "slow", **LIVE, **asked}
        async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as response:
            seen = await read_until(frames(response), lambda frame: frame.data == {"step": 1})
            await queue_another(seen[-1])
            assert await anyio.to_thread.run_sync(victim.term) == 0
    assert ask(victim.file, "SELECT status FROM runs ORDER BY position") == [("pending",), ("pending",)]
    victim.start()
    newest = (await victim.client().runs.list(thread))[0]["run_id"]
    await finished(victim, f"/threads/{thread}/runs/{newest}", None)
    assert (await values_of(victim, thread))["log"] == [*(f"a{n + 1}" for n in range(20)), "b1"]


async def test_an_idle_server_ends_at_once(victim: Victim) -> None:
    assert await anyio.to_thread.run_sync(victim.term, 5) == 0
