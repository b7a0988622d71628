"""What /metrics tells: numbers of this process, and those that the database had at the moment of asking.

Each runtime has its own registry. What happens often is counted once per request, stream or run, never per token.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LAG_S = 0.1  # between two looks at an event loop
REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
FIRST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
SESSION = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
NO_ROUTE = "(no route)"

Record = Callable[[str, tuple[str, ...], bytes], None]


class Started(Protocol):
    """The part of a run that is of interest here."""

    @property
    def attempt(self) -> int: ...

    @property
    def created_at(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What only the database knows. Waits are in seconds, of runs that are due; None when there is none."""

    pending: int = 0
    running: int = 0
    wait_max: float | None = None
    wait_median: float | None = None
    unblocked_wait_max: float | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    workers_max: int = 0
    workers_active: int = 0


class Metrics:
    """`clock` is in seconds; `now` is compared with the times of runs."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.registry = registry = CollectorRegistry()
        self._clock, self._now = clock, now
        self._closed = False
        self._open_sessions = self._most_sessions = 0
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._http = Counter(
            "threadmill_http_requests", "Requests answered", ["method", "path", "status"], registry=registry
        )
        self._latency = Histogram(
            "threadmill_http_request_seconds",
            "From a request to the first byte of its answer",
            ["method", "path"],
            buckets=REQUEST,
            registry=registry,
        )
        self._streams = Gauge(
            "threadmill_open_streams", "Answers under way that last as long as a run", ["kind"], registry=registry
        )
        for kind in ("events", "wait", "socket"):
            self._streams.labels(kind)
        self._sockets = Counter("threadmill_sockets", "WebSockets that were opened", registry=registry)
        self._sessions = Gauge("threadmill_sessions", "Event streams that clients have open", registry=registry)
        self._peak = Gauge(
            "threadmill_sessions_peak", "The most event streams open at once since the start", registry=registry
        )
        self._duration = Histogram(
            "threadmill_session_seconds",
            "From the opening of an event stream to its end",
            buckets=SESSION,
            registry=registry,
        )
        self._reconnects = Counter(
            "threadmill_stream_reconnects", "Readers that came back with the id of an event", registry=registry
        )
        self._unresumed = Counter(
            "threadmill_stream_resumes_failed",
            "Readers that came back with an id that the log does not know",
            registry=registry,
        )
        self._broken = Counter(
            "threadmill_streams_broken", "Streams that a fault of the server ended", registry=registry
        )
        self._first = Histogram(
            "threadmill_first_output_seconds",
            "From the creation of a run to the first thing its graph said",
            buckets=FIRST,
            registry=registry,
        )
        self._lag = Histogram(
            "threadmill_event_loop_lag_seconds",
            "How late an event loop comes to what is due",
            ["loop"],
            buckets=LAG,
            registry=registry,
        )
        self._lag_peak = Gauge(
            "threadmill_event_loop_lag_peak_seconds", "The longest lag since the start", ["loop"], registry=registry
        )
        ProcessCollector(registry=registry)

    def close(self) -> None:
        self._closed = True

    # What happens

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """`path` is a route's template: ids must not make series."""
        key = (method if method in METHODS else "other", path, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = (self._http.labels(*key), self._latency.labels(*key[:2]))
        series[0].inc()
        series[1].observe(seconds)

    @contextmanager
    def stream(self, kind: str) -> Iterator[None]:
        """An answer that lasts: `events` and `socket` are sessions, `wait` waits for an output. On the HTTP loop."""
        began, session = self._clock(), kind != "wait"
        self._streams.labels(kind).inc()
        if kind == "socket":
            self._sockets.inc()
        if session:
            self._open_sessions += 1
            self._most_sessions = max(self._most_sessions, self._open_sessions)
            self._show_sessions()
        try:
            yield
        finally:
            self._streams.labels(kind).dec()
            if session:
                self._open_sessions -= 1
                self._show_sessions()
                self._duration.observe(self._clock() - began)

    def _show_sessions(self) -> None:
        self._sessions.set(self._open_sessions)
        self._peak.set(self._most_sessions)

    def stream_broke(self) -> None:
        self._broken.inc()

    def reconnected(self, *, resumed: bool) -> None:
        """`resumed`: the reader goes on where it was; else it gets everything again."""
        self._reconnects.inc()
        if not resumed:
            self._unresumed.inc()

    def first_output(self, run: Started, record: Record) -> Record:
        """`record`, watched until the graph says something: a message, a custom event, an update, or a second state
        (the first one is the input). A repeated attempt is not measured.
        """
        if run.attempt != 1:
            return record
        created = datetime.fromisoformat(run.created_at)
        states = 0
        waiting = True

        def watched(method: str, namespace: tuple[str, ...], data: bytes) -> None:
            nonlocal states, waiting
            if waiting:
                states += method == "values"
                if method in ("messages", "custom", "updates") or states == 2:
                    waiting = False
                    self._first.observe((self._now() - created).total_seconds())
            record(method, namespace, data)

        return watched

    def watch(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        """Measure the lag of `loop` until `close`. From any thread."""
        lag, peak = self._lag.labels(name), self._lag_peak.labels(name)
        longest = 0.0

        def look(due: float | None) -> None:
            nonlocal longest
            if self._closed:
                return
            now = self._clock()
            if due is not None:
                late = max(0.0, now - due)
                lag.observe(late)
                if late > longest:
                    longest = late
                    peak.set(late)
            loop.call_later(LAG_S, look, now + LAG_S)

        loop.call_soon_threadsafe(look, None)

    # What is told

    def text(self, snapshot: Snapshot) -> bytes:
        """In the text format of Prometheus."""
        asked = CollectorRegistry()
        asked.register(_Asked(snapshot))
        return generate_latest(asked) + generate_latest(self.registry)

    def plain(self, snapshot: Snapshot) -> dict[str, Any]:
        """In the form of the Agent Server."""
        requests = [
            {**sample.labels, "status": int(sample.labels["status"]), "count": int(sample.value)}
            for family in self._http.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        ]
        return {
            "queue": {
                "n_pending": snapshot.pending,
                "pending_runs_wait_time_max_secs": snapshot.wait_max,
                "pending_runs_wait_time_med_secs": snapshot.wait_median,
                "pending_unblocked_runs_wait_time_max_secs": snapshot.unblocked_wait_max,
                "n_running": snapshot.running,
            },
            "api": {"http_requests_total": requests},
            "workers": {
                "max": snapshot.workers_max,
                "active": snapshot.workers_active,
                "available": snapshot.workers_max - snapshot.workers_active,
            },
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Asked(Collector):
    snapshot: Snapshot

    def collect(self) -> Iterator[Metric]:
        now, counters = self.snapshot, self.snapshot.counters
        threads = CounterMetricFamily("threadmill_threads_created", "Threads created", labels=["kind"])
        threads.add_metric(["kept"], counters.get("threads", 0))
        threads.add_metric(["stateless"], counters.get("threads_stateless", 0))
        yield threads
        yield CounterMetricFamily("threadmill_runs_created", "Runs accepted", value=counters.get("runs", 0))
        ended = CounterMetricFamily("threadmill_runs_ended", "Runs that ended", labels=["status"])
        for status in ("success", "error", "timeout", "interrupted"):
            ended.add_metric([status], counters.get(f"runs_{status}", 0))
        yield ended
        sent = CounterMetricFamily("threadmill_webhooks", "Webhooks that need no more attempt", labels=["outcome"])
        for outcome in ("delivered", "dead"):
            sent.add_metric([outcome], counters.get(f"webhooks_{outcome}", 0))
        yield sent
        runs = GaugeMetricFamily("threadmill_runs", "Runs that have not ended", labels=["status"])
        runs.add_metric(["pending"], now.pending)
        runs.add_metric(["running"], now.running)
        yield runs
        gauges = {
            "threadmill_queue_wait_max_seconds": ("How long the oldest due run has waited", now.wait_max),
            "threadmill_queue_wait_median_seconds": ("Half of the due runs have waited longer", now.wait_median),
            "threadmill_queue_unblocked_wait_max_seconds": (
                "The same as the maximum, of runs whose thread is free",
                now.unblocked_wait_max,
            ),
            "threadmill_workers_max": ("Runs that this server may run at once", now.workers_max),
            "threadmill_workers_active": ("Runs that this server runs", now.workers_active),
            "threadmill_workers_available": ("The difference", now.workers_max - now.workers_active),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value or 0)
