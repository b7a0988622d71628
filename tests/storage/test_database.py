"""What the rest of the code may assume about the database: groups, order, rollback, readers, closing, migrations."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from threadmill_checkpoints import migrate
from threadmill_checkpoints.database import DatabaseError, Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import GROUP, SqliteDatabase

pytestmark = pytest.mark.anyio
WITHIN = 10.0


def prepare(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER UNIQUE, data BLOB)")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "t.sqlite", readers=2, prepare=prepare)
    yield opened
    asyncio.run(opened.close())


def insert(tx: Tx, n: int) -> int:
    tx.run("INSERT INTO t (n) VALUES (:n)", n=n)
    return n


def numbers(tx: Tx) -> list[int]:
    return [row["n"] for row in tx.all("SELECT n FROM t ORDER BY rowid")]


class Held:
    """The writer, busy until released: what is submitted meanwhile is one group."""

    def __init__(self, database: SqliteDatabase) -> None:
        began, self.go = threading.Event(), threading.Event()

        def hold(tx: Tx) -> None:
            began.set()
            self.go.wait(WITHIN)

        self.done = database.submit(hold)
        assert began.wait(WITHIN)

    def release(self) -> None:
        self.go.set()


def result(future: "Future[Any]") -> Any:
    return future.result(WITHIN)


# Groups


def test_what_gathers_during_a_commit_is_committed_together_and_in_order(database: SqliteDatabase) -> None:
    held = Held(database)
    committed: list[int] = []
    commits: list[int] = []

    def note(tx: Tx, n: int) -> None:
        insert(tx, n)
        tx.on_commit(lambda: committed.append(n))
        tx.on_commit(lambda: commits.append(len(result(database.query(numbers)))))

    futures = [database.submit(lambda tx, n=n: note(tx, n)) for n in range(100)]
    assert not any(future.done() for future in futures)
    held.release()
    for future in futures:
        result(future)
    assert committed == list(range(100))
    assert commits == [100] * 100, "when the first one is told, the last one is on disk too"


def test_a_group_has_a_limit(database: SqliteDatabase) -> None:
    held = Held(database)
    first: list[int] = []

    def note(tx: Tx, n: int) -> None:
        insert(tx, n)
        if n == 0:
            tx.on_commit(lambda: first.append(len(result(database.query(numbers)))))

    futures = [database.submit(lambda tx, n=n: note(tx, n)) for n in range(GROUP + 50)]
    held.release()
    result(futures[-1])
    assert first == [GROUP]
    assert result(database.query(numbers)) == list(range(GROUP + 50))


@pytest.mark.parametrize("failure", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_one_that_fails_takes_only_itself_back(database: SqliteDatabase, failure: type[BaseException]) -> None:
    held, heard = Held(database), list[str]()

    def fail(tx: Tx) -> None:
        insert(tx, 2)
        tx.on_commit(lambda: heard.append("failed one committed"))
        tx.on_rollback(lambda: heard.append("failed one rolled back"))
        raise failure("on purpose")

    def succeed(tx: Tx, n: int) -> int:
        tx.on_commit(lambda: heard.append(f"{n} committed"))
        tx.on_rollback(lambda: heard.append(f"{n} rolled back"))
        return insert(tx, n)

    one = database.submit(lambda tx: succeed(tx, 1))
    bad = database.submit(fail)
    three = database.submit(lambda tx: succeed(tx, 3))
    held.release()
    assert (result(one), result(three)) == (1, 3)
    with pytest.raises(failure, match="on purpose"):
        result(bad)
    assert result(database.query(numbers)) == [1, 3]
    assert heard == ["failed one rolled back", "1 committed", "3 committed"]


def test_a_violated_constraint_is_the_callers_alone(database: SqliteDatabase) -> None:
    held = Held(database)
    futures = [database.submit(lambda tx, n=n: insert(tx, n)) for n in (1, 2, 1, 3)]
    held.release()
    assert [result(futures[i]) for i in (0, 1, 3)] == [1, 2, 3]
    with pytest.raises(sqlite3.IntegrityError):
        result(futures[2])


def test_when_the_commit_itself_fails_everybody_hears_it(database: SqliteDatabase) -> None:
    """A deferred foreign key is checked by COMMIT."""

    def tables(tx: Tx) -> None:
        tx.run("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        tx.run("CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")

    result(database.submit(tables))
    held, heard = Held(database), list[str]()

    def fine(tx: Tx) -> None:
        tx.on_commit(lambda: heard.append("committed"))
        tx.on_rollback(lambda: heard.append("rolled back"))
        insert(tx, 1)

    good = database.submit(fine)
    bad = database.submit(lambda tx: tx.run("INSERT INTO child VALUES (1)"))
    held.release()
    for future in (good, bad):
        with pytest.raises(sqlite3.IntegrityError):
            result(future)
    assert heard == ["rolled back"]
    assert result(database.query(numbers)) == []
    result(database.submit(lambda tx: insert(tx, 2)))
    assert result(database.query(numbers)) == [2], "the writer goes on"


def test_who_is_in_a_transaction_that_sqlite_gave_up_hears_it(database: SqliteDatabase) -> None:
    held, heard = Held(database), list[str]()

    def gone(tx: Any) -> None:
        tx.on_rollback(lambda: heard.append("gone"))
        insert(tx, 1)
        tx.connection.execute("ROLLBACK")  # as SQLite does on some I/O errors
        raise sqlite3.OperationalError("disk I/O error")

    def other(tx: Tx) -> None:
        tx.on_rollback(lambda: heard.append("other"))
        insert(tx, 2)

    futures = [database.submit(other), database.submit(gone)]
    held.release()
    for future in futures:
        with pytest.raises(sqlite3.OperationalError, match="disk I/O"):
            result(future)
    assert sorted(heard) == ["gone", "other"]
    assert result(database.query(numbers)) == []


def test_a_listener_that_fails_does_not_keep_others_from_hearing(database: SqliteDatabase) -> None:
    heard: list[int] = []

    def write(tx: Tx) -> None:
        tx.on_commit(lambda: heard.append(1 // 0))
        tx.on_commit(lambda: heard.append(2))

    result(database.submit(write))
    assert heard == [2]


def test_a_transaction_has_one_now_and_the_group_shares_it(database: SqliteDatabase) -> None:
    held = Held(database)
    futures = [database.submit(lambda tx: (tx.now, tx.now)) for _ in range(3)]
    held.release()
    assert len({moment for future in futures for moment in result(future)}) == 1


async def test_results_come_to_the_event_loop_that_asked(database: SqliteDatabase) -> None:
    """Also to two at once, and a caller that gave up does not disturb the others."""

    async def ask(n: int) -> int:
        return await database.write(insert, n)

    other: list[int] = []
    thread = threading.Thread(target=lambda: other.append(asyncio.run(ask(1))))
    thread.start()
    held = Held(database)
    gone = asyncio.ensure_future(ask(2))
    there = asyncio.ensure_future(ask(3))
    await asyncio.sleep(0)
    gone.cancel()
    held.release()
    assert await there == 3
    await asyncio.to_thread(thread.join, WITHIN)
    assert other == [1]
    assert gone.cancelled()
    assert sorted(await database.read(numbers)) == [1, 2, 3], "the transaction of who gave up stands"


# Not urgent


def test_what_may_wait_goes_with_the_next_commit(database: SqliteDatabase) -> None:
    waiting = database.submit(lambda tx: insert(tx, 1), within=60)
    assert not waiting.done()
    assert result(database.submit(lambda tx: insert(tx, 2))) == 2
    assert result(waiting) == 1
    assert result(database.query(numbers)) == [1, 2], "before what was submitted later"


def test_what_may_wait_does_not_wait_for_ever(database: SqliteDatabase) -> None:
    assert result(database.submit(lambda tx: insert(tx, 1), within=0.01)) == 1


def test_what_may_wait_can_be_hurried(database: SqliteDatabase) -> None:
    waiting = database.submit(lambda tx: insert(tx, 1), within=60)
    database.hurry()
    assert result(waiting) == 1


def test_soon_runs_once_however_often_it_is_asked_for(database: SqliteDatabase) -> None:
    held, ran = Held(database), list[int]()

    def flush(tx: Tx) -> None:
        ran.append(len(ran))

    for _ in range(5):
        database.soon(flush, 60)
    held.release()
    result(database.submit(lambda _: None))
    result(database.submit(lambda _: None))
    assert ran == [0]
    database.soon(flush, 60)
    database.hurry()
    result(database.submit(lambda _: None))
    assert ran == [0, 1], "asked for anew after it ran"


def test_soon_can_be_asked_for_from_where_it_runs(database: SqliteDatabase) -> None:
    done, ran = threading.Event(), list[int]()

    def again(tx: Tx) -> None:
        ran.append(len(ran))
        if len(ran) < 3:
            database.soon(again, 0.001)
        else:
            tx.on_commit(done.set)

    database.soon(again, 0.001)
    assert done.wait(WITHIN)
    assert ran == [0, 1, 2]


def test_a_sooner_wish_is_not_kept_waiting_by_a_later_one(database: SqliteDatabase) -> None:
    patient = database.submit(lambda tx: insert(tx, 1), within=60)
    hasty = database.submit(lambda tx: insert(tx, 2), within=0.01)
    assert hasty.result(5) == 2
    assert patient.done()


# Readers


def test_a_reader_cannot_write(database: SqliteDatabase) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        result(database.query(lambda tx: insert(tx, 1)))
    assert result(database.query(numbers)) == []


def test_readers_do_not_wait_for_the_writer_nor_see_what_is_not_committed(database: SqliteDatabase) -> None:
    result(database.submit(lambda tx: insert(tx, 1)))
    inside: list[list[int]] = []

    def write(tx: Tx) -> None:
        insert(tx, 2)
        inside.append(result(database.query(numbers)))  # would wait for ever if it had to wait for us

    result(database.submit(write))
    assert inside == [[1]]
    assert result(database.query(numbers)) == [1, 2]


def test_a_read_sees_one_moment(database: SqliteDatabase) -> None:
    def read(tx: Tx) -> tuple[list[int], list[int]]:
        before = numbers(tx)
        result(database.submit(lambda tx: insert(tx, 1)))  # the writer does not wait for readers either
        return before, numbers(tx)

    assert result(database.query(read)) == ([], [])
    assert result(database.query(numbers)) == [1]


def test_a_read_that_fails_leaves_its_reader_usable(database: SqliteDatabase) -> None:
    for _ in range(5):
        with pytest.raises(sqlite3.OperationalError):
            result(database.query(lambda tx: tx.all("SELECT * FROM nowhere")))
    assert result(database.query(numbers)) == []


# The end


async def test_closing_commits_what_is_queued(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "t.sqlite", prepare=prepare)
    held = Held(database)
    futures = [database.submit(lambda tx, n=n: insert(tx, n)) for n in range(GROUP * 2)]
    late = database.submit(lambda tx: insert(tx, -1), within=60)
    ending = asyncio.ensure_future(database.close())
    await asyncio.sleep(0)
    held.release()
    await ending
    assert [result(future) for future in futures] == list(range(GROUP * 2))
    assert result(late) == -1
    assert not (tmp_path / "t.sqlite-wal").exists(), "one file is left"
    with closing(sqlite3.connect(tmp_path / "t.sqlite")) as check:
        assert check.execute("SELECT count(*) FROM t").fetchone() == (GROUP * 2 + 1,)


async def test_a_closed_database_says_so(database: SqliteDatabase) -> None:
    await database.close()
    await database.close()
    for use in (database.submit, database.query, lambda fn: database.submit(fn, 1.0)):
        with pytest.raises(DatabaseError, match="closed"):
            use(numbers)
    with pytest.raises(DatabaseError, match="closed"):
        await database.write(numbers)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "t.sqlite").write_text("this is a letter\n" * 100)
    with pytest.raises(DatabaseError, match=r"t\.sqlite cannot be used"):
        SqliteDatabase(tmp_path / "t.sqlite", prepare=prepare)
    assert (tmp_path / "t.sqlite").read_text() == "this is a letter\n" * 100
    with pytest.raises(DatabaseError, match="cannot be"):
        SqliteDatabase(tmp_path / "no" / "folder" / "t.sqlite")


# Migrations


def schema(connection: sqlite3.Connection) -> list[Any]:
    return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    return sqlite3.connect(tmp_path / "m.sqlite", isolation_level=None)


def test_migrating_again_changes_nothing(connection: sqlite3.Connection) -> None:
    migrate_sqlite(connection)
    once = schema(connection), connection.execute("SELECT * FROM migrations").fetchall()
    connection.execute("INSERT INTO migrations (version, name) VALUES (0, 'older')")
    connection.execute("DELETE FROM migrations WHERE version = 0")
    migrate_sqlite(connection)
    assert (schema(connection), connection.execute("SELECT * FROM migrations").fetchall()) == once


def test_a_file_of_newer_code_is_refused_untouched(connection: sqlite3.Connection) -> None:
    migrate_sqlite(connection)
    connection.execute("INSERT INTO migrations (version, name) VALUES (9999, 'from_the_future')")
    before = schema(connection)
    with pytest.raises(DatabaseError, match=r"9999.*upgrade Threadmill"):
        migrate_sqlite(connection)
    assert schema(connection) == before


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def are(*sql: str) -> None:
        made = [(number + 1, f"step{number + 1}", text) for number, text in enumerate(sql)]
        monkeypatch.setattr(migrate, "_steps", lambda kind: made)

    return are


def test_a_step_that_fails_leaves_no_half_of_itself(connection: sqlite3.Connection, steps: Callable[..., None]) -> None:
    steps("CREATE TABLE one (n)", "CREATE TABLE two (n); CREATE TABLE one (n)")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate_sqlite(connection)
    names = {name for _, name, _ in schema(connection)}
    assert "one" in names and "two" not in names
    assert connection.execute("SELECT version FROM migrations").fetchall() == [(1,)]
    assert not connection.in_transaction
    steps("CREATE TABLE one (n)", "CREATE TABLE two (n)")
    migrate_sqlite(connection)
    assert connection.execute("SELECT version FROM migrations").fetchall() == [(1,), (2,)]


SEALED = '"sealed+e30=.Y2F0cw=="'


@pytest.mark.parametrize(
    ("status", "attempt", "crashes", "error", "crashed"),
    [
        ("error", 2, 2, '{"error": "RunCrashed"}', 1),
        ("error", 2, 2, SEALED, 1),
        ("interrupted", 1, 1, SEALED, 1),
        ("error", 2, 1, SEALED, 0),
        ("error", 1, 0, SEALED, 0),
        ("interrupted", 1, 1, None, 0),
    ],
)
def test_runs_of_before_tell_whether_they_crashed(
    connection: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    attempt: int,
    crashes: int,
    error: str | None,
    crashed: int,
) -> None:
    with monkeypatch.context() as before:
        old = migrate._steps("sqlite")[:19]
        before.setattr(migrate, "_steps", lambda kind: old)
        migrate_sqlite(connection)
    connection.execute(
        "INSERT INTO threads (thread_id, created_at, updated_at, state_updated_at, last_activity_at, metadata, config) "
        "VALUES ('t', '', '', '', '', '{}', '{}')"
    )
    connection.execute(
        "INSERT INTO runs (run_id, thread_id, assistant_id, metadata, kwargs, multitask_strategy, "
        "created_at, updated_at, start_at, position, status, attempt, crashes, error) "
        "VALUES ('r', 't', 'a', '{}', '{}', 'enqueue', '', '', '', 1, ?, ?, ?, ?)",
        (status, attempt, crashes, error),
    )
    migrate_sqlite(connection)
    assert connection.execute("SELECT crashed FROM runs").fetchall() == [(crashed,)]


def test_a_broken_migration_is_an_error_for_the_operator(tmp_path: Path, steps: Callable[..., None]) -> None:
    steps("CREATE TABLE one (n); nonsense")
    with pytest.raises(DatabaseError, match=r"m\.sqlite cannot be used"):
        SqliteDatabase(tmp_path / "m.sqlite", prepare=migrate_sqlite)
    steps("CREATE TABLE one (n)")
    connection = sqlite3.connect(tmp_path / "m.sqlite", isolation_level=None)
    migrate_sqlite(connection)
    assert "one" in {name for _, name, _ in schema(connection)}


def test_each_migration_has_a_number_of_its_own() -> None:
    there = [version for version, _, _ in migrate._steps("sqlite")]
    assert there == list(range(1, len(there) + 1))
