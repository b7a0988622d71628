"""Behind nginx as Debian ships it, gzip on: a silent tool, streams of tokens, SSE and WebSocket all survive.

The short form shrinks nginx's read timeout, the heartbeat and the silence alike (2 s, 0.3 s, 4 s). The long form takes
the real ones: THREADMILL_SILENCE=300 has nginx wait its default of 60 s, against the default heartbeat.
"""

import asyncio
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from langgraph_sdk import get_client
from serving import Server, free_port
from websockets.asyncio.client import connect

SILENCE = float(os.environ.get("THREADMILL_SILENCE", "4"))
LONG = SILENCE > 60
pytestmark = pytest.mark.timeout(SILENCE + 60)

# Debian's own nginx.conf in what matters here (its gzip compresses text/html only, ours what a careless one would), and
# a location as nginx's documentation has it for WebSockets. No proxy_buffering off, no timeouts: that is our part.
CONF = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 768; }}
http {{
  access_log off; sendfile on; tcp_nopush on; gzip on; gzip_proxied any; gzip_types *;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port};
    {timeout}
    location / {{ proxy_pass {url}; }}
    location ~ /ws$|/stream/events$ {{
      proxy_pass {url}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $http_host;
    }}
  }}
}}
"""


@pytest.fixture
def proxied(start_server: Callable[..., Server], tmp_path: Path) -> Iterator[str]:
    """The URL of nginx in front of a server."""
    if shutil.which("nginx") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have nginx: .ci/run installs it")
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    server = start_server() if LONG else start_server(THREADMILL_HEARTBEAT="0.3", THREADMILL_PING="0.5")
    port, folder = free_port(), tmp_path / "nginx"
    folder.mkdir()
    timeout = "" if LONG else "proxy_read_timeout 2s;"
    conf = folder / "nginx.conf"
    conf.write_text(CONF.format(folder=folder, port=port, url=server.url, timeout=timeout))
    process = subprocess.Popen(["nginx", "-c", str(conf), "-p", str(folder)], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/ok")
            break
        except httpx.TransportError:
            assert process.poll() is None, (folder / "error.log").read_text()
    yield url
    process.terminate()
    process.wait(10)


def silent() -> dict[str, Any]:
    """For the graph `slow`: one step that says nothing for long."""
    return {"steps": 1, "delay": SILENCE}


@pytest.mark.anyio
async def test_a_silent_tool_outlives_the_proxys_patience(proxied: str) -> None:
    """Waiting and streaming, version 1 and 2, and over WebSocket, all at once."""
    client = get_client(url=proxied, timeout=SILENCE + 30)

    async def waits() -> None:
        answer = await client.runs.wait(None, "slow", input=silent())
        assert answer["log"] == ["1"]

    async def streams() -> None:
        parts = [part async for part in client.runs.stream(None, "slow", input=silent(), stream_mode="values")]
        assert parts[-1].data["log"] == ["1"]

    async def follows(transport: Any) -> None:
        async with client.threads.stream(assistant_id="slow", transport=transport) as thread:
            await thread.run.start(input=silent())
            assert (await thread.output)["log"] == ["1"]

    began = time.monotonic()
    await asyncio.gather(waits(), streams(), follows("sse"), follows("websocket"))
    assert time.monotonic() - began >= SILENCE


@pytest.mark.anyio
async def test_tokens_come_through_as_they_are_made(proxied: str) -> None:
    """Neither collected by the proxy's buffers nor held back by its gzip."""
    given = {"messages": [{"role": "user", "content": "hi"}], "n_tokens": 20, "delay": 0.1}
    asked = {"assistant_id": "chat", "input": given, "stream_mode": "messages-tuple"}
    at = []
    async with (
        httpx.AsyncClient(base_url=proxied, headers={"accept-encoding": "gzip"}, timeout=30) as http,
        http.stream("POST", "/runs/stream", json=asked) as stream,
    ):
        async for line in stream.aiter_lines():
            if line.startswith("event: messages"):
                at.append(time.monotonic())
    assert len(at) >= 20
    assert at[-1] - at[0] > 1.2, "they came at once"
    assert max(after - before for before, after in itertools.pairwise(at)) < 0.9, "they came in heaps"


@pytest.mark.anyio
async def test_many_threads_on_one_socket(proxied: str) -> None:
    asked = {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["lifecycle"], "cursors": {}}}
    threads = [f"00000000-0000-4000-8000-{n:012}" for n in range(10)]
    asked["params"]["cursors"] = dict.fromkeys(threads, 0)
    ended: set[str] = set()
    async with connect(f"ws{proxied.removeprefix('http')}/ws") as socket, asyncio.timeout(30):
        await socket.send(orjson.dumps(asked).decode())
        for number, thread in enumerate(threads):
            start = {"assistant_id": "slow", "input": {"steps": 3, "delay": 0.5}, "thread_id": thread}
            await socket.send(orjson.dumps({"id": 10 + number, "method": "run.start", "params": start}).decode())
        while len(ended) < len(threads):
            frame = orjson.loads(await socket.recv())
            if frame.get("method") == "lifecycle" and frame["params"]["data"]["event"] == "completed":
                ended.add(frame["thread_id"])
