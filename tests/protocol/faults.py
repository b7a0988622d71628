"""A socket whose connection fails at the n-th thing that the server does with it, for every n; printed as JSON.

Run by test_socket_faults.py in a process of its own. usage: python faults.py DATA_DIR
"""

import asyncio
import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import threadmill

KIT = Path(__file__).parents[1] / "kit"
FAULTS: dict[str, Callable[[], BaseException] | None] = {
    "gone": OSError,  # what uvicorn raises for a peer that went
    "closed": lambda: RuntimeError("closed"),  # what Starlette raises after a close
    "cancelled": None,  # the task of the whole connection
    "hangs": None,  # the peer takes nothing any more, then goes
}


class Wire:
    """A client that subscribes, starts a run, unsubscribes and subscribes again; with a fault at call `fatal`."""

    def __init__(self, thread_id: str, fault: str, fatal: int) -> None:
        self.fault, self.fatal, self.calls = fault, fatal, 0
        self.struck = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        both = {"thread_id": thread_id, "cursors": {thread_id: 0, str(uuid.uuid4()): 0}}
        begin = {"thread_id": thread_id, "assistant_id": "chat", "input": {"messages": "hi", "n_tokens": 5}}
        methods = [("subscription.subscribe", both), ("run.start", begin), ("nope", {}), ("ping", {})]
        self.frames = [
            json.dumps({"id": n, "method": name, "params": params}) for n, (name, params) in enumerate(methods)
        ]

    async def _call(self) -> None:
        self.calls += 1
        if self.calls < self.fatal:
            return
        self.struck.set()
        if self.fault in ("gone", "closed"):
            raise FAULTS[self.fault]()  # type: ignore[misc]
        await asyncio.Event().wait()

    async def receive(self) -> dict[str, Any]:
        if self.calls == 0:
            self.calls += 1
            return {"type": "websocket.connect"}
        await self._call()
        if self.frames:
            return {"type": "websocket.receive", "text": self.frames.pop(0)}
        while not any(one.get("params", {}).get("data", {}).get("event") == "completed" for one in self.sent):
            await asyncio.sleep(0.001)
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(self, message: dict[str, Any]) -> None:
        await self._call()
        if "text" in message:
            self.sent.append(json.loads(message["text"]))


SCOPE = {
    "type": "websocket",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "path": "/ws",
    "raw_path": b"/ws",
    "root_path": "",
    "query_string": b"",
    "scheme": "ws",
    "subprotocols": [],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
}


async def once(app: threadmill.App, fault: str, fatal: int) -> tuple[int, list[str]]:
    """How many calls the connection came to, and what was left behind."""
    thread_id = str(uuid.uuid4())
    before = asyncio.all_tasks()
    wire = Wire(thread_id, fault, fatal)
    scope: dict[str, Any] = {**SCOPE, "headers": [], "state": {}}
    serving = asyncio.create_task(app(scope, wire.receive, wire.send))
    striking = asyncio.create_task(wire.struck.wait())
    await asyncio.wait({serving, striking}, return_when=asyncio.FIRST_COMPLETED)
    striking.cancel()
    if not serving.done() and FAULTS[fault] is None:
        await asyncio.sleep(0.01)
        serving.cancel()
    problems = []
    _, late = await asyncio.wait({serving}, timeout=5)
    if late:
        problems.append("the connection did not end")
        serving.cancel()
    elif not serving.cancelled() and serving.exception() is not None:
        problems.append(f"raised {serving.exception()!r}")
    here = app.runtime
    thread_runs = await here.database.read(
        lambda tx: tx.all("SELECT run_id FROM runs WHERE thread_id = :id", id=thread_id)
    )
    for row in thread_runs:
        await here.ended(row["run_id"])
    for _ in range(200):
        left = [task for task in asyncio.all_tasks() - before if not task.done()]
        topics = [topic for topic in here.signals._topics if thread_id in topic]
        if not left and not topics and not app._core.state.sockets:
            break
        await asyncio.sleep(0.01)
    else:
        problems.append(f"left behind: {left} {topics} {dict(app._core.state.sockets)}")
    if thread_runs:
        text = "".join(
            json.loads(one.data)["delta"]["text"]
            for one in await here.events.read(thread_id, 0)
            if one.method == "messages" and json.loads(one.data).get("delta")
        )
        if text != "t0 t1 t2 t3 t4 ":
            problems.append(f"the run said {text!r}")
    return wire.calls, problems


async def main() -> None:
    app = threadmill.create_app(KIT, data_dir=sys.argv[1])
    result: dict[str, Any] = {}
    async with app.lifespan():
        await once(app, "gone", 1_000_000)  # what the server itself begins with its first run is there after it
        whole, problems = await once(app, "gone", 1_000_000)
        result["whole"] = {"calls": whole, "problems": problems}
        for fault in FAULTS:
            tried = 0
            for fatal in range(2, whole + 1):
                _, problems = await once(app, fault, fatal)
                tried += 1
                if problems:
                    result.setdefault("problems", []).append([fault, fatal, problems])
            result[fault] = tried
    sys.stdout.write(json.dumps(result))


asyncio.run(main())
