"""uvicorn around the app, with our own way to stop: drain first, then close connections."""

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
import uvicorn

from threadmill import loopback
from threadmill.app import App
from threadmill.config import Settings
from threadmill.graphs import Graphs
from threadmill.langgraph_json.project import Project
from threadmill.runtime import Runtime

logger = structlog.get_logger("threadmill.server")

ARRIVAL_S = 0.2  # for the first request on a connection that was just accepted
LINGER_S = 2  # for responses that are still being sent after the drain
LEFT_S = 3.0  # for threads of the user's code that are still busy when everything else has ended


class _Server(uvicorn.Server):
    """uvicorn waits for open responses before it ends the lifespan; streams end only when told."""

    runtime: Runtime  # set before `serve`
    on_started: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # no new connections; what is open goes on
        logger.info("draining", runs=self.runtime.worker.load, grace_s=self.runtime.settings.drain_grace_s)
        await self.runtime.stop()
        await self._first_requests()
        await super().shutdown(sockets)

    async def _first_requests(self) -> None:
        """A client whose new connection is closed without an answer reports an error: let its request arrive."""
        deadline = asyncio.get_running_loop().time() + ARRIVAL_S
        while any(getattr(one, "cycle", None) is None for one in self.server_state.connections):
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.01)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # `run` has the handlers; uvicorn's would raise the signal again at the end, and spoil the exit code

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains. The second ends the process at once, which loses no more than a crash: nothing."""
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True


def run(
    project: Project,
    settings: Settings,
    listening: socket.socket,
    *,
    keep_going: bool,
    started: Callable[[str, Graphs], None] | None = None,
) -> None:
    """Blocks until the process is asked to stop. Raises ConfigError for what a person has to mend.

    `started` is told the url and the graphs once requests are served; without it a log line tells them.
    """
    loopback.prepare()
    graphs = Graphs(project)
    graphs.load(keep_going=keep_going)
    for graph_id, error in graphs.errors.items():
        logger.error("a graph could not be loaded", graph_id=graph_id, error=str(error))

    def serving() -> None:
        url = _url(listening)
        if started is not None:
            started(url, graphs)
        else:
            logger.info("serving", url=url, graphs=graphs.ids(), data=str(settings.data_dir))

    app = App(project, settings, graphs)
    # What is loaded by now stays: to walk it for garbage would stop every run and reader for a tenth of a second.
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=75,
        ws="websockets-sansio",
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=settings.ping_s,
        ws_ping_timeout=settings.ping_s,
        timeout_graceful_shutdown=LINGER_S,
        server_header=False,
    )
    server = _Server(config)
    server.on_started = serving

    async def main() -> None:
        # Not by uvicorn, which turns what goes wrong into a traceback and an exit code of its own.
        async with app.lifespan():
            server.runtime = app.runtime
            await server.serve(sockets=[listening])

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(main())
    logger.info("stopped")
    _leave_no_thread()


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _leave_no_thread() -> None:
    """Python waits for the threads of executors at its end, so a synchronous node that blocks would keep us alive."""
    watchdog = threading.Timer(LEFT_S, os._exit, [0])
    watchdog.daemon = True
    watchdog.start()
