"""What a graph hands on and nobody can store becomes a visible placeholder, and its thread goes on."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hostile.conftest import PROJECT
from serving import Server

PAIR = "half ? pair"
DEEP = "<nested too deeply>"
THINGS: dict[str, Any] = {  # by name in project/careless.py: a part of what is shown in its place
    "file": "<_io.TextIOWrapper",
    "lambda": "<builtins.function",
    "class": "Holder",
    "generator": "<builtins.generator",
    "lock": "<_thread.lock",
    "model": {"held": "<builtins.object"},
    "model of a lambda": {"held": "<builtins.function"},
    "itself": {"loop": "<contains itself>"},
    "itself, twice": {"a": "<contains itself>", "b": ["<contains itself>"]},
    "nested": DEEP,
    "rather nested": DEEP,
    "surrogates": PAIR,
    "surrogate key": {"?": {"?": "?"}},
    "surrogates in a message": {"content": PAIR, "additional_kwargs": {"?": "?"}},
    "nul": {"a\0b": "c\0d"},
    "huge": [str(2**70), str(-(2**70)), {str(2**80): "<an integer of 16610 bits>"}],
    "not numbers": [None, None, None],
    "tuple keys": {"None": "none", "1.5": "float"},
    "secretive": "Secretive",
    "obliging": "",
    "exception": "Silent",
    "module": "<builtins.module",
    "set of mixed": [],
    "bidirectional": "\u202eevil\u2066\u200b\u200d\ufeff🏳️‍🌈é",
}
MODES = ["values", "updates", "custom", "messages", "tasks", "checkpoints", "debug"]


def shows(shown: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(shown, dict) and all(key in shown and shows(shown[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return isinstance(shown, list) and len(shown) >= len(wanted) and all(map(shows, shown, wanted))
    return wanted == shown or (isinstance(wanted, str) and wanted in json.dumps(shown, ensure_ascii=False))


class Conversation:
    """A thread whose first run hands on a thing, and everything a client can read of it."""

    def __init__(self, http: httpx.Client, thing: str, how: str, modes: list[str] = MODES) -> None:
        self.http, self.thing = http, thing
        self.place = f"/threads/{http.post('/threads', json={}).json()['thread_id']}"
        asked = {"input": {"thing": thing, "how": how}, "stream_mode": modes, "stream_resumable": True}
        answer = http.post(f"{self.place}/runs/stream", json={"assistant_id": "careless", **asked})
        self.run, self.streamed = answer.headers["content-location"], answer.text

    def data(self, event: str) -> list[Any]:
        frames = [frame.split("\n") for frame in self.streamed.split("\n\n")]
        return [json.loads(frame[1].removeprefix("data: ")) for frame in frames if frame[0] == f"event: {event}"]

    @property
    def status(self) -> str:
        return str(self.http.get(self.run).json()["status"])

    def check(self, status: str = "success") -> None:
        assert self.status == status, (self.thing, self.data("error"))
        for rest in ("", "/state", "/history"):
            assert self.http.get(self.place + rest).status_code == 200, (self.thing, rest)
        replayed = self.http.get(f"{self.run}/stream", headers={"Last-Event-ID": "-1"})
        assert replayed.text == self.streamed, self.thing

    def goes_on(self) -> None:
        body = {"assistant_id": "careless", "input": {"how": "nothing", "messages": "and now?"}}
        answer = self.http.post(f"{self.place}/runs/wait", json=body).json()
        assert answer["messages"][-1]["content"] == "and now?", (self.thing, answer)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("careless") / "data", PROJECT).start()
    yield server
    server.kill()


def test_a_node_may_return_anything(own: Server) -> None:
    with httpx.Client(base_url=own.url, timeout=20) as http:
        held = [Conversation(http, thing, "return") for thing in THINGS]
        for one in held:
            one.check()
            for values in (one.data("values")[-1], http.get(f"{one.place}/state").json()["values"]):
                assert shows(values["got"], THINGS[one.thing]), (one.thing, values["got"])
    own.restart()
    with httpx.Client(base_url=own.url, timeout=20) as http:
        for one in held:
            one.http = http
            one.check()
            got = http.get(f"{one.place}/state").json()["values"]["got"]
            one.goes_on()
            assert http.get(f"{one.place}/state").json()["values"]["got"] == got


def test_a_writer_may_be_given_anything(http: httpx.Client) -> None:
    for thing, wanted in THINGS.items():
        one = Conversation(http, thing, "write")
        one.check()
        bare, wrapped = one.data("custom")
        assert shows(bare, wanted) and shows(wrapped["wrapped"], wanted), (thing, bare)
        one.goes_on()


def test_a_person_may_be_asked_anything(http: httpx.Client) -> None:
    for thing, wanted in THINGS.items():
        one = Conversation(http, thing, "ask")
        one.check()
        ((asked,),) = http.get(one.place).json()["interrupts"].values()
        assert shows(asked["value"]["wrapped"], wanted), (thing, asked)
        answer = {"assistant_id": "careless", "command": {"resume": {asked["id"]: "yes"}}}
        assert http.post(f"{one.place}/runs/wait", json=answer).json()["got"] == "yes", thing
        one.goes_on()


def test_a_message_may_carry_anything(http: httpx.Client) -> None:
    for thing, wanted in THINGS.items():
        one = Conversation(http, thing, "say")
        one.check()
        (said,) = http.get(f"{one.place}/state").json()["values"]["messages"]
        assert shows(said["additional_kwargs"]["kept"], wanted), (thing, said)
        one.goes_on()


def test_a_list_that_only_looks_like_messages_may_hold_anything(http: httpx.Client) -> None:
    for thing in THINGS:
        place = f"/threads/{http.post('/threads', json={}).json()['thread_id']}"
        asked = {"assistant_id": "loose", "input": {"thing": thing}}
        with http.stream("POST", f"{place}/runs/wait", json=asked) as answer:
            assert next(answer.iter_text()).strip(), thing  # at once, not after an end that could not be written
        shown = http.get(place).json()
        assert (shown["status"], shown["message_count"]) == ("idle", 3), thing


@pytest.mark.parametrize("thing", ["nested", "huge", "secretive", "exception", "itself", "surrogates"])
def test_a_tool_may_answer_with_anything(http: httpx.Client, thing: str) -> None:
    """What its answer is made of is LangChain's to say: where that fails, so does the run, and nothing else."""
    one = Conversation(http, thing, "call")
    one.check(one.status)
    assert one.status == ("success" if thing in ("itself", "surrogates") else "error")
    one.goes_on()


def test_an_exception_that_cannot_say_what_it_is_still_ends_its_run(http: httpx.Client) -> None:
    one = Conversation(http, "nul", "raise")
    one.check("error")
    told = {"error": "Silent", "message": "<its message cannot be read>"}
    assert one.data("error") == [told]
    assert http.get(one.place).json()["error"] == told
    one.goes_on()


@pytest.mark.parametrize(("how", "thing"), [("call", "text"), ("return", "text"), ("return", "bytes")])
def test_ten_megabytes_from_a_node_or_a_tool_are_kept(http: httpx.Client, how: str, thing: str) -> None:
    one = Conversation(http, thing, how, ["values"])
    one.check()
    values = http.get(f"{one.place}/state").json()["values"]
    assert len(values["messages"][-1]["content"] if how == "call" else values["got"]) >= 10 << 20
    one.goes_on()
