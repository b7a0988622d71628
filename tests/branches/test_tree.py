"""The tree that the server computes: places, alternatives, what comes next."""

import time
from typing import Any

import pytest
from branches.conftest import Threads

GRAPHS = ("echo", "tools", "sub", "hitl", "parallel_hitl", "trio", "nested", "counter", "boom", "shop", "deltas")


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_tree_says_what_the_history_says(threads: Threads, graph: str) -> None:
    thread = threads.new(graph)
    given = {"messages": [{"role": "user", "content": "add 2 3"}], "n": 0, "limit": 2, "wanted": ["tea", "milk"]}
    threads.sdk.runs.wait(thread, graph, input=given, raise_error=False)
    for _ in range(4):
        asked = [one["id"] for task in threads.sdk.threads.get(thread)["interrupts"].values() for one in task]
        if asked:
            threads.sdk.runs.wait(thread, graph, command={"resume": dict.fromkeys(asked, "yes")}, raise_error=False)
    threads.sdk.runs.wait(thread, graph, input=given, raise_error=False)
    history = {one["checkpoint_id"]: one for one in threads.sdk.threads.get_history(thread, limit=100)}
    found = threads.tree(thread)
    assert [one["id"] for one in found] == list(history)
    said: dict[str | None, list[str]] = {None: []}
    for one in reversed(found):
        state = history[one["id"]]
        assert one["parent"] == state["parent_checkpoint_id"]
        assert (one["source"], one["step"]) == (state["metadata"]["source"], state["metadata"]["step"])
        assert one["next"] == list(dict.fromkeys(state["next"]))
        assert one["run"] == state["metadata"]["run_id"]
        assert time.gmtime(one["time"] / 1000)[:5] == time.strptime(state["created_at"][:16], "%Y-%m-%dT%H:%M")[:5]
        said[one["id"]] = [*(mid for mid in said[one["parent"]] if mid not in (one["removed"] or ()))]
        said[one["id"]] += [mid for mid in one["new"] or () if mid not in said[one["id"]]]
        assert said[one["id"]] == [message["id"] for message in state["values"].get("messages", [])]
    shown = [one["message"] for one in threads.shown(thread)]
    assert shown == threads.sdk.threads.get_state(thread)["values"].get("messages", [])


def test_an_edit_and_a_regenerated_answer_are_alternatives(threads: Threads) -> None:
    thread = threads.new("echo", "one", "two")
    first = threads.shown(thread)
    assert all("siblings" not in one for one in first)
    edited = first[2]["fork_from"]
    threads.say(thread, "zwei", checkpoint_id=edited)
    assert threads.texts(thread) == ["one", "1: one", "zwei", "3: zwei"]
    again = threads.shown(thread)[3]["fork_from"]
    threads.sdk.runs.wait(thread, "echo", input=None, checkpoint_id=again)
    shown = threads.shown(thread)
    assert [len(one.get("siblings", [0])) for one in shown] == [1, 1, 2, 2]
    assert [(one["preview"], one["message_id"]) for one in shown[2]["siblings"]] == [
        ("two", first[2]["message"]["id"]),
        ("zwei", shown[2]["message"]["id"]),
    ]
    assert (shown[2]["shown"], shown[3]["shown"]) == (1, 1)
    for message in shown[2:]:  # a sibling's checkpoint is where it was said first
        for other in message["siblings"]:
            state: Any = threads.sdk.threads.get_state(thread, checkpoint_id=other["checkpoint_id"])
            assert state["values"]["messages"][-1]["id"] == other["message_id"]
    only_ids = threads.ask("GET", f"/threads/{thread}/branches/messages?ids=true")["messages"]
    assert only_ids == [{**one, "message": {"id": one["message"]["id"]}} for one in shown]
    old = shown[2]["siblings"][0]["head"]
    assert [one["message"]["content"] for one in threads.shown(thread, old)] == ["one", "1: one", "two", "3: two"]
    threads.ask("GET", f"/threads/{thread}/branches/messages?at=1ef00000-0000-6000-8000-000000000000", 404)


def test_pages_of_the_tree(threads: Threads) -> None:
    thread = threads.new("echo", "one", "two", "three")
    whole = threads.tree(thread)
    seen: list[str] = []
    before = None
    while True:
        query = f"?limit=4&before={before}" if before else "?limit=4"
        page = threads.ask("GET", f"/threads/{thread}/branches{query}")
        assert (page["total"], page["places"]) == (len(whole), 7)
        seen += [row[0] for row in page["checkpoints"]]
        before = page["next_before"]
        if before is None:
            break
        assert page["checkpoints"][0][1] == 1
        assert page["checkpoints"][-1][1] == whole[len(seen)]["id"]  # the parent is on the next page
    assert seen == [one["id"] for one in whole]
    empty = threads.ask("GET", f"/threads/{threads.new()}/branches")
    assert (empty["head"], empty["checkpoints"]) == (None, [])


def test_a_thread_goes_on_from_its_head(threads: Threads) -> None:
    thread = threads.new("echo", "one", "two")
    old = threads.tree(thread)[0]["id"]
    threads.say(thread, "zwei", checkpoint_id=threads.shown(thread)[2]["fork_from"])
    assert threads.head(thread, old) == old
    there = threads.sdk.threads.get(thread)
    assert [one["content"] for one in there["values"]["messages"]] == threads.texts(thread)
    assert (threads.texts(thread)[2:], there["preview"]) == (["two", "3: two"], "3: two")
    assert threads.ask("GET", f"/threads/{thread}/branches")["head"] == old
    threads.say(thread, "three")
    assert threads.texts(thread) == ["one", "1: one", "two", "3: two", "three", "5: three"]
    row = threads.tree(thread)
    assert row[2]["parent"] == old
    copied = threads.sdk.threads.copy(thread)["thread_id"]
    assert threads.texts(copied) == threads.texts(thread)


def test_a_head_in_the_middle_is_a_copy(threads: Threads) -> None:
    thread = threads.new("echo", "one", "two")
    shown, tree = threads.shown(thread), threads.tree(thread)
    middle = shown[3]["fork_from"]
    head = threads.head(thread, middle)
    assert head not in [one["id"] for one in tree]
    state = threads.sdk.threads.get_state(thread)
    assert (state["next"], state["checkpoint_id"]) == (["say"], head)
    assert threads.sdk.threads.get(thread)["status"] == "interrupted"
    threads.sdk.runs.wait(thread, "echo", input=None)
    shown = threads.shown(thread)
    assert [one["preview"] for one in shown[3]["siblings"]] == ["3: two", "3: two"]
    assert shown[3]["shown"] == 1


def test_a_question_waits_on_its_branch(threads: Threads) -> None:
    thread = threads.new("approvals")
    threads.sdk.runs.wait(thread, "approvals", input={"n": 1})
    waiting, asked = threads.tree(thread)[0]["id"], threads.sdk.threads.get(thread)["interrupts"]
    start = threads.tree(thread)[-1]["id"]
    threads.sdk.runs.wait(thread, "approvals", input={"n": 2}, checkpoint_id=start)
    assert threads.sdk.threads.get(thread)["interrupts"] != asked
    threads.head(thread, waiting)
    there = threads.sdk.threads.get(thread)
    assert (there["status"], there["interrupts"]) == ("interrupted", asked)
    threads.sdk.runs.wait(thread, "approvals", command={"resume": "yes"})
    assert threads.sdk.threads.get_state(thread)["values"]["log"] == [["one", "yes"]]


def test_a_run_that_is_rolled_back_gives_the_head_back(threads: Threads) -> None:
    thread = threads.new("echo", "one", "two")
    old = threads.tree(thread)[0]["id"]
    threads.say(thread, "zwei", checkpoint_id=threads.shown(thread)[2]["fork_from"])
    threads.head(thread, old)
    threads.say(thread, "three")
    (run,) = [one["run_id"] for one in threads.sdk.runs.list(thread, limit=1)]
    threads.sdk.runs.delete(thread, run)
    assert threads.texts(thread) == ["one", "1: one", "two", "3: two"]
    assert threads.ask("GET", f"/threads/{thread}/branches")["head"] == old


@pytest.mark.parametrize("durability", ["async", "exit"])
def test_a_subgraph_remembers_what_was_on_its_branch(threads: Threads, durability: str) -> None:
    """Its own memory goes on from where the branch is, however one came there."""

    def say(thread: str, text: str, **options: Any) -> str:
        return threads.say(thread, text, "remembering", durability=durability, **options)["messages"][-1]["content"]

    thread = threads.new("remembering")
    assert [say(thread, "a"), say(thread, "b")] == ["a", "a b"]
    left = threads.tree(thread)[0]["id"]
    assert say(thread, "B", checkpoint_id=threads.shown(thread)[2]["fork_from"]) == "a B"
    assert say(thread, "C") == "a B C"
    other = threads.head(thread, threads.tree(thread)[0]["id"])
    threads.head(thread, left)
    assert say(thread, "c") == "a b c"
    back = threads.head(thread, other)
    assert say(thread, "D") == "a B C D"
    fork, quiet = [threads.fork(thread, checkpoint_id=left)["thread_id"] for _ in range(2)]
    assert say(fork, "in the fork") == "a b in the fork"
    if durability != "exit":  # which does not store at whose step it was written, and a copy has another id
        threads.head(fork, threads.shown(fork)[2]["fork_from"])
        assert say(fork, "x") == "a x"
    assert say(thread, "again", checkpoint_id=back) == "a B C again"
    threads.ask("POST", "/threads/prune", thread_ids=[thread], strategy="keep_latest")
    pruned = threads.fork(thread)["thread_id"]
    assert say(thread, "at last") == "a B C again at last"
    threads.sdk.threads.delete(thread)
    assert say(fork, "on") == ("a x on" if durability != "exit" else "a b in the fork on")
    assert [say(quiet, "on"), say(pruned, "on")] == ["a b on", "a B C again on"]


def test_an_answer_that_is_made_again_is_remembered_once(threads: Threads) -> None:
    """In the thread, or in a fork that comes home."""

    def again(thread: str, at: str) -> str:
        made = threads.sdk.runs.wait(thread, "remembering", input=None, checkpoint_id=at)
        return made["messages"][-1]["content"]

    def say(text: str) -> str:
        return threads.say(thread, text, "remembering")["messages"][-1]["content"]

    thread = threads.new("remembering", "a", "b")
    begin = threads.shown(thread)[3]["fork_from"]
    assert [again(thread, begin), say("c")] == ["a b", "a b c"]
    fork = threads.fork(thread, checkpoint_id=begin)["thread_id"]
    assert again(fork, begin) == "a b"
    threads.ask("POST", f"/threads/{thread}/promote", from_thread_id=fork)
    assert say("d") == "a b d"
    assert [again(thread, threads.head(thread, begin)), say("e")] == ["a b", "a b e"]


def test_what_was_answered_in_a_fork_is_remembered_at_home(threads: Threads) -> None:
    thread = threads.new("remembering", "a", "ask")
    fork = threads.fork(thread)["thread_id"]
    for place, answer in ((thread, "yes"), (fork, "no")):
        made = threads.sdk.runs.wait(place, "remembering", command={"resume": answer})
        assert made["messages"][-1]["content"] == f"a {answer}"
    left = threads.tree(thread)[0]["id"]
    threads.ask("POST", f"/threads/{thread}/promote", from_thread_id=fork)
    assert threads.say(thread, "x", "remembering")["messages"][-1]["content"] == "a no x"
    threads.head(thread, left)
    assert threads.say(thread, "y", "remembering")["messages"][-1]["content"] == "a yes y"


def test_the_head_is_not_moved_under_a_run(threads: Threads) -> None:
    thread = threads.new("slow")
    threads.sdk.runs.wait(thread, "slow", input={"steps": 1})
    old = threads.tree(thread)[-1]["id"]
    run = threads.sdk.runs.create(thread, "slow", input={"steps": 1000})["run_id"]
    threads.ask("PUT", f"/threads/{thread}/head", 409, checkpoint_id=old)
    threads.sdk.runs.cancel(thread, run, wait=True)
    threads.ask("PUT", f"/threads/{thread}/head", 404, checkpoint_id="1ef00000-0000-6000-8000-000000000000")
    threads.head(thread, old)


def test_a_thousand_checkpoints(threads: Threads) -> None:
    step = {"updates": [{"values": {"messages": [{"role": "user", "content": "x"}]}, "as_node": "say"}]}
    thread = threads.ask("POST", "/threads", metadata={"graph_id": "echo"}, supersteps=[step] * 1000)["thread_id"]
    took: list[float] = []
    while len(took) < 30 and min(took, default=1) > 0.1:  # the machine may be busy with something else
        began = time.perf_counter()
        answer = threads.http.get(f"/threads/{thread}/branches")
        took.append(time.perf_counter() - began)
    assert len(answer.json()["checkpoints"]) == 1000
    assert len(answer.content) / 1000 < 160  # 100 and the id of a message
    assert min(took) < 0.1, took


def outline(threads: Threads, thread: str, query: str = "") -> list[tuple[Any, ...]]:
    found = threads.ask("GET", f"/threads/{thread}/branches/map{query}")
    return [(one["above"], one["preview"], one["messages"], one["shown"], one["now"]) for one in found["pieces"]]


def test_the_map_has_a_piece_for_each_way_that_the_conversation_went(threads: Threads) -> None:
    thread = threads.new("echo")
    assert outline(threads, thread) == []
    for text in ("one", "two"):
        threads.say(thread, text)
    assert outline(threads, thread) == [(None, "one", 4, True, True)]
    first = threads.shown(thread)
    threads.say(thread, "zwei", checkpoint_id=first[2]["fork_from"])
    threads.say(thread, "drei")
    assert outline(threads, thread) == [
        (None, "one", 2, True, False),
        (0, "two", 2, False, False),
        (0, "zwei", 4, True, True),
    ]
    threads.say(thread, "uno", checkpoint_id=first[0]["fork_from"])
    pieces = threads.ask("GET", f"/threads/{thread}/branches/map")["pieces"]
    assert [one["above"] for one in pieces] == [None, 0, 0, None]
    threads.head(thread, pieces[1]["head"])
    assert threads.texts(thread) == ["one", "1: one", "two", "3: two"]
    threads.ask("PUT", f"/threads/{thread}/branches/second", checkpoint_id=pieces[2]["head"], pinned=True)
    middle = threads.head(
        thread, next(one["checkpoint_id"] for one in first if one["message"]["id"] == first[0]["message"]["id"])
    )
    pieces = threads.ask("GET", f"/threads/{thread}/branches/map")["pieces"]
    assert [(one["preview"], one["now"], one["shown"]) for one in pieces] == [
        ("one", True, True),
        ("1: one", False, False),
        ("two", False, False),
        ("zwei", False, False),
        ("uno", False, False),
    ]
    assert pieces[3]["names"] == [{"name": "second", "pinned": True}]
    assert middle == threads.ask("GET", f"/threads/{thread}/branches/map")["head"]
    assert outline(threads, thread, "?limit=2") == [(None, "one", 1, True, True), (0, "1: one", 1, False, False)]
    assert threads.ask("GET", f"/threads/{thread}/branches/map?limit=2")["total"] == 5
