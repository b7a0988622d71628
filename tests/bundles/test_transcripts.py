"""What was said, as JSON and Markdown; and threads made of what was said elsewhere."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from serving import Remote


def told(thread_id: str, *more: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": "threadmill-transcript",
        "thread_id": thread_id,
        "title": "From elsewhere",
        "graph_id": "echo",
        "messages": [
            {"role": "user", "id": "m1", "content": "hello", "author": "Ada", "at": "2025-01-02T03:04:05+00:00"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "name": "look", "args": {"at": "it"}}]},
            {"role": "tool", "content": "seen", "tool_call_id": "c1", "name": "look"},
            {"role": "assistant", "content": "I saw it."},
            *more,
        ],
    }


@pytest.fixture
def asked(server: Remote) -> Any:
    with httpx.Client(base_url=server.url, timeout=30) as http:
        yield http


def imported(asked: httpx.Client, thread_id: str, *more: dict[str, Any]) -> Any:
    return asked.post("/threads/import", json=told(thread_id, *more))


def test_a_transcript_becomes_a_thread_that_goes_on_and_comes_out_again(asked: httpx.Client) -> None:
    thread = str(uuid4())
    assert imported(asked, thread).json() == {"threads": [{"thread_id": thread, "created": True}]}
    before = asked.get(f"/threads/{thread}").json()
    assert (before["title"], before["message_count"], before["status"]) == ("From elsewhere", 4, "idle")
    assert asked.get(f"/threads/{thread}/state").json()["next"] == []

    run = {"assistant_id": "echo", "input": {"messages": [{"role": "user", "content": "on"}]}}
    after = asked.post(f"/threads/{thread}/runs/wait", json=run).json()
    assert after["messages"][-1]["content"] == "5: on"

    found = asked.get(f"/threads/{thread}/export", params={"format": "json"}).json()
    wanted = told(thread)["messages"]
    kept = [{name: one[name] for name in want} for one, want in zip(found["messages"], wanted, strict=False)]
    assert kept == wanted
    assert len(found["messages"]) == 6
    assert all(one["id"] for one in found["messages"])


def test_the_same_again_changes_nothing_and_what_is_new_is_added(asked: httpx.Client) -> None:
    thread = str(uuid4())
    assert [imported(asked, thread).json()["threads"][0]["created"] for _ in range(2)] == [True, False]
    assert len(asked.get(f"/threads/{thread}/history").json()) == 1
    more = {"role": "user", "content": "more"}
    assert imported(asked, thread, more).json()["threads"][0]["created"]
    assert [one["content"] for one in asked.get(f"/threads/{thread}/state").json()["values"]["messages"]][-1] == "more"
    assert imported(asked, thread).json()["threads"][0]["created"] is False
    other = {"role": "user", "content": "else"}
    refused = imported(asked, thread, other)
    assert (refused.status_code, "gone on otherwise" in refused.json()["detail"]) == (409, True)


def test_a_transcript_as_people_read_it(asked: httpx.Client) -> None:
    thread = str(uuid4())
    imported(asked, thread)
    answer = asked.get(f"/threads/{thread}/export", params={"format": "markdown"})
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.text == (
        "# From elsewhere\n\n## Ada · 2025-01-02T03:04:05+00:00\n\nhello\n\n## Assistant\n\nCalls `look`:\n\n"
        '```json\n{\n  "at": "it"\n}\n```\n\n## look\n\nseen\n\n## Assistant\n\nI saw it.\n'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": "x", "id": "a"}, {"role": "user", "content": "y", "id": "a"}]},
        {"messages": "x"},
        {"thread_id": "topic"},
        {"format": "another"},
    ],
)
def test_what_is_no_transcript_is_refused(asked: httpx.Client, change: dict[str, Any]) -> None:
    refused = asked.post("/threads/import", json={**told(str(uuid4())), **change})
    assert refused.status_code == 422
    assert "transcript" in refused.json()["detail"]
