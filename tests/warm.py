"""Server processes that begin with their imports done: two thirds of what a start costs, and a suite starts hundreds.

Each is a process of its own, forked from one that has imported the server and has done nothing else. Only settings may
differ from the environment of the tests: what a library reads when it is imported has been read.
"""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

HERE = Path(__file__).parents[1]
SETTINGS = "THREADMILL_"
PRELOADED = [
    *("threadmill.cli", "threadmill.server", "threadmill.app", "threadmill.runtime", "threadmill.logs"),
    *("langgraph.prebuilt", "langchain_core.language_models.chat_models", "httptools", "uvloop"),
]
_context: ForkServerContext | None = None


def can_be(env: Mapping[str, str]) -> bool:
    return sys.platform != "win32" and _of_libraries(env) == _of_libraries(os.environ)


def _of_libraries(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith((SETTINGS, "PYTHON"))}


class Warm:
    """What tests use of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        global _context
        if _context is None:
            _context = multiprocessing.get_context("forkserver")
            _context.set_forkserver_preload(PRELOADED)
        main, path = sys.modules["__main__"], "__file__"
        kept = main.__dict__.pop(path, None)  # else the child would import what started the tests
        try:
            self._process: BaseProcess = _context.Process(target=_run, args=(list(arguments), dict(env), str(log)))
            self._process.start()
        finally:
            if kept is not None:
                main.__dict__[path] = kept
        assert self._process.pid is not None
        self.pid = self._process.pid

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


def _is_installed(path: str) -> bool:
    inside = Path(path).resolve()
    if not inside.is_relative_to(HERE):
        return True
    return inside.relative_to(HERE).parts[:1] in ((".venv",), ("server",), ("checkpoints",))


def _run(arguments: list[str], env: dict[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    random.seed()
    for how in (signal.SIGINT, signal.SIGTERM):
        signal.signal(how, signal.default_int_handler if how == signal.SIGINT else signal.SIG_DFL)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.path[:] = [os.getcwd(), *[path for path in sys.path if _is_installed(path)]]  # what the tests import is theirs
    sys.argv = ["threadmill", *arguments]
    from threadmill.cli import main

    main()
