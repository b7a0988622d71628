"""Threads as files: out of one server, into an empty one, and on from there."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from serving import Server
from typer.testing import CliRunner

from threadmill.cli import whole

LONG = "a long text " * 1000  # a part of its own


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("source") / "data").start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("target") / "data").start()
    yield server
    server.kill()


def http(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=30)


def ran(server: Server, graph: str, *inputs: Any) -> str:
    with http(server) as asked:
        thread_id: str = asked.post("/threads", json={"metadata": {"topic": "carry"}}).json()["thread_id"]
        for given in inputs:
            body = given if "command" in given else {"input": given}
            done = asked.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": graph, **body})
            assert done.status_code == 200, done.text
        return thread_id


def exported(server: Server, thread_id: str, **how: Any) -> httpx.Response:
    with http(server) as asked:
        return asked.get(f"/threads/{thread_id}/export", params=how)


def imported(server: Server, body: bytes, **how: str) -> httpx.Response:
    with http(server) as asked:
        return asked.post("/threads/import", content=body, params=how)


def got(server: Server, path: str) -> Any:
    with http(server) as asked:
        answer = asked.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.fixture(scope="module")
def talked(source: Server) -> str:
    return ran(source, "echo", human("first"), human(LONG), human("third"))


@pytest.fixture(scope="module")
def waits(source: Server) -> str:
    return ran(source, "hitl", {"n": 7})


@pytest.fixture(scope="module")
def bundle(source: Server, talked: str) -> bytes:
    return exported(source, talked).content


# There and back


def test_a_thread_comes_to_an_empty_server_with_all_that_it_has(source: Server, target: Server, talked: str) -> None:
    body = exported(source, talked).content
    assert imported(target, body).json() == {"threads": [{"thread_id": talked, "created": True}]}
    for path in ("", "/state", "/history?limit=100", "/runs"):
        assert got(target, f"/threads/{talked}{path}") == got(source, f"/threads/{talked}{path}"), path
    run = got(source, f"/threads/{talked}/runs")[0]["run_id"]
    with http(source) as a, http(target) as b:
        path = f"/threads/{talked}/runs/{run}/stream?stream_mode=values"
        assert a.get(path).text == b.get(path).text
        shown = [one.get(f"/threads/{talked}/snapshot").json() for one in (a, b)]
        assert shown[0]["messages"] == shown[1]["messages"]
        more = b.post(f"/threads/{talked}/runs/wait", json={"assistant_id": "echo", "input": human("on")}).json()
        assert more["messages"][-1]["content"] == "7: on"
    again = exported(target, talked).content
    manifest = orjson.loads(again.splitlines()[0])
    assert len(manifest["sections"]) == 7
    assert manifest["graph_fingerprint"] == got(source, f"/threads/{talked}/state")["metadata"]["graph_fingerprint"]


def test_a_thread_that_waits_goes_on_elsewhere_as_it_would_here(source: Server, target: Server, waits: str) -> None:
    assert imported(target, exported(source, waits).content).status_code == 200
    assert got(target, f"/threads/{waits}")["status"] == "interrupted"
    answers = []
    for server in (source, target):
        state = got(server, f"/threads/{waits}/state")
        assert state["next"] == ["approve"]
        with http(server) as asked:
            body = {"assistant_id": "hitl", "command": {"resume": "yes"}}
            done = asked.post(f"/threads/{waits}/runs/wait", json=body).json()
        answers.append((state["interrupts"], done))
    assert answers[0] == answers[1]
    assert answers[0][1]["log"] == ["propose", {"approve": "yes"}, "done"]


def test_a_bundle_comes_once_and_what_has_gone_on_is_left_alone(source: Server, target: Server) -> None:
    thread = ran(source, "echo", human("one"))
    body = exported(source, thread).content
    assert [imported(target, body).json()["threads"][0]["created"] for _ in range(2)] == [True, False]
    with http(source) as asked:
        asked.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "echo", "input": human("two")})
    refused = imported(target, exported(source, thread).content)
    assert refused.status_code == 409
    assert "other checkpoints" in refused.json()["detail"]


def test_a_copy_beside_the_first_has_runs_of_its_own(source: Server, talked: str, bundle: bytes) -> None:
    other = str(uuid4())
    assert imported(source, bundle, thread_id=other).json()["threads"][0]["created"]
    runs = [{one["run_id"] for one in got(source, f"/threads/{one}/runs")} for one in (talked, other)]
    assert len(runs[0]) == len(runs[1]) == 3
    assert not runs[0] & runs[1]
    assert got(source, f"/threads/{other}/state")["metadata"]["run_id"] in runs[1]
    with http(source) as asked:
        asked.delete(f"/threads/{other}")
    assert got(source, f"/threads/{talked}/state")["values"]["messages"][2]["content"] == LONG


def test_a_part_is_in_a_bundle_once(bundle: bytes) -> None:
    assert bundle.count(b'"kind":"text"') == 2  # what was said, and what the answer made of it
    assert len(bundle) < 20 * len(LONG)


# What is not whole is refused


def changed(bundle: bytes, **about: Any) -> list[dict[str, Any]]:
    lines = [orjson.loads(line) for line in bundle.splitlines()]
    return [{**lines[0], **about}, *lines[1:]]


def test_a_bundle_that_was_changed_is_refused(target: Server, bundle: bytes) -> None:
    lines = bundle.splitlines()
    for place, line in enumerate(lines):
        other = line.replace(b'"', b' "', 1) if place else line.replace(b'"graph_id":"echo"', b'"graph_id":"hitl"')
        assert other != line
        if place % 7 and place != len(lines) - 1:
            continue
        refused = imported(target, b"\n".join([*lines[:place], other, *lines[place + 1 :]]), thread_id=str(uuid4()))
        assert refused.status_code == 422, place
        assert "changed" in refused.json()["detail"]
    cut = imported(target, b"\n".join(lines[:-2]), thread_id=str(uuid4()))
    assert (cut.status_code, "cut off" in cut.json()["detail"]) == (422, True)
    for body in (b"", b"{}", b"[1", b'{"format":"threadmill-thread"', b'{"format":"threadmill-thread","version":9}'):
        assert imported(target, body).status_code == 422, body


def forged(bundle: bytes, section: str, change: Any) -> bytes:
    """With hashes that are right: whoever makes a bundle can make any."""
    from threadmill.bundles.bundle import SECTIONS, Bundle

    about, *rest = [orjson.loads(line) for line in bundle.splitlines()]
    records, at = {}, 0
    for name in SECTIONS:
        count = about["sections"][name]["lines"]
        records[name] = rest[at : at + count]
        at += count
    change(records[section])
    kept = {key: one for key, one in about.items() if key not in ("format", "version", "sections", "sha256")}
    return b"\n".join(Bundle(kept, records).lines())


def evil(records: list[dict[str, Any]]) -> None:
    import base64

    import ormsgpack

    call = ormsgpack.packb(("os", "system", "touch /tmp/threadmill-bundle-ran"))
    part = next(one for one in records if one["kind"] == "msgpack")
    part["data"] = base64.b64encode(ormsgpack.packb(ormsgpack.Ext(0, call))).decode()


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("parts", lambda r: r[0].update(kind="pickle")),
        ("parts", lambda r: r[0].update(data="&&&")),
        ("parts", lambda r: r[-1].update(parts=[999])),
        ("parts", lambda r: r.pop(0)),
        ("checkpoints", lambda r: r[0].update(kind="json")),
        ("checkpoints", lambda r: r[0].update(checkpoint_id="another")),
        ("checkpoints", lambda r: r[0].pop("metadata")),
        ("writes", lambda r: r[0].update(idx="x")),
        ("runs", lambda r: r[0].update(status="pending")),
        ("runs", lambda r: r[0].update(kwargs={})),
        ("runs", lambda r: r[0].update(first_seq=2**80)),
        ("events", lambda r: r[0].update(seq=r[1]["seq"])),
        ("events", lambda r: r[0].update(method="a\tb")),
        ("thread", lambda r: r[0].update(outcome="x")),
        ("thread", lambda r: r[0].update(created_at="yesterday")),
        ("thread", lambda r: r.clear()),
    ],
)
def test_a_bundle_that_holds_something_else_is_refused(
    target: Server, bundle: bytes, section: str, change: Any
) -> None:
    other = str(uuid4())
    refused = imported(target, forged(bundle, section, change), thread_id=other)
    assert refused.status_code == 422, refused.text
    with http(target) as asked:
        assert asked.get(f"/threads/{other}").status_code == 404


def test_nothing_in_a_bundle_runs_code_or_says_who_asks(target: Server, bundle: bytes) -> None:
    ran = Path("/tmp/threadmill-bundle-ran")
    imported(target, forged(bundle, "parts", evil), thread_id=str(uuid4()))
    assert not ran.exists()

    def claim(records: list[dict[str, Any]]) -> None:
        for one in records:
            one["kwargs"]["config"]["configurable"]["langgraph_auth_user"] = {"identity": "admin"}
            one["kwargs"]["webhook"] = "http://127.0.0.1:1/"

    other = str(uuid4())
    assert imported(target, forged(bundle, "runs", claim), thread_id=other).status_code == 200
    kept = json.dumps(got(target, f"/threads/{other}/runs"))
    assert "admin" not in kept
    assert "127.0.0.1:1/" not in kept


# Redaction


def test_what_was_said_can_be_left_out(source: Server, target: Server) -> None:
    thread = ran(source, "echo", human("my secret is 4711"), human("still secret"))
    assert b"secret" not in (body := exported(source, thread, redact="messages").content)
    assert b"secret" not in b"".join(_opened(body))
    other = str(uuid4())
    assert imported(target, body, thread_id=other).status_code == 200
    kept = got(target, f"/threads/{other}/state")["values"]["messages"]
    assert [(one["type"], one["content"]) for one in kept] == [("human", "[redacted]"), ("ai", "[redacted]")] * 2
    for format in ("json", "markdown"):
        assert "secret" not in exported(source, thread, redact="messages", format=format).text


def test_results_of_tools_can_be_left_out(source: Server) -> None:
    thread = ran(source, "tools", human("add 200000000000 3456789012345"))
    whole = b"".join(_opened(exported(source, thread).content))
    results = [
        one["content"] for one in got(source, f"/threads/{thread}/state")["values"]["messages"] if one["type"] == "tool"
    ]
    assert results and all(one.encode() in whole for one in results)
    kept = b"".join(_opened(exported(source, thread, redact="tool-results").content))
    kept = kept.replace(b"The result is 3656789012345.", b"")  # what the model made of it is no result
    assert b"add 200000000000 3456789012345" in kept
    assert not any(one.encode() in kept for one in results)


def _opened(bundle: bytes) -> Iterator[bytes]:
    """All that is in a bundle, also what is packed in base64."""
    import base64

    for line in bundle.splitlines():
        yield line
        record = orjson.loads(line)
        if isinstance(record.get("data"), str):
            yield base64.b64decode(record["data"])


# From the command line


def run(*arguments: str | Path) -> Any:
    done = CliRunner().invoke(whole(), [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def test_all_threads_go_through_a_file_and_are_the_same(
    source: Server, tmp_path: Path, talked: str, waits: str
) -> None:
    """Out of the directory beside its server, into an empty directory, out of that and over HTTP into the server."""
    file, data = tmp_path / "all.ndjson", tmp_path / "new"
    told = run("threads", "export", "--all", "-o", file, "--data-dir", source.data_dir, "--json")
    assert {talked, waits} <= {*told["threads"]}
    done = run("threads", "import", file, "--data-dir", data, "--json")["threads"]
    assert all(one["created"] for one in done)
    assert len(done) == len(told["threads"])
    for thread in told["threads"]:
        here = run("threads", "show", thread, "--data-dir", data, "--json")
        assert here == got(source, f"/threads/{thread}")
    pattern = run("threads", "export", talked, "--data-dir", data, "--redact", "pattern:th[i]rd")
    assert "third" not in str(list(_opened(pattern.encode())))
    assert run("threads", "import", file, "--url", source.url, "--json")["threads"] == [
        {"thread_id": one["thread_id"], "created": False} for one in done
    ]


def test_threads_are_listed_shown_and_deleted_here_and_at_a_server(source: Server, tmp_path: Path) -> None:
    thread = ran(source, "echo", human("to be deleted"))
    data = tmp_path / "data"
    file = tmp_path / "one"
    run("threads", "export", thread, "-o", file, "--url", source.url)
    run("threads", "import", file, "--data-dir", data)
    for where in (("--data-dir", data), ("--url", source.url)):
        listed = run("threads", "ls", *where, "--graph", "echo", "--json")["threads"]
        assert thread in [one["thread_id"] for one in listed]
        assert "to be deleted" in run("threads", "ls", *where)
        assert "to be deleted" in run("threads", "show", thread, *where)
        assert run("threads", "rm", thread, *where, "--json") == {"deleted": [thread]}
        failed = CliRunner().invoke(whole(), ["threads", "show", thread, *map(str, where)])
        assert (failed.exit_code, "not found" in failed.stderr) == (1, True)


def test_a_server_forks_and_searches_for_the_command_line(source: Server) -> None:
    thread = ran(source, "echo", human("a zebra crosses"))
    made = run("threads", "fork", thread, "--title", "Elsewhere", "--url", source.url, "--json")
    assert made["forked_from"] == thread
    assert got(source, f"/threads/{made['thread_id']}")["title"] == "Elsewhere"
    whole = got(source, f"/threads/{thread}/state")["values"]
    assert got(source, f"/threads/{made['thread_id']}/state")["values"] == whole
    for _ in range(100):  # the index follows a little later
        if hits := run("threads", "search", "zebra", "--url", source.url, "--json")["hits"]:
            break
        time.sleep(0.05)
    assert thread in [one["thread_id"] for one in hits]


def test_a_directory_that_a_server_has_is_only_read(source: Server, talked: str) -> None:
    refused = CliRunner().invoke(whole(), ["threads", "rm", talked, "--data-dir", str(source.data_dir)])
    assert refused.exit_code == 1
    assert "A Threadmill server uses" in refused.stderr
    assert "--url" in refused.stderr
    assert talked in run("threads", "ls", "--data-dir", source.data_dir)
