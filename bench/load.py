"""The sections: each puts one load on one contender and returns figures by metric key (see report.METRICS).

A section is given the floors, Threadmill and the reference in turn and never knows which. Loops end after a number of
requests or a number of seconds, whichever comes first, so a slow contender has fewer samples, not a longer run.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import mean, median
from time import monotonic, monotonic_ns
from typing import Any

import orjson
from client import Reading
from durable import EVENTS, ROWS, Watch, fdatasync_us
from floor import InProcess
from servers import Running, Server

Contender = InProcess | Running
Figures = dict[str, float]
REPLAYED = 10_000  # events
SAID = 5_000  # messages of 200 characters
CHECKPOINTS = 1_000
VALUES = re.compile(rb"event: values\n")
NUMBERED = re.compile(rb"event: messages\n[^\n]*~\d{9,} [^\n]*\nid: (\d+)\n")  # a token, and its number in the log
LONG = 101  # supersteps of the long run whose cost, less that of a run of one, is the superstep's


def percentile(values: list[float], p: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * p / 100))]


async def storm(clients: int, count: int, seconds: float, one: Callable[[int], Awaitable[Any]]) -> tuple[float, list]:
    """`clients` at once share `count` requests: requests per second, and each one's seconds."""
    turns, took, began = iter(range(count)), [], monotonic()

    async def client() -> None:
        for turn in turns:
            start = monotonic()
            await one(turn)
            took.append(monotonic() - start)
            if monotonic() - began > seconds:
                return

    await asyncio.gather(*(client() for _ in range(clients)))
    return len(took) / (monotonic() - began), took


async def rest(target: Running, within: float = 15) -> None:
    """Until what a load left to do, such as to index its messages, is done."""
    began, spent = monotonic(), target.cpu()
    while monotonic() - began < within:
        await asyncio.sleep(0.25)
        if (now := target.cpu()) - spent < 0.03:
            return
        spent = now


def question(n_tokens: int, delay_ms: float = 0) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "n_tokens": n_tokens, "delay_ms": delay_ms}


async def count_once(target: Contender, thread: str) -> None:
    output = await target.run(thread, "counter", {"n": 0, "limit": 1})
    if output.get("n") != 1:
        raise RuntimeError(f"the run returned {output}")


async def warm_up(target: Contender) -> None:
    for _ in range(3):
        await count_once(target, await target.thread())
        (await target.stream(await target.thread(), "chat", question(5), "messages-tuple")).tokens(5)


async def wait(target: Contender) -> Figures:
    figures = {}
    for clients, count in ((1, 150), (8, 300), (32, 500)):
        threads = [await target.thread() for _ in range(clients)]

        async def one(_: int, free: list[str] = threads) -> None:
            thread = free.pop()
            await count_once(target, thread)
            free.append(thread)

        before = target.cpu()
        rate, took = await storm(clients, count, 3, one)
        figures[f"wait_{clients}_per_s"] = rate
        figures[f"wait_{clients}_p50_ms"] = median(took) * 1e3
        figures[f"wait_{clients}_cpu_ms"] = (target.cpu() - before) / len(took) * 1e3
    return figures


async def first(target: Contender) -> Figures:
    """A lone user on a new thread; thread creation is not in the time."""
    events, tokens, began = [], [], monotonic()
    for _ in range(100):
        reading = await target.stream(await target.thread(), "chat", question(1), "messages-tuple")
        events.append((reading.first - reading.sent) / 1e6)
        tokens.append((reading.tokens(1)[0][0] - reading.sent) / 1e6)
        if monotonic() - began > 6:
            break
    return {
        "first_event_p50_ms": median(events), "first_event_p99_ms": percentile(events, 99),
        "first_token_p50_ms": median(tokens), "first_token_p99_ms": percentile(tokens, 99),
    }  # fmt: skip


async def streams(target: Contender, n: int, tokens: int, delay_ms: float) -> tuple[list[Reading], float]:
    """n streams side by side, and the server's CPU in us per token; paced ones begin 0.4 s apart in all."""
    threads = [await target.thread() for _ in range(n)]

    async def one(i: int) -> Reading:
        await asyncio.sleep(0.4 * i / n if delay_ms else 0)
        return await target.stream(threads[i], "chat", question(tokens, delay_ms), "messages-tuple")

    before = target.cpu()
    readings = await asyncio.gather(*(one(i) for i in range(n)))
    return readings, (target.cpu() - before) / (n * tokens) * 1e6


async def tokens(target: Contender) -> Figures:
    """No pause between tokens; from the first event, so that a late start counts in `first` and not again here."""
    figures = {}
    for n, length in ((1, 2000), (32, 200)):
        readings, cpu = await streams(target, n, length, 0)
        last = max(reading.tokens(length)[-1][0] for reading in readings)
        figures[f"tokens_{n}_per_s"] = n * length / (last - min(reading.first for reading in readings)) * 1e9
        figures[f"tokens_{n}_cpu_us"] = cpu
    return figures


async def live(target: Contender) -> Figures:
    """Streams at a model's pace. Hop: from the model's yield to the client's socket."""
    figures = {}
    for n in (32, 128):
        readings, cpu = await streams(target, n, 100, 20)
        hops = [(at - stamped) / 1e6 for reading in readings for at, stamped in reading.tokens(100)]
        figures[f"live_{n}_hop_p50_ms"] = median(hops)
        figures[f"live_{n}_hop_p99_ms"] = percentile(hops, 99)
        figures[f"live_{n}_cpu_us"] = cpu
    return figures


async def socket(target: Running) -> Figures:
    """`live` in the event protocol: over a WebSocket, and as server-sent events."""
    figures = {}
    for n in (32, 128):
        for transport in ("sse", "socket"):
            threads = [await target.thread() for _ in range(n)]

            async def one(i: int, threads: list[str] = threads, transport: str = transport) -> Reading:
                await asyncio.sleep(0.4 * i / len(threads))
                return await target.protocol(threads[i], "chat", question(100, 20), transport)

            before = target.cpu()
            readings = await asyncio.gather(*(one(i) for i in range(n)))
            figures[f"{transport}_{n}_cpu_us"] = (target.cpu() - before) / (n * 100) * 1e6
            hops = [(at - stamped) / 1e6 for reading in readings for at, stamped in reading.tokens(100)]
            figures[f"{transport}_{n}_hop_p99_ms"] = percentile(hops, 99)
        figures[f"socket_{n}_ratio"] = figures[f"socket_{n}_cpu_us"] / figures[f"sse_{n}_cpu_us"]
    return figures


async def superstep(target: Contender) -> Figures:
    """Slope between runs of 1 and of 101 supersteps, each timed from its first event to the end of its stream."""
    figures = {}
    for at_once, times in ((1, 4), (8, 2)):
        wall, cpu = {}, {}
        for steps in (1, LONG):
            spans, before = [], target.cpu()
            for _ in range(times):
                threads = [await target.thread() for _ in range(at_once)]
                given, config = {"n": 0, "limit": steps}, {"recursion_limit": LONG + 9}
                readings = await asyncio.gather(
                    *(target.stream(thread, "counter", given, "custom", config=config) for thread in threads)
                )
                spans.append(max(r.ended for r in readings) - min(r.first for r in readings))
            wall[steps] = (median(spans) if at_once == 1 else mean(spans)) / at_once
            cpu[steps] = (target.cpu() - before) / times / at_once
        figures[f"superstep_{at_once}_ms"] = (wall[LONG] - wall[1]) / (LONG - 1) / 1e6
        figures[f"superstep_{at_once}_cpu_ms"] = (cpu[LONG] - cpu[1]) / (LONG - 1) * 1e3
    return figures


async def replay(target: Running) -> Figures:
    thread = await target.thread()
    made = await target.stream(thread, "counter", {"n": 0, "emit": REPLAYED}, "custom", stream_resumable=True)
    took = []
    for _ in range(3):
        reading = await target.join(thread, made.run_id())
        if reading.count(b"custom") != REPLAYED:
            raise RuntimeError(f"replay gave {reading.count(b'custom')} of {REPLAYED} events")
        took.append((reading.ended - reading.sent) / 1e6)
    return {"emit_per_s": REPLAYED / (made.ended - made.first) * 1e9, "replay_ms": median(took)}


async def state(target: Running) -> Figures:
    """Of a long conversation, whole; what it takes is nearly all that its bytes take."""
    thread = await target.thread()
    said = [{"role": ("user", "assistant")[i % 2], "content": f"{i} " + "word " * 39} for i in range(SAID - 1)]
    await target.run(thread, "chat", {"messages": said, "n_tokens": 1})
    read: list[bytes] = []

    async def one(_: int) -> None:
        read.append(await target.bytes("GET", f"/threads/{thread}/state"))

    await one(0)
    await rest(target)
    before = target.cpu()
    _, took = await storm(1, 60, 6, one)
    cpu, mb = (target.cpu() - before) / len(took) * 1e3, len(read[-1]) / 1e6
    if len(orjson.loads(read[-1])["values"]["messages"]) != SAID:
        raise RuntimeError(f"the state is {read[-1][:300]!r}")
    return {
        "state_p50_ms": median(took) * 1e3, "state_cpu_ms": cpu, "state_mb": mb, "state_ms_per_mb": cpu / mb,
    }  # fmt: skip


async def history(target: Running) -> Figures:
    """A thousand small checkpoints, all in one answer."""
    thread = await target.thread()
    given, config = {"n": 0, "limit": CHECKPOINTS - 2}, {"recursion_limit": CHECKPOINTS}
    await target.stream(thread, "counter", given, "custom", config=config)

    async def one(_: int) -> None:
        found = await target.json("POST", f"/threads/{thread}/history", {"limit": CHECKPOINTS})
        if len(found) != CHECKPOINTS:
            raise RuntimeError(f"the history has {len(found)} checkpoints")

    await one(0)
    await rest(target)
    before = target.cpu()
    _, took = await storm(1, 15, 6, one)
    return {"history_p50_ms": median(took) * 1e3, "history_cpu_ms": (target.cpu() - before) / len(took) * 1e3}


async def fanout(target: Running) -> Figures:
    """Many who read one run at a model's pace. From when all are there: the joining is not counted."""
    await rest(target)
    thread, n, length = await target.thread(), 128, 200
    run_id = await target.begin(thread, "chat", question(length, 20), "messages-tuple")
    reading = [asyncio.create_task(target.join(thread, run_id)) for _ in range(n)]
    await asyncio.sleep(1.5)
    began, before = monotonic_ns(), target.cpu()
    readings = await asyncio.gather(*reading)
    cpu = target.cpu() - before
    hops = [(at - made) / 1e6 for each in readings for at, made in each.tokens(length) if made > began]
    return {
        "fanout_cpu_us": cpu / len(hops) * 1e6, "fanout_hop_p50_ms": median(hops),
        "fanout_hop_p99_ms": percentile(hops, 99),
    }  # fmt: skip


async def durable(target: Running) -> Figures:
    """From when a reader sees something of a run with durability `async` until it is on disk: supersteps as fast as
    they go, and one of eight live streams."""
    fsync = fdatasync_us(target.database.parent) / 1e3
    thread, config = await target.thread(), {"recursion_limit": CHECKPOINTS}
    with Watch(target.database, ROWS, thread) as watch:
        given = {"n": 0, "limit": CHECKPOINTS - 2}
        reading = await target.stream(thread, "counter", given, "values", config=config)
    steps = [watch.late(n, at) for n, (at, _) in enumerate(reading.found(VALUES), 2)]  # the input is the first

    threads = [await target.thread() for _ in range(8)]
    with Watch(target.database, EVENTS, threads[0]) as watch:
        given, more = question(150, 20), {"stream_resumable": True}
        doing = [target.stream(one, "chat", given, "messages-tuple", **more) for one in threads]
        reading = (await asyncio.gather(*doing))[0]
    tokens = [watch.late(int(match[1]), at) for at, match in reading.found(NUMBERED)]
    if len(steps) != CHECKPOINTS - 1 or len(tokens) < 150:
        raise RuntimeError(f"{len(steps)} supersteps and {len(tokens)} tokens were seen")
    return {
        "durable_fsync_ms": fsync,
        "durable_step_p50_ms": median(steps), "durable_step_p99_ms": percentile(steps, 99) - fsync,
        "durable_token_p50_ms": median(tokens), "durable_token_p99_ms": percentile(tokens, 99) - fsync,
    }  # fmt: skip


async def threads(target: Running) -> Figures:
    async def create(i: int) -> None:
        await target.thread({"k": f"v{i % 10}"})

    async def search(_: int, **criteria: Any) -> None:
        if len(await target.json("POST", "/threads/search", {"limit": 10, **criteria})) != 10:
            raise RuntimeError("the search did not find 10 threads")

    lone, _ = await storm(1, 200, 2, create)
    many, _ = await storm(16, 800, 4, create)
    _, plain = await storm(1, 40, 2, search)
    _, filtered = await storm(1, 40, 2, lambda i: search(i, metadata={"k": "v3"}))
    return {
        "create_1_per_s": lone, "create_16_per_s": many, "threads_present": target.threads,
        "search_p50_ms": median(plain) * 1e3, "search_metadata_p50_ms": median(filtered) * 1e3,
    }  # fmt: skip


async def start(server: Server, under: Path, runs: int) -> Figures:
    """A fresh process: its start, its memory, and (runs > 0) its memory after that many runs."""
    running = await asyncio.to_thread(server.start, under)
    try:
        await asyncio.sleep(1.5)
        figures = {"cold_start_s": running.cold_start, "rss_idle_mib": running.rss()}
        if runs:

            async def one(_: int) -> None:
                await count_once(running, await running.thread())

            _, took = await storm(32, runs, 60, one)
            if len(took) < runs:
                raise RuntimeError(f"only {len(took)} of {runs} runs within a minute")
            figures["rss_after_runs_mib"] = running.rss()
        return figures
    finally:
        await asyncio.to_thread(running.stop)


SECTIONS = {
    "wait": wait, "first": first, "tokens": tokens, "live": live, "socket": socket,
    "superstep": superstep, "replay": replay, "fanout": fanout, "state": state, "history": history,
    "durable": durable, "threads": threads, "start": start,
}  # fmt: skip
# Where a section has nothing to measure.
LACKING = dict.fromkeys(("replay", "fanout", "state", "threads", "start"), {"in-process"}) | {
    "history": {"in-process", "floor"},
    "socket": {"in-process", "floor"},
    "durable": {"in-process", "floor", "reference"},
}
