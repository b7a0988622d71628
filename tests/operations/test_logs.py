"""What the log says of a failure, and what the client is not told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.command import eventually, project
from serving import Server

AGENT = """
import logging, warnings
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

warnings.warn("a warning of the user's code")

class State(TypedDict, total=False):
    word: str

def fail(state):
    logging.getLogger("mine").warning("about to fail %s", 7)
    raise ValueError("a reason\\nof two lines")

builder = StateGraph(State).add_node("fail", fail).add_edge(START, "fail")
graph = builder.compile()

def hidden(runtime):
    if runtime.execution_runtime is None:
        raise RuntimeError("an inner detail")
    return builder
"""
GRAPHS = {"agent": "./agent.py:graph", "hidden": "./agent.py:hidden"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("logged")
    one = Server(folder / "data", project(folder / "p", GRAPHS, agent=AGENT))
    yield one.start()
    one.kill()


def run(server: Server, graph: str, request_id: str) -> httpx.Response:
    with httpx.Client(base_url=server.url, headers={"x-request-id": request_id}, timeout=20) as http:
        thread = http.post("/threads", json={}).json()["thread_id"]
        return http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": graph, "input": {"word": ""}})


def said(server: Server, **wanted: str) -> list[dict[str, Any]]:
    """The log's lines with these values, once there are any. Every line is JSON."""

    def found() -> list[dict[str, Any]]:
        whole = server.log[: server.log.rfind("\n")]
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if wanted.items() <= line.items()]

    return eventually(found)


def of_failed_run(server: Server, request_id: str) -> tuple[dict[str, Any], str]:
    """(the log's only line about it, where the run is)"""
    place = run(server, "agent", request_id).headers["content-location"]
    (line,) = said(server, event="run failed", run_id=place.rpartition("/")[2])
    return line, place


def test_a_failing_run_names_thread_and_run(server: Server) -> None:
    line, place = of_failed_run(server, "a")
    assert place == f"/threads/{line['thread_id']}/runs/{line['run_id']}"
    assert 'agent.py", line 13, in fail' in line["exception"]
    assert line["exception"].endswith("During task with name 'fail' and id '" + line["exception"][-37:])


def test_a_failing_run_names_the_request(server: Server) -> None:
    line, _ = of_failed_run(server, "my-request-1")
    assert line["request_id"] == "my-request-1"


def of_unexpected_error(server: Server, request_id: str) -> tuple[httpx.Response, list[dict[str, Any]]]:
    thread = run(server, "hidden", "x").headers["content-location"].split("/")[2]
    path = f"/threads/{thread}/state"
    answer = httpx.post(server.url + path, json={"values": {}}, headers={"x-request-id": request_id})
    return answer, said(server, level="error", path=path)


def test_an_unexpected_error_is_told_to_the_log_only(server: Server) -> None:
    answer, (line,) = of_unexpected_error(server, "b")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'agent.py", line 20, in hidden' in line["exception"]
    assert line["exception"].endswith("RuntimeError: an inner detail")
    assert server.log.count(f"/threads/{line['path'].split('/')[2]}") == 1  # uvicorn does not say it again
    assert "Exception in ASGI" not in server.log


def test_an_unexpected_error_names_the_request(server: Server) -> None:
    _, (line,) = of_unexpected_error(server, "my-request-2")
    assert line["request_id"] == "my-request-2"


def test_what_the_users_code_logs_and_warns_of_has_the_same_form(server: Server) -> None:
    line, _ = of_failed_run(server, "c")
    (own, *_) = said(server, event="about to fail 7", run_id=line["run_id"])
    assert (own["logger"], own["level"], own["thread_id"]) == ("mine", "warning", line["thread_id"])
    (warned,) = said(server, logger="py.warnings")
    assert f"{Path('p') / 'agent.py'}:6: UserWarning: a warning of the user's code" in warned["event"]


def test_ordinary_requests_leave_no_line(server: Server) -> None:
    before = server.log.count("\n")
    with httpx.Client(base_url=server.url) as http:
        assert http.get("/ok").status_code == 200
        assert http.get("/threads/00000000-0000-0000-0000-000000000000").status_code == 404
        assert http.post("/threads/search", content=b"{").status_code == 422
    run(server, "agent", "last")
    events = [json.loads(line)["event"] for line in server.log.splitlines()[before:]]
    assert set(events) <= {"about to fail 7", "run failed", "run ended"}
