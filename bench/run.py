"""Threadmill beside its floors and the reference server, in one run: python bench/run.py --help"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import load
import orjson
import psutil
import report
import servers
import uvloop
from durable import fdatasync_us
from floor import InProcess

PACKAGES = ("threadmill", "langgraph", "langchain-core", "langgraph-checkpoint-sqlite", "fastapi", "uvicorn", "uvloop")
# The reference starts queued runs much faster when it may execute only a few at once (see README.md), but then it
# streams only those: it is measured at the better setting of each section.
FEW, MANY = 10, 128
MANY_AT_ONCE = {"tokens", "live", "socket"}


class Bench:
    def __init__(self, options: argparse.Namespace, under: Path) -> None:
        self.options, self.under = options, under
        self.servers = {"floor": servers.floor, "threadmill": servers.threadmill}
        self.up: dict[str, InProcess | servers.Running] = {"in-process": InProcess()}
        self.rounds: report.Rounds = []
        self.notes: list[str] = []  # whatever could not be measured, and why
        self.pins = "left out" if options.no_reference else "not available"

    async def attempt(self, what: str, doing: Awaitable[Any], within: float = 120) -> Any:
        try:
            return await asyncio.wait_for(doing, within)
        except Exception as error:  # noqa: BLE001  one broken contender must not cost the others their figures
            self.notes.append(f"{what}: {error if isinstance(error, RuntimeError) else repr(error)}")
            print(f"! {self.notes[-1]}", file=sys.stderr, flush=True)

    async def open(self) -> None:
        if not self.options.no_reference:
            pins = await self.attempt(
                "reference not available", asyncio.to_thread(servers.install_reference), within=660
            )
            if pins:
                self.pins = pins
                self.servers |= {"reference": servers.reference(FEW), "reference-many": servers.reference(MANY)}
        for name, command in self.servers.items():
            start = asyncio.to_thread(servers.Server(name, command).start, self.under)
            if running := await self.attempt(f"{name} not available", start):
                self.up[name] = running
        for name, target in self.up.items():
            await self.attempt(f"{name}, warm-up", load.warm_up(target))

    async def measure(self, section: str, name: str) -> load.Figures:
        if section == "start":
            runs = 0 if self.rounds[1:] else self.options.memory_runs
            doing = load.start(servers.Server(name, self.servers[name]), self.under, runs)
        else:
            many = name == "reference" and section in MANY_AT_ONCE
            doing = load.SECTIONS[section](self.up["reference-many" if many else name])
        figures = await self.attempt(f"{name}, {section}, round {len(self.rounds)}", doing)
        target = self.up[name]
        if figures is None and isinstance(target, servers.Running) and target.process.poll() is not None:
            self.notes.append(f"{name} is gone, its last words: {target.last_words()}")
        return figures or {}

    async def run(self) -> None:
        began = time.monotonic()
        await self.open()
        gc.collect()
        gc.freeze()  # what is loaded by now need not be walked by the client's collector
        names = [name for name in self.up if name != "reference-many"]
        for index in range(self.options.rounds):
            self.rounds.append({name: {} for name in names})
            for section in self.options.sections:
                turn = index % len(names)
                for name in names[turn:] + names[:turn]:
                    if name not in load.LACKING.get(section, ()):
                        self.rounds[-1][name] |= await self.measure(section, name)
            print(f"# round {index + 1} done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def machine(under: Path) -> dict[str, Any]:
    git = ["git", "-C", str(servers.BENCH), "describe", "--always", "--dirty"]
    return {
        "CPUs": os.cpu_count(),
        "memory GiB": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "fdatasync p50 us": round(fdatasync_us(under)),
        "load average": " ".join(f"{x:.2f}" for x in os.getloadavg()),
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown",
        "python": platform.python_version(),
        **{package: installed(package) for package in PACKAGES},
    }


def parse() -> argparse.Namespace:
    def sections(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(load.SECTIONS):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(load.SECTIONS)}")
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, and memory after 200 runs instead of 1,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sections", type=sections, default=list(load.SECTIONS), help=",".join(load.SECTIONS))
    parser.add_argument("--no-reference", action="store_true", help="leave the reference server out")
    parser.add_argument("--dir", type=Path, help="where the servers keep their data: the disk that is measured")
    options = parser.parse_args()
    options.rounds = 1 if options.quick else options.rounds
    options.memory_runs = 200 if options.quick else 1000
    return options


def main() -> int:
    options, began = parse(), datetime.now()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="threadmill-bench-", dir=options.dir) as directory:
        facts = machine(Path(directory))
        bench = Bench(options, Path(directory))
        try:
            uvloop.run(bench.run())
        except KeyboardInterrupt:
            bench.notes.append("interrupted")
        finally:
            servers.end(psutil.Process().children(recursive=True))
    facts |= {"reference": bench.pins, "rounds": options.rounds, "seconds": (datetime.now() - began).seconds}
    text = report.table(bench.rounds, options.memory_runs) + "\n\n" + ", ".join(f"{k} {v}" for k, v in facts.items())
    text += "\n" + "".join(f"\n- {note}" for note in bench.notes)
    print(f"\n{text}")
    path = servers.BENCH / "results" / began.strftime("%Y%m%d-%H%M%S")
    path.parent.mkdir(exist_ok=True)
    found = {"machine": facts, "notes": bench.notes, **report.summary(bench.rounds), "rounds": bench.rounds}
    path.with_suffix(".json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    path.with_suffix(".md").write_text(f"# Benchmark of {began:%Y-%m-%d %H:%M}\n\n{text}\n")
    print(f"\nwritten: {path}.json and .md")
    return 1 if any(note.startswith(("threadmill", "interrupted")) for note in bench.notes) else 0


if __name__ == "__main__":
    sys.exit(main())
