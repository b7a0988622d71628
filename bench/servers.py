"""The contenders as processes: start one, time it to its first /ok, read its CPU and memory, stop it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from client import Client

BENCH = Path(__file__).resolve().parent
READY_WITHIN = 60.0  # seconds
Command = Callable[[int, Path], list[str]]  # of a port and an empty directory of the server's own


@dataclass(frozen=True)
class Server:
    name: str
    command: Command

    def start(self, under: Path) -> Running:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        home = under / f"{self.name}-{port}"
        home.mkdir()
        # One cache of bytecode for all: a cold start must not depend on which environment happened to be compiled.
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        env |= {"PYTHONPYCACHEPREFIX": str(under / "bytecode"), "LANGSMITH_TRACING": "false"}
        log = home.with_suffix(".log")
        began = time.monotonic()
        with log.open("wb") as out:
            process = psutil.Popen(
                self.command(port, home), cwd=BENCH.parent, env=env, stdout=out, stderr=out, start_new_session=True
            )
        running = Running(port, process, log)
        while time.monotonic() - began < READY_WITHIN and process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ok", timeout=2):
                running.cold_start = time.monotonic() - began
                return running
            time.sleep(0.01)
        running.stop()
        raise RuntimeError(f"it did not answer /ok: {running.last_words()}")


class Running(Client):
    cold_start = 0.0  # seconds

    def __init__(self, port: int, process: psutil.Popen, log: Path) -> None:
        super().__init__(port)
        self.process, self.log = process, log

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """Seconds of processor time so far, children included; the kernel counts in steps of 10 ms."""
        return sum(t.user + t.system for t in (p.cpu_times() for p in self._family()))

    def rss(self) -> float:
        """MiB resident, children included."""
        return sum(p.memory_info().rss for p in self._family()) / 2**20

    def stop(self) -> None:
        self.close()
        with suppress(psutil.NoSuchProcess):
            end(self._family())

    @property
    def database(self) -> Path:
        """Threadmill's."""
        return self.log.with_suffix("") / "threadmill.sqlite"

    def last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-3:])[-400:] or "(empty log)"


def end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, 10)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def floor(port: int, home: Path) -> list[str]:
    return [sys.executable, str(BENCH / "floor.py"), str(port)]


def threadmill(port: int, home: Path) -> list[str]:
    serve = [sys.executable, "-m", "threadmill", "serve", "--config", str(BENCH / "langgraph.json")]
    return [*serve, "--port", str(port), "--data-dir", str(home)]


def reference(jobs: int) -> Command:
    def command(port: int, home: Path) -> list[str]:
        for file in ("graphs.py", "langgraph.json"):
            shutil.copy(BENCH / file, home)
        return [str(BENCH / "reference.sh"), "serve", str(home), str(port), str(jobs)]

    return command


def install_reference() -> str:
    """Into an environment of its own, once; the versions it is pinned to."""
    script, env = str(BENCH / "reference.sh"), os.environ | {"PYTHON": sys.executable}
    done = subprocess.run([script, "install"], env=env, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip() and "WARNING" not in line]
        raise RuntimeError(f"it cannot be installed: {' | '.join(said[-3:])[-400:]}")
    return done.stdout.strip()
