"""What a page shows of a thread, as a function of what was told: `view = apply(view, envelope)`.

Plain data in, plain data out, nothing changed in place; a page in any language has the same few rules.

- Nothing is applied twice: an envelope whose `seq` is not above `cursor` changes nothing. Every other moves `cursor`.
- `values` of the root graph are the state. What they hold is in flight no longer: messages by their id, tool results by
  their call. Tools that have ended are in flight until then, too.
- A root `lifecycle` begins and ends a run. `running`, also of a further attempt, begins with nothing in flight; any
  other event ends what was, keeps the questions named in its `interrupts` and forgets the others. The status is its
  event, or `interrupted` when it is `stopped`. The end of a run that never began (`began` is false) changes nothing.
- `input.requested` asks: one question per id.
- A run that ends without having told the state, as runs of some stream modes do, or that was undone, leaves the view
  `stale`: take a new snapshot.
- `messages` build up the messages in flight. A `message-start` with a known id begins that message anew; pieces of
  one that never began are left out.
- `tools` tell how each call is getting on.
- Everything else, such as a subgraph's `values`, changes nothing that is shown.
"""

from typing import Any

View = dict[str, Any]

EMPTY: View = {
    "values": None,
    "status": None,
    "error": None,
    "in_flight": None,
    "interrupts": [],
    "stale": False,
    "cursor": 0,
}
GROWING = {"text-delta": "text", "reasoning-delta": "reasoning", "tool-call-delta": "args", "data-delta": "data"}
ENDED = {"tool-finished": "finished", "tool-error": "error"}


def apply(view: View, envelope: dict[str, Any]) -> View:
    """`envelope` as it is on the wire."""
    if envelope["seq"] <= view["cursor"]:
        return view
    view = {**view, "cursor": envelope["seq"]}
    params = envelope["params"]
    data, namespace, at = params["data"], params["namespace"], params["timestamp"]
    method = envelope["method"]
    if method == "lifecycle" and not namespace:
        return _lifecycle(view, data, envelope["event_id"].split(":")[1], at)
    if method == "input.requested":
        others = [one for one in view["interrupts"] if one["interrupt_id"] != data["interrupt_id"]]
        asked = {"interrupt_id": data["interrupt_id"], "value": data["value"], "namespace": namespace}
        return {**view, "interrupts": [*others, asked]}
    if method == "values" and not namespace:
        view = {**view, "values": data, "stale": False}
    flight = view["in_flight"]
    if flight is None:
        return view
    flight = {**flight, "last_event_at": at}
    if method == "values" and not namespace:
        flight = _landed(flight, data)
    elif method == "messages":
        flight["messages"] = _said(flight["messages"], data, namespace, at)
    elif method == "tools":
        flight["tools"] = _tool(flight["tools"], data, namespace, at)
    return {**view, "in_flight": flight}


def messages(view: View) -> list[Any]:
    """Those of the state."""
    values = view["values"]
    held = values.get("messages") if isinstance(values, dict) else None
    return held if isinstance(held, list) else []


def _lifecycle(view: View, data: dict[str, Any], run_id: str, at: int) -> View:
    if not data.get("began", True):
        return view
    stale = view["stale"] or (view["in_flight"] is not None and not view["in_flight"]["stated"])
    status = "interrupted" if data.get("stopped") else data["event"]
    view = {**view, "status": status, "error": data.get("error"), "in_flight": None}
    if data["event"] == "running":
        begun = {"run_id": run_id, "attempt": data.get("attempt", 1), "started_at": at, "last_event_at": at}
        return {**view, "in_flight": {**begun, "stated": False, "messages": [], "tools": []}}
    if data["event"] == "paused":
        return view
    asked = {one["interrupt_id"]: one for one in view["interrupts"]}
    kept = [asked[one] for one in data.get("interrupts", []) if one in asked]
    return {**view, "interrupts": kept, "stale": stale or bool(data.get("undone"))}


def _landed(flight: dict[str, Any], values: Any) -> dict[str, Any]:
    held = messages({"values": values})
    there = {one.get("id") for one in held if isinstance(one, dict)}
    answered = {one.get("tool_call_id") for one in held if isinstance(one, dict)} - {None}
    flying = [one for one in flight["messages"] if one["id"] not in there and one.get("tool_call_id") not in answered]
    tools = [one for one in flight["tools"] if one["status"] == "running"]
    return {**flight, "stated": True, "messages": flying, "tools": tools}


def _said(flying: list[dict[str, Any]], data: dict[str, Any], namespace: list[str], at: int) -> list[dict[str, Any]]:
    others = [one for one in flying if one["id"] != data["id"]]
    if data["event"] == "message-start":
        message = {"id": data["id"], "role": data["role"], "namespace": namespace, "text": "", "blocks": []}
        message |= {"started_at": at, "last_event_at": at, "complete": False}
        named = {key: data[key] for key in ("tool_call_id", "metadata") if key in data}
        return [*others, message | named]
    place = next((place for place, one in enumerate(flying) if one["id"] == data["id"]), None)
    if place is None:
        return flying
    message = {**flying[place], "last_event_at": at}
    if data["event"] == "message-finish":
        message["complete"] = True
        message |= {"usage": data["usage"]} if "usage" in data else {}
    elif data["event"] == "error":
        message["error"] = data["code"]
    else:
        message["blocks"] = _block(message["blocks"], data)
        message["text"] = "".join(one["text"] for one in message["blocks"] if one.get("type") == "text")
    return [*flying[:place], message, *flying[place + 1 :]]


def _block(blocks: list[dict[str, Any]], data: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks of one message; they begin in the order of their `index`."""
    index = data["index"]
    if data["event"] in ("content-block-start", "content-block-finish"):
        return [*blocks[:index], data["content"], *blocks[index + 1 :]]
    delta = data.get("delta") or {"type": "text-delta", "text": data["content"].get("text", "")}
    name = GROWING[delta["type"]]
    grown = {**blocks[index], name: (blocks[index].get(name) or "") + delta[name]}
    return [*blocks[:index], grown, *blocks[index + 1 :]]


def _tool(tools: list[dict[str, Any]], data: dict[str, Any], namespace: list[str], at: int) -> list[dict[str, Any]]:
    call = data["tool_call_id"]
    if data["event"] == "tool-started":
        known: dict[str, Any] = {key: data[key] for key in ("tool_call_id", "tool_name", "input") if key in data}
        known |= {"namespace": namespace, "status": "running", "started_at": at, "last_event_at": at}
        return [*(one for one in tools if one["tool_call_id"] != call), known]
    told = {key: value for key, value in data.items() if key not in ("event", "tool_call_id")}

    def after(tool: dict[str, Any]) -> dict[str, Any]:
        tool = {**tool, "last_event_at": at}
        if data["event"] == "tool-progress":
            return {**tool, "progress": told}
        if data["event"] == "tool-output-delta":
            return {**tool, "deltas": [*tool.get("deltas", []), told["delta"]]}
        return {**tool, **told, "status": "stopped" if told.get("code") == "stopped" else ENDED[data["event"]]}

    return [after(one) if one["tool_call_id"] == call else one for one in tools]
