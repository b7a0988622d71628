"""Crons: a date makes one run, whoever looks, however late, and wherever a process dies."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import tables
from hypothesis import given, settings
from hypothesis import strategies as st

from threadmill import assistants, crons, threads
from threadmill.crons import Cron, Filter, Ticker, Timing
from threadmill.errors import BadRequest, Invalid, NotFound
from threadmill.ids import new_id
from threadmill.runs.submit import Request, submit
from threadmill.scope import ALL, Scope
from threadmill.signals import Signals
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import SqliteDatabase

T = TypeVar("T")
NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
PLACE = "00000000-0000-0000-0000-00000000000a"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def submit_run(tx: Tx, cron: Cron) -> None:
    submit(tx, ALL, cron.request, run_id=new_id(), thread_id=cron.thread_id, request_id="", new_thread=new_id())


class Office:
    """A database with a clock that is moved, and tickers that look at it."""

    def __init__(self, file: Path, now: datetime = NOON) -> None:
        self.file, self.now = file, now
        if not file.exists():
            tables.begin(file)
        self.database = self.open()

    def open(self) -> SqliteDatabase:
        database = SqliteDatabase(
            self.file, synchronous="NORMAL", readers=2, clock=lambda: self.now, prepare=migrate_sqlite
        )
        database.submit(lambda tx: assistants.ensure_defaults(tx, [("g", None)])).result(10)
        database.submit(lambda tx: threads.create(tx, PLACE, metadata={"owner": "a"}, if_exists="do_nothing")).result(
            10
        )
        return database

    def do(self, fn: Callable[[Tx], T]) -> T:
        return self.database.submit(fn).result(10)

    def close(self) -> None:
        asyncio.run(self.database.close())

    def create(self, schedule: str, thread_id: str | None = None, **more: Any) -> Cron:
        request = more.pop("request", Request("g", input={"n": 1}))
        metadata, scope = more.pop("metadata", {}), more.pop("scope", ALL)
        done = more.pop("on_run_completed", "delete") if thread_id is None else None
        timing = Timing(schedule, **more)
        return self.do(
            lambda tx: crons.create(
                tx,
                scope,
                new_id(),
                request,
                timing,
                thread_id=thread_id,
                on_run_completed=done,
                payload={"input": {"n": 1}},
                metadata=metadata,
            )
        )

    def get(self, cron: Cron) -> Cron:
        return self.do(lambda tx: crons.get(tx, ALL, cron.cron_id))

    def change(self, cron: Cron, **timing: Any) -> Cron:
        old = self.get(cron)
        return self.do(lambda tx: crons.update(tx, old, replace(old, timing=replace(old.timing, **timing))))

    def ticker(self, submit: Callable[[Tx, Cron], object] = submit_run) -> Ticker:
        return Ticker(self.database, Signals(), submit)

    def fire(self) -> int:
        """How many runs that made. Looks until nothing is due, as the loop does."""
        before = len(self.runs())

        async def all_of_it() -> None:
            while await self.ticker().fire() == 0:
                pass

        asyncio.run(all_of_it())
        return len(self.runs()) - before

    def fire_at(self, text: str) -> int:
        self.now = at(text)
        return self.fire()

    def runs(self) -> list[dict[str, Any]]:
        rows = self.do(lambda tx: tx.all("SELECT * FROM runs ORDER BY created_at, run_id"))
        return [{**dict(row), "metadata": json.loads(row["metadata"])} for row in rows]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "crons.sqlite")
    yield opened
    opened.close()


# When


@pytest.mark.parametrize(
    ("schedule", "timezone", "after", "dates"),
    [
        ("*/5 * * * *", None, "2026-03-02T12:00:30Z", ["2026-03-02T12:05Z", "2026-03-02T12:10Z"]),
        ("0 9 * * MON-FRI", None, "2026-03-06T10:00Z", ["2026-03-09T09:00Z", "2026-03-10T09:00Z"]),
        ("0 0 L * *", None, "2026-02-01T00:00Z", ["2026-02-28T00:00Z", "2026-03-31T00:00Z"]),
        ("0 0 29 2 *", None, "2026-03-01T00:00Z", ["2028-02-29T00:00Z", "2032-02-29T00:00Z"]),
        ("@daily", None, "2026-03-02T12:00Z", ["2026-03-03T00:00Z", "2026-03-04T00:00Z"]),
        ("  * * * * * ", None, "2026-03-02T12:00Z", ["2026-03-02T12:01Z", "2026-03-02T12:02Z"]),
        # seconds come last, as the platform has them
        ("* * * * * */20", None, "2026-03-02T12:00:05Z", ["2026-03-02T12:00:20Z", "2026-03-02T12:00:40Z"]),
        ("30 4 1 * * 15", None, "2026-03-02T12:00Z", ["2026-04-01T04:30:15Z", "2026-05-01T04:30:15Z"]),
        # summer time: the same hour on the wall
        ("0 9 * * *", "Europe/Berlin", "2026-03-28T00:00Z", ["2026-03-28T08:00Z", "2026-03-29T07:00Z"]),
        ("0 9 * * *", "America/New_York", "2026-03-02T00:00Z", ["2026-03-02T14:00Z", "2026-03-03T14:00Z"]),
        # 2:30 does not exist that night, and is made up for
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]),
        # 2:30 comes twice that night, and counts once; also when asked between the two
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10Z", ["2026-10-26T01:30Z", "2026-10-27T01:30Z"]),
        # what comes every half hour goes on through it
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:10Z", ["2026-10-25T00:30Z", "2026-10-25T01:00Z"]),
    ],
)  # fmt: skip
def test_dates_follow_the_clock_on_the_wall(schedule: str, timezone: str | None, after: str, dates: list[str]) -> None:
    timing, now = Timing(schedule, timezone), at(after)
    for date in dates:
        found = timing.next(now)
        assert found == at(date)
        now = found


@pytest.mark.parametrize(
    "schedule",
    [
        *("", "bad", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "0 0 0 * *", "0 0 31 2 *", "*/0 * * * *"),
        *("5-1 * * * *", ", * * * *", "@never", "@reboot", "* * * * MOO", "* * * * * 60", "1\x00 * * * *", "² * * * *"),
        *("0 0 */31 2 MON#5", "9" * 250 + " * * * *", "\ud800 * * * *"),
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(Invalid, match="Invalid cron schedule"):
        Timing(schedule).next(NOON)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "America", "../etc/passwd", "/etc/passwd", "a\x00b", "\ud800"])
def test_what_is_no_timezone_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="Invalid timezone"):
        Timing("* * * * *", name).next(NOON)


# One run for each date


def test_each_date_makes_one_run(office: Office) -> None:
    cron = office.create("*/5 * * * *")
    assert cron.next_run_date == "2026-03-02T12:05:00.000000+00:00"
    assert office.fire() == 0
    assert office.fire_at("2026-03-02T12:05:00+00:00") == 1
    assert [office.fire(), office.fire_at("2026-03-02T12:09:59+00:00")] == [0, 0]
    assert office.fire_at("2026-03-02T12:10:03+00:00") == 1
    assert office.get(cron).next_run_date == "2026-03-02T12:15:00.000000+00:00"


def test_a_run_knows_its_cron_and_the_cron_its_run(office: Office) -> None:
    request = Request("g", input={"n": 1}, metadata={"mine": 1}, config={"tags": ["t"], "configurable": {"k": 1}})
    cron = office.create("* * * * *", request=request)
    assert cron.payload["config"] == {"configurable": {"cron_id": cron.cron_id}}
    assert office.fire_at("2026-03-02T12:01:00+00:00") == 1
    (run,) = office.runs()
    kwargs = json.loads(run["kwargs"])
    assert (run["metadata"]["cron_id"], run["metadata"]["mine"]) == (cron.cron_id, 1)
    assert kwargs["config"]["configurable"]["cron_id"] == cron.cron_id
    assert (kwargs["config"]["configurable"]["k"], kwargs["config"]["tags"], kwargs["input"]) == (1, ["t"], {"n": 1})
    assert run["assistant_id"] == cron.assistant_id == assistants.default_id("g")


def test_what_was_missed_makes_one_run(office: Office) -> None:
    cron = office.create("*/5 * * * *")
    assert office.fire_at("2026-03-04T07:33:00+00:00") == 1
    assert office.get(cron).next_run_date == "2026-03-04T07:35:00.000000+00:00"
    assert office.fire_at("2026-03-04T07:35:00+00:00") == 1


def test_many_servers_make_one_run(office: Office) -> None:
    for _ in range(20):
        office.create("* * * * *")
    office.now = at("2026-03-02T12:01:00+00:00")

    async def all_at_once() -> None:
        tickers = [office.ticker() for _ in range(8)]
        await asyncio.gather(*(ticker.fire() for ticker in tickers))

    asyncio.run(all_at_once())
    assert len({run["metadata"]["cron_id"] for run in office.runs()}) == len(office.runs()) == 20


def test_who_comes_second_takes_nothing(office: Office) -> None:
    office.create("* * * * *")
    office.now = at("2026-03-02T12:01:00+00:00")
    (seen,), _ = office.do(crons.due)
    assert [office.do(lambda tx: crons.take(tx, seen)) for _ in range(2)] == [True, False]


def test_a_cron_that_was_changed_since_is_looked_at_again(office: Office) -> None:
    cron = office.create("* * * * *")
    office.now = at("2026-03-02T12:01:00+00:00")
    (seen,), _ = office.do(crons.due)
    office.change(cron, schedule="0 0 * * *")
    assert office.do(lambda tx: crons.take(tx, seen)) is False
    assert office.get(cron).next_run_date == "2026-03-03T00:00:00.000000+00:00"


def test_a_run_that_was_changed_since_is_not_submitted_as_it_was(office: Office) -> None:
    cron = office.create("* * * * *")
    office.now = at("2026-03-02T12:01:00+00:00")
    (seen,), _ = office.do(crons.due)
    new = replace(cron, request=replace(cron.request, input={"n": 2}))
    assert office.do(lambda tx: crons.update(tx, cron, new)).next_run_date == seen.next_run_date
    assert office.do(lambda tx: crons.take(tx, seen)) is False
    assert office.fire() == 1
    assert json.loads(office.runs()[0]["kwargs"])["input"] == {"n": 2}


def test_a_clock_that_is_set_back_repeats_no_date(office: Office) -> None:
    cron = office.create("* * * * *")
    office.now = at("2026-03-02T12:01:00+00:00")
    (seen,), _ = office.do(crons.due)
    office.now = at("2026-03-02T11:00:00+00:00")
    assert office.do(lambda tx: crons.take(tx, seen)) is True
    assert office.get(cron).next_run_date == "2026-03-02T12:02:00.000000+00:00"


@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_process_that_dies_neither_loses_nor_doubles_a_date(tmp_path: Path, dies: str) -> None:
    """It is killed inside the transaction that fires, before or after the run is in it."""
    office = Office(tmp_path / "crons.sqlite")
    office.create("* * * * *")
    office.close()
    script = f"""
import asyncio, os, sys
from datetime import datetime
from pathlib import Path
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
from test_crons import Office, submit_run
office = Office(Path({str(office.file)!r}), datetime.fromisoformat("2026-03-02T12:01:00+00:00"))
def dying(tx, cron):
    if {dies!r} == "after":
        submit_run(tx, cron)
    os._exit(9)
asyncio.run(office.ticker(dying).fire())
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 9
    back = Office(office.file, at("2026-03-02T12:01:02+00:00"))
    assert [back.runs(), back.fire(), back.fire()] == [[], 1, 0]
    back.close()


@settings(max_examples=60, deadline=None)
@given(
    every=st.sampled_from([1, 5, 7, 60]),
    waits=st.lists(st.integers(0, 4000), min_size=1, max_size=12),
)
def test_a_look_makes_a_run_exactly_if_a_date_has_passed(
    tmp_path_factory: pytest.TempPathFactory, every: int, waits: list[int]
) -> None:
    """Against an account of its own: minutes of the hour that `every` divides."""
    office = Office(tmp_path_factory.mktemp("property") / "crons.sqlite")
    try:
        office.create(f"*/{every} * * * *" if every < 60 else "0 * * * *")
        last = office.now
        for seconds in waits:
            office.now += timedelta(seconds=seconds)
            minutes = (last.replace(second=0) + timedelta(minutes=n) for n in range(1, 4000 // 60 + 2))
            passed = any(last < minute <= office.now and minute.minute % every == 0 for minute in minutes)
            assert office.fire() == passed
            last = office.now
    finally:
        office.close()


# The end, and pauses


def test_the_end_is_included_and_nothing_comes_after_it(office: Office) -> None:
    cron = office.create("*/5 * * * *", end_time=at("2026-03-02T12:10:00+00:00"))
    assert office.fire_at("2026-03-02T12:05:00+00:00") == 1
    assert office.fire_at("2026-03-02T12:10:04+00:00") == 1  # a look is never quite in time
    assert office.get(cron).next_run_date is None
    assert office.fire_at("2026-03-03T12:00:00+00:00") == 0
    office.change(cron, end_time=None)
    assert office.fire_at("2026-03-03T12:05:00+00:00") == 1


def test_a_date_before_the_end_that_was_missed_until_long_after_it_makes_none(office: Office) -> None:
    cron = office.create("*/5 * * * *", end_time=at("2026-03-02T12:10:00+00:00"))
    assert office.fire_at("2026-03-02T13:00:00+00:00") == 0
    assert office.get(cron).next_run_date is None


def test_one_that_ended_before_it_began_has_no_date(office: Office) -> None:
    assert office.create("* * * * *", end_time=NOON - timedelta(days=1)).next_run_date is None


def test_a_pause_is_not_made_up_for(office: Office) -> None:
    cron = office.create("*/5 * * * *", enabled=False)
    assert office.fire_at("2026-03-02T13:00:01+00:00") == 0
    office.change(cron, enabled=True)
    assert office.fire() == 0
    assert office.fire_at("2026-03-02T13:05:00+00:00") == 1
    office.change(cron, enabled=False)
    assert office.fire_at("2026-03-02T14:00:00+00:00") == 0


# Where


def test_a_stateless_cron_makes_a_thread_for_each_run(office: Office) -> None:
    gone, kept = office.create("* * * * *"), office.create("* * * * *", on_run_completed="keep")
    assert [office.fire_at(f"2026-03-02T12:0{n}:00+00:00") for n in (1, 2)] == [2, 2]
    found = {run["thread_id"]: run["metadata"]["cron_id"] for run in office.runs()}
    assert len(found) == 4
    rows = office.do(lambda tx: tx.all("SELECT thread_id, ephemeral FROM threads WHERE thread_id <> :a", a=PLACE))
    assert {row["thread_id"]: row["ephemeral"] for row in rows} == {
        thread: int(cron == gone.cron_id) for thread, cron in found.items()
    }
    wanted = threads.Filter(metadata={"cron_id": kept.cron_id})
    assert office.do(lambda tx: threads.count(tx, ALL, wanted)) == 2


def test_a_cron_of_a_thread_stands_in_its_queue(office: Office) -> None:
    office.create("* * * * *", PLACE)
    assert [office.fire_at(f"2026-03-02T12:0{n}:00+00:00") for n in (1, 2, 3)] == [1, 1, 1]
    assert {run["thread_id"] for run in office.runs()} == {PLACE}
    assert [run["position"] for run in office.runs()] == [1, 2, 3]


def test_a_run_that_is_refused_waits_for_the_next_date(office: Office) -> None:
    cron = office.create("* * * * *", PLACE, request=Request("g", multitask_strategy="reject"))
    other = office.create("* * * * *")
    assert office.fire_at("2026-03-02T12:01:00+00:00") == 2
    assert office.fire_at("2026-03-02T12:02:00+00:00") == 1  # the thread is busy; the other cron does not mind
    assert {run["metadata"]["cron_id"] for run in office.runs()[2:]} == {other.cron_id}
    assert office.get(cron).next_run_date == "2026-03-02T12:03:00.000000+00:00"
    office.do(lambda tx: tx.run("UPDATE runs SET status = 'success'"))
    assert office.fire_at("2026-03-02T12:03:00+00:00") == 2


def test_a_fault_keeps_the_date(office: Office) -> None:
    def full(tx: Tx, cron: Cron) -> None:
        submit_run(tx, cron)
        raise OSError("disk full")

    office.create("* * * * *")
    office.now = at("2026-03-02T12:01:00+00:00")
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(office.ticker(full).fire())
    assert office.runs() == []
    assert office.fire() == 1


def test_a_cron_goes_with_its_thread_and_with_its_assistant(office: Office) -> None:
    on_thread, alone = office.create("* * * * *", PLACE), office.create("* * * * *")
    office.do(lambda tx: threads.delete(tx, ALL, PLACE))
    with pytest.raises(NotFound):
        office.get(on_thread)
    office.do(lambda tx: tx.run("DELETE FROM assistants"))
    with pytest.raises(NotFound):
        office.get(alone)
    assert office.fire_at("2026-03-02T12:01:00+00:00") == 0


def test_unknown_assistants_and_threads_are_not_found(office: Office) -> None:
    for assistant in ("nope", new_id()):
        with pytest.raises(NotFound, match=f"Assistant '{assistant}' not found"):
            office.create("* * * * *", request=Request(assistant))
    with pytest.raises(NotFound, match="Thread"):
        office.create("* * * * *", new_id())


def test_a_context_takes_the_place_of_configurable(office: Office) -> None:
    cron = office.create("* * * * *", request=Request("g", context={"tone": "dry"}))
    assert cron.payload["config"]["configurable"] == {"cron_id": cron.cron_id}
    assert office.fire_at("2026-03-02T12:01:00+00:00") == 1
    kwargs = json.loads(office.runs()[0]["kwargs"])
    assert kwargs["context"]["tone"] == "dry"
    assert kwargs["config"]["configurable"]["cron_id"] == cron.cron_id
    with pytest.raises(BadRequest):
        office.create("* * * * *", request=Request("g", context={"a": 1}, config={"configurable": {"b": 1}}))


def test_a_request_that_another_version_stored_still_runs(office: Office) -> None:
    cron = office.create("* * * * *")
    stored = json.dumps({"assistant_id": cron.assistant_id, "input": {"n": 2}, "stream_mode": ["values"], "new": True})
    office.do(lambda tx: tx.run("UPDATE crons SET request = :stored", stored=stored))
    assert office.fire_at("2026-03-02T12:01:00+00:00") == 1
    assert json.loads(office.runs()[0]["kwargs"])["input"] == {"n": 2}


# Whose


def test_a_cron_outside_the_scope_does_not_exist(office: Office) -> None:
    mine, theirs = Scope({"owner": "a"}), Scope({"owner": "b"})
    cron = office.create("* * * * *", PLACE, metadata={"owner": "a"}, scope=mine)
    assert office.do(lambda tx: crons.get(tx, mine, cron.cron_id)) == cron
    for touch in (crons.get, crons.delete):
        with pytest.raises(NotFound):
            office.do(lambda tx, touch=touch: touch(tx, theirs, cron.cron_id))
    with pytest.raises(NotFound):
        office.create("* * * * *", PLACE, scope=theirs)
    page: dict[str, Any] = {"sort_by": "created_at", "sort_order": "desc", "limit": 10, "offset": 0}
    assert office.do(lambda tx: crons.search(tx, theirs, Filter(), **page)) == ([], 0)
    assert office.do(lambda tx: crons.search(tx, mine, Filter(), **page)) == ([cron], 1)
    assert [office.do(lambda tx, s=s: crons.count(tx, s, Filter())) for s in (mine, theirs)] == [1, 0]


# The loop


def test_the_loop_wakes_for_a_new_cron_and_outlives_a_fault(office: Office) -> None:
    """Its clock is moved, so only a signal can make it look before its longest wait is over."""
    fired: list[str] = []

    def flaky(tx: Tx, cron: Cron) -> None:
        fired.append(cron.cron_id)
        if len(fired) == 1:
            raise OSError("disk full")
        submit_run(tx, cron)

    async def live() -> None:
        signals = Signals()
        loop = asyncio.create_task(Ticker(office.database, signals, flaky).run())
        await _until(lambda: _true(signals.watched("crons")))
        cron = office.create("* * * * *")
        office.now = at("2026-03-02T12:01:00+00:00")
        for times in (1, 2):
            signals.notify("crons")
            await _until(lambda times=times: _true(len(fired) >= times))
        assert fired == [cron.cron_id] * 2
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)

    asyncio.run(live())
    assert len(office.runs()) == 1


async def _true(value: bool) -> bool:
    return value


async def _until(probe: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(4):  # less than the longest wait of the loop
        while not await probe():
            await asyncio.sleep(0)
