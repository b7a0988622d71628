"""Readers of v1 and v2 of one run see the same: what was said, in its order, and the last state."""

from typing import Any

import httpx
import pytest
from protocol.wire import Thread, at, ended, of, said, texts
from streaming.frames import parse

pytestmark = pytest.mark.anyio

INPUTS: dict[str, Any] = {
    "chat": {**said("hi"), "n_tokens": 7},
    "tools": said("add 2 3"),
    "sub": said("hi"),
    "matryoshka": said("hi"),
    "echo": said("hi"),
    "weather": said("?"),
    "counter": {"limit": 4},
    "slow": {"steps": 3, "delay": 0.01},
    "hitl": {"n": 1},
    "parallel_hitl": {},
    "boom": {},
    "deeper": {},
    "shop": {"wanted": ["a", "b"]},
    "workshop": {"calls": [{"name": "sort", "args": {"n": 2}}, {"name": "fail", "args": {"why": "no"}}]},
    "strict": said("short"),
}


def content(value: Any) -> Any:
    """A message's text, however its content is written; other values as they are."""
    if isinstance(value, list):
        return [content(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "content" in value and "type" in value:
        parts = value["content"]
        text = parts if isinstance(parts, str) else "".join(one.get("text", "") for one in parts)
        return value["type"], value.get("id"), text, [one["id"] for one in value.get("tool_calls") or ()]
    return {key: content(one) for key, one in value.items() if key != "__interrupt__"}


@pytest.mark.parametrize("graph", INPUTS)
async def test_v1_and_v2_agree(place: Thread, http: httpx.AsyncClient, graph: str) -> None:
    run_id = await place.start(graph, INPUTS[graph])
    told = await place.read()
    answer = await http.get(f"/threads/{place.id}/runs/{run_id}/stream")
    frames = [parse(block) for block in answer.text.split("\n\n") if block]

    spoke: dict[str, str] = {}
    for frame in frames:
        if frame.event in ("messages/partial", "messages/complete"):
            (message,) = frame.data
            silent = frame.event == "messages/complete" and not message["content"]
            if message["type"] in ("ai", "AIMessageChunk") and not silent:
                spoke[message["id"]] = content({**message, "type": "ai"})[2]
    assert texts([one for one in told if not any(part.startswith("tools:") for part in at(one))]) == list(
        spoke.values()
    )

    def v1(mode: str) -> list[Any]:
        return [frame.data for frame in frames if frame.event == mode]

    root = [one for one in told if not one["params"]["namespace"]]
    assert content(of(root, "values")) == content(v1("values"))
    updates = [one for one in v1("updates") if set(one) != {"__interrupt__"}]
    assert content([one for one in of(root, "updates") if one]) == content(updates)
    assert of(root, "custom") == v1("custom")
    assert of(root, "tools") == v1("tools")
    state = (await http.get(f"/threads/{place.id}/state")).json()
    if v1("values"):
        assert content(of(root, "values")[-1]) == content(state["values"])
    assert ended(told[-1])
