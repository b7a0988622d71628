"""Differences between branches, variants side by side, and what is brought home."""

import pytest
from branches.conftest import Threads


def said(*texts: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text} for text in texts]}


def finish(threads: Threads, runs: list[dict[str, str]]) -> None:
    for one in runs:
        threads.sdk.runs.join(one["thread_id"], one["run_id"])


def test_a_checkpoint_does_not_differ_from_itself(threads: Threads) -> None:
    for graph in ("tools", "hitl", "deltas", "counter"):
        thread = threads.new(graph)
        threads.sdk.runs.wait(thread, graph, input={**said("add 2 3"), "n": 0, "limit": 2})
        for one in threads.tree(thread):
            found = threads.ask("GET", f"/threads/{thread}/diff?a={one['id']}&b={one['id']}")
            assert (found["base"], found["channels"]) == (one["id"], {})
            for side in ("a", "b"):
                assert found[side] == {
                    "checkpoint_id": one["id"],
                    "messages": [],
                    "tools": [],
                    "tokens": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
                    "steps": 0,
                    "seconds": 0.0,
                }


def test_in_what_two_branches_differ(threads: Threads) -> None:
    thread = threads.new("tools", "add 1 1")
    base = threads.tree(thread)[0]["id"]
    threads.say(thread, "add 2 3", "tools")
    left = threads.tree(thread)[0]["id"]
    threads.say(thread, "divide 1 0", "tools", checkpoint_id=base)
    right = threads.tree(thread)[0]["id"]
    found = threads.ask("GET", f"/threads/{thread}/diff?a={left}")
    assert (found["base"], found["common_messages"], found["channels"]) == (base, 4, {})
    assert found["b"]["checkpoint_id"] == right
    assert [one["content"] for one in found["a"]["messages"]] == ["add 2 3", "Let me see. ", "5", "The result is 5."]
    assert [(one["name"], one["args"], one["status"]) for one in found["a"]["tools"]] == [
        ("add", {"a": 2, "b": 3}, "success")
    ]
    assert [(one["name"], one["status"]) for one in found["b"]["tools"]] == [("divide", "error")]
    assert found["a"]["steps"] == found["b"]["steps"] == 5
    assert 0 < found["a"]["seconds"] < 30
    usage = [one["usage_metadata"] or {} for one in found["a"]["messages"] if one["type"] == "ai"]
    assert found["a"]["tokens"]["total_tokens"] == sum(one.get("total_tokens", 0) for one in usage)
    fork = threads.fork(thread, checkpoint_id=left)["thread_id"]
    across = threads.ask("GET", f"/threads/{fork}/diff?a={left}&b={right}&b_thread_id={thread}")
    assert across == {**found, "b": across["b"]}
    threads.ask("GET", f"/threads/{thread}/diff?a=1ef00000-0000-6000-8000-000000000000", 404)


def test_channels_that_differ(threads: Threads) -> None:
    thread = threads.new("counter")
    threads.sdk.runs.wait(thread, "counter", input={"n": 0, "limit": 2})
    newest, *_, first = threads.tree(thread)
    found = threads.ask("GET", f"/threads/{thread}/diff?a={first['id']}&b={newest['id']}")
    assert found["channels"] == {"n": {"b": 2}, "limit": {"b": 2}}
    assert found["base"] == first["id"]


@pytest.mark.parametrize("graph", ["echo", "deltas"])
def test_variants_run_side_by_side_and_one_becomes_the_thread(threads: Threads, graph: str) -> None:
    thread = threads.new(graph, "one")
    variants = [
        {"assistant_id": graph, "input": said(text), "title": text, "config": {"tags": ["x"]}}
        for text in ("left", "right")
    ]
    found = threads.ask("POST", f"/threads/{thread}/compare", variants=variants)
    finish(threads, found["runs"])
    left, right = (one["thread_id"] for one in found["runs"])
    assert [one["title"] for one in found["runs"]] == ["left", "right"]
    assert threads.texts(left) == ["one", "1: one", "left", "3: left"]
    assert threads.texts(right) == ["one", "1: one", "right", "3: right"]
    assert threads.texts(thread) == ["one", "1: one"]
    assert threads.sdk.threads.count(metadata={"compare_id": found["compare_id"]}) == 2
    threads.say(thread, "own", graph)
    for fork, texts in ((left, ["left", "3: left"]), (right, ["right", "3: right"])):
        threads.ask("POST", f"/threads/{thread}/promote", from_thread_id=fork)
        assert threads.texts(thread) == ["one", "1: one", *texts]
        assert threads.sdk.threads.get(thread)["preview"] == texts[-1]
    shown = threads.shown(thread)
    assert sorted(one["preview"] for one in shown[2]["siblings"][:2]) == ["left", "right"]
    assert shown[2]["siblings"][2]["preview"] == "own"
    threads.say(thread, "more", graph)
    assert threads.texts(thread)[-2:] == ["more", "5: more"]
    for fork in (left, right):
        threads.sdk.threads.delete(fork)
    assert threads.texts(thread)[2:] == ["right", "3: right", "more", "5: more"]
    own = shown[2]["siblings"][2]["head"]
    threads.ask("POST", f"/threads/{thread}/promote", checkpoint_id=own)
    assert threads.texts(thread) == ["one", "1: one", "own", "3: own"]


@pytest.mark.parametrize("graph", ["approvals", "nested"])
def test_a_fork_that_was_answered_otherwise_comes_home(threads: Threads, graph: str) -> None:
    thread = threads.new(graph)
    threads.sdk.runs.wait(thread, graph, input={"n": 1})
    fork = threads.fork(thread)["thread_id"]
    ends = []
    for one, answer in ((thread, "yes"), (fork, "no")):
        threads.sdk.runs.wait(one, graph, command={"resume": answer})
        ends.append(threads.sdk.threads.get_state(one)["values"])
    before = threads.tree(thread)[0]["id"]
    threads.ask("POST", f"/threads/{thread}/promote", from_thread_id=fork)
    assert threads.sdk.threads.get_state(thread)["values"] == ends[1]
    assert threads.sdk.threads.get(thread)["interrupts"] == threads.sdk.threads.get(fork)["interrupts"]
    threads.head(thread, before)
    assert threads.sdk.threads.get_state(thread)["values"] == ends[0]


def test_what_cannot_be_promoted(threads: Threads) -> None:
    thread, stranger = threads.new("echo", "one"), threads.new("echo", "one")
    threads.ask("POST", f"/threads/{thread}/promote", 409, from_thread_id=stranger)
    threads.ask("POST", f"/threads/{thread}/promote", 422)
    threads.ask("POST", f"/threads/{thread}/compare", 422, variants=[])
    nothing = "1ef00000-0000-6000-8000-000000000000"
    variants = [{"assistant_id": "echo", "input": said("x")}, {"assistant_id": nothing, "input": said("x")}]
    threads.ask("POST", f"/threads/{thread}/compare", 404, variants=variants)
    threads.ask("POST", f"/threads/{thread}/compare", 404, variants=variants[:1], checkpoint_id=nothing)
    assert threads.ask("GET", f"/threads/{thread}?include=lineage")["lineage"]["forks"] == []


def test_messages_and_a_summary_are_brought_home(threads: Threads) -> None:
    thread = threads.new("tools", "add 1 1")
    fork = threads.fork(thread)["thread_id"]
    threads.say(fork, "add 2 3", "tools")
    there = threads.sdk.threads.get_state(fork)
    ids = [one["id"] for one in there["values"]["messages"]]
    threads.ask("POST", f"/threads/{thread}/merge", 400, from_thread_id=fork, messages=[ids[5]])
    threads.ask("POST", f"/threads/{thread}/merge", 404, from_thread_id=fork, messages=["nothing"])
    threads.ask("POST", f"/threads/{thread}/merge", 422, from_thread_id=fork)
    threads.ask("POST", f"/threads/{thread}/merge", 422, summary="of nothing")
    threads.ask("POST", f"/threads/{thread}/merge", from_thread_id=fork, messages=ids[5:8], as_node="agent")
    assert threads.texts(thread)[4:] == ["Let me see. ", "5", "The result is 5."]
    threads.ask("POST", f"/threads/{thread}/merge", from_thread_id=fork, summary="It is 5.", as_node="agent")
    last = threads.sdk.threads.get_state(thread)["values"]["messages"][-1]
    origin = {"thread_id": fork, "checkpoint_id": there["checkpoint_id"]}
    assert (last["type"], last["content"], last["additional_kwargs"]["merged_from"]) == ("ai", "It is 5.", origin)
    assert threads.sdk.threads.get(thread)["message_count"] == 8
