"""Named branches: they go on, they are deleted alone, and pruning leaves them."""

import sqlite3

from branches.conftest import Threads


def two(threads: Threads) -> tuple[str, str, str]:
    """A thread with two branches after its first answer, and the ends of the older and the newer one."""
    thread = threads.new("echo", "one", "two")
    old = threads.tree(thread)[0]["id"]
    threads.say(thread, "zwei", checkpoint_id=threads.shown(thread)[2]["fork_from"])
    return thread, old, threads.tree(thread)[0]["id"]


def names(threads: Threads, thread: str) -> dict[str, tuple[str, bool]]:
    found = threads.ask("GET", f"/threads/{thread}/branches")["branches"]
    return {one["name"]: (one["head"], one["pinned"]) for one in found}


def test_a_name_goes_on_with_its_branch(threads: Threads) -> None:
    thread, old, new = two(threads)
    threads.ask("PUT", f"/threads/{thread}/branches/English", checkpoint_id=old)
    threads.ask("PUT", f"/threads/{thread}/branches/Deutsch", pinned=True)
    assert names(threads, thread) == {"English": (old, False), "Deutsch": (new, True)}
    threads.ask("PUT", f"/threads/{thread}/head", branch="English")
    threads.say(thread, "three")
    assert threads.texts(thread)[2:] == ["two", "3: two", "three", "5: three"]
    grown = threads.tree(thread)[0]["id"]
    threads.say(thread, "drei", checkpoint_id=old)  # what leaves a branch does not take its name
    assert names(threads, thread) == {"English": (grown, False), "Deutsch": (new, True)}
    renamed = threads.ask("PATCH", f"/threads/{thread}/branches/English", name="Old", pinned=True)
    assert (renamed["name"], renamed["pinned"], renamed["head"]) == ("Old", True, grown)
    threads.ask("PATCH", f"/threads/{thread}/branches/Old", 409, name="Deutsch")
    threads.ask("PATCH", f"/threads/{thread}/branches/English", 404, pinned=True)
    threads.ask("PUT", f"/threads/{thread}/head", 404, branch="English")
    threads.ask("PUT", f"/threads/{thread}/head", 422, branch="Old", checkpoint_id=old)


def test_a_branch_is_deleted_alone(threads: Threads) -> None:
    thread, old, new = two(threads)
    fork = threads.fork(thread, checkpoint_id=new)["thread_id"]
    shared = {one["id"] for one in threads.tree(thread)} & {one["id"] for one in threads.tree(fork)}
    before = threads.ask("GET", f"/threads/{thread}/state/{old}")
    threads.ask("PUT", f"/threads/{thread}/branches/Deutsch", checkpoint_id=new, pinned=True)
    threads.ask("DELETE", f"/threads/{thread}/branches/{new}", 409)
    threads.ask("PATCH", f"/threads/{thread}/branches/Deutsch", pinned=False)
    done = threads.ask("DELETE", f"/threads/{thread}/branches/Deutsch")
    assert (done["head"], len(done["deleted"])) == (old, 3)
    assert done["deleted"][0] == new
    assert names(threads, thread) == {}
    assert threads.texts(thread) == ["one", "1: one", "two", "3: two"]
    assert threads.sdk.threads.get(thread)["preview"] == "3: two"
    assert threads.ask("GET", f"/threads/{thread}/state/{old}") == before
    assert {one["id"] for one in threads.tree(fork)} >= shared
    assert threads.texts(fork) == ["one", "1: one", "zwei", "3: zwei"]
    threads.ask("DELETE", f"/threads/{thread}/branches/{old}", 409)  # the only one
    threads.ask("DELETE", f"/threads/{thread}/branches/nothing", 404)
    middle = threads.tree(thread)[1]["id"]
    threads.ask("DELETE", f"/threads/{thread}/branches/{middle}", 409)


def test_a_branch_that_another_name_needs_stays_up_to_there(threads: Threads) -> None:
    thread, _old, new = two(threads)
    threads.ask("PUT", f"/threads/{thread}/branches/Kept", checkpoint_id=new)
    threads.ask("PUT", f"/threads/{thread}/branches/Same", checkpoint_id=new)
    assert threads.ask("DELETE", f"/threads/{thread}/branches/Same")["deleted"] == []
    assert names(threads, thread) == {"Kept": (new, False)}
    assert threads.ask("GET", f"/threads/{thread}/branches")["head"] == new


def test_pruning_keeps_what_has_a_name_and_where_forks_left(threads: Threads) -> None:
    thread, old, _ = two(threads)
    threads.say(thread, "three")
    new, left = threads.tree(thread)[0]["id"], threads.shown(thread)[1]["checkpoint_id"]
    fork = threads.fork(thread, checkpoint_id=left)["thread_id"]
    threads.ask("PUT", f"/threads/{thread}/branches/Old", checkpoint_id=old)
    assert threads.ask("POST", "/threads/prune", thread_ids=[thread], strategy="keep_latest")["pruned_count"] == 1
    tree = {one["id"]: one["parent"] for one in threads.tree(thread)}
    assert tree == {new: left, old: left, left: None}
    assert threads.texts(thread) == ["one", "1: one", "zwei", "3: zwei", "three", "5: three"]
    assert threads.texts(fork) == ["one", "1: one"]
    threads.ask("PUT", f"/threads/{thread}/head", branch="Old")
    threads.say(thread, "four")
    assert threads.texts(thread) == ["one", "1: one", "two", "3: two", "four", "5: four"]
    shown = threads.shown(thread)
    assert [one["preview"] for one in shown[2]["siblings"]] == ["two", "zwei"]


def test_pruning_a_waiting_branch_keeps_its_question(threads: Threads) -> None:
    for graph in ("approvals", "nested", "deltas"):
        thread = threads.new(graph)
        given = {"n": 1, "messages": [{"role": "user", "content": "one"}]}
        threads.sdk.runs.wait(thread, graph, input=given)
        end, start = threads.tree(thread)[0]["id"], threads.tree(thread)[-1]["id"]
        was = threads.ask("GET", f"/threads/{thread}")
        threads.ask("PUT", f"/threads/{thread}/branches/Waiting", checkpoint_id=end)
        threads.sdk.runs.wait(thread, graph, input={**given, "n": 2}, checkpoint_id=start)
        threads.ask("POST", "/threads/prune", thread_ids=[thread], strategy="keep_latest")
        threads.ask("PUT", f"/threads/{thread}/head", branch="Waiting")
        now = threads.ask("GET", f"/threads/{thread}")
        assert [now[key] for key in ("status", "values", "interrupts")] == [
            was[key] for key in ("status", "values", "interrupts")
        ]
        if was["interrupts"]:
            threads.sdk.runs.wait(thread, graph, command={"resume": "yes"})
            log = threads.sdk.threads.get_state(thread)["values"]["log"]
            assert next(one for one in log if isinstance(one, list))[1] == "yes"


def test_a_deleted_thread_takes_its_names_along(threads: Threads) -> None:
    thread, _, _ = two(threads)
    threads.ask("PUT", f"/threads/{thread}/branches/Name")
    threads.sdk.threads.delete(thread)
    with sqlite3.connect(threads.server.data_dir / "threadmill.sqlite") as database:
        for table in ("branches", "heads", "checkpoints"):
            there = database.execute(f"SELECT count(*) FROM {table} WHERE thread_id = ?", (thread,)).fetchone()
            assert there == (0,)
