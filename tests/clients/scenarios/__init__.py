"""Every scenario, by importing those who tell them."""

from clients.scenario import SCENARIOS
from clients.scenarios import assistants, crons, people, rest, runs, state, store, streams, threads, webhooks

__all__ = [
    "SCENARIOS",
    "assistants",
    "crons",
    "people",
    "rest",
    "runs",
    "state",
    "store",
    "streams",
    "threads",
    "webhooks",
]
