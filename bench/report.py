"""The metrics, the goals set for them, and the table."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

CONTENDERS = ("in-process", "floor", "threadmill", "reference")


@dataclass(frozen=True)
class Goal:
    number: int  # of the goal list in README.md
    floor: float | None = None  # Threadmill / floor: at most (low is good), at least (high is good)
    reference: float | None = None  # at least this many times better
    value: float | None = None  # at most, at least

    def text(self, high: bool) -> str:
        sign = "≥" if high else "≤"
        parts = [f"{sign} {self.value:g}"] if self.value else []
        parts += [f"{sign} {self.floor:g}× floor"] if self.floor else []
        parts += [f"≥ {self.reference:.3g}× reference"] if self.reference else []
        return f"#{self.number}: " + ", ".join(parts)


@dataclass(frozen=True)
class Metric:
    key: str
    label: str
    high: bool = False  # a high figure is good
    goal: Goal | None = None


METRICS = (
    Metric("wait_1_p50_ms", "runs/wait p50, 1 client, ms", goal=Goal(2, floor=1.8, reference=200)),
    Metric("wait_1_per_s", "runs/wait per s, 1 client", high=True),
    Metric("wait_8_p50_ms", "runs/wait p50, 8 clients, ms"),
    Metric("wait_8_per_s", "runs/wait per s, 8 clients", high=True),
    Metric("wait_32_p50_ms", "runs/wait p50, 32 clients, ms"),
    Metric("wait_32_per_s", "runs/wait per s, 32 clients", high=True, goal=Goal(3, floor=0.6, reference=3.4)),
    Metric("wait_32_cpu_ms", "server CPU per run, 32 clients, ms"),
    Metric("first_event_p50_ms", "time to first event p50, ms"),
    Metric("first_event_p99_ms", "time to first event p99, ms"),
    Metric("first_token_p50_ms", "time to first token p50, ms", goal=Goal(1, floor=1.3, reference=180)),
    Metric("first_token_p99_ms", "time to first token p99, ms"),
    Metric("tokens_1_per_s", "tokens/s flat out, 1 stream", high=True),
    Metric("tokens_32_per_s", "tokens/s flat out, 32 streams", high=True),
    Metric("tokens_32_cpu_us", "server CPU per token, 32 streams, us", goal=Goal(4, floor=1.3, reference=4)),
    Metric("live_32_hop_p50_ms", "32 live streams (20 ms): hop p50, ms"),
    Metric("live_32_hop_p99_ms", "32 live streams (20 ms): hop p99, ms"),
    Metric("live_32_cpu_us", "32 live streams: server CPU per token, us"),
    Metric("live_128_hop_p50_ms", "128 live streams (20 ms): hop p50, ms"),
    Metric("live_128_hop_p99_ms", "128 live streams (20 ms): hop p99, ms", goal=Goal(5, value=30)),
    *(
        metric
        for n in (32, 128)
        for metric in (
            Metric(f"sse_{n}_cpu_us", f"event protocol, {n} live streams, SSE: server CPU per token, us"),
            Metric(f"socket_{n}_cpu_us", f"event protocol, {n} live streams, WebSocket: server CPU per token, us"),
            Metric(
                f"socket_{n}_ratio", f"event protocol, {n} live streams: CPU, WebSocket / SSE", goal=Goal(17, value=1.2)
            ),
            Metric(f"sse_{n}_hop_p99_ms", f"event protocol, {n} live streams, SSE: hop p99, ms"),
            Metric(f"socket_{n}_hop_p99_ms", f"event protocol, {n} live streams, WebSocket: hop p99, ms"),
        )
    ),
    Metric("superstep_1_ms", "superstep, 1 run, ms"),
    Metric("superstep_8_ms", "superstep, 8 runs at once, ms per step", goal=Goal(6, floor=1.5, reference=1 / 0.7)),
    Metric("superstep_8_cpu_ms", "superstep, 8 runs: server CPU, ms", goal=Goal(6, floor=1.5, reference=1 / 0.7)),
    Metric("emit_per_s", "10,000 custom events made and streamed, per s", high=True),
    Metric("replay_ms", "replay of 10,000 events, ms", goal=Goal(12, value=20, reference=35)),
    Metric(
        "fanout_cpu_us", "128 readers of one run: server CPU per delivery, us", goal=Goal(15, value=20, reference=11)
    ),
    Metric("fanout_hop_p50_ms", "128 readers of one run: hop p50, ms"),
    Metric("fanout_hop_p99_ms", "128 readers of one run: hop p99, ms", goal=Goal(15, value=15, reference=60)),
    Metric("state_p50_ms", "state of 5,000 messages p50, ms", goal=Goal(10, value=5, reference=7)),
    Metric("state_cpu_ms", "state of 5,000 messages: server CPU, ms"),
    Metric("state_mb", "(MB of that state)"),
    Metric("state_ms_per_mb", "server CPU per MB of it, ms"),
    Metric("history_p50_ms", "history of 1,000 checkpoints p50, ms", goal=Goal(11, reference=5)),
    Metric("history_cpu_ms", "history of 1,000 checkpoints: server CPU, ms"),
    Metric("durable_step_p50_ms", "from a superstep's event to its checkpoint on disk p50, ms"),
    Metric("durable_step_p99_ms", "... p99, less one fsync, ms", goal=Goal(18, value=25)),
    Metric("durable_token_p50_ms", "from a token's event to its place on disk p50, ms"),
    Metric("durable_token_p99_ms", "... p99, less one fsync, ms", goal=Goal(18, value=25)),
    Metric("durable_fsync_ms", "(fsync of that disk p50, ms)"),
    Metric("create_1_per_s", "threads created per s, 1 client", high=True),
    Metric("create_16_per_s", "threads created per s, 16 clients", high=True, goal=Goal(13, value=1500, reference=2.5)),
    Metric("search_p50_ms", "thread search, 10 of all, p50, ms", goal=Goal(14, value=1, reference=4)),
    Metric("search_metadata_p50_ms", "thread search by metadata, p50, ms"),
    Metric("threads_present", "(threads then present)"),
    Metric("cold_start_s", "cold start to /ok, s", goal=Goal(16, floor=1.2, reference=1)),
    Metric("rss_idle_mib", "resident memory idle, MiB", goal=Goal(16, value=105, reference=1 / 0.87)),
    Metric("rss_after_runs_mib", "resident memory after {runs} runs, MiB"),
)

Rounds = list[dict[str, dict[str, float]]]  # per round: contender -> metric -> figure


def medians(rounds: Rounds, key: str) -> dict[str, float | None]:
    """Of each contender."""
    values = {c: [r[c][key] for r in rounds if key in r.get(c, {})] for c in CONTENDERS}
    return {c: median(found) if found else None for c, found in values.items()}


def ratio(metric: Metric, figures: dict[str, Any], other: str) -> float | None:
    """Threadmill / floor; for the reference turned so that more than 1 means that Threadmill is better."""
    mine, others = figures.get("threadmill"), figures.get(other)
    if not mine or not others or min(mine, others) < 0:
        return None
    return others / mine if other == "reference" and not metric.high else mine / others


def met(metric: Metric, figures: dict[str, Any]) -> str:
    goal, mine = metric.goal, figures["threadmill"]
    if goal is None or mine is None:
        return "" if goal is None else "not measured"
    to_floor, better = ratio(metric, figures, "floor"), ratio(metric, figures, "reference")
    kept = []  # one verdict for each part of the goal; None when the other side is missing
    for figure, bound in ((mine, goal.value), (to_floor, goal.floor)):
        if bound:
            kept.append(None if figure is None else figure >= bound if metric.high else figure <= bound)
    if goal.reference:
        kept.append(None if better is None else better >= goal.reference)
    if False in kept:
        return "no"
    return "yes" if None not in kept else "yes, as far as measured" if True in kept else "not measured"


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.{0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3}f}"


def ratio_text(metric: Metric, rounds: Rounds, other: str) -> str:
    """The ratio of the medians, then the lowest and highest ratio of any round."""
    middle = ratio(metric, medians(rounds, metric.key), other)
    by_round = [{c: figures.get(metric.key) for c, figures in r.items()} for r in rounds]
    each = [x for x in (ratio(metric, figures, other) for figures in by_round) if x is not None]
    if middle is None or metric.label.startswith("("):
        return "-"
    short = [f"{x:,.0f}" if x >= 100 else f"{x:.3g}" for x in (middle, *((min(each), max(each)) if each[1:] else ()))]
    return short[0] + (f" ({short[1]} to {short[2]})" if short[1:] else "")


def table(rounds: Rounds, runs: int) -> str:
    rows = [["metric", *CONTENDERS, "÷ floor", "× better than reference", "target", "met"]]
    for metric in METRICS:
        figures = medians(rounds, metric.key)
        if any(figure is not None for figure in figures.values()):
            ratios = [ratio_text(metric, rounds, other) for other in ("floor", "reference")]
            goal = metric.goal.text(metric.high) if metric.goal else ""
            label = metric.label.format(runs=f"{runs:,}")
            cells = [number(x) if c in rounds[0] else "not available" for c, x in figures.items()]
            rows.append([label, *cells, *ratios, goal, met(metric, figures)])
    rows.insert(1, ["-" * 3, *["--:"] * (len(CONTENDERS) + 2), "---", "---"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def summary(rounds: Rounds) -> dict[str, Any]:
    found = {metric.key: medians(rounds, metric.key) for metric in METRICS}
    return {"medians": found, "met": {metric.key: met(metric, found[metric.key]) for metric in METRICS if metric.goal}}
