"""The checkpointer against a plain account of what was put into it: any order of puts, writes, forks, copies, prunings,
deletions and restarts. And nothing is stored that no thread has, nor missing that one has.
"""

import asyncio
import copy
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from kit.toy import Toy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import SqliteSaver, forks
from threadmill_checkpoints.serde import SealedSerializer, Serializer
from threadmill_checkpoints.sqlite import SqliteDatabase

THREADS = ("a", "b", "c", "d")
Key = tuple[str, str]


class Lost(Exception):
    pass


@dataclass
class Saved:
    parent: str | None
    values: dict[str, Any]
    versions: dict[str, str]
    run: str
    root: str | None = None
    writes: dict[str, tuple[str, Any]] = field(default_factory=dict)


text = st.one_of(st.text(max_size=6), st.sampled_from(("long " * 1000, "界" * 2000, "x" * 300)))
message = st.one_of(
    st.builds(HumanMessage, text, id=st.sampled_from(("1", "2", "3"))),
    st.builds(AIMessage, text, id=st.sampled_from(("4", "5")), additional_kwargs=st.sampled_from(({}, {"k": [1]}))),
    st.builds(ToolMessage, text, tool_call_id=st.just("c"), id=st.just("6")),
)
value = st.one_of(
    st.none(), st.integers(), text, st.binary(max_size=5000), st.lists(st.integers(), max_size=400),
    st.dictionaries(st.text(max_size=3), text, max_size=4), st.just({1, 2})
)  # fmt: skip
turns = st.lists(message, min_size=1, max_size=90)


class Story(RuleBasedStateMachine):
    """`threads` is what each thread has, its inherited beginning included."""

    template: Path
    serde: Serializer

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "threads.sqlite"
        shutil.copy(self.template, self.path)
        self.threads: dict[str, dict[Key, Saved]] = {}
        self.numbers = 0
        self.open()

    def open(self) -> None:
        self.database = SqliteDatabase(self.path, synchronous="NORMAL", readers=1)
        self.saver = SqliteSaver(self.database, serde=self.serde)

    def teardown(self) -> None:
        for thread in THREADS:
            self.saver.delete_thread(thread)
        left = self.read("SELECT (SELECT count(*) FROM blobs) + (SELECT count(*) FROM blob_refs) AS n")
        asyncio.run(self.database.close())
        self.folder.cleanup()
        assert left[0]["n"] == 0, "what no thread has is still stored"

    def read(self, sql: str) -> list[Any]:
        return self.database.query(lambda tx: tx.all(sql)).result()

    def stored(self, what: Any) -> Any:
        """As the serializer has it: it knows no tuples, and no integers of 65 bits."""
        return self.serde.loads_typed(self.serde.dumps_typed(what))

    def roots(self, thread: str) -> list[str]:
        return sorted(at for ns, at in self.threads.get(thread, {}) if ns == "")

    def stored_at(self, thread: str, root: str) -> str | None:
        """What a subgraph remembers of a step that is gone, the next one that is left has."""
        return min((at for at in self.roots(thread) if at >= root), default=None)

    def is_tip(self, thread: str, at: str) -> bool:
        return not any(ns == "" and one.parent == at for (ns, _), one in self.threads[thread].items())

    @rule(
        thread=st.sampled_from(THREADS), ns=st.sampled_from(("", "", "child")), branch=st.integers(0, 30),
        run=st.sampled_from(("r1", "r2")), said=turns, how=st.sampled_from(("append", "edit", "remove", "inplace")),
        other=value, delta=st.booleans(),
    )  # fmt: skip
    def put(self, thread: str, ns: str, branch: int, run: str, said: Any, how: str, other: Any, delta: bool) -> None:
        self.say(thread, copy.deepcopy(said), ns, branch, run, how, _DeltaSnapshot(other) if delta else other)

    @rule(thread=st.sampled_from(THREADS), said=turns, instead=turns)
    def lose(self, thread: str, said: Any, instead: Any) -> None:
        """A put is rolled back when all of it was written; then come another one, and the same again."""
        said = copy.deepcopy(said)
        with pytest.raises(Lost):
            self.say(thread, said, lost=True)
        self.say(thread, copy.deepcopy(instead))
        self.say(thread, said)

    def say(
        self, thread: str, said: list[Any], ns: str = "", branch: int = 30, run: str = "r1", how: str = "append",
        other: Any = None, lost: bool = False,
    ) -> None:  # fmt: skip
        mine = self.threads.setdefault(thread, {})
        roots, there = self.roots(thread), sorted(at for name, at in mine if name == ns)
        if ns and not roots:
            return
        parent = there[-1] if there and branch > 10 else there[branch % len(there)] if there else None
        config = place(thread, ns, parent)
        before: Any = self.saver.get_tuple(config) if parent else None
        values = dict(before.checkpoint["channel_values"]) if before else {}
        versions = dict(before.checkpoint["channel_versions"]) if before else {}
        values["messages"] = _said(values.get("messages") or [], said, how)
        values["other"] = other
        new = {channel: self.saver.get_next_version(versions.get(channel), None) for channel in ("messages", "other")}
        made = {**empty_checkpoint(), "id": str(uuid6()), "channel_values": values, "channel_versions": versions | new}
        about: Any = {"run_id": run, "step": 0, "thread_id": thread, "parents": {"": roots[-1]} if ns else {}}
        put, _ = self.saver._put(config, made, about, new)  # type: ignore[arg-type]

        def written(tx: Tx) -> None:
            put(tx)
            if lost:
                raise Lost

        self.database.submit(written).result()
        mine[ns, made["id"]] = Saved(
            parent, self.stored(values), dict(made["channel_versions"]), run, about["parents"].get("")
        )

    @rule(
        thread=st.sampled_from(THREADS),
        run=st.sampled_from(("r1", "r2")),
        task=st.sampled_from(("t1", "t2")),
        what=value,
    )
    def write(self, thread: str, run: str, task: str, what: Any) -> None:
        tips = [at for at in self.roots(thread) if self.is_tip(thread, at)]
        if tips:
            config = place(thread, "", tips[-1])
            config["configurable"]["run_id"] = run
            self.saver.put_writes(config, [("other", what)], task)
            self.threads[thread]["", tips[-1]].writes.setdefault(task, (run, self.stored(what)))

    @rule(source=st.sampled_from(THREADS), which=st.integers(0, 30))
    def fork(self, source: str, which: int) -> None:
        free = [thread for thread in THREADS if not self.threads.get(thread)]
        if not (roots := self.roots(source)) or not free:
            return
        at, target, mine = roots[which % len(roots)], free[0], self.threads[source]
        before = self.database.query(_rows).result()
        self.database.submit(lambda tx: forks.fork(tx, source, at, target)).result()
        tip, chain, above = self.is_tip(source, at), [at], mine["", at].parent
        while above and ("", above) in mine:
            chain.append(above)
            above = mine["", above].parent
        lie_at = {key: (one.root and self.stored_at(source, one.root)) or key[1] for key, one in mine.items()}
        shared = {key: one for key, one in mine.items() if lie_at[key] in chain}
        if not tip:
            shared = {key: one for key, one in shared.items() if one.root != at}
        self.threads[target] = copy.deepcopy(shared)
        if not tip:
            self.threads[target]["", at].writes = {}
        if tip and len(chain) > 1 and not any(one.root == at for one in mine.values()):
            assert self.database.query(_rows).result() - before <= 4 + 2 * len(mine["", at].writes)

    @rule(source=st.sampled_from(THREADS))
    def copy(self, source: str) -> None:
        free = [thread for thread in THREADS if not self.threads.get(thread)]
        if self.threads.get(source) and free:
            self.saver.copy_thread(source, free[0])
            self.threads[free[0]] = copy.deepcopy(self.threads[source])

    @rule(thread=st.sampled_from(THREADS))
    def delete(self, thread: str) -> None:
        self.saver.delete_thread(thread)
        self.threads.pop(thread, None)

    @rule(thread=st.sampled_from(THREADS))
    def prune(self, thread: str) -> None:
        self.saver.prune([thread])
        mine = self.threads.get(thread, {})
        newest = {ns: max(at for name, at in mine if name == ns) for ns, _ in mine}
        self.threads[thread] = {key: one for key, one in mine.items() if newest[key[0]] == key[1]}
        for one in self.threads[thread].values():
            one.parent = None

    @rule(run=st.sampled_from(("r1", "r2")))
    def undo(self, run: str) -> None:
        self.saver.delete_for_runs([run])
        for thread, mine in self.threads.items():
            self.threads[thread] = {key: one for key, one in mine.items() if one.run != run}
            for one in self.threads[thread].values():
                one.writes = {task: written for task, written in one.writes.items() if written[0] != run}

    @rule()
    def restart(self) -> None:
        asyncio.run(self.database.close())
        self.open()

    @invariant()
    def each_thread_has_what_it_should_have(self) -> None:
        for thread, mine in self.threads.items():
            found = list(self.saver.list({"configurable": {"thread_id": thread}}))
            keys = [(one.config["configurable"]["checkpoint_ns"], one.checkpoint["id"]) for one in found]
            assert sorted(keys) == sorted(mine)
            assert [at for _, at in keys] == sorted((at for _, at in keys), reverse=True)
            for key, one in zip(keys, found, strict=True):
                self.same(thread, mine[key], one)
                self.same(thread, mine[key], self.saver.get_tuple(place(thread, *key)))
            for ns in {ns for ns, _ in mine}:
                head = self.saver.get_tuple(place(thread, ns))
                assert head and head.checkpoint["id"] == max(at for name, at in mine if name == ns)

    def same(self, thread: str, wanted: Saved, found: CheckpointTuple | None) -> None:
        assert found is not None
        assert found.checkpoint["channel_values"] == wanted.values
        assert found.checkpoint["channel_versions"] == wanted.versions
        assert (found.metadata["run_id"], found.metadata["thread_id"]) == (wanted.run, thread)
        above = found.parent_config and found.parent_config["configurable"]["checkpoint_id"]
        assert above == wanted.parent
        assert {task: what for task, _, what in found.pending_writes or []} == {
            task: what for task, (_, what) in wanted.writes.items()
        }

    @invariant()
    def nothing_is_stored_that_nobody_holds(self) -> None:
        assert not self.read("SELECT 1 FROM blobs WHERE blob_id NOT IN (SELECT blob_id FROM blob_refs)")
        assert not self.read("SELECT 1 FROM blob_refs WHERE blob_id NOT IN (SELECT blob_id FROM blobs)")


def _said(held: list[Any], said: list[Any], how: str) -> list[Any]:
    if how == "append" or not held:
        return [*held, *said]
    if how == "edit":
        return [*held[:-1], said[0]]
    if how == "remove":
        return held[1:]
    held[0].additional_kwargs["changed"] = len(held)
    return held


def _rows(tx: Tx) -> int:
    tables = ("checkpoints", "writes", "blobs", "blob_refs", "bases", "blob_owners")
    return sum(tx.all(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in tables)


def place(thread: str, ns: str = "", at: str | None = None) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, **({"checkpoint_id": at} if at else {})}}


@pytest.mark.parametrize("serde", [Serializer(), SealedSerializer((), Toy())], ids=["plain", "sealed"])
def test_any_story_of_threads(serde: Serializer, tmp_path: Path) -> None:
    asyncio.run(SqliteDatabase(tmp_path / "empty.sqlite", prepare=migrate_sqlite).close())
    machine = type("Case", (Story,), {"template": tmp_path / "empty.sqlite", "serde": serde})
    many = int(os.environ.get("THREADMILL_STORIES", "25"))
    run_state_machine_as_test(machine, settings=settings(max_examples=many, stateful_step_count=20, deadline=None))
