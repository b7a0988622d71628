"""The checkpointer beside LangGraph's own, in one process and in one run: python bench/checkpointer.py --help"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import orjson
import savers
import servers
import uvloop
from langchain_core.messages import HumanMessage
from langgraph.types import Durability
from run import machine
from savers import COUNT, SAID, SAVERS, TALK, Open, Opened, conversation

from threadmill_checkpoints.saver import SqliteSaver

LENGTHS = (10, 100, 1000, 5000)
IMAGE = 5 * 2**20  # bytes, of one image in the first message
TURNS, STEPS, READS = 10, 30, 10
PAGED = 1000  # checkpoints of the thread whose history is read, over 100 messages
AT_ONCE, COUNTED = (1, 8, 16, 32), 60  # runs, and supersteps of each
SLOW_US = 2000
Figures = dict[str, float]
COMPARED = {"crowd": [*SAVERS, "none"], "growth": ["threadmill", "server", "AsyncSqliteSaver"]}  # elsewhere: SAVERS


class Clock:
    """Of one call: milliseconds on the wall and of the process's processor time."""

    async def time(self, doing: Awaitable[Any]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        await doing
        return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3

    async def median(self, times: int, call: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
        took = [await self.time(call()) for _ in range(times)]
        return median(wall for wall, _ in took), median(cpu for _, cpu in took)


CLOCK = Clock()


def at(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 10_000}


async def first(pages: AsyncIterator[Any], limit: int) -> None:
    found = [one async for one in pages]
    assert len(found) == limit, f"{len(found)} checkpoints instead of {limit}"


async def lived(open_: Open, folder: Path, length: int | str) -> Figures:
    """A conversation of that length: what one more turn costs, and what can be done with it."""
    async with open_(folder) as opened:
        graph, here = TALK.compile(checkpointer=opened.saver), at("t")

        async def turn(steps: int = 1) -> None:
            await graph.ainvoke({"messages": [HumanMessage("q" * SAID)], "left": steps}, here)
            await opened.settled()

        before = conversation(length) if isinstance(length, int) else [picture()]
        await graph.ainvoke({"messages": before, "left": 1}, here)
        await turn()
        gc.collect()
        size, took = opened.size(), [await CLOCK.time(turn()) for _ in range(TURNS)]
        found = {
            "turn wall p50, ms": median(wall for wall, _ in took),
            "turn CPU, ms": sum(cpu for _, cpu in took) / TURNS,
            "bytes per turn": (opened.size() - size) / TURNS,
        }
        savers.BEGAN.clear()
        _, cpu = await CLOCK.time(turn(STEPS))
        steps = [(b - a) * 1e3 for a, b in zip(savers.BEGAN, savers.BEGAN[1:])]
        found |= {
            "superstep wall p50, ms": median(steps),
            "superstep wall p99, ms": quantiles(steps, n=100)[98],
            "superstep CPU, ms": cpu / STEPS,
            "state read CPU, ms": (await CLOCK.median(READS, lambda: graph.aget_state(here)))[1],
            "history of 10 CPU, ms": (
                await CLOCK.median(3, lambda: first(graph.aget_state_history(here, limit=10), 10))
            )[1],
            "fork wall, ms": (await CLOCK.time(opened.fork("t", "fork")))[0],
        }
        assert (await graph.aget_state(at("fork"))).values == (await graph.aget_state(here)).values
        found["delete wall, ms"] = (await CLOCK.time(opened.saver.adelete_thread("t")))[0]
    return {f"{name} | {length}": figure for name, figure in found.items()} | await reopened(open_, folder, length)


async def reopened(open_: Open, folder: Path, length: int | str) -> Figures:
    """The first read of a thread that nobody has touched since the process began."""
    async with open_(folder) as opened:
        if opened.file is None:
            return {}
        graph = TALK.compile(checkpointer=opened.saver)
        return {f"first state read CPU, ms | {length}": (await CLOCK.time(graph.aget_state(at("fork"))))[1]}


def picture() -> HumanMessage:
    data = base64.b64encode(os.urandom(IMAGE * 3 // 4)).decode()
    return HumanMessage([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}])


async def paged(open_: Open, folder: Path) -> Figures:
    async with open_(folder) as opened:
        graph, here = TALK.compile(checkpointer=opened.saver), at("t")
        await graph.ainvoke({"messages": conversation(100), "left": 1}, here)
        counter = COUNT.compile(checkpointer=opened.saver)
        await counter.ainvoke({"left": PAGED}, here)
        await opened.settled()
        found = {}
        for limit in (10, PAGED):
            wall, cpu = await CLOCK.median(3, lambda: first(graph.aget_state_history(here, limit=limit), limit))
            found |= {f"history wall, ms | {limit}": wall, f"history CPU, ms | {limit}": cpu}
    return found


async def crowded(open_: Open, folder: Path, durability: Durability = "async") -> Figures:
    found = {}
    async with open_(folder) as opened:
        if isinstance(opened.saver, SqliteSaver):  # as the server has it
            opened.saver.wait = durability == "sync"
        graph = COUNT.compile(checkpointer=opened.saver)
        how: Any = {} if opened.saver is None else {"durability": durability}
        await graph.ainvoke({"left": 3}, at("warm"), **how)
        for many in AT_ONCE:

            async def runs() -> None:
                places = [at(f"{many}.{n}") for n in range(many)]
                await asyncio.gather(*(graph.ainvoke({"left": COUNTED}, place, **how) for place in places))
                await opened.settled()

            wall, cpu = await CLOCK.time(runs())
            label = f"{many} runs" if durability == "async" else f"{many} runs, {durability}"
            found |= {
                f"superstep wall, ms | {label}": wall / COUNTED / many,
                f"superstep CPU, ms | {label}": cpu / COUNTED / many,
            }
    return found


async def grown(open_: Open, folder: Path, turns: int) -> Figures:
    """AsyncSqliteSaver only up to a quarter: its file grows with the square, so the whole is some 16 times that."""
    async with open_(folder) as opened:
        graph, found = TALK.compile(checkpointer=opened.saver), {}
        for number in range(1, (turns // 4 if open_ is savers.sqlite else turns) + 1):
            await graph.ainvoke({"messages": [HumanMessage("q" * SAID)], "left": 1}, at("t"))
            if number in (turns // 4, turns):
                await opened.settled()
                found[f"file, MB | {number} turns"] = opened.size() / 1e6
    return found


async def served(folder: Path, turns: int) -> Figures:
    """The whole server's database: also runs, events, threads. Runs are folded at once, not after ten minutes."""
    os.environ["THREADMILL_COMPACT_AFTER"] = "0"
    running = await asyncio.to_thread(servers.Server("threadmill", servers.threadmill).start, folder)
    home, found = running.log.with_suffix(""), {}
    try:
        thread = await running.thread()
        for number in range(1, turns + 1):
            said = {"messages": [{"role": "user", "content": "q" * SAID}], "n_tokens": 10}
            await running.run(thread, "chat", said)
            if number in (turns // 4, turns):
                found[f"file, MB | {number} turns"] = Opened(None, home / "threadmill.sqlite").size() / 1e6
    finally:
        running.stop()
    return found


# The table


class Bench:
    def __init__(self, options: argparse.Namespace, under: Path) -> None:
        self.options, self.under = options, under
        self.rounds: list[dict[str, Figures]] = []

    async def run(self) -> None:
        for index in range(self.options.rounds):
            self.rounds.append({})
            last = index == self.options.rounds - 1
            for section, measure in self.sections(last):
                names = COMPARED.get(section, list(SAVERS))
                for name in names[index % len(names) :] + names[: index % len(names)]:  # each is first in its turn
                    folder = self.under / f"{index}-{section}-{name}"
                    folder.mkdir()
                    gc.collect()
                    found = await measure(name, folder)
                    shutil.rmtree(folder)
                    self.rounds[-1].setdefault(name, {}).update(found)
                    print(f"# round {index + 1}, {section}, {name}: {found}", file=sys.stderr, flush=True)

    def sections(self, last: bool) -> list[tuple[str, Callable[[str, Path], Awaitable[Figures]]]]:
        def of(measure: Callable[..., Awaitable[Figures]], *more: Any) -> Callable[[str, Path], Awaitable[Figures]]:
            return lambda name, folder: measure({**SAVERS, "none": savers.none}[name], folder, *more)

        def growing(name: str, folder: Path) -> Awaitable[Figures]:
            turns = self.options.turns
            return served(folder, turns) if name == "server" else grown(SAVERS[name], folder, turns)

        every = {f"length-{length}": of(lived, length) for length in (*LENGTHS, "images")}
        every |= {"history": of(paged), "crowd": of(crowded), "sync": of(crowded, "sync")}
        if last:  # once: it takes minutes, and bytes are the same each time
            every["growth"] = growing
        wanted = self.options.sections
        return [(name, one) for name, one in every.items() if not wanted or name.partition("-")[0] in wanted]

    def table(self) -> str:
        metrics = list(dict.fromkeys(key for found in self.rounds for one in found.values() for key in one))
        columns = list(dict.fromkeys(name for found in self.rounds for name in found))
        others = [name for name in columns if name != "threadmill"]
        rows = [["metric", "at", *columns, *(f"÷ {name}" for name in others if name != "server")]]
        rows.append(["---", "---", *["--:"] * (len(rows[0]) - 2)])
        for metric in metrics:
            middle = {name: self.middle(metric, name) for name in columns}
            ratios = []
            for name in others:
                if name != "server":
                    mine, their = middle["threadmill"], middle[name]
                    ratios.append(f"{mine / their:.2g}" if mine and their else "")
            cells = ["" if figure is None else f"{figure:,.{3 if figure < 10 else 0}f}" for figure in middle.values()]
            rows.append([*metric.split(" | "), *cells, *ratios])
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def middle(self, metric: str, name: str) -> float | None:
        found = [one[name][metric] for one in self.rounds if metric in one.get(name, {})]
        return median(found) if found else None


def slowed(under: str) -> str | None:
    """A library that makes every fsync slower; None without a compiler."""
    if (compiler := shutil.which("cc")) is None:
        return None
    library = f"{under}/slow_disk.so"
    source = servers.BENCH / "slow_disk.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, str(source)], check=True)
    return library


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=2000, help="of the conversation whose file is weighed")
    parser.add_argument("--sections", type=lambda text: text.split(","), help="of: length,history,crowd,sync,growth")
    parser.add_argument("--quick", action="store_true", help="one round, 200 turns")
    parser.add_argument("--slow-disk", action="store_true", help=f"every fsync takes {SLOW_US} us longer")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.turns = 1, 200
    return options


def main() -> int:
    options, began = parse(), datetime.now()
    with tempfile.TemporaryDirectory(prefix="threadmill-bench-") as directory:
        if options.slow_disk and "SLOW_DISK_US" not in os.environ:
            if (library := slowed(directory)) is None:
                print("no C compiler (cc) is here: the slow disk is not measured", file=sys.stderr)
                return 1
            slow = os.environ | {"LD_PRELOAD": library, "SLOW_DISK_US": str(SLOW_US)}
            return subprocess.run([sys.executable, *sys.argv], env=slow, check=False).returncode
        bench = Bench(options, Path(directory))
        facts = machine(Path(directory))
        uvloop.run(bench.run())
    facts |= {"rounds": options.rounds, "seconds": (datetime.now() - began).seconds}
    text = bench.table() + "\n\n" + ", ".join(f"{name} {fact}" for name, fact in facts.items())
    print(f"\n{text}")
    path = servers.BENCH / "results" / f"{began:%Y%m%d-%H%M%S}-checkpointer"
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").write_bytes(
        orjson.dumps({"machine": facts, "rounds": bench.rounds}, option=orjson.OPT_INDENT_2)
    )
    path.with_suffix(".md").write_text(f"# Checkpointers, {began:%Y-%m-%d %H:%M}\n\n{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
