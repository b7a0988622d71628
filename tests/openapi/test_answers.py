"""What the server answers is what /openapi.json says it answers."""

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import Server

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
HELLO = {"messages": [{"role": "user", "content": "hello"}]}
ENDLESS = {"/feed", "/events", "/threads/{thread_id}/stream", "/threads/{thread_id}/stream/events"}


class Walk:
    """A client that checks each answer, and remembers which operations and statuses it has seen."""

    def __init__(self, server: Server, described: schemathesis.BaseSchema, spec: dict[str, Any]) -> None:
        self.http = httpx.Client(base_url=server.url, timeout=20)
        self._described = described
        self._paths = sorted(spec["paths"], key=lambda path: path.count("{"))
        self.seen: set[tuple[str, str, int]] = set()

    def __call__(self, method: str, url: str, body: Any = None, **more: Any) -> Any:
        path = next(one for one in self._paths if self._fits(one, url) and method in self._described[one])
        request = self.http.build_request(method, url, **({"json": body} if body is not None else {}), **more)
        answer = self.http.send(request, stream=path in ENDLESS)
        if path in ENDLESS and answer.status_code == 200:
            assert answer.headers["content-type"].startswith("text/event-stream")
            answer.close()
        else:
            answer.read()
            self._described[path][method].validate_response(answer)
        self.seen.add((method, path, answer.status_code))
        if answer.headers.get("content-type", "").startswith("application/json"):
            return answer.json()
        return answer

    def _fits(self, path: str, url: str) -> bool:
        return re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)), url.partition("?")[0]) is not None


@pytest.fixture
def walk(server: Server, described: schemathesis.BaseSchema, spec: dict[str, Any]) -> Iterator[Walk]:
    walking = Walk(server, described, spec)
    yield walking
    walking.http.close()


def test_a_walk_over_all_routes_meets_what_is_described(walk: Walk, spec: dict[str, Any]) -> None:
    none = str(uuid.uuid4())
    system(walk)
    assistants(walk, none)
    thread_id, run_id = a_thread(walk, none)
    runs(walk, thread_id, run_id, none)
    branches(walk, none)
    keeping(walk, none)
    people(walk)
    protocol(walk, none)
    store(walk)
    crons(walk, thread_id, none)
    walk("DELETE", f"/threads/{thread_id}/runs/{run_id}")
    walk("DELETE", f"/threads/{thread_id}")
    walk("DELETE", f"/threads/{thread_id}")
    everything = {(method.upper(), path) for path, methods in spec["paths"].items() for method in methods}
    done = {(method, path) for method, path, status in walk.seen if status < 300}
    assert everything - done == {("POST", "/webhooks/deliveries/{run_id}/retry")}  # needs a receiver that is down


def system(walk: Walk) -> None:
    for url in ("/ok", "/ok?check_db=1", "/ok?check_db=maybe", "/info", "/metrics", "/metrics?format=json"):
        walk("GET", url)
    walk("GET", "/webhooks/deliveries")
    walk("POST", f"/webhooks/deliveries/{uuid.uuid4()}/retry")


def assistants(walk: Walk, none: str) -> None:
    made = walk("POST", "/assistants", {"graph_id": "sub", "context": {"a": 1}, "metadata": {"m": 1}, "name": "One"})
    place = f"/assistants/{made['assistant_id']}"
    walk("POST", "/assistants", {"graph_id": "sub", "assistant_id": made["assistant_id"]})
    walk("POST", "/assistants", {"graph_id": "nowhere"})
    walk("POST", "/assistants", {"graph_id": "sub", "context": {"a": 1}, "config": {"configurable": {"b": 1}}})
    walk("POST", "/assistants", [])
    walk("PATCH", place, {"description": "changed"})
    for body in ({}, {"select": ["name", "version"]}, {"graph_id": "nowhere"}, {"limit": 0}):
        walk("POST", "/assistants/search", body)
    walk("POST", "/assistants/count", {})
    walk("POST", f"{place}/versions", {})
    walk("POST", f"{place}/latest", {"version": 1})
    walk("POST", f"{place}/latest", {"version": 9})
    for rest in ("", "/graph?xray=1", "/graph?xray=no", "/schemas", "/subgraphs?recurse=1", "/subgraphs/child"):
        walk("GET", f"{place}{rest}")
        walk("GET", f"/assistants/{none}{rest}")
    walk("DELETE", place)
    walk("DELETE", place)


def a_thread(walk: Walk, none: str) -> tuple[str, str]:
    thread_id = walk("POST", "/threads", {"metadata": {"topic": 1}, "ttl": 60})["thread_id"]
    place = f"/threads/{thread_id}"
    for rest in ("", "/state", "/history", "/storage"):  # without a state
        walk("GET", f"{place}{rest}")
    walk("POST", f"{place}/state", {"values": {}})
    ran = walk("POST", f"{place}/runs", {"assistant_id": "echo", "input": HELLO, "stream_resumable": True})
    walk("GET", f"{place}/runs/{ran['run_id']}/join")
    walk("POST", "/threads", {"thread_id": thread_id})
    walk("POST", "/threads", {"supersteps": [{"updates": [{"values": {}, "as_node": "x"}]}]})
    walk("PATCH", place, {"title": "A title"})
    walk("PATCH", place, {"title": "A title"}, headers={"Prefer": "return=minimal"})
    for body in ({"ids": [thread_id]}, {"select": ["status"], "extract": {"a": "values.messages[0]"}}, {"ids": ["x"]}):
        walk("POST", "/threads/search", body)
    walk("POST", "/threads/count", {})
    checkpoint = walk("GET", f"{place}/state")["checkpoint"]
    for rest in ("?include=ttl", "/state?select=next", f"/state/{checkpoint['checkpoint_id']}", "/history", "/storage"):
        walk("GET", f"{place}{rest}")
        walk("GET", f"/threads/{none}{rest}")
    walk("POST", f"{place}/state/checkpoint", {"checkpoint": checkpoint, "subgraphs": True})
    walk("POST", f"{place}/history", {"limit": 5})
    walk("POST", f"{place}/state", {"values": HELLO, "as_node": "say"})
    walk("POST", f"{place}/state", {"values": HELLO, "as_node": "nowhere"})
    walk("POST", f"{place}/copy", {})
    walk("POST", f"/threads/{none}/copy", {})
    walk("POST", "/threads/prune", {"thread_ids": [thread_id, none], "strategy": "keep_latest"})
    walk("GET", f"{place}/stream")
    walk("GET", f"/threads/{none}/stream")
    walk("GET", "/feed?since=0")
    for there in (place, f"/threads/{none}"):
        for rest in ("/snapshot", "/digest?since=0", "/queue", "/timings"):
            walk("GET", f"{there}{rest}")
        walk("PUT", f"{there}/read", {})
        for body in ({"content": "to be"}, {"content": [], "revision": "other"}, {"content": None}):
            walk("PUT", f"{there}/draft", body)
        walk("GET", f"{there}/draft")
        walk("DELETE", f"{there}/draft?revision=other")
        walk("DELETE", f"{there}/draft")
        walk("GET", f"{there}/draft")
        walk("POST", f"{there}/stop")
        walk("PATCH", f"{there}/runs/{ran['run_id']}", {"position": 0})
    later = {"assistant_id": "echo", "input": HELLO, "after_seconds": 60}
    waiting = walk("POST", f"{place}/runs", later)
    walk("GET", f"{place}/queue")
    walk("PATCH", f"{place}/runs/{waiting['run_id']}", {"position": 0, "paused": True})
    walk("POST", f"{place}/stop")
    return thread_id, ran["run_id"]


def runs(walk: Walk, thread_id: str, run_id: str, none: str) -> None:
    place, later = f"/threads/{thread_id}/runs", {"assistant_id": "echo", "input": HELLO, "after_seconds": 600}
    now = {"assistant_id": "echo", "input": HELLO}
    for base in (place, "/runs"):
        walk("POST", f"{base}/wait", now)
        walk("POST", f"{base}/stream", now | {"stream_mode": ["values", "messages"]})
        walk("POST", f"{base}/wait", {"assistant_id": "nowhere"})
        walk("POST", f"{base}/stream", {"assistant_id": none})
        walk("POST", base, now | {"context": {"a": 1}, "config": {"configurable": {"b": 1}}})
    failed = walk("POST", f"{place}/wait", {"assistant_id": "boom", "input": {}})
    assert failed["__error__"]["error"] == "ValueError"
    walk("GET", f"/threads/{thread_id}")
    walk("GET", f"/threads/{thread_id}/state")
    for url in (place, f"{place}?select=status&limit=1", f"{place}?limit=-1", f"{place}/{run_id}", f"{place}/{none}"):
        walk("GET", url)
    for rest in ("join", "stream"):
        walk("GET", f"{place}/{run_id}/{rest}")
        walk("GET", f"{place}/{none}/{rest}")
    walk("GET", f"/runs/{run_id}/stream")
    waiting = walk("POST", place, later)["run_id"]
    walk("POST", place, later | {"multitask_strategy": "reject"})
    walk("POST", f"/threads/{thread_id}/state", {"values": HELLO})
    walk("POST", f"{place}/{waiting}/cancel")
    walk("POST", f"{place}/{waiting}/cancel")
    again = walk("POST", place, later)["run_id"]
    walk("POST", f"{place}/{again}/cancel?wait=1")
    walk("POST", f"{place}/{again}/cancel?action=wrong")
    walk("POST", f"{place}/{again}/recover", {"choice": "keep"})  # it did not crash
    walk("POST", f"{place}/{none}/recover", {"choice": "keep"})
    walk("POST", f"{place}/{none}/recover", {"choice": "discard"})  # gone already
    walk("POST", "/runs", now)
    walk("POST", "/runs/batch", [later, later])
    walk("POST", "/runs/batch", [])
    walk("POST", "/runs/cancel", {"status": "pending"})
    walk("POST", "/runs/cancel", {"thread_id": thread_id, "run_ids": [none]})


def branches(walk: Walk, none: str) -> None:
    thread_id = walk("POST", "/threads", {"metadata": {"graph_id": "echo"}})["thread_id"]
    place = f"/threads/{thread_id}"
    walk("POST", f"{place}/fork", {})
    for rest in ("", "/messages"):
        walk("GET", f"{place}/branches{rest}")
        walk("GET", f"/threads/{none}/branches{rest}")
    for said in ("one", "two"):
        walk("POST", f"{place}/runs/wait", {"assistant_id": "echo", "input": {"messages": [said]}})
    walk("GET", f"{place}/branches/map")
    fork_from = walk("GET", f"{place}/branches/messages")["messages"][2]["fork_from"]
    walk("POST", f"{place}/runs/wait", {"assistant_id": "echo", "input": HELLO, "checkpoint_id": fork_from})
    old = walk("GET", f"{place}/branches/messages")["messages"][2]["siblings"][0]["head"]
    walk("GET", f"{place}/branches?limit=2")
    for at in (old, fork_from, none):
        walk("PUT", f"{place}/head", {"checkpoint_id": at})
    named = f"{place}/branches/Old"
    walk("PUT", named, {"checkpoint_id": old, "pinned": True})
    walk("DELETE", named)
    walk("PATCH", named, {"pinned": False, "name": "Older"})
    walk("PATCH", named, {"pinned": False})
    walk("GET", f"{place}/branches")
    walk("PUT", f"{place}/head", {"branch": "Older"})
    walk("GET", f"{place}/diff?a={fork_from}")
    walk("GET", f"{place}/diff?a={none}")
    variant = {"assistant_id": "echo", "input": HELLO, "title": "A"}
    begun = walk("POST", f"{place}/compare", {"checkpoint_id": fork_from, "variants": [variant]})["runs"][0]
    walk("GET", f"/threads/{begun['thread_id']}/runs/{begun['run_id']}/join")
    walk("POST", f"{place}/promote", {"from_thread_id": begun["thread_id"]})
    walk("POST", f"{place}/promote", {"from_thread_id": none})
    said = walk("GET", f"/threads/{begun['thread_id']}/state")["values"]["messages"][-1]["id"]
    walk("POST", f"{place}/merge", {"from_thread_id": begun["thread_id"], "messages": [said]})
    walk("POST", f"{place}/merge", {"from_thread_id": begun["thread_id"], "messages": [none]})
    walk("DELETE", f"{place}/branches/Older")
    walk("POST", f"{place}/fork", {"checkpoint_id": fork_from, "title": "Other", "metadata": {"a": 1}})
    walk("POST", f"{place}/fork", {"thread_id": thread_id})
    walk("POST", f"/threads/{none}/fork", {})
    walk("GET", f"{place}?include=lineage")
    walk("POST", "/search", {"query": "one", "thread_ids": [thread_id]})
    walk("POST", "/search", {"query": ""})


def keeping(walk: Walk, none: str) -> None:
    """What is carried away, shared, thinned out and forgotten."""
    thread_id = walk("POST", "/threads", {"metadata": {"graph_id": "echo"}})["thread_id"]
    place = f"/threads/{thread_id}"
    for said in ("one", "two"):
        walk("POST", f"{place}/runs/wait", {"assistant_id": "echo", "input": {"messages": [said]}})
    for form in ("json", "markdown", "bundle", "none"):
        walk("GET", f"{place}/export?format={form}")
    walk("GET", f"/threads/{none}/export")
    told = {"format": "threadmill-transcript", "messages": [{"role": "user", "content": "from elsewhere"}]}
    walk("POST", "/threads/import", told)
    walk("POST", "/threads/import", {"format": "none"})
    for dry_run in (True, False):
        walk("POST", "/threads/retention", {"thread_ids": [thread_id], "keep_all_days": 0, "dry_run": dry_run})
    walk("POST", "/threads/retention", {"thread_ids": [thread_id], "keep_all_days": -1})
    first, second, *_ = walk("GET", f"{place}/state")["values"]["messages"]
    link = walk("POST", f"{place}/shares", {"redact": ["tool-results"], "ttl": 5})
    walk("POST", f"{place}/shares", {"ttl": -1})
    walk("POST", f"{place}/shares", {"checkpoint_id": none})
    walk("POST", f"/threads/{none}/shares", {})
    walk("GET", f"{place}/shares")
    walk("GET", f"/threads/{none}/shares")
    walk("GET", f"/shared/{link['token']}")
    walk("GET", f"/shared/{none}")
    walk("DELETE", f"{place}/shares/{link['share_id']}")
    walk("DELETE", f"{place}/shares/{link['share_id']}")
    walk("POST", f"{place}/messages/{first['id']}/forget")
    walk("POST", f"{place}/messages/{none}/forget")
    walk("POST", f"/messages/{second['id']}/forget")
    walk("POST", f"/messages/{none}/forget")


def people(walk: Walk) -> None:
    place = f"/threads/{walk('POST', '/threads', {})['thread_id']}"
    walk("POST", f"{place}/runs/wait", {"assistant_id": "parallel_hitl", "input": {}})
    assert len(walk("GET", place)["interrupts"]) == 2
    walk("GET", f"{place}/state")
    walk("GET", f"{place}/history")
    walk("POST", f"{place}/runs/wait", {"assistant_id": "functional", "input": "not an object"})


def protocol(walk: Walk, none: str) -> None:
    place = f"/threads/{none}"
    for method in ("agent.getTree", "nothing.known"):
        walk("POST", f"{place}/commands", {"id": 1, "method": method})
    walk("POST", f"{place}/commands", {"id": "one"})
    started = {"id": 1, "method": "run.start", "params": {"assistant_id": "echo", "input": HELLO}}
    walk("POST", f"{place}/commands", started)
    walk("POST", "/events", {"thread_id": none, "feed": {}})
    walk("POST", "/events", {})
    walk("POST", f"{place}/stream/events", {"channels": ["values"]})
    walk("POST", f"{place}/stream/events", {"channels": []})
    for method in ("initialize", "tools/list", "nothing"):
        walk("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": method})
    walk("POST", "/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"})
    walk("POST", "/mcp", {"id": 1})
    (assistant,) = walk("POST", "/assistants/search", {"graph_id": "echo"})
    walk("GET", f"/.well-known/agent-card.json?assistant_id={assistant['assistant_id']}")
    walk("GET", "/.well-known/agent-card.json")
    said = {"message": {"role": "user", "messageId": "1", "parts": [{"kind": "text", "text": "hello"}]}}
    for method in ("message/send", "message/stream", "tasks/get"):
        walk(
            "POST", f"/a2a/{assistant['assistant_id']}", {"jsonrpc": "2.0", "id": "1", "method": method, "params": said}
        )


def store(walk: Walk) -> None:
    item = {"namespace": ["a", "b"], "key": "k", "value": {"n": 1}}
    walk("PUT", "/store/items", item | {"ttl": 10})
    walk("PUT", "/store/items", item | {"namespace": []})
    walk("PUT", "/store/items", item | {"namespace": ["a.b"]})
    for query in ("namespace=a.b&key=k", "namespace=a.b&key=gone", "namespace=a.b", "namespace=a..b&key=k"):
        walk("GET", f"/store/items?{query}")
    walk("POST", "/store/items/search", {"namespace_prefix": ["a"]})
    walk("POST", "/store/items/search", {"filter": {"n": {"$no": 1}}})
    walk("POST", "/store/namespaces", {})
    walk("DELETE", "/store/items", {"namespace": ["a", "b"], "key": "k"})


def crons(walk: Walk, thread_id: str, none: str) -> None:
    yearly = {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": HELLO, "timezone": "Europe/Berlin"}
    made = walk("POST", "/runs/crons", yearly | {"end_time": "2099-01-01T00:00:00Z"})
    place = f"/runs/crons/{made['cron_id']}"
    walk("POST", f"/threads/{thread_id}/runs/crons", yearly)
    walk("POST", f"/threads/{none}/runs/crons", yearly)
    walk("POST", "/runs/crons", yearly | {"schedule": "never"})
    walk("GET", place)
    walk("PATCH", place, {"enabled": False})
    walk("PATCH", place, {})
    walk("POST", "/runs/crons/search", {"select": ["cron_id", "next_run_date"]})
    walk("POST", "/runs/crons/search", {})
    walk("POST", "/runs/crons/count", {})
    walk("DELETE", place)
    walk("GET", place)


# Whatever the schema allows, and what it does not


@pytest.fixture(scope="module")
def ids(server: Server) -> dict[str, str]:
    with httpx.Client(base_url=server.url, timeout=20) as http:
        thread_id = http.post("/threads", json={}).json()["thread_id"]
        run = http.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": "echo", "input": HELLO})
        (assistant,) = http.post("/assistants/search", json={"graph_id": "echo"}).json()
        cron = http.post("/runs/crons", json={"assistant_id": "echo", "schedule": "0 0 1 1 *"}).json()
        return {
            "thread_id": thread_id,
            "run_id": run.headers["content-location"].split("/")[-1],
            "assistant_id": assistant["assistant_id"],
            "cron_id": cron["cron_id"],
            "checkpoint_id": http.get(f"/threads/{thread_id}/state").json()["checkpoint_id"],
        }


def test_head_is_answered_as_get_is_without_the_body(server: Server, spec: dict[str, Any], ids: dict[str, str]) -> None:
    tried = 0
    with httpx.Client(base_url=server.url, timeout=20) as http:
        for path in [path for path, methods in spec["paths"].items() if "get" in methods]:
            url = re.sub(r"\{(\w+)\}", lambda name: ids.get(name[1], "none"), path)
            with http.stream("GET", url) as wanted:  # some never end
                pass
            head = http.head(url)
            assert (head.status_code, head.content) == (wanted.status_code, b""), path
            kind = head.headers.get("content-type")
            assert kind == wanted.headers.get("content-type"), path
            tried += head.status_code == 200
    assert tried > 20


@pytest.mark.parametrize(("mode", "examples"), [(GenerationMode.POSITIVE, 12), (GenerationMode.NEGATIVE, 4)])
def test_whatever_is_asked_the_answer_is_one_that_is_described(
    described: schemathesis.BaseSchema, ids: dict[str, str], mode: GenerationMode, examples: int
) -> None:
    wrong: list[str] = []
    operations = [found.ok() for found in described.get_all_operations()]
    for operation in sorted(operations, key=lambda one: one.method == "delete"):  # what is there is needed to the end
        named = [one.name for one in operation.path_parameters if one.name in ids]
        known = {name: ids[name] for name in named} if mode.is_positive else None
        try:
            fuzz(operation.as_strategy(generation_mode=mode, path_parameters=known), examples)
        except Unsatisfiable:  # nothing would be wrong
            continue
        except (Failure, FailureGroup) as error:
            wrong.append(f"{operation.label}: {error}\n{getattr(error, 'exceptions', '')}")
    assert len(operations) > 60
    assert not wrong, "\n".join(wrong)


def fuzz(cases: Any, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: schemathesis.Case) -> None:
        if isinstance(case.body, dict) and "assistant_id" in case.body and case.method == "POST":
            case.body = {key: value for key, value in case.body.items() if key != "after_seconds"}
            case.body["assistant_id"] = "echo"  # else nothing would ever run
        if case.path in ENDLESS:
            _begin(case)
        else:
            case.validate_response(case.call(timeout=10), checks=CHECKS)

    run: Callable[[], None] = ask
    run()


def _begin(case: schemathesis.Case) -> None:
    """Only the head of an answer that never ends."""
    with requests.request(**case.as_transport_kwargs(), timeout=10, stream=True) as answer:
        if answer.status_code == 200:
            assert answer.headers["content-type"].startswith("text/event-stream")
        else:
            case.validate_response(answer, checks=CHECKS)
