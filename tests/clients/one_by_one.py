"""Runs the scenarios that stdin names, for an SDK in an environment of its own: a name in, a line of JSON out."""

import json
import sys
import traceback
from importlib.metadata import version
from typing import Any

import anyio
from clients.awaited import Awaited
from clients.scenarios import SCENARIOS
from langgraph_sdk import get_client, get_sync_client

SECONDS = 60.0


async def failure(name: str, client: Any) -> str | None:
    try:
        with anyio.fail_after(SECONDS):
            await SCENARIOS[name].story(client)
    except Exception:
        return traceback.format_exc()
    return None


async def main(url: str) -> None:
    clients = {"async": get_client(url=url), "sync": Awaited(get_sync_client(url=url))}
    for line in sys.stdin:
        kind, name = line.split()
        answer = {"sdk": version("langgraph-sdk"), "failure": await failure(name, clients[kind])}
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
