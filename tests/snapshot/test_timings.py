"""How long answers and tools took, as the thread tells it: the same before and after its tokens are folded."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from serving import Server, until

from threadmill.events.event import Event
from threadmill.events.timings import timings

pytestmark = pytest.mark.anyio


def of(thread: str, http: httpx.Client, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/threads/{thread}/timings{query}").raise_for_status().json()
    return found


def said(at: int, id: str, content: str, **more: Any) -> Event:
    message = {"type": "AIMessageChunk", "id": id, "content": content, **more}
    return Event(at, "run", "messages", (), orjson.dumps([message, {}]), at)


def test_a_message_begins_with_its_first_word_and_not_with_an_empty_chunk() -> None:
    asked = Event(10, "run", "messages", (), orjson.dumps([{"type": "human", "id": "h", "content": "?"}, {}]), 1010)
    done = {"event": "tool-finished", "tool_call_id": "call", "duration_ms": 7}
    events = [
        Event(1, "run", "metadata", (), b"{}", 1000),
        asked,
        said(1100, "calls", "", tool_call_chunks=[{"id": "call"}]),
        Event(1110, "run", "tools", (), orjson.dumps(done), 1110),
        said(1200, "answer", ""),
        said(1250, "answer", "It "),
        Event(1260, "run", "metadata", (), b"{}", 1260),  # another attempt: the person waits since the first
        said(1300, "answer", "turns."),
        said(1350, "answer", "", chunk_position="last"),
        Event(1400, "run", "end", (), b"{}", 1400),
    ]
    assert timings(events) == {
        "began": 1000,
        "ended": 1400,
        "messages": {"calls": (100, 100), "answer": (250, 350)},
        "tools": {"call": 7},
    }


async def test_they_outlive_the_tokens_and_go_with_the_thread(start_server: Callable[..., Server]) -> None:
    server = start_server(THREADMILL_COMPACT_AFTER="3600")
    thread, runs = str(uuid4()), []
    with httpx.Client(base_url=server.url, timeout=30) as http:
        assert http.get(f"/threads/{thread}/timings").status_code == 404
        for graph, text in (("chat", "hi"), ("tools", "add 2 3")):
            given = {"messages": [{"role": "user", "content": text}], "n_tokens": 8, "delay": 0.02}
            body = {"assistant_id": graph, "input": given, "stream_mode": ["messages"], "if_not_exists": "create"}
            runs.append(http.post(f"/threads/{thread}/runs", json=body).json()["run_id"])
            http.get(f"/threads/{thread}/runs/{runs[-1]}/join").raise_for_status()
        told = of(thread, http)
        assert [one["run_id"] for one in told["runs"]] == runs[::-1] and told["next_before"] is None
        later, sooner = told["runs"]
        (answer,) = sooner["messages"].values()
        assert answer["finished_ms"] - answer["first_token_ms"] >= 7 * 20, "eight tokens with a pause between"
        assert answer["finished_ms"] <= sooner["ended_at"] - sooner["started_at"]
        messages = http.get(f"/threads/{thread}/state").json()["values"]["messages"]
        calls = {call["id"] for one in messages for call in one.get("tool_calls", [])}
        assert later["tools"].keys() == calls and len(calls) == 1
        first = of(thread, http, "?limit=1")
        assert first == {"runs": [later], "next_before": runs[1]}
        assert of(thread, http, f"?limit=1&before={runs[1]}") == {"runs": [sooner], "next_before": None}
        assert http.get(f"/threads/{thread}/timings?before={uuid4()}").status_code == 404
        server.env["THREADMILL_COMPACT_AFTER"] = "0"
        server.restart()

        async def folded() -> bool:
            lines = http.get(f"/threads/{thread}/export").text.splitlines()
            return sum('"AIMessageChunk"' in line for line in lines) == 0

        await until(folded)
        assert of(thread, http) == told
        bundle = http.get(f"/threads/{thread}/export").content
        http.delete(f"/threads/{thread}").raise_for_status()
        http.post("/threads/import", content=bundle).raise_for_status()
        assert of(thread, http) == told
        http.delete(f"/threads/{thread}/runs/{runs[1]}").raise_for_status()
        assert of(thread, http)["runs"] == [sooner]
