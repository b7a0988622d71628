"""A fork is a thread of its own, at any checkpoint of any graph, and its source does not notice."""

import json
import sqlite3
from hashlib import sha256
from typing import Any

import pytest
from branches.conftest import Threads
from serving import Server

ROWS = ("checkpoints", "writes", "blobs", "blob_refs", "bases", "blob_owners", "lineage", "heads", "threads")


def rows(server: Server) -> int:
    with sqlite3.connect(server.data_dir / "threadmill.sqlite") as database:
        return sum(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ROWS)


def digest(server: Server, thread: str) -> str:
    """Of all that is stored of a thread."""
    found = sha256()
    with sqlite3.connect(server.data_dir / "threadmill.sqlite") as database:
        for table in ("threads", "thread_values", "interrupts", "runs", "events", "checkpoints", "writes"):
            there = database.execute(f"SELECT * FROM {table} WHERE thread_id = ?", (thread,)).fetchall()
            found.update(repr(sorted(map(repr, there))).encode())
    return found.hexdigest()


def test_a_fork_goes_on_by_itself(threads: Threads) -> None:
    source = threads.new("echo", "one", "two")
    before = digest(threads.server, source)
    at = threads.sdk.threads.get_state(source, checkpoint_id=threads.shown(source)[2]["fork_from"])
    fork = threads.fork(source, checkpoint_id=at["checkpoint_id"], title="Other", metadata={"topic": "x"})
    assert fork["forked_from"] == {"thread_id": source, "checkpoint_id": at["checkpoint_id"]}
    assert (fork["title"], fork["metadata"]["topic"], fork["metadata"]["graph_id"]) == ("Other", "x", "echo")
    assert fork["values"] == at["values"]
    assert (fork["status"], fork["message_count"]) == ("idle", 2)
    threads.say(fork["thread_id"], "other")
    assert threads.texts(fork["thread_id"]) == ["one", "1: one", "other", "3: other"]
    assert threads.texts(source) == ["one", "1: one", "two", "3: two"]
    assert digest(threads.server, source) == before


def test_lineage_is_told_on_both_sides_and_outlives_each(threads: Threads) -> None:
    source = threads.new("echo", "one")
    fork = threads.fork(source)
    second = threads.fork(fork["thread_id"])
    told = threads.ask("GET", f"/threads/{fork['thread_id']}?include=lineage")["lineage"]
    assert told["forked_from"]["thread_id"] == source
    assert [one["thread_id"] for one in told["forks"]] == [second["thread_id"]]
    above = {key: told["forked_from"][key] for key in ("thread_id", "checkpoint_id")}
    assert threads.ask("GET", f"/threads/{fork['thread_id']}/branches/messages")["forked_from"] == above
    threads.sdk.threads.delete(source)
    assert threads.texts(second["thread_id"]) == ["one", "1: one"]
    assert threads.ask("GET", f"/threads/{fork['thread_id']}?include=lineage")["lineage"] == told
    threads.sdk.threads.delete(second["thread_id"])
    assert threads.ask("GET", f"/threads/{fork['thread_id']}?include=lineage")["lineage"] == told
    threads.say(fork["thread_id"], "two")
    assert threads.texts(fork["thread_id"])[-1] == "3: two"


def test_a_fork_costs_the_same_however_long_the_history_is(threads: Threads) -> None:
    cost = []
    for turns in (2, 12):
        source = threads.new("echo", *map(str, range(turns)))
        before = rows(threads.server)
        threads.fork(source)
        cost.append(rows(threads.server) - before)
    assert cost[0] == cost[1] <= 6


def test_a_fork_of_a_fork_that_left_early_has_nothing_of_what_it_left(threads: Threads) -> None:
    source = threads.new("echo", "one", "two")
    fork = threads.fork(source)["thread_id"]
    threads.say(fork, "eins", checkpoint_id=threads.shown(fork)[0]["fork_from"])
    second = threads.fork(fork)["thread_id"]
    line = [one["id"] for one in threads.tree(second)]
    assert [one["parent"] for one in threads.tree(second)] == [*line[1:], None]
    assert "siblings" not in threads.shown(second)[0]
    threads.sdk.threads.delete(source)
    threads.sdk.threads.delete(fork)
    assert [one["id"] for one in threads.tree(second)] == line
    threads.say(second, "zwei")
    assert threads.texts(second) == ["eins", "1: eins", "zwei", "3: zwei"]


def test_what_cannot_be_forked(threads: Threads) -> None:
    source = threads.new("echo", "one")
    nothing = "1ef00000-0000-6000-8000-000000000000"
    threads.ask("POST", f"/threads/{source}/fork", 404, checkpoint_id=nothing)
    threads.ask("POST", f"/threads/{nothing}/fork", 404, checkpoint_id=nothing)
    threads.ask("POST", f"/threads/{source}/fork", 409, thread_id=source)
    threads.ask("POST", f"/threads/{threads.new()}/fork", 409, title="nothing there")
    assert threads.ask("GET", f"/threads/{source}?include=lineage")["lineage"]["forks"] == []


@pytest.mark.parametrize("graph", ["approvals", "thrice", "trio", "nested", "deeper", "nested_pair"])
def test_a_waiting_fork_asks_the_same_and_takes_the_answer(threads: Threads, graph: str) -> None:
    source = threads.new(graph)
    threads.sdk.runs.wait(source, graph, input={"n": 1})
    asked = threads.sdk.threads.get(source)
    fork = threads.fork(source)
    assert (fork["status"], fork["interrupts"]) == ("interrupted", asked["interrupts"])
    ends = [_answered(threads, thread, graph) for thread in (fork["thread_id"], threads.fork(source)["thread_id"])]
    assert threads.sdk.threads.get(source)["interrupts"] == asked["interrupts"]
    assert _answered(threads, source, graph) == ends[0] == ends[1]


@pytest.mark.parametrize("graph", ["approvals", "trio", "hitl"])
def test_a_question_that_was_answered_is_asked_again_in_a_fork(threads: Threads, graph: str) -> None:
    source = threads.new(graph)
    threads.sdk.runs.wait(source, graph, input={"n": 1})
    waiting, asked = threads.tree(source)[0]["id"], threads.sdk.threads.get(source)["interrupts"]
    _answered(threads, source, graph)
    before = digest(threads.server, source)
    fork = threads.fork(source, checkpoint_id=waiting)
    assert (fork["status"], fork["interrupts"]) == ("interrupted", asked)
    second = threads.fork(fork["thread_id"])
    for one in (fork, second):
        ids = [question["id"] for task in one["interrupts"].values() for question in task]
        threads.sdk.runs.wait(one["thread_id"], graph, command={"resume": dict.fromkeys(ids, "no")})
        log = json.dumps(threads.sdk.threads.get_state(one["thread_id"])["values"]["log"])
        assert "no" in log
        assert "yes" not in log
    assert digest(threads.server, source) == before


@pytest.mark.parametrize("graph", ["thrice", "nested"])
def test_several_questions_are_asked_when_the_fork_runs(threads: Threads, graph: str) -> None:
    source = threads.new(graph)
    threads.sdk.runs.wait(source, graph, input={"n": 1})
    waiting, asked = threads.tree(source)[0]["id"], threads.sdk.threads.get(source)["interrupts"]
    ended = _answered(threads, source, graph)
    fork = threads.fork(source, checkpoint_id=waiting)
    assert (fork["status"], fork["interrupts"]) == ("interrupted", {})
    threads.sdk.runs.wait(fork["thread_id"], graph, input=None)
    again = threads.sdk.threads.get(fork["thread_id"])["interrupts"]
    assert [one["value"] for task in again.values() for one in task] == [
        one["value"] for task in asked.values() for one in task
    ]
    assert _answered(threads, fork["thread_id"], graph) == ended


def _answered(threads: Threads, thread: str, graph: str) -> Any:
    for _ in range(9):
        asked = [one["id"] for task in threads.sdk.threads.get(thread)["interrupts"].values() for one in task]
        if not asked:
            break
        threads.sdk.runs.wait(thread, graph, command={"resume": dict.fromkeys(asked, "yes")})
    return threads.sdk.threads.get_state(thread)["values"]


@pytest.mark.parametrize("graph", ["sub", "tools", "hitl", "nested", "counter", "deltas"])
def test_every_checkpoint_can_be_forked_also_from_a_fork_of_a_fork(threads: Threads, graph: str) -> None:
    source = threads.new(graph)
    given = {"messages": [{"role": "user", "content": "add 2 3"}], "limit": 3, "n": 0}
    for _ in range(2):
        threads.sdk.runs.wait(source, graph, input=given)
        _answered(threads, source, graph)
    history = threads.sdk.threads.get_history(source, limit=100)
    before = digest(threads.server, source)
    for state in history:
        first = threads.fork(source, checkpoint_id=state["checkpoint_id"])
        second = threads.fork(first["thread_id"])
        for fork in (first, second):
            assert fork["values"] == state["values"]
            there = threads.sdk.threads.get_history(fork["thread_id"], limit=100)
            assert [one["values"] for one in there] == [one["values"] for one in history[history.index(state) :]]
        if state["next"] and state["next"] != ["__start__"]:
            threads.sdk.runs.wait(second["thread_id"], graph, input=None)
            ended = _answered(threads, second["thread_id"], graph)
            assert _shape(ended).startswith(_shape(state["values"])[:-2])
    assert digest(threads.server, source) == before


def _shape(values: Any) -> str:
    return json.dumps({key: values[key] for key in values if key == "log"})
