"""`threadmill dev`: a parent that keeps the socket, and a child server that is replaced when code changes.

The parent never imports the user's code and never opens the database, so whatever the code does, the next version gets
a fresh process. Connections that come in between wait in the socket's queue.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import typer
from watchfiles import DefaultFilter, watch

from threadmill.config import Project, Settings

GRACE_S = 2.0  # for running runs, before they are put back


class _Sources(DefaultFilter):
    """Python, configuration and data of the project; not what the server itself writes."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(ignore_paths=[data_dir])

    def __call__(self, change: object, path: str) -> bool:
        suffixes = (".py", ".json", ".toml", ".env", ".md", ".txt", ".yaml", ".yml")
        return path.endswith(suffixes) and super().__call__(change, path)  # type: ignore[arg-type]


def supervise(project: Project, settings: Settings, listening: socket.socket, options: Sequence[str]) -> None:
    """Until SIGINT or SIGTERM, or until the server ends on its own without an error."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    folders = {project.root, *project.dependencies}
    command = [sys.executable, "-m", "threadmill", "child", "--fd", str(listening.fileno()), *options]
    environment = {**os.environ, "THREADMILL_DRAIN_GRACE": str(min(GRACE_S, settings.drain_grace_s))}
    server = _start(command, listening, environment)
    try:
        changes = watch(
            *folders,
            watch_filter=_Sources(settings.data_dir),
            stop_event=stopping,
            rust_timeout=1000,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for changed in changes:
            if changed:
                names = ", ".join(sorted(os.path.relpath(path, project.root) for _, path in changed)[:3])
                typer.secho(f"{names} changed: starting again", fg="cyan", err=True)
                _stop(server)
                server = _start(command, listening, environment)
            elif server.poll() == 0:
                break
            # A server that ended with an error has said why; the next change starts it again.
    finally:
        _stop(server)


def _start(command: list[str], listening: socket.socket, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    # In a group of its own: Ctrl-C reaches the child through us, once.
    return subprocess.Popen(command, pass_fds=[listening.fileno()], env=environment, start_new_session=True)


def _stop(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(GRACE_S + 15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
