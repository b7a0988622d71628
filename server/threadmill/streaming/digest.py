"""While you were away: what a thread's events add up to."""

from collections.abc import Iterable
from typing import Any

import orjson

from threadmill.streaming.projection import Envelope

ENDS = ("completed", "failed", "interrupted")
PREVIEW = 400  # characters of what was said last


def digest(envelopes: Iterable[Envelope]) -> dict[str, Any]:
    """Of envelopes in order. Counts are of what ended in them: a tool that is still at work is none yet."""
    tools: dict[str, dict[str, int]] = {}
    names: dict[str, str] = {}
    runs: list[dict[str, Any]] = []
    begun: dict[str, int] = {}
    said: dict[str, str] = {}  # text so far, by message
    finished: list[str] = []
    for one in envelopes:
        if one.method not in ("tools", "messages", "lifecycle"):
            continue
        data = orjson.loads(one.data)
        if one.method == "tools":
            call = data["tool_call_id"]
            names[call] = data.get("tool_name") or names.get(call, "")
            if data["event"] in ("tool-finished", "tool-error"):
                count = tools.setdefault(names[call], {"calls": 0, "errors": 0})
                count["calls"] += 1
                count["errors"] += data["event"] == "tool-error"
        elif one.method == "messages":
            _say(said, finished, data)
        elif not one.namespace:
            run_id = one.event_id.split(":")[1]
            if data["event"] == "running":
                begun.setdefault(run_id, one.at)
            elif data["event"] in ENDS and data.get("began", True) and not data.get("undone"):
                runs.append(_run(run_id, data, begun.get(run_id), one.at))
    return {
        "tools": {
            "calls": sum(one["calls"] for one in tools.values()),
            "errors": sum(one["errors"] for one in tools.values()),
            "by_name": tools,
        },
        "runs": runs,
        "messages": {"count": len(finished), "last": finished[-1][:PREVIEW] if finished else None},
    }


def _say(said: dict[str, str], finished: list[str], data: dict[str, Any]) -> None:
    if data["event"] == "message-start" and data["role"] == "ai":
        said[data["id"]] = ""
    elif data["id"] not in said:
        return
    elif data["event"] == "content-block-delta":
        said[data["id"]] += data["delta"].get("text", "")
    elif data["event"] == "message-finish":
        finished.append(said.pop(data["id"]))


def _run(run_id: str, data: dict[str, Any], began: int | None, ended: int) -> dict[str, Any]:
    """`started_at` is None when it began before."""
    seconds = None if began is None else (ended - began) / 1000
    return {
        "run_id": run_id,
        "status": "interrupted" if data.get("stopped") else data["event"],
        "error": data.get("error"),
        "started_at": began,
        "ended_at": ended,
        "seconds": seconds,
    }
