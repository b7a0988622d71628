"""A client that does not read: its socket is closed, and with its cursor it has everything all the same."""

import base64
import json
import random
import socket as sockets
from collections.abc import Callable
from typing import Any

import pytest
from protocol.wire import CHANNELS, Thread, ended, mux, said
from serving import Server, until
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.anyio
MIB = 1 << 20
RUNS = 3


async def test_who_does_not_read_is_closed_and_loses_nothing(serve: Callable[..., Server]) -> None:
    strict = serve(THREADMILL_SEND_TIMEOUT="0.5")
    async with strict.http as http:
        thread = Thread(strict, http)
        told: list[Any] = []
        with small_window(strict) as plug:
            async with mux(strict, sock=plug, max_queue=1) as slow:
                await slow.ask("subscription.subscribe", thread_id=thread.id, channels=CHANNELS)
                for _ in range(RUNS):  # more than the buffers of the server and of both kernels hold
                    await thread.start("echo", said(noise(MIB)))

                async def dropped() -> bool:
                    lines = (await http.get("/metrics")).text.splitlines()
                    return 'threadmill_open_streams{kind="socket"} 0.0' in lines

                await until(dropped, within=60)  # while others are served, and the runs go on
                plug.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, MIB)  # what is under way may come quickly now
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        told.append(json.loads(await slow.connection.recv()))
        assert closed.value.rcvd is None or closed.value.rcvd.code == 4408
        ends = sum(1 for one in told if ended(one))
        assert ends < RUNS, "it was not slow"
        async with mux(strict) as again:
            cursor = max((one["seq"] for one in told), default=0)
            await again.ask("subscription.subscribe", cursors={thread.id: cursor}, channels=CHANNELS)
            while ends < RUNS:
                told += await again.events(within=60)
                ends += 1
        whole: list[Any] = []

        def over(one: Any) -> bool:
            whole.append(one["event_id"])
            return sum(name.endswith("lc||completed") for name in whole) == RUNS

        await thread.read(over, within=60)
    assert [one["event_id"] for one in told] == whole


def noise(length: int) -> str:
    """That no compression makes smaller."""
    return base64.b64encode(random.Random(length).randbytes(length * 3 // 4)).decode()


def small_window(server: Server) -> sockets.socket:
    """So that little is under way when nobody reads."""
    plug = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM)
    plug.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    plug.connect(("127.0.0.1", server.port))
    plug.setblocking(False)
    return plug
