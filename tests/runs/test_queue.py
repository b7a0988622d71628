"""The queue under any interleaving of claims, ends, stops, crashes and time: one running run per thread, in order."""

import sqlite3
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs.ledger import LEASE, PLACES, Ledger, opened, play

from threadmill.runs import queue

place = st.sampled_from(PLACES)
worker = st.sampled_from(("w1", "w2"))
which = st.integers(0, 30)
ending = st.sampled_from(("success", "error", "timeout", "interrupted"))
submitted = st.tuples(st.just("submit"), place, st.just("enqueue"), st.sampled_from((0, 0, 0, 10, 40)))
happenings = st.one_of(
    *[submitted] * 3,
    *[st.tuples(st.just("claim"), worker)] * 4,
    *[st.tuples(st.just("finish"), which, ending)] * 3,
    *[st.tuples(st.just("write"), which)] * 2,
    st.tuples(st.just("put_back"), which),
    st.tuples(st.just("stop"), which, st.sampled_from(("interrupt", "rollback"))),
    st.tuples(st.just("wait"), st.sampled_from((1, 9, 11, LEASE + 1))),
    st.tuples(st.just("renew"), worker),
    *[st.tuples(st.just("recover"), st.booleans())] * 2,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(happenings, min_size=5, max_size=50))
def test_any_interleaving_keeps_the_rules(story: list[tuple[Any, ...]]) -> None:
    with opened() as ledger:
        play(ledger, story)
        drain(ledger)
        for one in PLACES:
            assert not [entry for entry in ledger.of(one) if entry.active], "nothing stays behind"


def drain(ledger: Ledger) -> None:
    """A worker that lives and waits long enough ends everything."""
    ledger.recover(True)
    ledger.wait(100)
    while ledger.claim("w1"):
        ledger.finish(len(ledger.held) - 1, "success")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(place, st.sampled_from((0, 5))), min_size=1, max_size=12))
def test_first_come_first_served(asked: list[tuple[str, int]]) -> None:
    with opened() as ledger:
        for where, seconds in asked:
            ledger.submit(where, "enqueue")
            ledger.wait(seconds)
        drain(ledger)
        for where in PLACES:
            mine = [entry.run_id for entry in ledger.of(where)]
            assert [run_id for run_id in ledger.ended if run_id in mine] == mine


def test_the_database_itself_refuses_a_second_running_run() -> None:
    with opened() as ledger:
        for _ in range(2):
            ledger.submit(PLACES[0], "enqueue")
        ledger.claim("w1")
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            ledger.do(lambda tx: tx.run("UPDATE runs SET status = 'running' WHERE status = 'pending'"))
        ledger.check()


def test_a_run_for_later_does_not_hold_up_the_one_behind_it() -> None:
    with opened() as ledger:
        ledger.submit(PLACES[0], "enqueue", after=60)
        ledger.submit(PLACES[0], "enqueue")
        first = ledger.claim("w1")
        assert first is not None and first.run_id == ledger.entries[1].run_id
        ledger.finish(0, "success")
        ledger.wait(59)
        assert ledger.claim("w1") is None
        ledger.wait(2)
        assert ledger.claim("w1") is not None


def test_the_queue_knows_when_to_look_again() -> None:
    """Only what is delayed makes a worker look again; what waits for its thread is woken by the run before it."""
    with opened() as ledger:
        assert ledger.do(queue.next_start) is None
        for seconds in (0, 0, 50, 20):
            ledger.submit(PLACES[0], "enqueue", after=seconds)
        ledger.claim("w1")
        assert ledger.do(queue.next_start) == "2026-01-01T00:00:20.000000+00:00"


def test_a_lease_that_is_renewed_is_kept_and_one_that_is_not_is_lost() -> None:
    with opened() as ledger:
        ledger.submit(PLACES[0], "enqueue")
        ledger.submit(PLACES[1], "enqueue")
        ledger.claim("w1")
        ledger.claim("w2")
        ledger.wait(LEASE - 1)
        ledger.renew("w1")
        ledger.wait(2)
        ledger.recover()
        assert [entry.status for entry in ledger.entries] == ["running", "pending"]
        taken = ledger.claim("w1")
        assert taken is not None and taken.attempt == 2
        for comes_back in (ledger.write, ledger.put_back, lambda which: ledger.finish(which, "success")):
            comes_back(1)  # the dead worker: refused, as each asserts
        assert ledger.ended == []


def test_a_claim_can_name_its_run_but_not_jump_the_queue() -> None:
    with opened() as ledger:
        for _ in range(2):
            ledger.submit(PLACES[0], "enqueue")
        first, second = (entry.run_id for entry in ledger.entries)
        assert ledger.claim("w1", second) is None
        assert ledger.claim("w1", first) is not None
        assert ledger.claim("w1", second) is None
