"""What is left of a run's events when they are folded gives every reader the view it had, or would have had."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from serving import Server, until

from threadmill.events.compaction import compact
from threadmill.events.event import ROOM, Event, unpack
from threadmill.streaming.projection import Envelope, Projection

RUNS = (
    ("chat", {"messages": [{"role": "user", "content": "hi"}], "n_tokens": 40}),
    ("tools", {"messages": [{"role": "user", "content": "add 2 3"}]}),
    ("sub", {"messages": [{"role": "user", "content": "hi"}]}),
    ("hitl", {}),
    ("boom", {}),
)


def view(envelopes: list[Envelope]) -> dict[str, Any]:
    """What a page shows after these: a message that begins again replaces what there was of it."""
    shown: dict[str, Any] = {"texts": {}, "values": {}, "tools": {}, "ends": {}, "asked": set()}
    for one in envelopes:
        data = orjson.loads(one.data)
        if one.method == "messages":
            key = (one.namespace, data["id"])
            if data["event"] == "message-start":
                shown["texts"][key] = {}
            elif data["event"] == "content-block-finish":
                shown["texts"].setdefault(key, {})[data["index"]] = data["content"]
        elif one.method == "values":
            shown["values"][one.namespace] = data
        elif one.method == "tools" and data["event"] in ("tool-finished", "tool-error"):
            shown["tools"][data["tool_call_id"]] = data
        elif one.method == "input.requested":
            shown["asked"].add(data["interrupt_id"])
        elif one.method == "lifecycle":
            shown["ends"][one.namespace] = data["event"]
    return shown


def project(events: list[Event]) -> list[Envelope]:
    projection = Projection("run", "graph")
    return [envelope for event in events for envelope in projection(event)]


@pytest.fixture
def recorded(start_server: Callable[..., Server]) -> tuple[Server, dict[str, tuple[str, str]]]:
    """A server that folds soon, and (thread, run) of each graph's run, not folded yet."""
    server = start_server(THREADMILL_COMPACT_AFTER="3600")
    made = {}
    with httpx.Client(base_url=server.url, timeout=30) as http:
        for number, (graph, given) in enumerate(RUNS):
            thread = f"00000000-0000-4000-8000-{number:012}"
            params = {"assistant_id": graph, "input": given}
            started = http.post(f"/threads/{thread}/commands", json={"id": 1, "method": "run.start", "params": params})
            run_id = started.json()["result"]["run_id"]
            http.get(f"/threads/{thread}/runs/{run_id}/join")
            made[graph] = thread, run_id
    return server, made


def stored(server: Server, run_id: str) -> list[Event]:
    with sqlite3.connect(server.data_dir / "threadmill.sqlite") as database:
        rows = database.execute("SELECT data FROM events WHERE run_id = ? ORDER BY first_seq", (run_id,)).fetchall()
    return [event for (data,) in rows for event in unpack(run_id, data)]


def test_every_cursor_ends_with_the_same_view(recorded: tuple[Server, dict[str, tuple[str, str]]]) -> None:
    server, made = recorded
    for graph, (_, run_id) in made.items():
        events = stored(server, run_id)
        folded = compact(events)
        whole = view(project(events))
        assert view(project(folded)) == whole, graph
        assert compact(folded) == folded, "folding again changes nothing"
        before, after = project(events), project(folded)
        for cut in random.Random(graph).sample(range(len(before)), min(30, len(before))):
            since = before[cut].seq
            rest = [one for one in after if one.seq > since]
            assert view(before[: cut + 1] + rest) == whole, f"{graph}, cut after {before[cut]}"
    tokens = [event for event in stored(server, made["chat"][1]) if event.method == "messages"]
    assert len(tokens) >= 40 and len([e for e in compact(tokens) if e.method == "messages"]) == 1


def test_a_server_folds_what_has_ended_and_the_file_gets_smaller(
    recorded: tuple[Server, dict[str, tuple[str, str]]], tmp_path: Path
) -> None:
    server, made = recorded
    thread, run_id = made["chat"]
    before = stored(server, run_id)
    with httpx.Client(base_url=server.url, timeout=30) as http:
        v1 = http.get(f"/threads/{thread}/runs/{run_id}/stream?stream_mode=values").text
    server.env["THREADMILL_COMPACT_AFTER"] = "0"
    server.restart()

    async def folded() -> bool:
        return len(stored(server, run_id)) < len(before)

    import anyio

    anyio.run(until, folded)
    with httpx.Client(base_url=server.url, timeout=30) as http:
        again = http.get(f"/threads/{thread}/runs/{run_id}/stream?stream_mode=values").text
        assert _data(again)[-1] == _data(v1)[-1], "a v1 reader ends with the same state"
        chunks = http.get(f"/threads/{thread}/runs/{run_id}/stream?stream_mode=messages-tuple").text
        assert [part[0]["content"] for part in _data(chunks)] == ["".join(f"t{n} " for n in range(40))]
    sizes = [sum(len(event.data) for event in events) for events in (before, stored(server, run_id))]
    assert sizes[1] < sizes[0] / 4, sizes


def test_a_state_is_in_the_log_only_until_it_is_folded(start_server: Callable[..., Server]) -> None:
    """Else the log of a conversation would grow with the square of its length."""
    server = start_server(THREADMILL_COMPACT_AFTER="3600")
    thread = "00000000-0000-4000-8000-000000000042"
    with httpx.Client(base_url=server.url, timeout=30) as http:
        http.post("/threads", json={"thread_id": thread}).raise_for_status()
        runs = []
        for n in range(12):
            said = {"messages": [{"role": "user", "content": f"{n}: " + "word " * 100}], "n_tokens": 1}
            body = {"assistant_id": "chat", "input": said, "stream_mode": ["values"], "stream_resumable": True}
            run = http.post(f"/threads/{thread}/runs", json=body).json()["run_id"]
            http.get(f"/threads/{thread}/runs/{run}/join").raise_for_status()
            runs.append(run)
        join = f"/threads/{thread}/runs/{{}}/stream?stream_mode=values"
        told = [_data(http.get(join.format(run)).text)[-1] for run in runs]
        assert len(told[-1]["messages"]) == 24
        server.env["THREADMILL_COMPACT_AFTER"] = "0"
        server.restart()

        async def folded() -> bool:
            return all("values" not in {event.method for event in stored(server, run)} for run in runs[4:])

        import anyio

        anyio.run(until, folded)
    with httpx.Client(base_url=server.url, timeout=30) as http:
        assert [_data(http.get(join.format(run)).text)[-1] for run in runs] == told, "each run still tells its state"
        sizes = [sum(len(event.data) for event in stored(server, run)) for run in (runs[5], runs[-1])]
        assert sizes[1] < sizes[0] + 200, sizes
        http.post("/threads/prune", json={"thread_ids": [thread], "strategy": "keep_latest"}).raise_for_status()
        assert _data(http.get(join.format(runs[-1])).text)[-1] == told[-1]
        assert told[5] not in _data(http.get(join.format(runs[5])).text), "its checkpoint was pruned"


def _data(stream: str) -> list[Any]:
    return [orjson.loads(line[6:]) for line in stream.split("\n") if line.startswith("data: ")]


def test_a_folded_message_lies_above_every_envelope_of_its_last_token() -> None:
    metadata = {"langgraph_node": "talk"}
    chunk = {"type": "AIMessageChunk", "id": "m", "content": "a", "response_metadata": {}, "additional_kwargs": {}}
    events = [
        Event(1 + ROOM * n, "run", "messages", (), orjson.dumps([{**chunk, "chunk_position": last}, metadata]))
        for n, last in enumerate([None, None, "last"])
    ]
    first, last = project(events), project(compact(events))
    assert last[0].seq > max(one.seq for one in first)
    assert last[-1].seq < events[-1].seq + ROOM
