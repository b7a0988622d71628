"""fsck finds and mends each fault that is planted; gc and vacuum give room back; a backup is whole."""

import json
import operator
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import httpx
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langgraph.graph import START, StateGraph
from serving import Server
from typer.testing import CliRunner
from typing_extensions import TypedDict

from threadmill.cli import whole
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import SqliteSaver
from threadmill_checkpoints.saver.checks import LOST
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio

TALKED, LONG = str(uuid4()), "a text that is a part of its own " * 400


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory whose server has stopped: a long thread, with a run."""
    server = Server(tmp_path_factory.mktemp("made") / "data").start()
    said = [{"role": "user", "content": f"message {n} xylophone{n}"} for n in range(140)] + [
        {"role": "user", "content": LONG}
    ]
    with httpx.Client(base_url=server.url, timeout=60) as asked:
        told = {"format": "threadmill-transcript", "thread_id": TALKED, "messages": said}
        assert asked.post("/threads/import", json=told).status_code == 200
        run = {"assistant_id": "echo", "input": {"messages": [{"role": "user", "content": "end"}]}}
        asked.post(f"/threads/{TALKED}/runs/wait", json=run).raise_for_status()
    server.term()
    yield server.data_dir


@pytest.fixture
def data(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made, tmp_path / "data"))


def run(*arguments: str | Path, code: int = 0) -> Any:
    done = CliRunner().invoke(whole(), [str(one) for one in arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if "--json" in arguments else done.output


def fsck(data: Path, *how: str, code: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run("threads", "fsck", "--data-dir", data, "--json", *how, code=code)["faults"]
    return found


def sql(data: Path, *statements: str) -> list[Any]:
    with closing(sqlite3.connect(data / "threadmill.sqlite")) as there:
        for one in statements:
            rows = there.execute(one).fetchall()
        there.commit()
        return rows


def shown(data: Path, thread: str) -> dict[str, Any]:
    found: dict[str, Any] = run("threads", "show", thread, "--data-dir", data, "--json")
    return found


FAULTS: dict[str, tuple[str, ...]] = {
    "orphan run": ("UPDATE runs SET thread_id = 'gone', position = 99",),
    "orphan event": ("UPDATE events SET thread_id = 'gone'",),
    "half message": ("DELETE FROM events WHERE last_seq = (SELECT max(last_seq) FROM events)",),
    "ref of nothing": ("INSERT INTO blob_refs VALUES (99, 1, 'x'), (1, 9999, 'x')",),
    "part not held": ("DELETE FROM blob_refs WHERE blob_id IN (SELECT blob_id FROM blob_refs LIMIT 5)",),
    "part that nobody holds": ("INSERT INTO blobs (hash, type, data) VALUES (x'00', 'msgpack', x'01')",),
    "states of no thread": ("DELETE FROM threads",),
}


def test_nothing_is_wrong_with_what_a_server_leaves(data: Path) -> None:
    assert fsck(data) == []
    assert "Nothing is wrong" in run("threads", "fsck", "--data-dir", data)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_and_mended(data: Path, kind: str) -> None:
    sql(data, *FAULTS[kind])
    before = (data / "threadmill.sqlite").read_bytes()
    found = fsck(data, code=1)
    assert kind in {one["kind"] for one in found}, found
    assert (data / "threadmill.sqlite").read_bytes() == before  # only looking
    assert all(one["mended"] for one in found)
    assert kind in {one["kind"] for one in fsck(data, "--repair")}
    assert fsck(data) == []
    assert shown(data, TALKED)["message_count"] in (0, 143)


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        ("type = 'msgpack' AND message_id IS NOT NULL AND parts IS NULL", 1),
        ("type = 'node'", 64),
        ("type = 'text'", 1),
    ],
)
def test_a_missing_part_has_something_in_its_place(data: Path, part: str, lost: int) -> None:
    before = shown(data, TALKED)["values"]["messages"]
    sql(
        data,
        f"DELETE FROM blobs WHERE blob_id = (SELECT min(blob_id) FROM blobs WHERE {part})",
        "DELETE FROM thread_values",
    )
    assert "missing part" in {one["kind"] for one in fsck(data, code=1)}
    assert "missing part" in {one["kind"] for one in fsck(data, "--repair")}
    assert fsck(data) == []
    after = shown(data, TALKED)["values"]["messages"]
    assert sum(LOST in one["content"] for one in after) >= 1
    kept = {one["content"] for one in before} & {one["content"] for one in after}
    assert len(kept) >= len(before) - lost - 1


class Appended(TypedDict):
    messages: Annotated[list[Any], operator.add]


async def stored(data: Path, thread: str, message: Any) -> None:
    database = SqliteDatabase(data / "threadmill.sqlite", prepare=migrate_sqlite)
    graph = StateGraph(Appended).add_node("say", lambda _: {"messages": [message]}).add_edge(START, "say")
    await graph.compile(checkpointer=SqliteSaver(database)).ainvoke(
        {"messages": [HumanMessage("go")]}, {"configurable": {"thread_id": thread}}
    )
    await database.close()


async def test_messages_that_stayed_half_and_calls_without_answers_are_mended(data: Path) -> None:
    half, open_ = str(uuid4()), str(uuid4())
    call = {"id": "c1", "name": "look", "args": {}}
    await stored(data, half, AIMessageChunk("unfini", id="h"))
    await stored(data, open_, AIMessage("", tool_calls=[call], id="o"))
    assert {one["kind"] for one in fsck(data, "--repair")} == {
        "states of no thread",
        "half message",
        "tool call without an answer",
    }
    assert fsck(data) == []
    assert [one["type"] for one in shown(data, half)["values"]["messages"]] == ["human", "ai"]
    last = shown(data, open_)["values"]["messages"][-1]
    assert (last["type"], last["tool_call_id"], last["status"]) == ("tool", "c1", "error")
    with_history = sql(data, f"SELECT count(*) FROM checkpoints WHERE thread_id = '{open_}'")
    assert with_history == [(4,)]  # what was there is still there


def test_a_fork_whose_base_is_gone_keeps_what_it_has(data: Path) -> None:
    fork = run("threads", "fork", TALKED, "--data-dir", data, "--title", "aside", "--json")["thread_id"]
    assert fsck(data) == []
    sql(data, f"DELETE FROM checkpoints WHERE thread_id = '{TALKED}'")
    assert "fork without base" in {one["kind"] for one in fsck(data, code=1)}
    assert "fork without base" in {one["kind"] for one in fsck(data, "--repair")}
    assert fsck(data) == []
    values = shown(data, fork)
    assert (values["title"], len(values["values"]["messages"])) == ("aside", 143)


def test_a_file_that_is_damaged_is_told_of(data: Path) -> None:
    file = data / "threadmill.sqlite"
    content = bytearray(file.read_bytes())
    for page in range(20, len(content) // 4096, 3):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    file.write_bytes(content)
    said = run("threads", "fsck", "--data-dir", data, code=1)
    assert "damaged" in said
    assert "damaged" in run("backup", data / "b", "--data-dir", data, code=1)
    assert not (data / "b").exists()


def test_room_is_given_back_and_nothing_of_a_deleted_thread_is_left(data: Path) -> None:
    before = run("threads", "stats", "--data-dir", data, "--json")
    assert before["tables"]["threads"]["count"] == 1
    assert sql(data, "SELECT count(*) FROM search_docs") > [(140,)]  # the index has it, too
    assert before["tables"]["parts"]["bytes"] > len(LONG)
    sql(data, "INSERT INTO blobs (hash, type, data) VALUES (x'00', 'msgpack', zeroblob(100000))")
    assert run("threads", "gc", "--data-dir", data, "--json") == {"parts": 1, "bytes": 100000}
    run("threads", "rm", TALKED, "--data-dir", data)
    sizes = run("threads", "vacuum", "--data-dir", data, "--json")
    assert sizes["after"] < sizes["before"]
    assert sql(data, "SELECT count(*) FROM search_docs") == [(0,)]
    left = b"".join(file.read_bytes() for file in data.iterdir() if file.is_file())
    assert b"a text that is a part" not in left
    assert b"message 77" not in left
    assert b"xylophone" not in left
    assert run("threads", "stats", "--data-dir", data, "--json")["tables"]["parts"]["count"] == 0


def test_what_was_said_is_found_also_what_came_without_a_server(data: Path, tmp_path: Path) -> None:
    empty, file = tmp_path / "empty", tmp_path / "file"
    run("threads", "export", TALKED, "-o", file, "--data-dir", data)
    run("threads", "import", file, "--data-dir", empty)
    for where in (data, empty):
        (hit,) = run("threads", "search", "xylophone77", "--data-dir", where, "--json")["hits"]
        assert (hit["thread_id"], hit["kind"], "[[xylophone77]]" in hit["snippet"]) == (TALKED, "message", True)
    assert "Nothing found" in run("threads", "search", "nowhere", "--data-dir", data)


# Backup


def test_a_backup_under_load_is_whole_and_is_restored(tmp_path: Path, made: Path) -> None:
    data = Path(shutil.copytree(made, tmp_path / "live"))
    server = Server(data).start()
    copy = tmp_path / "copy.sqlite"
    try:
        with httpx.Client(base_url=server.url, timeout=60) as asked:
            body = {"assistant_id": "slow", "input": {"steps": 30, "delay": 0.02}}
            thread = asked.post("/threads", json={}).json()["thread_id"]
            started = asked.post(f"/threads/{thread}/runs", json=body).json()["run_id"]
            done = run("backup", copy, "--data-dir", data, "--json")
            assert done["faults"] == []
            assert "is there" in run("backup", copy, "--data-dir", data, code=1)
            asked.get(f"/threads/{thread}/runs/{started}/join")
        assert "stop it" in run("restore", copy, "--data-dir", data, code=1)
    finally:
        server.term()
    assert list(tmp_path.glob("copy.sqlite*")) == [copy]
    run("threads", "rm", TALKED, "--data-dir", data)
    run("restore", copy, "--data-dir", data)
    assert (data / "threadmill.sqlite.before-restore").exists()
    assert len(shown(data, TALKED)["values"]["messages"]) == 143
    server.start()  # and takes up what was under way
    try:
        with httpx.Client(base_url=server.url, timeout=60) as asked:
            assert asked.get(f"/threads/{thread}/runs/{started}/join").json()["done"] == 30
    finally:
        server.term()


def test_who_follows_a_database_is_not_left_with_one_that_was_put_aside(data: Path, tmp_path: Path) -> None:
    """A replica of Litestream's would be neither the one nor the other."""
    copy = tmp_path / "copy.sqlite"
    run("backup", copy, "--data-dir", data)
    with closing(sqlite3.connect(data / "threadmill.sqlite")) as follower:
        follower.execute("BEGIN")
        follower.execute("SELECT count(*) FROM threads").fetchone()
        assert "open: stop it first" in run("restore", copy, "--data-dir", data, code=1)
        assert follower.execute("SELECT count(*) FROM threads").fetchone() == (1,)
    assert not (data / "threadmill.sqlite.before-restore").exists()
    run("restore", copy, "--data-dir", data)
    assert (data / "threadmill.sqlite.before-restore").exists()


def test_what_is_no_backup_is_not_restored(data: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("nothing " * 1000)
    with closing(sqlite3.connect(tmp_path / "other")) as other:
        other.execute("CREATE TABLE t (n)")
    for name, said in {"text": "no database", "other": "no database of Threadmill", "missing": "no file"}.items():
        assert said in run("restore", tmp_path / name, "--data-dir", data, code=1)
    assert fsck(data) == []
