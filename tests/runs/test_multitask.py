"""The four strategies: any interleaving of submissions has the result of some order of them, one after the other."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs.ledger import PLACES, Ledger, opened, play
from runs.test_queue import drain, place, which, worker

from threadmill.errors import Conflict, NotFound
from threadmill.runs.submit import STRATEGIES, Request, submit
from threadmill.scope import ALL
from threadmill_checkpoints.database import Tx

strategy = st.sampled_from(STRATEGIES)
key = st.sampled_from((None, None, None, "key 1", "key 2"))
happenings = st.one_of(
    *[st.tuples(st.just("submit"), place, strategy, st.sampled_from((0, 0, 10)), key)] * 5,
    *[st.tuples(st.just("claim"), worker)] * 3,
    *[st.tuples(st.just("finish"), which, st.sampled_from(("success", "interrupted")))] * 2,
    st.tuples(st.just("wait"), st.sampled_from((1, 11))),
    st.tuples(st.just("recover"), st.just(True)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(happenings, min_size=5, max_size=50))
def test_any_interleaving_of_submissions_is_serialisable(story: list[tuple[Any, ...]]) -> None:
    with opened() as ledger:
        play(ledger, story)
        drain(ledger)
        for one in PLACES:
            assert all(not entry.active for entry in ledger.of(one))


@pytest.mark.parametrize("how", ["interrupt", "rollback"])
def test_a_superseding_run_ends_all_that_is_there(how: Any) -> None:
    with opened() as ledger:
        for _ in range(4):
            ledger.submit(PLACES[0], "enqueue")
        ledger.claim("w1")
        done = ledger.submit(PLACES[0], how)
        assert done is not None
        running, *pending, new = ledger.entries
        assert running.stop == how
        assert [one.status for one in pending] == (["interrupted"] * 3 if how == "interrupt" else [])
        assert new.status == "pending", "it waits until the running one has stopped"
        assert ledger.claim("w1") is None
        ledger.finish(0, "interrupted")
        claimed = ledger.claim("w1")
        assert claimed is not None and claimed.run_id == new.run_id


def test_reject_refuses_exactly_while_something_is_active() -> None:
    with opened() as ledger:
        assert ledger.submit(PLACES[0], "reject"), "idle"
        assert not ledger.submit(PLACES[0], "reject"), "pending"
        assert ledger.submit(PLACES[1], "reject"), "another thread"
        ledger.claim("w1")
        assert not ledger.submit(PLACES[0], "reject"), "running"
        ledger.finish(0, "success")
        assert ledger.submit(PLACES[0], "reject"), "idle again"


def test_the_first_stop_counts() -> None:
    with opened() as ledger:
        ledger.submit(PLACES[0], "enqueue")
        ledger.claim("w1")
        ledger.submit(PLACES[0], "interrupt")
        ledger.submit(PLACES[0], "rollback")
        assert ledger.entries[0].stop == "interrupt"
        ledger.renew("w1")


@pytest.mark.parametrize("how", STRATEGIES)
def test_submissions_from_many_threads_at_once_are_serialised(how: str) -> None:
    """Of those that are accepted, in whatever order, each meets the ones before it."""
    with opened() as ledger, ThreadPoolExecutor(8) as pool:

        def ask(number: int) -> str | None:
            run_id = f"20000000-0000-0000-0000-{number:012d}"

            def call(tx: Tx) -> None:
                request = Request("g", multitask_strategy=how)
                submit(tx, ALL, request, run_id=run_id, thread_id=PLACES[0], request_id="", new_thread="")

            try:
                ledger.do(call)
            except Conflict:
                return None
            return run_id

        accepted = {run_id for run_id in pool.map(ask, range(32)) if run_id}
        rows = ledger.do(lambda tx: tx.all("SELECT run_id, status FROM runs ORDER BY position"))
    statuses = [row["status"] for row in rows]
    assert {row["run_id"] for row in rows} <= accepted
    if how == "enqueue":
        assert statuses == ["pending"] * 32
    elif how == "reject":
        assert statuses == ["pending"] and len(accepted) == 1
    elif how == "interrupt":
        assert statuses == ["interrupted"] * 31 + ["pending"]
    else:
        assert statuses == ["pending"] and len(accepted) == 32


def test_a_key_names_one_run_whatever_else_is_asked() -> None:
    with opened() as ledger:
        first = ledger.submit(PLACES[0], "enqueue", key="k")
        again = ledger.submit(PLACES[0], "rollback", key="k")
        assert first and again and first.run.run_id == again.run.run_id
        assert ledger.submit(PLACES[1], "enqueue", key="k") is None, "not on another thread"
        assert len(ledger.entries) == 1


def test_what_is_refused_leaves_nothing() -> None:
    """The thread that `if_not_exists` would have made, too."""
    unknown = "30000000-0000-0000-0000-000000000000"

    def call(tx: Tx) -> None:
        request = Request("10000000-0000-0000-0000-000000000000", if_not_exists="create")
        submit(tx, ALL, request, run_id=unknown, thread_id=unknown, request_id="", new_thread="")

    with opened() as ledger:
        before = _tables(ledger)
        with pytest.raises(NotFound):
            ledger.do(call)
        assert _tables(ledger) == before


def _tables(ledger: Ledger) -> list[list[tuple[Any, ...]]]:
    return ledger.do(lambda tx: [[tuple(row) for row in tx.all(f"SELECT * FROM {t}")] for t in ("threads", "runs")])
