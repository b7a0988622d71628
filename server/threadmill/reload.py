"""`threadmill dev`: a parent that keeps the socket, and a child server that is replaced when code changes.

The parent never imports the user's code, never takes over its environment and never opens the database, so whatever
the code does, the next version gets a fresh process. Connections that come in between wait in the socket's queue.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog
from watchfiles import DefaultFilter, watch

from threadmill.config import Settings
from threadmill.errors import ConfigError
from threadmill.langgraph_json.project import Project

logger = structlog.get_logger("threadmill.dev")

GRACE_S = 2.0  # for running runs, before they are put back
LOOK_S = 0.25  # between two looks at whether the server is still there


def supervise(load: Callable[[], tuple[Project, Settings]], listening: socket.socket, options: Sequence[str]) -> int:
    """Until SIGINT or SIGTERM, or until the server ends by itself. Returns the exit code; may raise ConfigError.

    `load` reads the configuration anew; `options` are for the child.
    """
    project, settings = load()
    stopping = threading.Event()
    server = _Child(listening, options, min(GRACE_S, settings.drain_grace_s))

    def stop(*_: object) -> None:
        if stopping.is_set():  # asked twice: do not wait for runs
            server.kill()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.start()
    try:
        while not stopping.is_set():
            folders = _folders(project)
            for files in _changes(folders, _Sources(project, settings.data_dir), stopping):
                if files:
                    project = _start_again(server, load, files) or project
                    if _folders(project) != folders:
                        break  # watch the new ones
                elif (code := server.ended()) is not None:
                    if code == 0 or (code == 1 and server.starts == 1):  # it was asked to, or could not even begin
                        return code
                    logger.error("the server ended; it starts again at the next change", code=code)
    finally:
        server.stop()
    return 0


def end_with_parent() -> None:
    """In the child: stop when stdin ends, a pipe that nobody but the parent holds. It was killed."""

    def watch_stdin() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch_stdin, name="parent-watch", daemon=True).start()


class _Child:
    """The server process: one at a time, always on the same socket."""

    def __init__(self, listening: socket.socket, options: Sequence[str], grace_s: float) -> None:
        self.starts = 0
        self._listening = listening
        self._command = [sys.executable, "-m", "threadmill", "child", "--fd", str(listening.fileno()), *options]
        self._environment = {**os.environ, "THREADMILL_DRAIN_GRACE": str(grace_s)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        again = ["--again"] if self.starts else []
        self.starts += 1
        # In a group of its own: Ctrl-C reaches the child through us, once.
        self._process = subprocess.Popen(
            [*self._command, *again],
            stdin=subprocess.PIPE,
            pass_fds=[self._listening.fileno()],
            env=self._environment,
            start_new_session=True,
        )

    def ended(self) -> int | None:
        """The exit code of a server that ended by itself; told once."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._process = None
        return code

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_S + 15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()


def _start_again(server: _Child, load: Callable[[], tuple[Project, Settings]], files: Iterable[Path]) -> Project | None:
    """None when the configuration is broken: the server that runs is better than none."""
    changed = sorted(os.path.relpath(file) for file in files)
    try:
        project, _ = load()
    except ConfigError as error:
        logger.error("not started again; mend it, the server goes on as it was", changed=changed, error=str(error))
        return None
    logger.info("starting again", changed=changed)
    server.stop()
    for file in files:  # Python tells versions apart by second and size; two quick edits may share both
        Path(importlib.util.cache_from_source(file)).unlink(missing_ok=True)
    server.start()
    return project


def _folders(project: Project) -> list[Path]:
    """Where the project's code lies; none is inside another."""
    files = [spec.file.parent for spec in project.graphs.values() if spec.file is not None]
    every = {folder for folder in (project.root, *project.dependencies, *files) if folder.is_dir()}
    return sorted(folder for folder in every if not any(above in every for above in folder.parents))


def _changes(folders: list[Path], sources: "_Sources", stopping: threading.Event) -> Iterable[list[Path]]:
    """What changed, as it comes; nothing, every LOOK_S. Ends when `stopping` is set."""
    changes = watch(
        *folders,
        watch_filter=sources,
        stop_event=stopping,
        rust_timeout=int(LOOK_S * 1000),
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    try:
        for change in changes:
            yield [Path(path) for _, path in change]
    except OSError as error:
        hint = "WATCHFILES_FORCE_POLLING=1 watches without the system's help"
        raise ConfigError(f"The project's files cannot be watched: {error}; {hint}.") from error


class _Sources(DefaultFilter):
    """Code and configuration. Not data, which a graph may write while it runs: that would start it again for ever."""

    ignore_dirs = (*DefaultFilter.ignore_dirs, "venv", ".ruff_cache")

    def __init__(self, project: Project, data_dir: Path) -> None:
        super().__init__(ignore_paths=[f"{data_dir}{os.sep}"])
        env = project.raw.get("env")
        self._names = {project.path.name, ".env", Path(env).name if isinstance(env, str) else ".env"}

    def __call__(self, change: object, path: str) -> bool:
        mine = path.endswith(".py") or os.path.basename(path) in self._names
        return mine and super().__call__(change, path)  # type: ignore[arg-type]
