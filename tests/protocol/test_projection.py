"""How logged events become envelopes, where a live run would hardly show it."""

from typing import Any

import orjson

from threadmill.events.event import END, METADATA, ROOM, Event
from threadmill.streaming.projection import Projection
from threadmill.streaming.v2 import Wanted, cursor

CALLS = 40  # blocks of one message: more envelopes than there is room for


def told(seq: int, method: str, data: Any) -> Event:
    return Event(seq, "run", method, (), orjson.dumps(data), 1)


def events() -> list[Event]:
    calls = [{"name": f"t{n}", "args": {}, "id": f"c{n}"} for n in range(CALLS)]
    message = {"type": "ai", "id": "m", "content": "many", "tool_calls": calls, "response_metadata": {}}
    return [
        told(1, METADATA, {"run_id": "run", "attempt": 1}),
        told(1 + ROOM, "messages", [message, {}]),
        told(1 + 2 * ROOM, END, {"status": "success"}),
    ]


def test_more_envelopes_than_there_is_room_for_keep_their_order_and_their_own_names() -> None:
    projection = Projection("run", "graph")
    made = [one for event in events() for one in projection(event)]
    assert [one.seq for one in made] == sorted(one.seq for one in made)
    assert len({one.event_id for one in made}) == len(made)
    assert max(one.seq for one in made if one.method == "messages") == 2 * ROOM
    assert [orjson.loads(one.data)["event"] for one in made if one.method == "lifecycle"] == ["running", "completed"]


def test_a_whole_message_without_words_is_not_spoken() -> None:
    """A node gave it, no model said it: LangGraph's server tells its calls by the state and the tools alone."""
    call = {"name": "t", "args": {}, "id": "c"}
    projection = Projection("run", "graph")
    given = [
        {"type": "ai", "id": name, "content": text, "tool_calls": [call]} for name, text in (("a", ""), ("b", "b"))
    ]
    made = [one for n, message in enumerate(given) for one in projection(told(n + 1, "messages", [message, {}]))]
    assert {orjson.loads(one.data)["id"] for one in made} == {"b"}
    chunk = {**given[0], "type": "AIMessageChunk", "id": "c", "chunk_position": "last"}
    assert projection(told(9, "messages", [chunk, {}])) != []


def test_what_is_no_cursor_is_the_beginning() -> None:
    assert [cursor(one) for one in (-1, 0, "5", 1.5, True, [], 2**63, 2**80)] == [0] * 8
    assert cursor(None) is None, "who gives none at all is told so, see docs/decisions/0011"
    assert [cursor(one) for one in (1, 2**62)] == [1, 2**62]


def test_a_namespace_matches_by_name_and_by_task() -> None:
    def takes(prefix: list[str], path: tuple[str, ...], depth: int | None = None) -> bool:
        wanted = Wanted.from_params({"channels": ["values"], "namespaces": [prefix], "depth": depth})
        envelope = Projection("run", "g")(Event(1, "run", "values", path, b"{}", 1))[-1]
        return wanted.takes(envelope)

    assert takes(["child"], ("child:1",)) and takes(["child:1"], ("child:1", "deep:2"))
    assert not takes(["child:2"], ("child:1",)) and not takes(["child"], ("children:1",))
    assert not takes(["child"], ()) and not takes([], ("a:1", "b:2"), 1) and takes([], ("a:1",), 1)
