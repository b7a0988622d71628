"""A socket answers every frame, whatever is in it, and stays open."""

import json

import httpx
import pytest
from serving import Server
from websockets.sync.client import connect

FRAMES: list[str | bytes] = [
    "{", "null", "[]", '"x"', "\0", "[" * 100_000, b"\xff\xfe", b"", b"\xed\xa0\x80", '{"id": 1e400, "method": "x"}',
    '{"id": 1, "method": "run.start", "params": {"assistant_id": "echo", "input": ' + '{"a":' * 400 + "1" + "}" * 402,
    '{"id": 2, "method": "state.get", "params": {"namespace": [null]}}',
    '{"id": 3, "method": "subscription.subscribe", "params": {"channels": [{}], "since": "x", "thread_id": 5}}',
    '{"id": 4, "method": "subscription.unsubscribe", "params": {"subscription_id": []}}',
    '{"id": 5, "method": "a\\u0000b", "params": []}',
]  # fmt: skip


@pytest.mark.parametrize("path", ["/threads/{}/stream/events", "/threads/{}/stream", "/ws"])
def test_a_socket_answers_any_frame(server: Server, http: httpx.Client, thread: str, path: str) -> None:
    with connect(server.url.replace("http", "ws", 1) + path.format(thread), max_size=None) as socket:
        if path == "/ws":
            assert json.loads(socket.recv(timeout=10))["type"] == "ready"
        for frame in FRAMES:
            socket.send(frame)
            answer = json.loads(socket.recv(timeout=10))
            assert answer["type"] == "error" and len(answer["message"]) < 1000, (frame[:80], answer)
    assert http.get("/ok").status_code == 200
