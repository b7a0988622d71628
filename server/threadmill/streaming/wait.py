"""The output of a run, for a client that waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from threadmill.jsonable import dumps
from threadmill.runs import run as runs
from threadmill.runs.run import Run
from threadmill.scope import ALL
from threadmill.signals import Waiter
from threadmill_checkpoints.database import Database

NOT_FOUND = dumps({"__error__": {"error": "HTTPException", "message": "404: Run not found"}})
KEEPALIVE = b"\n"  # JSON allows it before the value
HAND_OVER_S = 1.0  # between a commit that takes a run away and what the run said; it is a matter of microseconds


async def output(
    waiter: Waiter,
    outputs: dict[str, bytes],
    database: Database,
    run: Run,
    state: Callable[[str, str], Awaitable[bytes]],
    heartbeat_s: float,
    closing: Callable[[], bool],
) -> AsyncIterator[bytes]:
    """A newline for each `heartbeat_s`, then the output as JSON. `waiter` watched `run:<id>` before `run` was read."""
    fresh = run.active  # a run that is known to be active needs no look at its row before something happens
    while True:
        if fresh and run.run_id not in outputs:
            fresh = False
            if not await waiter.wait(heartbeat_s):
                yield KEEPALIVE
        known = outputs.get(run.run_id)
        if known is not None:
            yield known
            return
        now = await database.read(runs.find, ALL, run.run_id)
        if now is None:
            yield await _left(waiter, outputs, run.run_id)
            return
        if not now.active:
            failed = now.error is not None and now.status in ("error", "timeout")
            yield dumps({"__error__": now.error}) if failed else await state(run.thread_id, run.run_id)
            return
        if closing():  # a body that just ended would look like an output
            raise ConnectionAbortedError("the server stops while the run is under way")
        if not await waiter.wait(heartbeat_s):
            yield KEEPALIVE


async def _left(waiter: Waiter, outputs: dict[str, bytes], run_id: str) -> bytes:
    """Of a run that is gone: a commit can be seen before those who wait hear of it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + HAND_OVER_S
    while run_id not in outputs and (left := until - loop.time()) > 0:
        await waiter.wait(left)
    return outputs.get(run_id, NOT_FOUND)
