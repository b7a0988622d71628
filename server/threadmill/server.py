"""uvicorn around the app, with our own way to stop: drain first, then close connections."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import structlog
import uvicorn

from threadmill.app import create_app
from threadmill.config import Project, Settings
from threadmill.graphs import Graphs
from threadmill.runtime import Runtime, open_runtime

logger = structlog.get_logger("threadmill.server")


class _Server(uvicorn.Server):
    """uvicorn waits for open responses before it ends the lifespan; streams end only when told."""

    runtime: Runtime | None = None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # no new connections; what is open goes on
        if self.runtime is not None:
            logger.info("draining", runs=self.runtime.worker.load)
            await self.runtime.stop()
        await super().shutdown(sockets)


def run(project: Project, settings: Settings, listening: socket.socket, *, keep_going: bool) -> None:
    """Blocks until the process is asked to stop. Raises ConfigError for what a person has to mend."""
    graphs = Graphs(project)
    graphs.load(keep_going=keep_going)
    for error in graphs.errors.values():
        logger.error("a graph could not be loaded", error=str(error))

    def opened() -> AbstractAsyncContextManager[Runtime]:
        @asynccontextmanager
        async def context() -> AsyncIterator[Runtime]:
            async with open_runtime(project, settings, graphs) as runtime:
                server.runtime = runtime
                yield runtime

        return context()

    app = create_app(opened, max_body_bytes=settings.max_body_bytes)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    server = _Server(config)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    logger.info("serving", url=f"http://{shown}:{port}", graphs=graphs.ids(), data=str(settings.data_dir))
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listening]))
