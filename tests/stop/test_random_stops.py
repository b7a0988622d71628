"""Stops at random moments: nothing that was seen is lost, and the conversation goes on.

THREADMILL_STOPS sets how many; the default fits into the suite. A failure names its seed: THREADMILL_SEED repeats it.
"""

import os
import random
import sys
import time
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

import anyio
import httpx
import pytest
from serving import Server
from streaming.frames import Frame, frames

pytestmark = pytest.mark.anyio

STOPS = int(os.environ.get("THREADMILL_STOPS", "48"))
SEED = int(os.environ.get("THREADMILL_SEED", "4"))
USERS = 3
GRAPHS = (
    "strict", "strict_sync", "strict_blocks", "strict_stubborn", "strict_adding", "strict_delta", "strict_sends",
    "strict_team",
)  # fmt: skip
PROMPTS = ("tell", "tell", "wait", "wait wait_a_little", "wait_a_little wait_here wait", "wait_a_little wait_a_little")
HOW = ("command", "cancel", "elsewhere", "at once")
LIMIT_S = 0.3
STOPPED = "This tool call was stopped before it had a result."


@dataclass
class Seen:
    """What a reader of the run's stream has."""

    run_id: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)  # tool calls
    tokens: int = 0
    more: anyio.Event = field(default_factory=anyio.Event)

    def take(self, frame: Frame) -> None:
        if frame.event == "metadata":
            self.run_id = frame.data["run_id"]
        elif (frame.event or "").startswith("messages"):
            message = frame.data[0]
            if message["type"] in ("ai", "AIMessageChunk"):
                self.texts[message["id"]] = self.texts.get(message["id"], "") + text_of(message)
                self.tokens += 1
        elif (frame.event or "").startswith("tools") and frame.data["event"] == "tool-finished":
            self.finished.add(frame.data["tool_call_id"])
        self.more.set()
        self.more = anyio.Event()


@dataclass
class Report:
    seconds: list[float] = field(default_factory=list)
    first: float = 0.0
    calls: int = 0
    answers_kept: int = 0
    ended_first: int = 0


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def said(messages: list[dict[str, Any]]) -> list[str]:
    return [text for message in messages if message.get("type") == "ai" and (text := text_of(message))]


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.timeout(60 + STOPS)
async def test_what_was_seen_stays(project: Server, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    async with anyio.create_task_group() as users:
        for number in range(USERS):
            users.start_soon(user, project, number, report)
    assert report.calls and report.answers_kept, "no stop met a tool: the test shows nothing"
    cuts = quantiles(report.seconds, n=100)
    late = sum(one > LIMIT_S for one in report.seconds)
    assert late <= 1 + STOPS // 100, (
        f"{late} stops took longer than {LIMIT_S} s, one of them {max(report.seconds):.3f} s"
    )
    with capsys.disabled():
        sys.stderr.write(
            f"\n{len(report.seconds)} stops (seed {SEED}): text lost 0, refused by the model 0, {report.calls} tool "
            f"calls all answered, {report.answers_kept} of them with their result, {report.ended_first} runs ended "
            f"before the stop; {late} took longer than {LIMIT_S:g} s: p50 {cuts[49] * 1000:.0f} ms, "
            f"p99 {cuts[98] * 1000:.0f} ms, at most {max(report.seconds) * 1000:.0f} ms, "
            f"the first {report.first * 1000:.0f} ms\n"
        )


async def user(server: Server, number: int, report: Report) -> None:
    async with server.http as http, server.http as elsewhere:
        for turn in range(number, STOPS, USERS):
            chance = random.Random(SEED * 1_000_003 + turn)
            plan = {
                "graph": chance.choice(GRAPHS),
                "prompt": chance.choice(PROMPTS),
                "how": chance.choice(HOW),
                "tokens": chance.choice((0, 1, 1, 2, chance.randrange(30))),
                "later": chance.choice((0.0, 0.0, 0.01, 0.05)),
                "durability": chance.choice(("async", "async", "sync", "exit")),
            }
            try:
                await one(http, elsewhere, plan, report)
            except BaseException as error:
                error.add_note(f"seed {SEED}, stop {turn}: {plan}")
                raise


async def one(http: httpx.AsyncClient, elsewhere: httpx.AsyncClient, plan: dict[str, Any], report: Report) -> None:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    seen, over = Seen(), anyio.Event()

    async def read() -> None:
        body = {
            "assistant_id": plan["graph"],
            "input": asked(plan["prompt"]),
            "stream_mode": ["messages-tuple", "tools"],
            "stream_subgraphs": True,
            "durability": plan["durability"],
        }
        async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as response:
            async for frame in frames(response):
                seen.take(frame)
        over.set()

    async with anyio.create_task_group() as reading:
        reading.start_soon(read)
        took = await stop(elsewhere if plan["how"] == "elsewhere" else http, thread, plan, seen)
        with anyio.fail_after(5):
            await over.wait()
    if took is None:
        report.ended_first += 1
    else:
        report.first = report.first or took
        report.seconds.append(took)
    await check(http, thread, plan, seen, report, stopped=took is not None)


async def stop(http: httpx.AsyncClient, thread: str, plan: dict[str, Any], seen: Seen) -> float | None:
    """Seconds until the run had ended; None when it had before."""
    if plan["how"] == "at once":
        await until_busy(http, thread)
    else:
        with anyio.move_on_after(1.0):  # a tool may be all that comes
            while not seen.run_id or seen.tokens < plan["tokens"]:
                await seen.more.wait()
        await anyio.sleep(plan["later"])
    began = time.perf_counter()
    if plan["how"] == "cancel":
        path = f"/threads/{thread}/runs/{seen.run_id}/cancel"
        response = await http.post(path, params={"action": "stop", "wait": "1"})
        done = response.status_code == 200
    else:
        response = await http.post(f"/threads/{thread}/commands", json={"id": 1, "method": "run.stop"})
        done = response.json()["type"] == "success"
    return time.perf_counter() - began if done else None


async def until_busy(http: httpx.AsyncClient, thread: str) -> None:
    while (await http.get(f"/threads/{thread}")).json()["status"] != "busy":
        await anyio.sleep(0.001)


async def check(
    http: httpx.AsyncClient, thread: str, plan: dict[str, Any], seen: Seen, report: Report, *, stopped: bool
) -> None:
    shown = (await http.get(f"/threads/{thread}")).json()
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert shown["status"] == "idle"
    assert state["next"] == []
    assert shown["values"] == state["values"]
    run = (await http.get(f"/threads/{thread}/runs/{seen.run_id}")).json()
    assert run["status"] in (("interrupted",) if stopped else ("success", "interrupted"))
    messages = state["values"]["messages"]
    assert text_of(messages[0]) == plan["prompt"]
    assert said(messages) == [text for text in seen.texts.values() if text], "text on reload is the text seen"
    answers = {message["tool_call_id"]: message for message in messages if message.get("type") == "tool"}
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    assert set(answers) == {call["id"] for call in calls}
    for call in calls:
        text = text_of(answers[call["id"]])
        assert text in (STOPPED, {"wait_a_little": "waited a little", "wait_here": "waited here"}.get(call["name"]))
        assert text != STOPPED or call["id"] not in seen.finished, "a result that was seen is kept"
        report.calls += 1
        report.answers_kept += text != STOPPED
    body = {"assistant_id": plan["graph"], "input": asked("seen")}
    after = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert "__error__" not in after, after
    heard = "\n".join(f"{message.get('type', 'human')}:{text_of(message)}" for message in messages)
    assert text_of(after["messages"][-1]) == heard, "what the model sees is what was seen"
