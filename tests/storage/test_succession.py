"""Whole states that are read one after the other: as if each were read by itself, at the price of what is new."""

from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from threadmill_checkpoints.saver.parts import part
from threadmill_checkpoints.serde import Serializer, Unreadable
from threadmill_checkpoints.succession import Succession

# From few: to make a message takes longer than all that is tested with it.
messages = st.sampled_from(
    [HumanMessage(text, id=id) for text in ("", "y", "\u4f60") for id in "abc"] + [AIMessage("x")]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
item = messages | anything
states = st.dictionaries(st.sampled_from(("messages", "other")), st.lists(item, max_size=20) | anything, max_size=2)


def packed(values: Any) -> bytes:
    """As LangGraph's saver writes it."""
    return JsonPlusSerializer().dumps_typed({**empty_checkpoint(), "channel_values": values})[1]


@given(st.lists(states, max_size=6), st.integers(0, 19))
def test_it_reads_what_each_would_be_by_itself(found: list[dict[str, Any]], at: int) -> None:
    """Among them are states that go on from the one before, and such as lost something."""
    serde = Serializer()
    succession = Succession(serde)
    for state in found:
        longer = {name: [*one, HumanMessage("new")] for name, one in state.items() if isinstance(one, list)}
        shorter = {name: [*one[:at], *one[at + 1 :]] for name, one in longer.items()}
        for values in (state, longer, shorter, state):
            checkpoint = succession.read("msgpack", data := packed(values))
            assert checkpoint == serde.unpack("msgpack", data)
            for listed in (one for one in checkpoint["channel_values"].values() if isinstance(one, list)):
                made = [part(serde, one) for one in listed]
                assert [one.key for one in succession.parts(listed)] == [one.key for one in made]


@given(st.binary(max_size=40), st.integers(0, 400), states)
def test_what_is_damaged_is_unreadable_and_nothing_else(junk: bytes, at: int, values: dict[str, Any]) -> None:
    succession, whole = Succession(Serializer()), packed(values)
    succession.read("msgpack", whole)
    for data in (junk, whole[:at], whole[:at] + junk + whole[at:], whole[:at] + junk):
        try:
            succession.read("msgpack", data)
        except Unreadable:
            pass


A_LIST_FOR_A_NAME = b"\x81" + ormsgpack.packb("channel_values") + b"\x81\x90\x90"


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x81\xaechannel_values\xdf\xff\xff\xff\xff", A_LIST_FOR_A_NAME],
)
def test_what_claims_to_be_large_is_not_believed(data: bytes) -> None:
    with pytest.raises(Unreadable):
        Succession(Serializer()).read("msgpack", data)
    twice = b"\x82" + 2 * ormsgpack.packb("channel_values")
    with pytest.raises(Unreadable):
        Succession(Serializer()).read("msgpack", twice[:16] + b"\x81\xa1a\x91\x01" + twice[16:] + b"\x01")


def test_a_conversation_twice_as_long_costs_twice_as_much() -> None:
    class Counting(Serializer):
        taken = 0

        def unpack(self, kind: str, data: bytes) -> Any:
            self.taken += len(data)
            return super().unpack(kind, data)

        def pack(self, obj: Any) -> tuple[str, bytes]:
            self.taken += 100
            return super().pack(obj)

    def cost(turns: int) -> int:
        serde, said = Counting(), list[Any]()
        succession = Succession(serde)
        for turn in range(turns):
            said.append(HumanMessage("q" * 100, id=f"{turn}"))
            succession.parts(succession.read("msgpack", packed({"messages": said}))["channel_values"]["messages"])
        return serde.taken

    assert cost(80) < 2.2 * cost(40)
