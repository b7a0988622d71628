"""Whatever a client sends, it gets what it asked for or a refusal in one sentence, and the server goes on."""

import gzip
import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from hostile.asking import Api
from serving import Server

MEGABYTE = 1 << 20
GRINNING = "\U0001f600"


def brackets(levels: int) -> str:
    return "[" * levels + "]" * levels


def braces(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


TEXTS = [
    '"a\\u0000b"',
    '"\\ud800"',
    '"\\u202e\\u2066\\u200b\\ufeff' + GRINNING + '"',
    '"' + "x" * 100_000 + '"',
    '"../../%2e"',
]
NUMBERS = ["-1", "1.5", "1e400", "NaN", "9" * 400, str(2**63), str(-(2**70))]
KEYS = [
    "$eq",
    "$or",
    "__proto__",
    "a.b",
    "a'; DROP TABLE threads; --",
    '"',
    "]",
    "$[0]",
    "%",
    "_",
    "",
    "\0",
    "\\",
    "é\u202e",
]
SHAPES = [
    "null", "true", "[]", "{}", "[null]", '[{"a": 1}]', '{"a": 1, "a": 2}', '{"\\udc00": 1}',
    json.dumps(dict.fromkeys(KEYS, 1)), braces(120), braces(400), brackets(100_000),
]  # fmt: skip
ODD = [*TEXTS[:3], *NUMBERS[:1], *NUMBERS[4:6], *SHAPES[:1], *SHAPES[4:10]]
VALID = {
    "assistant_id": "careless", "graph_id": "careless", "schedule": "0 0 1 1 *", "namespace": ["a"], "key": "k",
    "value": {}, "version": 1, "thread_ids": [], "checkpoint": {}, "jsonrpc": "2.0", "id": 1,
    "method": "ping", "channels": ["values"],
}  # fmt: skip


def test_any_value_in_any_field_of_any_body_is_taken_or_refused(api: Api) -> None:
    for method, path, operation in api.operations():
        schema, url = api.body(operation), path.format(**api.ids)
        required = {name: VALID.get(name, {}) for name in schema.get("required", ())}
        for name in schema.get("properties", ()):
            rest = "".join(
                f", {json.dumps(key)}: {json.dumps(value)}" for key, value in required.items() if key != name
            )
            for value in ODD:
                body = f"{{{json.dumps(name)}: {value}{rest}}}"
                api.ask(method, url, body, content=f"[{body}]" if path.endswith("/batch") else body)
    assert api.asked > 2000
    assert api.http.get(f"/threads/{api.ids['thread_id']}/state").json()["values"]["count"] >= 1


def test_any_other_body_is_taken_or_refused(api: Api) -> None:
    texts = [*TEXTS, *NUMBERS, *SHAPES, "", "{", "\ufeff{}", '{"a":1}{"b":2}', "'", "--", "\0"]
    raw = [b"\xff\xfe\x00", b'{"a": "\xed\xa0\x80"}', gzip.compress(b"{}"), b"\x1f\x8b", b"\x80\x04N."]
    for method, path, operation in api.operations():
        if "requestBody" in operation:
            for content in (*(text.encode() for text in texts), *raw):
                api.ask(method, path.format(**api.ids), content[:80], content=content)


COMMANDS = {
    "run.start": ["assistant_id", "input", "config", "metadata", "multitask_strategy", "if_interrupted"],
    "run.stop": ["run_id"],
    "input.respond": ["interrupt_id", "response", "responses", "namespace", "update", "goto"],
    "agent.getTree": ["run_id"],
    "state.get": ["namespace", "keys"],
    "state.listCheckpoints": ["namespace", "limit", "before"],
    "state.fork": ["checkpoint_id", "input", "config"],
    "subscription.subscribe": ["channels", "namespaces", "depth", "since"],
}
TOOLS = {
    "initialize": ["protocolVersion"],
    "tools/list": ["cursor"],
    "tools/call": ["name", "arguments"],
    "message/send": ["message", "configuration"],
    "tasks/get": ["id", "historyLength"],
    "tasks/cancel": ["id"],
}


def test_any_parameter_of_any_command_is_taken_or_refused(api: Api) -> None:
    for places, methods in (
        (["/threads/{thread_id}/commands"], COMMANDS),
        (["/mcp", "/a2a/{assistant_id}"], TOOLS),
    ):
        for method, names in methods.items():
            for name in names:
                for value in ODD:
                    rest = "" if name == "assistant_id" or method != "run.start" else ', "assistant_id": "careless"'
                    params = f"{{{json.dumps(name)}: {value}{rest}}}"
                    body = f'{{"jsonrpc": "2.0", "id": 1, "method": "{method}", "params": {params}}}'
                    for place in places:
                        api.ask("POST", place.format(**api.ids), body, content=body)


@pytest.mark.parametrize("levels", [129, 1000, 100_000])
def test_a_body_too_deep_to_be_shown_again_is_refused(http: httpx.Client, thread: str, levels: int) -> None:
    asked: list[tuple[str, str, str]] = [
        ("POST", "/threads", '{"metadata": %s}'),
        ("POST", "/threads/search", '{"metadata": %s}'),
        ("POST", "/threads/search", '{"values": %s}'),
        ("PATCH", f"/threads/{thread}", '{"metadata": %s}'),
        ("POST", f"/threads/{thread}/runs/wait", '{"assistant_id": "careless", "input": %s}'),
        ("POST", "/runs/crons", '{"assistant_id": "careless", "schedule": "0 0 1 1 *", "input": %s}'),
        ("PUT", "/store/items", '{"namespace": ["a"], "key": "k", "value": %s}'),
        ("POST", "/mcp", '{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": %s}'),
    ]
    for method, path, body in asked:
        answer = http.request(method, path, content=body % braces(levels))
        if levels > 1000:  # the parser itself gives up
            assert answer.status_code in (400, 422), path
        else:
            assert (answer.status_code, answer.json()["detail"]) == (
                422,
                "The body is nested more than 128 levels deep.",
            ), path


def test_what_is_as_deep_as_allowed_comes_back_whole(http: httpx.Client, thread: str) -> None:
    value = json.loads(braces(126))
    http.patch(f"/threads/{thread}", json={"metadata": value})
    body = {"assistant_id": "careless", "input": {"got": value["a"]}, "stream_mode": ["debug", "checkpoints", "values"]}
    streamed = http.post(f"/threads/{thread}/runs/stream", json=body).text
    shown = http.get(f"/threads/{thread}").json()
    assert shown["metadata"]["a"] == value["a"]
    assert shown["values"]["got"] == value["a"]
    assert http.get(f"/threads/{thread}/history").json()[0]["values"]["got"] == value["a"]
    assert "nested too deeply" not in streamed
    (found,) = http.post("/threads/search", json={"metadata": value}).json()
    assert found["thread_id"] == thread


IDS = [
    "%00", "%ff", "%ed%a0%80", "a%2Fb", "..%2f..%2fetc%2fpasswd", "%2e%2e", quote(GRINNING), "x" * 10_000, "-1", "null",
    "٠" * 31, "' OR 1=1 --", "%25", "*", "{}", "0" * 31, "00000000-0000-0000-0000-00000000000g",
]  # fmt: skip


def test_anything_for_an_id_is_refused_or_not_found(api: Api) -> None:
    for method, path, operation in api.operations():
        for name in [one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"]:
            for text in IDS:
                url = path.format(**api.ids | {name: text})
                body = json.dumps(VALID) if "requestBody" in operation else None
                api.ask(method, url, text, content=f"[{body}]" if path.endswith("/batch") else body)


def test_every_way_to_write_a_uuid_means_the_same_thread(http: httpx.Client, thread: str) -> None:
    for text in (thread.upper(), f"%7B{thread}%7D", f"urn:uuid:{thread}", thread.replace("-", "")):
        assert http.get(f"/threads/{text}").json()["thread_id"] == thread
        assert (
            http.post("/threads", json={"thread_id": text.replace("%7B", "{").replace("%7D", "}")}).status_code == 409
        )


QUERIES = [
    "%00",
    "%ff",
    "%ed%a0%80",
    "",
    "-1",
    "1e3",
    "NaN",
    "9" * 30,
    "x" * 8000,
    quote(GRINNING),
    "[]",
    "{}",
    "%25",
    "';--",
]


def test_any_query_is_taken_or_refused(api: Api) -> None:
    for method, path, operation in api.operations():
        for name in [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]:
            for value in QUERIES:
                body = json.dumps(VALID) if "requestBody" in operation else None
                api.ask(method, f"{path.format(**api.ids)}?{name}={value}", value, content=body)


HEADERS: list[bytes] = [
    b"",
    b"-1",
    b"-",
    b"-9",
    b"0",
    b"9" * 30,
    b"1-0",
    b"garbage",
    b"\xff\xfe",
    b"a" * 300,
    b"'; --",
    b"1\t2",
]


def test_any_header_is_taken_or_refused(api: Api) -> None:
    names = (
        "Last-Event-ID",
        "Idempotency-Key",
        "Prefer",
        "X-Request-Id",
        "Accept",
        "Authorization",
        "mcp-protocol-version",
    )
    paths = (
        "/threads/{thread_id}/stream",
        "/threads/{thread_id}/runs/{run_id}/stream",
        "/runs/{run_id}/stream",
        "/info",
    )
    for value in HEADERS:
        for name in names:
            for path in paths:
                api.ask("GET", path.format(**api.ids), (name, value), headers={name: value})
            for path in ("/runs", "/threads/{thread_id}/runs/wait", "/mcp"):
                api.ask("POST", path.format(**api.ids), (name, value), headers={name: value}, json=VALID)


def test_a_stream_resumed_after_anything_but_its_own_event_starts_from_the_beginning(
    http: httpx.Client, thread: str
) -> None:
    body = {"assistant_id": "careless", "input": {}, "stream_resumable": True}
    whole = http.post(f"/threads/{thread}/runs/stream", json=body)
    place = f"{whole.headers['content-location']}/stream"
    for odd in (b"-1", b"-", b"garbage", b"-7", b"9" * 40, b"1e9", b"0x10", b"\xd9\xa1", b"1.5"):
        assert http.get(place, headers={"Last-Event-ID": odd}).text == whole.text, odd


def test_an_idempotency_key_of_any_characters_is_one_key(http: httpx.Client) -> None:
    for key in (b"k" * 255, b"'; DROP TABLE runs; --", b"\xc3\xa9\xff", b"%", b"_"):
        key += uuid.uuid4().hex.encode() if len(key) < 200 else b""
        runs = [http.post("/runs", json=VALID, headers={"Idempotency-Key": key}).json()["run_id"] for _ in range(2)]
        assert runs[0] == runs[1], key
    long = http.post("/runs", json=VALID, headers={"Idempotency-Key": "k" * 256})
    assert (long.status_code, [*long.json()]) == (422, ["detail"])


def test_a_long_string_is_kept_or_refused_but_not_repeated(http: httpx.Client, thread: str) -> None:
    long = "x" * (10 * MEGABYTE)
    assert http.patch(f"/threads/{thread}", json={"metadata": {"long": long}}).json()["metadata"]["long"] == long
    for path, body in (
        (f"/threads/{thread}/runs/wait", {"assistant_id": long}),
        ("/assistants", {"graph_id": long}),
        ("/threads", {"thread_id": long}),
        ("/threads/search", {"sort_by": long}),
        ("/threads/search", {"extract": {"a": long}}),
        ("/threads/search", {"select": [long]}),
        ("/store/items/search", {"namespace_prefix": [long]}),
        ("/runs/crons", {"assistant_id": "careless", "schedule": long}),
    ):
        answer = http.post(path, json=body)
        assert 400 <= answer.status_code < 500, path
        assert len(answer.text) < 5000, path


# Below HTTP


@pytest.fixture
def wire(server: Server) -> Iterator[socket.socket]:
    place = urlsplit(server.url)
    assert place.port is not None
    with socket.create_connection(("127.0.0.1", place.port), 10) as connection:
        yield connection


def exchange(wire: socket.socket, request: bytes) -> str:
    """The status line of the answer; empty when the connection is closed without one."""
    wire.sendall(request)
    return wire.recv(65536).decode("latin-1").partition("\r\n")[0]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /threads HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n", "413"),
        (b"POST /threads HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n{}", "400"),
        (b"POST /threads HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "400"),
        (b"POST /threads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
        (
            b"POST /threads HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (b"GET /threads/\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (b"GET /ok HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\x01b\r\n\r\n", "400"),
        (b"NONSENSE\r\n\r\n", "400"),
    ],
)
def test_a_request_that_lies_about_itself_is_refused(
    wire: socket.socket, http: httpx.Client, request_: bytes, status: str
) -> None:
    assert f" {status} " in exchange(wire, request_) + " "
    assert http.get("/ok").status_code == 200


def test_half_a_body_makes_nothing(wire: socket.socket, http: httpx.Client) -> None:
    place = str(uuid.uuid4())
    body = json.dumps({"thread_id": place}).encode()
    wire.sendall(b"POST /threads HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body) + 5, body))
    wire.close()
    assert http.get(f"/threads/{place}").status_code == 404


def test_chunks_beyond_the_limit_are_refused(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * MEGABYTE

    try:
        assert http.post("/threads", content=chunks()).status_code == 413
    except httpx.WriteError:  # closed while we were still talking
        pass
    assert http.get("/ok").status_code == 200


def test_a_filter_with_any_keys_is_data(api: Api, http: httpx.Client, thread: str) -> None:
    odd: dict[str, Any] = dict.fromkeys(KEYS, "here")
    http.patch(f"/threads/{thread}", json={"metadata": odd})
    http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "careless", "input": {"got": odd}})
    for key in KEYS:
        for body in ({"metadata": {key: "here"}, "ids": [thread]}, {"values": {"got": {key: "here"}}, "ids": [thread]}):
            assert [one["thread_id"] for one in http.post("/threads/search", json=body).json()] == [thread], (key, body)
            elsewhere = json.loads(json.dumps(body).replace('"here"', '"there"'))
            assert http.post("/threads/count", json=elsewhere).json() == 0, key
    http.put("/store/items", json={"namespace": KEYS[4:5], "key": "%", "value": odd})
    for key in KEYS:
        if key.startswith("$") or key == "\0":  # operators of the store's filter, and what it refuses
            continue
        found = http.post("/store/items/search", json={"namespace_prefix": KEYS[4:5], "filter": {key: "here"}}).json()
        assert [item["key"] for item in found["items"]] == ["%"], key
    paths = {"a": "values.got", "b": "values.got['; DROP", "c": "values..got", "d": "values[999999999999999999999].x"}
    (row,) = http.post("/threads/search", json={"ids": [thread], "extract": paths, "select": ["thread_id"]}).json()
    assert row["extracted"]["a"] == odd
