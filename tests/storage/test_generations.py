"""Whatever is pruned by age: what somebody may come back to is there, and is what it was."""

import asyncio
import operator
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from threadmill import branches, threads
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import forks, generations, heads
from threadmill_checkpoints.saver.generations import Since, Thinned
from threadmill_checkpoints.saver.moments import EPOCH, made_at
from threadmill_checkpoints.saver.sqlite import SqliteSaver
from threadmill_checkpoints.serde import Serializer
from threadmill_checkpoints.sqlite import SqliteDatabase

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
STEPS = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["loop", "input", "loop", "loop"])), min_size=1, max_size=25
)
MARKS = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["name", "fork", "ask", "answer", "head"])), max_size=5
)


def id_of(number: int, days: int) -> str:
    """Of a checkpoint that was made so many days before NOW, plus some."""
    ticks = f"{int((NOW - days * DAY + timedelta(seconds=number) - EPOCH).total_seconds() * 10**7):015x}"
    return f"{ticks[:8]}-{ticks[8:12]}-6{ticks[12:]}-8005-{number:012x}"


def config(thread_id: str, checkpoint_id: str | None = None) -> Any:
    place = {"thread_id": thread_id, "checkpoint_ns": ""}
    return {"configurable": place | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}


def grow(saver: SqliteSaver, steps: list[tuple[int, str]]) -> list[str]:
    """Each after one of those that are there, the newest ones mostly."""
    ids, said = list[str](), dict[str | None, list[Any]]({None: []})
    runs: dict[str | None, int] = {}
    for number, (choice, source) in enumerate(steps):
        parent = None if not ids else ids[-1] if choice % 4 else ids[choice // 4 % len(ids)]
        id = id_of(number, (len(steps) - number) * 3)
        said[id] = [*said[parent], HumanMessage(f"message {number}", id=f"m{number}")]
        versions: Any = {"messages": f"{number + 1:032}.0"}
        checkpoint: Any = {
            "v": 4,
            "id": id,
            "ts": "",
            "channel_values": {"messages": said[id]},
            "channel_versions": versions,
            "versions_seen": {},
            "updated_channels": None,
        }
        run = number if source == "input" else runs.get(parent, 0)
        runs[id] = run
        metadata: Any = {"source": source, "step": number, "parents": {}, "run_id": f"run{run}"}
        saver.put(config("t", parent), checkpoint, metadata, versions)
        ids.append(id)
    return ids


def name(tx: Tx, checkpoint_id: str) -> None:
    tx.run(
        "INSERT OR IGNORE INTO branches (thread_id, name, checkpoint_id, created_at) VALUES ('t', :id, :id, '')",
        id=checkpoint_id,
    )


def states(saver: SqliteSaver, thread_id: str) -> dict[str, Any]:
    return {
        one.config["configurable"]["checkpoint_id"]: [m.id for m in one.checkpoint["channel_values"]["messages"]]
        for one in saver.list(config(thread_id))
    }


@settings(max_examples=20, deadline=None)
@given(STEPS, MARKS, st.integers(0, 80), st.integers(0, 80))
def test_what_is_named_forked_asked_or_recent_stays_as_it_was(
    steps: list[tuple[int, str]], marks: list[tuple[int, str]], days: int, turns: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder) / "t.sqlite", prepare=migrate_sqlite, synchronous="NORMAL", readers=1)
        saver, serde = SqliteSaver(database, serde=Serializer()), Serializer()
        database.submit(lambda tx: threads.create(tx, "t")).result()
        ids, kept, forked = grow(saver, steps), set[str](), dict[str, Any]()
        for number, (choice, what) in enumerate(marks):
            at = ids[choice % len(ids)]
            if what == "name":
                database.submit(lambda tx, at=at: name(tx, at)).result()
            elif what == "fork":
                target = f"fork{number}"
                database.submit(lambda tx, at=at, target=target: forks.fork(tx, "t", at, target)).result()
                forked[target] = states(saver, target)
            elif what == "head" and at not in parents(database):
                database.submit(lambda tx, at=at: heads.put(tx, "t", at)).result()
            elif what in ("ask", "answer"):
                saver.put_writes(config("t", at), [("__interrupt__", "which?")], f"task{number}")
                if what == "answer":
                    saver.put_writes(config("t", at), [("__resume__", "that")], f"task{number}")
                    continue
            if what != "head":
                kept.add(at)
        before, head = states(saver, "t"), database.query(lambda tx: heads.head(tx, "t")).result()
        below: dict[str | None, int] = {}
        for parent in parents(database):
            below[parent] = below.get(parent, 0) + 1
        kept |= {one for one in ids if below.get(one, 0) != 1} | {str(head)}
        since = Since(NOW - days * DAY, NOW - max(days, turns) * DAY)
        kept |= {one for one in ids if (made_at(one) or NOW) >= since.everything}
        kept |= {one for one in ends(database) if (made_at(one) or NOW) >= since.turns}

        def thin(tx: Tx) -> tuple[Thinned, Thinned]:
            named = branches.kept(tx, "t")
            told = generations.report(tx, "t", since, serde.loads_typed, named)
            return told, generations.thin(tx, "t", since, serde.loads_typed, named)

        told, done = database.submit(thin).result()
        after = states(saver, "t")
        assert kept - {at for at, what in kept_forks(marks, ids)} <= after.keys()
        assert all(before[one] == said for one, said in after.items())
        assert told == done and done.checkpoints == len(before) - len(after)
        assert database.query(lambda tx: heads.head(tx, "t")).result() == head
        assert {target: states(saver, target) for target in forked} == forked
        for one in saver.list(config("t")):  # the way back is through what is left, and nothing was skipped
            parent = one.parent_config["configurable"]["checkpoint_id"] if one.parent_config else None
            assert parent is None or parent in after
            said = before[one.config["configurable"]["checkpoint_id"]]
            assert parent is None or said[: len(before[parent])] == before[parent]
        again = database.submit(thin).result()
        assert again[1].checkpoints == 0 or forked  # which have theirs by now
        asyncio.run(database.close())


def kept_forks(marks: list[tuple[int, str]], ids: list[str]) -> list[tuple[str, str]]:
    """A fork made without the server has a copy of where it begins: only its parent must stay, or be given to it."""
    return [(ids[choice % len(ids)], what) for choice, what in marks if what == "fork"]


def parents(database: SqliteDatabase) -> list[str | None]:
    sql = "SELECT parent_checkpoint_id FROM checkpoints WHERE thread_id = 't'"
    return [row["parent_checkpoint_id"] for row in database.query(lambda tx: tx.all(sql)).result()]


def ends(database: SqliteDatabase) -> list[str]:
    """Checkpoints after which another run went on."""
    sql = (
        "SELECT p.checkpoint_id FROM checkpoints p JOIN checkpoints c ON c.parent_checkpoint_id = p.checkpoint_id "
        "AND c.thread_id = 't' WHERE p.thread_id = 't' AND c.run_id <> p.run_id"
    )
    return [row["checkpoint_id"] for row in database.query(lambda tx: tx.all(sql)).result()]


# Real graphs

SOON = datetime.now(UTC) + DAY
EVERYTHING, TURNS = Since(SOON, SOON), Since(SOON, datetime.now(UTC) - DAY)  # is old; but the ends of turns are not


class Diary(TypedDict, total=False):
    said: str
    pages: Annotated[list[str], operator.add]


class Told(TypedDict, total=False):
    said: Annotated[list[str], operator.add]


def note(state: Diary) -> dict[str, Any]:
    return {"pages": [state["said"] if state["said"] != "ask" else interrupt("which?")]}


def remembering(saver: SqliteSaver, **compiled: Any) -> Any:
    """Answers with what its subgraph remembers."""
    diary = StateGraph(Diary).add_node("note", note).add_edge(START, "note").compile(**compiled)

    def ask(state: Told) -> dict[str, Any]:
        return {"said": [" ".join(diary.invoke({"said": state["said"][-1]})["pages"])]}

    return StateGraph(Told).add_node("diary", ask).add_edge(START, "diary").compile(checkpointer=saver)


def folded(told: list[str], writes: Any) -> list[str]:
    return [*told, *(one for write in writes for one in write)]


def telling(saver: SqliteSaver, frequency: int) -> Any:
    class Deltas(TypedDict, total=False):
        said: Annotated[list[str], DeltaChannel(folded, snapshot_frequency=frequency)]
        turns: Annotated[int, operator.add]

    def answer(state: Deltas) -> dict[str, Any]:
        return {"said": [f"{len(state['said'])}"], "turns": 1}

    return StateGraph(Deltas).add_node("say", answer).add_edge(START, "say").compile(checkpointer=saver)


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[SqliteSaver]:
    database = SqliteDatabase(tmp_path / "t.sqlite", prepare=migrate_sqlite, synchronous="NORMAL", readers=1)
    database.submit(lambda tx: threads.create(tx, "t")).result()
    yield SqliteSaver(database, serde=Serializer())
    asyncio.run(database.close())


def end(graph: Any) -> Any:
    return graph.get_state(config("t")).config


def thinned(saver: SqliteSaver, graph: Any, since: Since) -> tuple[dict[str, Any], int]:
    """What is left, which is what it was; and how much is gone."""
    before = {one.config["configurable"]["checkpoint_id"]: one for one in graph.get_state_history(config("t"))}
    decode = saver.serde.loads_typed
    done = saver.database.submit(lambda tx: generations.thin(tx, "t", since, decode, branches.kept(tx, "t"))).result()
    after = {one.config["configurable"]["checkpoint_id"]: one for one in graph.get_state_history(config("t"))}
    assert {id: (one.values, one.next) for id, one in after.items()} == {
        id: (before[id].values, before[id].next) for id in after
    }
    return after, done.checkpoints


@pytest.mark.parametrize("compiled", [{}, {"checkpointer": True}], ids=["per call", "own memory"])
@pytest.mark.parametrize("since", [EVERYTHING, TURNS], ids=["all old", "turns kept"])
def test_subgraphs_go_on_after_what_is_old_was_pruned(saver: SqliteSaver, compiled: Any, since: Since) -> None:
    """On each branch with the memory of that branch, and with the question that waits."""
    graph, own = remembering(saver, **compiled), bool(compiled)

    def say(text: str, at: Any = None) -> str:
        return str(graph.invoke({"said": [text]}, at or config("t"))["said"][-1])

    say("a")
    parted = end(graph)
    assert say("b") == ("a b" if own else "b")
    left = end(graph)
    assert say("B", parted) == ("a B" if own else "B")
    graph.invoke({"said": ["ask"]}, config("t"))
    before = graph.get_state(config("t"), subgraphs=True)
    after, gone = thinned(saver, graph, since)
    assert gone and {one["configurable"]["checkpoint_id"] for one in (parted, left, before.config)} <= after.keys()
    waiting = graph.get_state(config("t"), subgraphs=True)
    assert waiting.interrupts == before.interrupts != ()
    assert [one.state.values for one in waiting.tasks if one.state] == [
        one.state.values for one in before.tasks if one.state
    ]
    answered = graph.invoke(Command(resume="this"), config("t"))
    assert answered["said"][-1] == ("a B this" if own else "this")
    assert say("c", left) == ("a b c" if own else "c")
    assert say("x", parted) == ("a x" if own else "x")


@pytest.mark.parametrize("frequency", [1, 3, 100])
@pytest.mark.parametrize("since", [EVERYTHING, TURNS], ids=["all old", "turns kept"])
def test_a_delta_channel_is_rebuilt_after_what_is_old_was_pruned(
    saver: SqliteSaver, frequency: int, since: Since
) -> None:
    graph = telling(saver, frequency)
    for turn in range(4):
        graph.invoke({"said": [f"turn {turn}"]}, config("t"))
        if turn == 1:
            parted = end(graph)
    left = end(graph)
    graph.invoke({"said": ["instead"]}, parted)
    after, gone = thinned(saver, graph, since)
    assert gone > 0 or frequency == 100  # every step is needed
    assert {one["configurable"]["checkpoint_id"] for one in (parted, left)} <= after.keys()
    assert graph.get_state(left).values["said"][-2:] == ["turn 3", "7"]
    assert graph.invoke({"said": ["more"]}, config("t"))["said"][-4:] == ["instead", "5", "more", "7"]
    assert graph.invoke({"said": ["else"]}, left)["said"][-2:] == ["else", "9"]
