"""The event protocol by hand: commands over HTTP, envelopes over SSE and WebSocket."""

import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
from serving import Remote
from websockets.asyncio.client import ClientConnection, connect

CHANNELS = ["values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints"]
ENDS = ("completed", "failed", "interrupted")
Envelope = dict[str, Any]
Until = Callable[[Envelope], bool]


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def at(envelope: Envelope) -> list[str]:
    return envelope["params"]["namespace"]  # type: ignore[no-any-return]


def data(envelope: Envelope) -> Any:
    return envelope["params"]["data"]


def ended(envelope: Envelope) -> bool:
    """Of a run, not of a subgraph."""
    return envelope["method"] == "lifecycle" and not at(envelope) and data(envelope)["event"] in ENDS


def ends(count: int) -> Until:
    """At the end of that many runs."""
    left = [count]

    def last(envelope: Envelope) -> bool:
        left[0] -= ended(envelope)
        return left[0] == 0

    return last


def of(envelopes: list[Envelope], method: str) -> list[Any]:
    return [data(one) for one in envelopes if one["method"] == method]


def texts(envelopes: list[Envelope], namespace: list[str] | None = None) -> list[str]:
    """What each message that was streamed said, from its deltas."""
    found: dict[str, str] = {}
    for one in envelopes:
        if one["method"] == "messages" and (namespace is None or at(one) == namespace):
            told = data(one)
            if told["event"] == "message-start":
                found[told["id"]] = ""
            elif told.get("delta", {}).get("type") == "text-delta":
                assert told["delta"]["offset"] == len(found[told["id"]]), "a hole in the text"
                found[told["id"]] += told["delta"]["text"]
    return list(found.values())


class Thread:
    """One thread of a server, that need not be there yet."""

    def __init__(self, server: Remote, http: httpx.AsyncClient, thread_id: str | None = None) -> None:
        self.server, self.http = server, http
        self.id = thread_id or str(uuid.uuid4())
        self._number = 0

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        self._number = number = self._number + 1
        asked = {"id": number, "method": method, "params": params}
        answer = (await self.http.post(f"/threads/{self.id}/commands", json=asked)).raise_for_status().json()
        assert answer["id"] == number
        return answer  # type: ignore[no-any-return]

    async def ask(self, method: str, **params: Any) -> Any:
        answer = await self.send(method, **params)
        assert answer["type"] == "success", answer
        return answer["result"]

    async def refused(self, method: str, **params: Any) -> str:
        answer = await self.send(method, **params)
        assert answer["type"] == "error" and answer["message"], answer
        return answer["error"]  # type: ignore[no-any-return]

    async def start(self, graph: str, input: Any, **params: Any) -> str:
        return (await self.ask("run.start", assistant_id=graph, input=input, **params))["run_id"]  # type: ignore[no-any-return]

    async def envelopes(self, **params: Any) -> AsyncIterator[Envelope]:
        """Over SSE; ends when the consumer leaves. Checks the framing."""
        body = {"channels": CHANNELS, **params}
        async with self.http.stream("POST", f"/threads/{self.id}/stream/events", json=body) as answer:
            assert answer.status_code == 200, await answer.aread()
            rest = ""
            async for chunk in answer.aiter_text():
                *blocks, rest = (rest + chunk).split("\n\n")
                for block in blocks:
                    if not block.startswith(":"):
                        yield _framed(block)

    async def read(self, until: Until = ended, within: float = 20, **params: Any) -> list[Envelope]:
        found: list[Envelope] = []
        with anyio.fail_after(within):
            async for one in self.envelopes(**params):
                found.append(one)
                if until(one):
                    break
        return found

    async def read_socket(self, until: Until = ended, within: float = 20, **params: Any) -> list[Envelope]:
        async with socket(self.server, f"/threads/{self.id}/stream/events") as peer:
            await peer.ask("subscription.subscribe", channels=CHANNELS, **params)
            return await peer.events(until, within)


def _framed(block: str) -> Envelope:
    event, payload, number = block.split("\n")
    envelope: Envelope = json.loads(payload.removeprefix("data: "))
    assert event == f"event: {envelope['method']}"
    assert number == f"id: {envelope['seq']}"
    return envelope


class Peer:
    """The other end of a socket: commands and their answers, and what came between them."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.pushed: list[Any] = []
        self._number = 0

    async def frame(self, within: float = 20) -> Any:
        with anyio.fail_after(within):
            return json.loads(await self.connection.recv())

    async def send(self, method: str, **params: Any) -> int:
        self._number += 1
        await self.connection.send(json.dumps({"id": self._number, "method": method, "params": params}))
        return self._number

    async def answer(self, number: int | None) -> dict[str, Any]:
        while True:
            frame = await self.frame()
            if frame.get("type") in ("success", "error"):
                assert frame["id"] == number, f"answers out of order: {frame}"
                return frame  # type: ignore[no-any-return]
            self.pushed.append(frame)

    async def ask(self, method: str, **params: Any) -> Any:
        answer = await self.answer(await self.send(method, **params))
        assert answer["type"] == "success", answer
        return answer["result"]

    async def refused(self, method: str, **params: Any) -> str:
        answer = await self.answer(await self.send(method, **params))
        assert answer["type"] == "error" and answer["message"], answer
        return answer["error"]  # type: ignore[no-any-return]

    async def events(self, until: Callable[[Any], bool] = ended, within: float = 20) -> list[Any]:
        """What was pushed, up to and with the one that `until` names."""
        found: list[Any] = []
        with anyio.fail_after(within):
            while True:
                frame = self.pushed.pop(0) if self.pushed else await self.frame(within)
                found.append(frame)
                if until(frame):
                    return found


@asynccontextmanager
async def socket(
    server: Remote, path: str, headers: Mapping[str, str] | None = None, **more: Any
) -> AsyncIterator[Peer]:
    url = server.url.replace("http", "ws", 1) + path
    options: dict[str, Any] = {"max_size": None, "max_queue": None, **more}
    async with connect(url, additional_headers=headers, **options) as connection:
        yield Peer(connection)


@asynccontextmanager
async def mux(server: Remote, headers: Mapping[str, str] | None = None, **more: Any) -> AsyncIterator[Peer]:
    """`/ws`, greeted."""
    async with socket(server, "/ws", headers, **more) as peer:
        assert (await peer.frame())["type"] == "ready"
        yield peer
