"""Interpreters that begin with their imports done: nine tenths of what the start of a server costs, and a suite starts
hundreds.

Each is a process of its own, forked from one that has imported the server and has done nothing else. Only variables of
our own may differ from the environment of the tests: what a library reads when it is imported has been read.
"""

import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).parents[1]
OURS = ("THREADMILL_", "PYTHON", "PYTEST", "LG_WEBHOOK", "OUTSIDE", "GATE", "HOST_DATA")  # no library reads them
PRELOADED = [
    *("threadmill.cli", "threadmill.commands.threads", "threadmill.logs", "threadmill.reload"),
    *("threadmill.server", "threadmill.app", "httptools", "uvloop"),
    *("langgraph.prebuilt", "langchain_core.language_models.chat_models"),
]
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_context: ForkServerContext | None = None


def can_be(env: Mapping[str, str]) -> bool:
    return sys.platform != "win32" and _of_libraries(env) == _of_libraries(os.environ)


def _of_libraries(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(OURS)}


class _Process:
    """What is used of `subprocess.Popen`."""

    pid: int

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        process.start()
        assert process.pid is not None
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("threadmill", timeout or 0)
        return self._process.exitcode

    def send_signal(self, how: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, how)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Warm(_Process):
    """`python <arguments>`; what it prints is appended to the file `out`, or in part to `err`."""

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        out: Path,
        err: Path | None = None,
        cwd: Path | None = None,
    ) -> None:
        global _context
        if _context is None:
            _context = multiprocessing.get_context("forkserver")
            _context.set_forkserver_preload(PRELOADED)
        main, path = sys.modules["__main__"], "__file__"
        kept = main.__dict__.pop(path, None)  # else the child would import what started the tests
        given = (list(arguments), dict(env), str(out), str(err or out), str(cwd or Path.cwd()))
        try:
            super().__init__(_context.Process(target=_run, args=given))
        finally:
            if kept is not None:
                main.__dict__[path] = kept


class _Fork(_Process):
    """What a warm `threadmill dev` starts in place of an interpreter: itself, as it is before it serves."""

    def __init__(
        self, command: Sequence[str], *, stdin: int, pass_fds: Sequence[int], env: Mapping[str, str], **_: bool
    ) -> None:
        theirs, self._stdin = os.pipe()

        def serve() -> None:
            os.setsid()
            os.dup2(theirs, 0)
            os.close(self._stdin)
            _become(command[1:], env)

        held = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        super().__init__(multiprocessing.get_context("fork").Process(target=serve))
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        os.close(theirs)


def _is_installed(path: str) -> bool:
    inside = Path(path).resolve()
    if not inside.is_relative_to(HERE):
        return True
    return inside.relative_to(HERE).parts[:1] in ((".venv",), ("server",), ("checkpoints",))


def _run(arguments: list[str], env: dict[str, str], out: str, err: str, cwd: str) -> None:
    os.chdir(cwd)
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), number)
    sys.path[:] = [os.getcwd(), *[path for path in sys.path if _is_installed(path)]]  # what the tests import is theirs
    if arguments[:3] == ["-m", "threadmill", "dev"]:
        from threadmill import reload

        taken = SimpleNamespace(Popen=_Fork, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
        vars(reload)["subprocess"] = taken
    _become(arguments, env)


def _become(arguments: Sequence[str], env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
    random.seed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if arguments[0] == "-m":
        sys.argv = [*arguments[1:]]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [*arguments]
        sys.path[0] = str(Path(arguments[0]).parent)
        runpy.run_path(arguments[0], run_name="__main__")
