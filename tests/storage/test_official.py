"""Files of LangGraph's own saver: opened in place, and imported."""

import json
import operator
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver as Official
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt
from typer.testing import CliRunner
from typing_extensions import TypedDict

from threadmill.cli import whole
from threadmill_checkpoints.database import DatabaseError
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import SqliteSaver
from threadmill_checkpoints.sqlite import SqliteDatabase, connect

pytestmark = pytest.mark.anyio


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    asked: Annotated[list[str], operator.add]


class Inner(TypedDict, total=False):
    asked: Annotated[list[str], operator.add]


def builder() -> Any:
    def say(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{len(state['messages'])}: {state['messages'][-1].content}")]}

    def ask(state: Inner) -> dict[str, Any]:
        return {"asked": [interrupt("sure?")]}

    inner = StateGraph(Inner).add_node("ask", ask).add_edge(START, "ask").compile()
    return (
        StateGraph(State)
        .add_node("say", say)
        .add_node("inner", inner)
        .add_edge(START, "say")
        .add_conditional_edges("say", lambda s: "inner" if "ask" in str(s["messages"][-1].content) else "__end__")
    )


def at(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


TALKED, WAITS = "topic-1", str(uuid4())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A thread that has talked, and one that waits for an answer to what its subgraph asks."""
    path = tmp_path / "checkpoints.sqlite"
    with Official.from_conn_string(str(path)) as saver:
        graph = builder().compile(checkpointer=saver)
        for turn in range(3):
            graph.invoke({"messages": [HumanMessage(f"turn {turn}")]}, at(TALKED))
        graph.invoke({"messages": [HumanMessage("ask me")]}, at(WAITS))
    return path


def shown(graph: Any, thread: str) -> list[Any]:
    return [
        (one.values, one.next, one.config["configurable"]["checkpoint_id"], one.metadata, one.interrupts)
        for one in graph.get_state_history(at(thread))
    ]


@pytest.fixture
def expected(file: Path) -> dict[str, list[Any]]:
    with Official.from_conn_string(str(file)) as saver:
        return {one: shown(builder().compile(checkpointer=saver), one) for one in (TALKED, WAITS)}


# In place


async def test_a_file_opens_in_place_and_its_threads_go_on(file: Path, expected: dict[str, list[Any]]) -> None:
    database = SqliteDatabase(file, prepare=migrate_sqlite)
    graph = builder().compile(checkpointer=SqliteSaver(database))
    try:
        assert {one: shown(graph, one) for one in expected} == expected
        assert graph.invoke(Command(resume="yes"), at(WAITS))["asked"] == ["yes"]
        said = graph.invoke({"messages": [HumanMessage("more")]}, at(TALKED))["messages"]
        assert [one.content for one in said][-2:] == ["more", "7: more"]
    finally:
        await database.close()
    database = SqliteDatabase(file, prepare=migrate_sqlite)  # and again
    try:
        graph = builder().compile(checkpointer=SqliteSaver(database))
        assert len(shown(graph, TALKED)) == len(expected[TALKED]) + 3
    finally:
        await database.close()


async def test_a_file_from_before_task_paths_opens(file: Path, expected: dict[str, list[Any]]) -> None:
    with closing(sqlite3.connect(file)) as old:
        old.execute("ALTER TABLE writes DROP COLUMN task_path")
    database = SqliteDatabase(file, prepare=migrate_sqlite)
    try:
        assert shown(builder().compile(checkpointer=SqliteSaver(database)), WAITS) == expected[WAITS]
    finally:
        await database.close()


async def test_a_file_that_cannot_be_taken_over_is_as_it_was(file: Path, expected: dict[str, list[Any]]) -> None:
    with closing(sqlite3.connect(file)) as own:
        own.execute("CREATE TABLE threads (mine TEXT)")  # of the user's own
    with pytest.raises(DatabaseError, match="threads"):
        SqliteDatabase(file, prepare=migrate_sqlite)
    with Official.from_conn_string(str(file)) as saver:
        assert shown(builder().compile(checkpointer=saver), TALKED) == expected[TALKED]


# Imported


def run(*arguments: str | Path) -> tuple[int, Any]:
    done = CliRunner().invoke(whole(), [str(one) for one in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, json.loads(done.stdout) if done.stdout.startswith("{") else done.output


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "data"


def imported(file: Path, data: Path, *more: str) -> tuple[int, list[dict[str, Any]]]:
    code, answer = run("import", file, "--data-dir", data, "--json", *more)
    return code, answer["threads"]


def rows(data: Path, sql: str) -> list[Any]:
    with closing(connect(data / "threadmill.sqlite")) as there:
        return [tuple(row) for row in there.execute(sql)]


async def test_an_import_takes_all_history_and_a_second_one_nothing(
    file: Path, data: Path, expected: dict[str, list[Any]]
) -> None:
    renamed = str(uuid5(NAMESPACE_URL, f"langgraph:thread:{TALKED}"))
    code, done = imported(file, data, "--graph", "agent")
    assert code == 0
    assert {one["thread_id"]: one["outcome"] for one in done} == {renamed: "imported", WAITS: "imported"}
    assert {one["outcome"] for one in imported(file, data)[1]} == {"unchanged"}

    assert rows(data, "SELECT count(*) FROM checkpoints WHERE channels IS NULL") == [(0,)]
    listed = rows(data, "SELECT thread_id, outcome, title, message_count, metadata ->> 'graph_id' FROM threads")
    assert sorted(listed) == sorted(
        [(renamed, "idle", "turn 0", 6, "agent"), (WAITS, "interrupted", "ask me", 2, "agent")]
    )
    assert rows(data, "SELECT thread_id, json(value) FROM interrupts") == [(WAITS, '"sure?"')]
    database = SqliteDatabase(data / "threadmill.sqlite", prepare=migrate_sqlite)
    try:
        graph = builder().compile(checkpointer=SqliteSaver(database))
        for name, thread in ((TALKED, renamed), (WAITS, WAITS)):
            assert [one[:3] for one in shown(graph, thread)] == [one[:3] for one in expected[name]]
        assert graph.invoke(Command(resume="yes"), at(WAITS))["asked"] == ["yes"]
    finally:
        await database.close()


async def test_what_is_new_in_the_file_comes_with_the_next_import(file: Path, data: Path) -> None:
    imported(file, data)
    with Official.from_conn_string(str(file)) as saver:
        builder().compile(checkpointer=saver).invoke({"messages": [HumanMessage("later")]}, at(TALKED))
    done = {one["source_thread_id"]: one for one in imported(file, data)[1]}
    assert (done[TALKED]["outcome"], done[TALKED]["checkpoints"]) == ("imported", 3)
    assert done[WAITS]["outcome"] == "unchanged"
    assert rows(data, "SELECT max(message_count) FROM threads") == [(8,)]


async def test_a_thread_that_has_gone_on_in_both_places_is_left_alone(file: Path, data: Path) -> None:
    imported(file, data)
    database = SqliteDatabase(data / "threadmill.sqlite", prepare=migrate_sqlite)
    builder().compile(checkpointer=SqliteSaver(database)).invoke(Command(resume="here"), at(WAITS))
    await database.close()
    assert imported(file, data)[0] == 0  # nothing is new there
    with Official.from_conn_string(str(file)) as saver:
        builder().compile(checkpointer=saver).invoke(Command(resume="there"), at(WAITS))
    before = rows(data, "SELECT count(*) FROM checkpoints")
    code, done = imported(file, data)
    assert code == 1
    assert next(one for one in done if one["thread_id"] == WAITS)["outcome"] == "refused"
    assert rows(data, "SELECT count(*) FROM checkpoints") == before


@dataclass
class Mine:
    word: str


def planted(file: Path, kind: str, data: bytes) -> None:
    with closing(sqlite3.connect(file)) as there:
        there.execute("UPDATE checkpoints SET type = ?, checkpoint = ? WHERE thread_id = ?", (kind, data, TALKED))
        there.commit()


def test_a_type_that_is_not_allowed_stays_packed_and_is_told(file: Path, data: Path, tmp_path: Path) -> None:
    class Owning(TypedDict, total=False):
        mine: Any

    with Official.from_conn_string(str(file)) as saver:
        graph = StateGraph(Owning).add_node("own", lambda _: {"mine": Mine("kept")}).add_edge(START, "own")
        graph.compile(checkpointer=saver).invoke({}, at("own"))
    done = next(one for one in imported(file, data)[1] if one["source_thread_id"] == "own")
    assert done["outcome"] == "imported"
    assert done["blocked"] == [f"{Mine.__module__}.Mine"]
    ((values,),) = rows(data, f"SELECT data FROM thread_values WHERE thread_id = '{done['thread_id']}'")
    assert json.loads(values)["mine"] == {"word": "kept"}
    # Nothing was lost: whoever allows the type has the object.
    inline = rows(
        data, f"SELECT checkpoint FROM checkpoints WHERE thread_id = '{done['thread_id']}' AND channels IS NULL"
    )
    assert any(Mine.__module__.encode() in blob for (blob,) in inline)


def evil(ran: Path) -> bytes:
    """What would make a file were it rebuilt as it says."""
    call = ("os", "system", f"touch {ran}")
    packed = ormsgpack.packb(call)
    return ormsgpack.packb({"channel_values": {"x": ormsgpack.Ext(0, packed)}, "channel_versions": {}, "id": "1"})


@pytest.mark.parametrize("kind", ["pickle", "json", "msgpack", "nonsense"])
def test_no_stored_value_runs_code(file: Path, data: Path, tmp_path: Path, kind: str) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    bombs = {
        "pickle": pickle.dumps(Bomb()),
        "json": json.dumps({"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["touch ran"]}).encode(),
        "msgpack": evil(tmp_path / "ran"),
        "nonsense": b"\xc1\xc1",
    }
    planted(file, kind, bombs[kind])
    code, done = imported(file, data)
    outcome = {one["source_thread_id"]: one for one in done}
    assert not (tmp_path / "ran").exists()
    assert outcome[WAITS]["outcome"] == "imported"
    if kind == "msgpack":
        assert outcome[TALKED]["blocked"] == ["os.system"]
    else:
        assert (code, outcome[TALKED]["outcome"]) == (1, "refused")
        assert outcome[TALKED]["reason"]
        assert rows(data, "SELECT count(*) FROM threads") == [(1,)]


def test_a_file_that_is_none_is_refused_in_a_sentence(tmp_path: Path, data: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be looked at as one" * 20)
    with closing(sqlite3.connect(tmp_path / "other")) as other:
        other.execute("CREATE TABLE t (n)")
    for name, said in {"missing": "no file", "text": "cannot be read", "other": "no tables"}.items():
        code, answer = run("import", tmp_path / name, "--data-dir", data)
        assert code == 1
        assert said in answer
