"""What becomes of a run whose server is killed in the middle of an answer: it goes on by itself, or a person chooses.

THREADMILL_CHOICES sets how many kills there are, each under eight runs; the default fits into the suite.
"""

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from serving import Server, until
from streaming.frames import Frame, frames

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

PROJECT = Path(__file__).parent.parent / "stop" / "langgraph.json"
KILLS = int(os.environ.get("THREADMILL_CHOICES", "1"))
SEED = int(os.environ.get("THREADMILL_SEED", "4"))
TOKENS = 60
WHOLE = "".join(f"t{n} " for n in range(TOKENS))
QUESTION = f"tell {TOKENS}"
WINDOW = 8  # tokens: one flush window at 10 ms a token, on a machine that is busy
CHOICES = ["keep", "continue", "regenerate", "discard"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    own = Server(tmp_path / "data", PROJECT)
    yield own.start()
    own.kill()


def text_of(read: list[Frame]) -> str:
    """Of the last attempt."""
    begun = [place for place, frame in enumerate(read) if frame.event == "metadata"]
    told = [frame.data[0] for frame in read[begun[-1] :] if frame.event == "messages"]
    return "".join(message["content"] for message in told if message["type"] == "AIMessageChunk")


@dataclass
class Talk:
    """A thread and a run on it, and what a reader had of it when the server was killed."""

    body: dict[str, Any]
    thread: str = ""
    run: str = ""
    read: list[Frame] = field(default_factory=list)

    @property
    def seen(self) -> str:
        return text_of(self.read)

    async def speak(self, server: Server) -> None:
        said = {"input": {"messages": [{"role": "user", "content": QUESTION}]}, "stream_mode": ["messages-tuple"]}
        request = {"assistant_id": "strict", "stream_resumable": True, **said, **self.body}
        async with server.http as http:
            self.thread = (await http.post("/threads", json={})).json()["thread_id"]
            with contextlib.suppress(httpx.TransportError):
                async with http.stream("POST", f"/threads/{self.thread}/runs/stream", json=request) as response:
                    async for frame in frames(response):
                        self.read.append(frame)
        self.run = self.read[0].data["run_id"]


async def killed(server: Server, talks: list[Talk], tokens: int) -> None:
    """Kill the server when each of them has read so many tokens, and bring it back."""
    async with anyio.create_task_group() as talking:
        for talk in talks:
            talking.start_soon(talk.speak, server)

        async def enough() -> bool:
            return all(len(talk.read) > tokens for talk in talks)

        await until(enough)
        server.kill()
    await anyio.to_thread.run_sync(server.start)


async def replayed(http: httpx.AsyncClient, thread: str, run: str) -> list[Frame]:
    async with http.stream("GET", f"/threads/{thread}/runs/{run}/stream", headers={"Last-Event-ID": "-1"}) as response:
        return [frame async for frame in frames(response)]


async def ended(http: httpx.AsyncClient, thread: str, run: str) -> str:
    async def over() -> str | None:
        status = (await http.get(f"/threads/{thread}/runs/{run}")).json()["status"]
        return None if status in ("pending", "running") else str(status)

    return await until(over)


async def said(http: httpx.AsyncClient, thread: str) -> list[tuple[str, str]]:
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["next"] == []
    assert (await http.get(f"/threads/{thread}")).json()["status"] == "idle"
    return [(message["type"], message["content"]) for message in state["values"].get("messages", [])]


async def test_a_person_chooses(server: Server) -> None:
    chance = random.Random(SEED)
    talks = {(choice, way): Talk({"on_crash": "wait"}) for choice in CHOICES for way in ("route", "command")}
    for _ in range(KILLS):
        for talk in talks.values():
            talk.read = []
        await killed(server, list(talks.values()), chance.randrange(1, TOKENS - 20))
        async with server.http as http:
            for (choice, way), talk in talks.items():
                await choose(http, talk, choice, way)


async def choose(http: httpx.AsyncClient, talk: Talk, choice: str, way: str) -> None:
    thread, run, seen = talk.thread, talk.run, talk.seen
    assert await ended(http, thread, run) == "interrupted"
    shown = (await http.get(f"/threads/{thread}")).json()
    assert (shown["status"], shown["error"]["error"]) == ("interrupted", "RunCrashed")
    assert shown["error"]["choices"] == CHOICES
    kept = text_of(again := await replayed(http, thread, run))
    assert seen.startswith(kept) or kept.startswith(seen)
    assert len(seen.split()) - len(kept.split()) <= WINDOW, "at most one flush window is lost"
    assert again[-1].data["error"] == "RunCrashed"

    async def ask(chosen: str) -> httpx.Response:
        if way == "route":
            return await http.post(f"/threads/{thread}/runs/{run}/recover", json={"choice": chosen})
        command = {"id": 1, "method": "run.recover", "params": {"choice": chosen, "run_id": run}}
        return await http.post(f"/threads/{thread}/commands", json=command)

    first, second = (await ask(choice)).json(), (await ask(choice)).json()
    assert first.get("result", first) == second.get("result", second), "choosing the same again changes nothing"
    if choice != "discard":
        assert await ended(http, thread, first.get("result", first)["run_id"]) == "success"
        refused = await ask("regenerate" if choice == "keep" else "keep")
        assert refused.status_code == 409 or refused.json()["type"] == "error"
    human = ("human", QUESTION)
    told = [("ai", kept)] if kept else []
    rest = [("ai", left)] if (left := WHOLE.removeprefix(kept)) else []
    assert (before := await said(http, thread)) == {
        "keep": [human, *told],
        "continue": [human, *told, *rest],
        "regenerate": [human, ("ai", WHOLE)],
        "discard": [],
    }[choice]
    assert len((await http.get(f"/threads/{thread}/runs")).json()) == (0 if choice == "discard" else 2)
    body = {"assistant_id": "strict", "input": {"messages": [{"role": "user", "content": "seen"}]}}
    after = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert after["messages"][-1]["content"] == "\n".join(f"{who}:{text}" for who, text in before)


async def test_it_goes_on_by_itself_where_that_is_the_policy(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", PROJECT, env={"THREADMILL_ON_CRASH": "wait"})
    try:
        server.start()
        async with server.http as http:
            made = {"graph_id": "strict", "metadata": {"on_crash": "retry"}}
            assistant = (await http.post("/assistants", json=made)).json()["assistant_id"]
        alone, by_assistant, waiting = Talk({"on_crash": "retry"}), Talk({"assistant_id": assistant}), Talk({})
        stopped = Talk({"on_crash": "retry", "input": {"messages": [{"role": "user", "content": "tell"}]}})
        await killed(server, [alone, by_assistant, waiting, stopped], 15)
        async with server.http as http:
            command = {"id": 1, "method": "run.stop"}
            assert (await http.post(f"/threads/{stopped.thread}/commands", json=command)).json()["type"] == "success"
            assert await ended(http, stopped.thread, stopped.run) == "interrupted"
            (_, _), *answer = await said(http, stopped.thread)
            assert all(WHOLE.startswith(text) for _, text in answer)
            assert await ended(http, waiting.thread, waiting.run) == "interrupted"
            for talk in (alone, by_assistant):
                assert await ended(http, talk.thread, talk.run) == "success"
                again = await replayed(http, talk.thread, talk.run)
                assert [frame.data["attempt"] for frame in again if frame.event == "metadata"] == [1, 2]
                assert text_of(again) == WHOLE
                assert await said(http, talk.thread) == [("human", QUESTION), ("ai", WHOLE)]
                path = f"/threads/{talk.thread}/runs/{talk.run}/recover"
                assert (await http.post(path, json={"choice": "keep"})).status_code == 409
    finally:
        server.kill()


async def test_a_choice_outlives_another_crash(server: Server) -> None:
    """The run that carries it out goes on by itself, and adds nothing twice."""
    talks = [Talk({"on_crash": "wait"}) for _ in range(3)]
    await killed(server, talks, 12)
    kept, runs = [], []
    async with server.http as http:
        for talk, choice in zip(talks, ("continue", "regenerate", "keep"), strict=True):
            await ended(http, talk.thread, talk.run)
            kept.append(text_of(await replayed(http, talk.thread, talk.run)))
            path = f"/threads/{talk.thread}/runs/{talk.run}/recover"
            runs.append((await http.post(path, json={"choice": choice})).json()["run_id"])

        async def speaking() -> bool:
            shown = [
                (await http.get(f"/threads/{talk.thread}/runs/{run}")).json()
                for talk, run in zip(talks, runs, strict=True)
            ]
            return all(run["status"] != "pending" for run in shown)

        await until(speaking)
    await anyio.to_thread.run_sync(server.restart)
    async with server.http as http:
        for talk, run in zip(talks, runs, strict=True):
            assert await ended(http, talk.thread, run) == "success"
        human = ("human", QUESTION)
        went_on, anew, as_it_was = [await said(http, talk.thread) for talk in talks]
        assert went_on == [human, ("ai", kept[0]), ("ai", WHOLE.removeprefix(kept[0]))]
        assert anew == [human, ("ai", WHOLE)]
        assert as_it_was == [human, ("ai", kept[2])]


async def test_who_stops_what_goes_on_keeps_all_that_was_seen(server: Server) -> None:
    talks = {choice: Talk({"on_crash": "wait"}) for choice in ("continue", "regenerate")}
    await killed(server, list(talks.values()), 6)
    async with server.http as http:
        for choice, talk in talks.items():
            await ended(http, talk.thread, talk.run)
            kept = text_of(await replayed(http, talk.thread, talk.run))
            path = f"/threads/{talk.thread}/runs/{talk.run}/recover"
            run = (await http.post(path, json={"choice": choice})).json()["run_id"]

            async def speaks(thread: str = talk.thread) -> bool:
                flight = (await http.get(f"/threads/{thread}/snapshot")).json()["in_flight"]
                return bool(flight and any(len(one["text"].split()) > 5 for one in flight["messages"]))

            await until(speaks)
            await http.post(f"/threads/{talk.thread}/runs/{run}/cancel?action=stop&wait=1")
            seen = text_of(await replayed(http, talk.thread, run))
            before = [("ai", kept)] if choice == "continue" else []
            assert await said(http, talk.thread) == [("human", QUESTION), *before, ("ai", seen)]
            assert len(seen.split()) > 5
