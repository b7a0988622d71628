"""The one place where everything is put together, and the only one that names a database."""

import asyncio
import importlib
import importlib.util
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import structlog
from langchain_core.embeddings import Embeddings
from langgraph.store.base import TTLConfig

from threadmill import assistants, datadir, egress, encryption, webhooks
from threadmill.config import Settings
from threadmill.crons import Ticker
from threadmill.errors import ConfigError
from threadmill.events.compaction import Compaction
from threadmill.events.log import EventLog
from threadmill.events.recall import Recall
from threadmill.forgetting import Forgetting
from threadmill.graphs import Graphs, imported, load_auth
from threadmill.ids import new_id
from threadmill.jsonable import dumps
from threadmill.langgraph_json.project import Project
from threadmill.langgraph_json.store import StoreIndex
from threadmill.metrics import Metrics
from threadmill.retention import MONTH, Generations, Retention, set_default
from threadmill.runs.executor import Executor
from threadmill.runs.stall import StallWatch
from threadmill.runs.worker import Limits, Worker
from threadmill.runtime import Runtime
from threadmill.search import Search
from threadmill.signals import Signals
from threadmill.state import States
from threadmill.streaming import v2
from threadmill.streaming.feed import FeedReader
from threadmill.streaming.v1 import Reader
from threadmill.webhooks import Webhooks
from threadmill_checkpoints.database import Database, DatabaseError
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver.deferred import DeferredSaver
from threadmill_checkpoints.saver.sqlite import SqliteSaver
from threadmill_checkpoints.saver.states import Memory
from threadmill_checkpoints.sealing import Vault
from threadmill_checkpoints.serde import SealedSerializer, Serializer
from threadmill_checkpoints.sqlite import SqliteDatabase
from threadmill_checkpoints.store import Store
from threadmill_checkpoints.store import prepare as prepare_store
from threadmill_checkpoints.vectors import Index

logger = structlog.get_logger("threadmill.assembly")


@asynccontextmanager
async def open_runtime(project: Project, settings: Settings, graphs: Graphs) -> AsyncIterator[Runtime]:
    """Open the data directory, take over what a dead server left, and run until the context ends; then drain."""
    index = _index(project)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    lock = datadir.lock(settings.data_dir)
    name = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
    vault = encryption.load(project)
    database = _open_sqlite(settings, index, vault)
    signals = Signals()
    serde = Serializer(project.allowed_types) if vault is None else SealedSerializer(project.allowed_types, vault)
    recall = Recall(serde)
    log = EventLog(database, signals, flush_s=settings.flush_ms / 1000, ring_bytes=settings.ring_bytes, recall=recall)
    memory = _open_store(project, database, index)

    states = Memory()

    def new_saver(*, defer: bool = False, **options: Any) -> SqliteSaver:
        return (DeferredSaver if defer else SqliteSaver)(database, serde=serde, memory=states, **options)

    executor = Executor(graphs, database, memory, new_saver, settings.run_timeout_s, settings.recursion_limit)
    limits = Limits(settings.max_concurrent_runs, settings.lease_s, settings.max_attempts, settings.on_crash)
    metrics = Metrics()
    worker = Worker(name, database, log, signals, executor, limits, metrics)
    state_loop = asyncio.new_event_loop()
    state_thread = threading.Thread(target=state_loop.run_forever, name="states", daemon=True)
    runtime = Runtime(
        project,
        settings,
        database,
        log,
        signals,
        graphs,
        worker,
        States(graphs, database, memory, new_saver),
        Reader(log, database, signals, settings.heartbeat_s, metrics),
        v2.Reader(log, database, signals, settings.heartbeat_s, metrics),
        FeedReader(database, log, signals, settings.heartbeat_s),
        state_loop,
        memory,
        metrics,
        Retention(database, log, serde.loads_typed, project.retention, settings.feed_deletions, _generations(settings)),
        _open_webhooks(project, settings, database, signals),
        Search(database, signals, serde, sealed=vault is not None),
        Forgetting(database, log, serde, states),
        load_auth(project),
        vault,
    )
    try:
        known = [(one.id, one.description) for one in project.graphs.values()]
        await database.write(assistants.ensure_defaults, known, project.assistant_configs)
        await database.write(set_default, project.retention)
        await runtime.search.open()
        state_thread.start()
        await worker.start()
        watch = StallWatch(worker.loop, worker.thread_id, settings.stall_s)
        metrics.watch("http", asyncio.get_running_loop())
        metrics.watch("graphs", worker.loop)
        sweeper = asyncio.create_task(_sweep(memory, project.store.sweep_interval * 60))
        retention = asyncio.create_task(runtime.retention.run())
        sending = asyncio.create_task(runtime.webhooks.run())
        indexing = asyncio.create_task(runtime.search.run())
        compaction = asyncio.create_task(
            Compaction(
                database, settings.compact_after_s, min(60.0, max(0.1, settings.compact_after_s / 4)), recall
            ).run()
        )
        ticker = asyncio.create_task(Ticker(database, signals, runtime.submit_cron).run())
        try:
            yield runtime
        finally:
            sweeper.cancel()
            retention.cancel()
            indexing.cancel()
            ticker.cancel()
            compaction.cancel()
            metrics.close()
            watch.close()
            await runtime.stop()
            sending.cancel()  # last: runs that the drain ends are told of
            await asyncio.wait({sending})
    finally:
        if state_thread.is_alive():
            state_loop.call_soon_threadsafe(state_loop.stop)
        memory.close()
        await database.close()
        if vault is not None:
            vault.close()
        lock.close()


def _open_sqlite(settings: Settings, index: Index | None, vault: Vault | None) -> SqliteDatabase:
    def prepare(connection: Any) -> None:
        migrate_sqlite(connection)
        prepare_store(connection, index=index)

    try:
        return SqliteDatabase(
            settings.data_dir / datadir.FILE,
            synchronous="NORMAL" if settings.sqlite_synchronous == "NORMAL" else "FULL",
            prepare=prepare,
            vault=vault,
        )
    except DatabaseError as error:
        raise ConfigError(str(error)) from error


def _generations(settings: Settings) -> Generations | None:
    if not settings.keep_all_days:
        return None
    return Generations(timedelta(days=settings.keep_all_days), settings.keep_turns_months * MONTH)


def _open_store(project: Project, database: Database, index: Index | None) -> Store:
    wanted = project.store
    ttl: TTLConfig = {"default_ttl": wanted.default_ttl, "refresh_on_read": wanted.refresh_on_read}
    return Store(database, index=index, ttl=ttl, dumps=dumps)


def _open_webhooks(project: Project, settings: Settings, database: Database, signals: Signals) -> Webhooks:
    allowed = egress.networks(settings.egress_allow)
    if not project.webhooks.disable_loopback:
        allowed += egress.LOOPBACK
    return Webhooks(
        database,
        signals,
        egress.Egress(allowed, timeout_s=settings.webhook_timeout_s),
        project.webhooks,
        keys=webhooks.secrets(settings.webhook_secret),
        max_attempts=settings.webhook_max_attempts,
        timeout_s=settings.webhook_timeout_s,
    )


def _index(project: Project) -> Index | None:
    wanted = project.store.index
    return None if wanted is None else Index(wanted.dims, _embedding(project, wanted), wanted.fields)


def _embedding(project: Project, wanted: StoreIndex) -> Callable[[list[str]], Any]:
    """The user's function; or, if there is no such module or it has no such name, a model of a provider."""
    where, spec = f"{project.path}: store.index.embed is {wanted.embed!r}", wanted.function
    if spec is not None and (spec.file or importlib.util.find_spec((spec.module or "").partition(".")[0])):
        found = getattr(imported(project, spec), spec.attribute, None)
        if isinstance(found, Embeddings):
            return found.aembed_documents
        if callable(found):
            return cast("Callable[[list[str]], Any]", found)
        if spec.file:
            raise ConfigError(f"{where}, but {spec.file} has no function {spec.attribute!r}.")
    try:
        models = importlib.import_module("langchain.embeddings")
    except ImportError:
        raise ConfigError(
            f"{where}: no function of that name is here, and a provider needs pip install 'threadmill[models]'."
        ) from None
    try:
        return cast("Callable[[list[str]], Any]", models.init_embeddings(wanted.embed).aembed_documents)
    except Exception as error:  # each provider's package has errors of its own
        raise ConfigError(f"{where}, which cannot be used: {type(error).__name__}: {error}") from error


async def _sweep(memory: Store, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            if removed := await memory.sweep():
                logger.info("expired items removed from the store", items=removed)
        except Exception:  # the next one may succeed: a full disk, a lock
            logger.exception("the store could not be swept")
