"""A real server process for tests: started, killed and restarted on one data directory."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import warm
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

KIT = Path(__file__).parent / "kit" / "langgraph.json"
START_SECONDS = 30.0

T = TypeVar("T")


class Remote:
    """A server somebody else started, known by its URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @property
    def log(self) -> str:
        """What the server has printed so far, where we can see it."""
        return ""

    def client(self) -> LangGraphClient:
        return get_client(url=self.url)

    @property
    def http(self) -> httpx.AsyncClient:
        """A new raw client; close it, or use it in `async with`."""
        return httpx.AsyncClient(base_url=self.url, timeout=30)


class Server(Remote):
    """`threadmill serve` on a free port; the port and the data survive kill() and restart()."""

    def __init__(self, data_dir: Path, config: Path = KIT, env: Mapping[str, str] | None = None) -> None:
        self.data_dir, self.config, self.port = data_dir, config, free_port()
        self.cold = False  # else its memory is in part that of the process it was forked from
        super().__init__(f"http://127.0.0.1:{self.port}")
        self.log_file = data_dir.parent / f"{data_dir.name}.log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("THREADMILL_")}
        self.env = {**inherited, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        self.process: subprocess.Popen[bytes] | warm.Warm | None = None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def start(self) -> "Server":
        command = ["-m", "threadmill", "serve", "--config", str(self.config), "--port", str(self.port)]
        command += ["--data-dir", str(self.data_dir)]
        if not self.cold and warm.can_be(self.env):
            self.process = warm.Warm(command, self.env, self.log_file)
        else:
            with self.log_file.open("ab") as out:
                command = [sys.executable, *command]
                self.process = subprocess.Popen(command, env=self.env, stdout=out, stderr=subprocess.STDOUT)
        return self._awaited(self.process)

    def _awaited(self, process: subprocess.Popen[bytes] | warm.Warm) -> "Server":
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None:
                raise RuntimeError(f"the server exited with {process.returncode}\n{self.log}")
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"the server did not answer in {START_SECONDS} s\n{self.log}")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        asked = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            asked.request("GET", "/ok")
            return asked.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            asked.close()

    def kill(self) -> None:
        """SIGKILL: what a crash or the out-of-memory killer does."""
        self._end(signal.SIGKILL, 10)

    def term(self, within: float = 30) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM, within)

    def restart(self) -> "Server":
        self.kill()
        return self.start()

    def _end(self, how: signal.Signals, within: float) -> int:
        assert self.process is not None, "the server was never started"
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(within)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(probe: Callable[[], Awaitable[T]], within: float = 15.0) -> T:
    """Poll until the probe answers something true; for states that no endpoint lets one wait for."""
    answer = None
    with anyio.move_on_after(within):
        while not (answer := await probe()):
            await anyio.sleep(0.02)
        return answer
    raise AssertionError(f"{getattr(probe, '__name__', probe)} not true within {within} s; last: {answer!r}")


async def progressed(client: LangGraphClient, thread_id: str, steps: int = 1) -> dict[str, Any]:
    """Wait until the run of graph `slow` has committed that many steps; returns the values then."""

    async def enough_steps() -> dict[str, Any] | None:
        values = (await client.threads.get_state(thread_id))["values"]
        return values if (values.get("done") or 0) >= steps else None

    return await until(enough_steps)


async def status_is(client: LangGraphClient, thread_id: str, run_id: str, *wanted: str) -> str:
    """Wait until the run has one of these statuses; returns it."""

    async def has_status() -> str | None:
        status = (await client.runs.get(thread_id, run_id))["status"]
        return status if status in wanted else None

    return await until(has_status)
