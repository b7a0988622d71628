"""Stored bytes are data: whatever they say, loading them runs nothing and imports nothing that is not allowed."""

import ast
import json
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Interrupt

from threadmill_checkpoints.serde import Serializer, Unreadable

ROOT = Path(__file__).parents[2]
TAGS = ("msgpack", "json", "bytes", "bytearray", "null", "pickle", "", "msgpack\0", "yaml")
BAIT = Path(__file__).with_name("bait.py")
WEAPONS: list[tuple[str, str, Any]] = [
    ("os", "system", "touch {}"),
    ("posix", "system", "touch {}"),
    ("subprocess", "Popen", ["touch", "{}"]),
    ("subprocess", "check_output", ["touch", "{}"]),
    ("builtins", "eval", "open('{}', 'w')"),
    ("builtins", "exec", "open('{}', 'w')"),
    ("builtins", "open", "{}"),
    ("pathlib", "Path.touch", "{}"),
    ("pickle", "loads", b"cos\nsystem\n(S'touch {}'\ntR."),
    ("importlib", "import_module", "hostile.bait"),
    ("hostile.bait", "anything", 1),
    ("runpy", "run_path", str(BAIT)),
    ("threadmill_checkpoints.serde", "Serializer", 1),
    ("langchain_core.load", "loads", '{"lc": 1, "type": "constructor", "id": ["os", "system"]}'),
]

loads = Serializer().loads_typed


def load(tag: str, data: bytes) -> Any:
    """The value, or None when it is refused in the one way it may be."""
    try:
        return loads((tag, data))
    except Unreadable:
        return None


def inert(value: Any) -> bool:
    """Data of types that are allowed, all the way down."""
    if isinstance(value, dict):
        return all(inert(key) and inert(item) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(inert, value))
    return not callable(value) or isinstance(value, str | bytes)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "weapon-went-off"


def ext(code: int, data: bytes) -> bytes:
    return b"\xc9" + struct.pack(">Ib", len(data), code) + data


def test_no_extension_code_calls_what_it_names(marker: Path) -> None:
    before = set(sys.modules)
    for module, name, argument in WEAPONS:
        aimed = _aimed(argument, marker)
        for shape in (aimed, [aimed], {"args": aimed}, {}):
            for method in ("__call__", "__init__", "model_validate_json", "from_bytes", "touch"):
                inner = ormsgpack.packb((module, name, shape, method))
                for code in (*range(-1, 12), 127, -128):
                    assert inert(load("msgpack", ext(code, inner))), (code, module, name)
                    assert inert(load("msgpack", b"\x92\x01" + ext(code, ext(code, inner)))), (code, module, name)
    assert not marker.exists()
    assert "hostile.bait" not in sys.modules
    assert not {"runpy", "langchain_core.load.load"} & (set(sys.modules) - before)


def _aimed(argument: Any, marker: Path) -> Any:
    if isinstance(argument, list):
        return [_aimed(one, marker) for one in argument]
    if isinstance(argument, bytes):
        return argument.replace(b"{}", str(marker).encode())
    return argument.replace("{}", str(marker)) if isinstance(argument, str) else argument


@pytest.mark.parametrize("tag", ["json", "pickle", "yaml", "", "Msgpack", "msgpack\0"])
def test_only_the_types_we_write_are_read(tag: str) -> None:
    """LangGraph's json makes objects of LangChain's constructors, and reads secrets of the environment."""
    said = {"lc": 1, "type": "secret", "id": ["PATH"]}
    for data in (json.dumps(said).encode(), ormsgpack.packb(said), pickle.dumps(said)):
        with pytest.raises(Unreadable):
            loads((tag, data))


def test_pickle_is_unknown(marker: Path) -> None:
    class Weapon:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {marker}",)

    armed = pickle.dumps(Weapon())
    with pytest.raises(Unreadable):
        loads(("pickle", armed))
    assert inert(load("msgpack", armed))
    assert loads(("bytes", armed)) == armed
    assert not marker.exists()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(tag=st.sampled_from(TAGS) | st.text(max_size=8), data=st.binary(max_size=200))
def test_random_bytes_of_any_type_are_refused_or_data(tag: str, data: bytes) -> None:
    assert inert(load(tag, data))


VALID = [
    Serializer().dumps_typed(value)
    for value in (
        {"messages": [HumanMessage("hi", id="1"), AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "2"}])]},
        (Interrupt({"question": "?"}, id="3"),),
        {"a": [1, 2.5, None, {"b": b"\x00"}], "s": {1, 2}},
    )
]


@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    valid=st.sampled_from(VALID),
    edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 9),
)
def test_a_damaged_state_is_refused_or_data(valid: tuple[str, bytes], edits: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(valid[1])
    for place, byte in edits:
        damaged[place % len(damaged)] = byte
    assert inert(load(valid[0], bytes(damaged[: len(damaged) - cut])))


@pytest.mark.parametrize(
    "blob",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of four billion
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x00",
        b"\x91" * 100_000,
        b"\x81\xa1a" * 100_000,
    ],
)
def test_a_size_that_lies_takes_no_memory(blob: bytes) -> None:
    with pytest.raises(Unreadable):
        loads(("msgpack", blob))


def test_extensions_inside_extensions_end() -> None:
    data = b"\x01"
    for _ in range(3000):
        data = ormsgpack.packb(ormsgpack.Ext(7, data))
    assert inert(load("msgpack", data))


FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "jsonpickle", "joblib"}


def test_no_module_of_ours_can_unpickle_or_evaluate() -> None:
    read = 0
    for place in (ROOT / "server", ROOT / "checkpoints", ROOT / "graph"):
        for file in place.rglob("*.py"):
            read += 1
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    names = {one.name.partition(".")[0] for one in node.names}
                elif isinstance(node, ast.ImportFrom):
                    names = {(node.module or "").partition(".")[0]}
                elif isinstance(node, ast.Call):
                    called = node.func
                    names = {called.id} & {"eval", "exec", "compile"} if isinstance(called, ast.Name) else set()
                    names |= {one.arg for one in node.keywords if one.arg == "pickle_fallback"}
                    assert not names, (file, node.lineno)
                    continue
                else:
                    continue
                assert not names & FORBIDDEN, (file, node.lineno)
    assert read > 60
