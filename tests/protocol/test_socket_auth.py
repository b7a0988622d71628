"""Who may open a socket, and for how long."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from protocol.wire import Peer, Thread, ended, mux, of, said, socket
from serving import Server
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    own = Server(tmp_path_factory.mktemp("guarded") / "data", Path(__file__).with_name("guarded.json")).start()
    yield own
    own.kill()


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


@asynccontextmanager
async def as_user(server: Server, name: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, headers=bearer(name), timeout=20) as http:
        yield http


async def closed_with(peer: Peer) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await peer.frame()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def test_the_handshake_tells_who_by_header_subprotocol_or_first_message(guarded: Server) -> None:
    async with as_user(guarded, "alice") as http:
        thread = Thread(guarded, http)
        await thread.start("echo", said("mine"))
        await thread.read()

    async def sees(peer: Peer) -> bool:
        answer = await peer.answer(await peer.send("subscription.subscribe", thread_id=thread.id))
        return bool(answer["type"] == "success")

    async with mux(guarded, bearer("alice")) as peer:
        assert await sees(peer)
    async with mux(guarded, bearer("bob")) as peer:
        assert not await sees(peer)
    for name, may in (("alice", True), ("bob", False)):
        async with mux(guarded, subprotocols=["threadmill", f"bearer.{name}"]) as peer:
            assert peer.connection.subprotocol == "threadmill"
            assert await sees(peer) is may
        async with socket(guarded, "/ws") as peer:
            assert await peer.ask("auth", token=name) == {}
            assert (await peer.frame())["type"] == "ready"
            assert await sees(peer) is may


async def test_who_cannot_say_who_they_are_stays_outside(guarded: Server) -> None:
    for more in ({"additional_headers": bearer("nobody")}, {"subprotocols": ["threadmill", "bearer.nobody"]}):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{guarded.port}/ws", **more)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
    wrong: list[Any] = [
        json.dumps({"id": 1, "method": "auth", "params": {"token": "nobody"}}),
        json.dumps({"id": 1, "method": "auth", "params": {}}),
        json.dumps({"id": 1, "method": "subscription.subscribe", "params": {"channels": ["values"]}}),
        "x",
        b"x",
    ]
    for frame in wrong:
        async with socket(guarded, "/ws") as peer:
            await peer.connection.send(frame)
            assert await closed_with(peer) == 4401


async def test_every_command_on_somebody_elses_thread_finds_nothing(guarded: Server) -> None:
    async with as_user(guarded, "alice") as alice, as_user(guarded, "bob") as bob:
        thread = Thread(guarded, alice)
        run_id = await thread.start("slow", {"steps": 200, "delay": 0.05, "tag": "secret"})
        told = await thread.read(lambda one: one["method"] == "custom")
        before = of(told, "checkpoints")[-1]["id"]
        commands: dict[str, Any] = {
            "run.start": {"assistant_id": "slow", "input": {}},
            "run.stop": {"run_id": run_id},
            "run.pause": {},
            "run.resume": {},
            "input.inject": {"message": {"role": "user", "content": "x"}},
            "input.respond": {"interrupt_id": "x", "response": 1},
            "agent.getTree": {},
            "state.get": {},
            "state.listCheckpoints": {},
            "state.fork": {"checkpoint_id": before},
            "subscription.subscribe": {"channels": ["values"]},
        }
        over_http = Thread(guarded, bob, thread.id)
        async with (
            mux(guarded, bearer("bob")) as many,
            socket(guarded, f"/threads/{thread.id}/stream/events", bearer("bob")) as one,
        ):
            for method, params in commands.items():
                answers = [
                    await over_http.send(method, **params),
                    await many.answer(await many.send(method, thread_id=thread.id, **params)),
                    await one.answer(await one.send(method, **params)),
                ]
                for answer in answers:
                    assert answer["type"] == "error", (method, answer)
                    assert answer["error"] in ("no_such_run", "unknown_error"), (method, answer)
                    assert "secret" not in json.dumps(answer)
                    assert run_id not in json.dumps(answer)
            listed = await many.ask("subscription.subscribe", cursors={thread.id: 0})
            assert (listed["subscriptions"], listed["missing"]) == ({}, [thread.id])
        assert (await bob.post(f"/threads/{thread.id}/stream/events", json={"channels": ["values"]})).status_code == 404
        (run,) = (await alice.get(f"/threads/{thread.id}/runs")).json()
        assert (run["run_id"], run["status"]) == (run_id, "running")
        await thread.ask("run.stop")


async def test_a_token_that_expires_is_asked_for_again_and_streams_go_on(guarded: Server) -> None:
    soon = time.time() + 0.5
    async with as_user(guarded, "carol") as http, mux(guarded, bearer(f"carol:{soon}")) as peer:
        thread = Thread(guarded, http)
        await thread.start("slow", {"steps": 20, "delay": 0.05})
        await peer.ask("subscription.subscribe", thread_id=thread.id)
        told = await peer.events(lambda one: one["type"] == "auth.required")
        assert await peer.refused("auth", token="bob") == "permission_denied"
        assert await peer.refused("auth", token="nobody")
        await peer.ask("auth", token=f"carol:{time.time() + 0.5}")
        told += await peer.events(lambda one: one["type"] == "auth.required")  # that one ends, too
        await peer.ask("auth", token="carol")
        told += await peer.events(lambda one: one["type"] == "event" and ended(one))
        assert len([one for one in told if one.get("method") == "custom"]) == 20


async def test_who_does_not_log_in_again_is_closed_out(guarded: Server, serve: Callable[..., Server]) -> None:
    expired = bearer(f"dave:{time.time() - 1}")
    async with mux(guarded, expired) as peer:
        assert await peer.frame() == {"type": "auth.required", "within_seconds": 10}
    async with mux(serve(Path(__file__).with_name("hasty.json")), expired) as peer:
        assert await peer.frame() == {"type": "auth.required", "within_seconds": 1}
        began = time.monotonic()
        assert await closed_with(peer) == 4401
        assert 0.8 < time.monotonic() - began < 6


@pytest.mark.parametrize(
    ("origin", "let_in"),
    [
        (None, True),
        ("https://friend.example", True),
        ("https://evil.example", False),
        ("null", False),
        ("http://127.0.0.1:{port}", True),
        ("http://127.0.0.1:1", False),
    ],
)
async def test_pages_of_other_origins_stay_outside(guarded: Server, origin: str | None, let_in: bool) -> None:
    headers = bearer("alice") | ({} if origin is None else {"Origin": origin.format(port=guarded.port)})
    if let_in:
        async with mux(guarded, headers):
            return
    with pytest.raises(InvalidStatus) as refused:
        async with mux(guarded, headers):
            pass
    assert refused.value.response.status_code == 403
