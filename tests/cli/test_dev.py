"""`threadmill dev`: new code without losing a thread, a run or a request."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from cli.command import Threadmill, eventually, project, saying, waiting

Start = Callable[..., Threadmill]
SERVING = r"API +http|\"event\": \"serving\""
BROKEN = "def f(:\n"


@pytest.fixture
def dev(threadmill: Start, tmp_path: Path) -> Callable[..., Threadmill]:
    """`dev(agent=<source>)`: started on a project in tmp_path/p, and serving. `cold`: as it is outside of tests."""

    def start(*, env: dict[str, str] | None = None, cold: bool = False, **given: Any) -> Threadmill:
        folder = project(tmp_path / "p", **given)
        command = threadmill("dev", "-c", folder, "--port", "0", cold=cold, **(env or {}))
        command.says(SERVING)
        return command

    return start


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return tmp_path / "p" / "agent.py"


def child(command: Threadmill) -> psutil.Process:
    (server,) = psutil.Process(command.process.pid).children()
    return server


def test_a_change_is_served_and_threads_stay(dev: Callable[..., Threadmill], agent: Path) -> None:
    command = dev(agent=saying("one"), env={"PYTHONDONTWRITEBYTECODE": ""})
    url, thread = command.url, command.post("/threads", {}).json()["thread_id"]
    body = {"assistant_id": "agent", "input": {}}
    assert command.post(f"/threads/{thread}/runs/wait", body).json()["log"] == ["one"]
    for number, word in enumerate(("two", "six"), start=2):
        new = agent.with_name("new")
        new.write_text(saying(word))
        os.utime(new, (1_700_000_000, 1_700_000_000))  # of one size and time, as far as compiled code can tell
        new.replace(agent)  # as most editors do
        command.says(SERVING, times=number)
        assert command.url == url
        assert command.post(f"/threads/{thread}/runs/wait", body).json()["log"][-1] == word
    assert command.get(f"/threads/{thread}/state").json()["values"]["log"] == ["one", "two", "six"]
    assert "p/agent.py" in command.says(r'"changed": (\[.*?\])')


def begun(command: Threadmill) -> tuple[str, str]:
    """A run of `waiting("old")` that waits: (thread id, run id)."""
    thread = command.post("/threads", {}).json()["thread_id"]
    run = command.post(f"/threads/{thread}/runs", {"assistant_id": "agent", "input": {}}).json()["run_id"]
    state = f"/threads/{thread}/state"
    eventually(lambda: command.get(state).json()["values"].get("log") == ["old"], command)
    return thread, run


def test_a_run_under_way_goes_on_with_the_new_code(dev: Callable[..., Threadmill], agent: Path) -> None:
    command = dev(agent=waiting("old"), env={"THREADMILL_DRAIN_GRACE": "0.1"})
    thread, run = begun(command)
    agent.write_text(waiting("new"))
    command.says(SERVING, times=2)
    agent.with_name("go").touch()
    assert command.get(f"/threads/{thread}/runs/{run}/join").json()["log"] == ["old", "new"]
    assert command.get(f"/threads/{thread}").json()["status"] == "idle"
    assert command.get(f"/threads/{thread}/runs/{run}").json()["status"] == "success"


def test_a_broken_edit_is_shown_and_healed(dev: Callable[..., Threadmill], agent: Path) -> None:
    graphs = {"agent": "./agent.py:graph", "other": "./other.py:graph"}
    command = dev(graphs=graphs, agent=saying("one"), other=saying("other"), env={"THREADMILL_LOG_FORMAT": "console"})
    agent.write_text(BROKEN)
    command.says(r"agent\.py:1: SyntaxError: .*\n(.*\n)+ *def f\(:\n +\^")  # as readable as Python's own
    command.says(SERVING + r"|serving +\[", times=2)
    assert command.get("/ok").json()["ok"]
    assert command.run("other") == ["other"]
    _explains(command, "agent.py:1: SyntaxError")
    agent.write_text(saying("mended"))
    command.says(r"serving +\[", times=2)
    assert command.run() == ["mended"]


def _explains(command: Threadmill, reason: str) -> None:
    answer = command.post("/runs/wait", {"assistant_id": "agent", "input": {}})
    assert reason in answer.text, answer.text
    assert answer.json()


def test_what_is_broken_from_the_start_is_shown_and_healed(dev: Callable[..., Threadmill], agent: Path) -> None:
    command = dev(agent=BROKEN)
    assert command.get("/ok").json()["ok"]
    command.says(r'"graph_id": "agent", "error": "Graph \'agent\' cannot be imported: .*SyntaxError')
    _explains(command, "agent.py:1: SyntaxError")
    agent.write_text(saying("mended"))
    command.says(SERVING, times=2)
    assert command.run() == ["mended"]


def test_a_run_under_way_outlives_a_broken_edit(dev: Callable[..., Threadmill], agent: Path) -> None:
    command = dev(agent=waiting("old"), env={"THREADMILL_DRAIN_GRACE": "0.1"})
    thread, run = begun(command)
    agent.write_text(BROKEN)
    command.says(SERVING, times=2)
    agent.with_name("go").touch()
    agent.write_text(waiting("new"))
    command.says(SERVING, times=3)
    assert command.get(f"/threads/{thread}/runs/{run}/join").json()["log"] == ["old", "new"]


def test_a_broken_configuration_leaves_the_server_as_it_was(dev: Callable[..., Threadmill], agent: Path) -> None:
    command = dev(agent=saying("one"))
    config = agent.with_name("langgraph.json")
    good = config.read_text()
    config.write_text(good[:-1])
    command.says(r"langgraph\.json: invalid JSON at line 1.*not started again; mend it")
    assert command.run() == ["one"]
    agent.write_text(saying("two"))
    command.says("not started again", times=2)
    assert command.run() == ["one"]
    config.write_text(good)
    command.says(SERVING, times=2)
    assert command.run() == ["two"]


def test_a_new_configuration_counts(dev: Callable[..., Threadmill], tmp_path: Path) -> None:
    """Its environment, its graphs, and code in folders that were not watched before."""
    env = '"env": "local.env"'
    file = project(tmp_path / "p") / "local.env"
    file.write_text("WORD=first\n")
    shared = project(tmp_path / "shared", shared=saying("shared")) / "shared.py"
    command = dev(more=env, agent=saying("x").replace("'x'", "__import__('os').environ['WORD']"))
    assert command.run() == ["first"]
    file.write_text("WORD=second\n")
    command.says(SERVING, times=2)
    assert command.run() == ["second"]
    project(tmp_path / "p", {"agent": "./agent.py:graph", "shared": "../shared/shared.py:graph"}, more=env)
    command.says(SERVING, times=3)
    assert command.run("shared") == ["shared"]
    shared.write_text(saying("changed"))
    command.says(SERVING, times=4)
    assert command.run("shared") == ["changed"]


def test_a_request_during_the_change_is_served(dev: Callable[..., Threadmill], agent: Path) -> None:
    """One at a time, each on a new connection, without a break from before the change until after it."""
    command = dev(agent=saying("one"))
    url, done = command.url, threading.Event()
    answers: list[int | Exception] = []

    def ask() -> None:
        while not done.is_set():
            try:
                answers.append(httpx.get(f"{url}/ok", timeout=20).status_code)
            except httpx.HTTPError as error:
                answers.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for number, word in enumerate(("two", "three"), start=2):
        eventually(lambda before=len(answers): len(answers) > before)  # type: ignore[misc]
        agent.write_text(saying(word))
        command.says(SERVING, times=number)
    done.set()
    asking.join()
    assert set(answers) == {200}


def test_what_is_no_code_of_the_project_starts_nothing(dev: Callable[..., Threadmill], agent: Path) -> None:
    command = dev(agent=saying("one"), env={"PYTHONDONTWRITEBYTECODE": ""})
    server = child(command).pid
    assert command.run() == ["one"]
    for name in (".threadmill/x.py", ".git/x.py", ".venv/lib/x.py", "__pycache__/x.py", "notes.md", "out.json"):
        file = agent.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    (agent.parent / ".threadmill_too.py").write_text("")  # only looks like the data directory
    command.says("starting again")
    assert command.log.count("starting again") == 1
    assert '"changed": ["' in command.log
    assert ".threadmill_too.py" in command.says(r'"changed": \[([^]]*)\]')
    command.says(SERVING, times=2)
    assert child(command).pid != server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both(dev: Callable[..., Threadmill], number: signal.Signals) -> None:
    command = dev(agent=saying("one"), cold=True)
    server = child(command)
    command.signal(number)
    assert command.ends() == 0
    assert not server.is_running()
    assert "Traceback" not in command.log


def test_the_server_ends_when_its_parent_is_killed(dev: Callable[..., Threadmill], agent: Path) -> None:
    command = dev(agent=waiting("one"), env={"THREADMILL_DRAIN_GRACE": "0.1"}, cold=True)
    command.post("/runs", {"assistant_id": "agent", "input": {}})
    server = child(command)
    command.signal(signal.SIGKILL)
    server.wait(15)
    assert command.log.count('"event": "stopped"') == 1  # it had its drain


def test_a_second_signal_does_not_wait_for_runs(dev: Callable[..., Threadmill], agent: Path) -> None:
    stuck = saying("x").replace(
        "    return", "    import time; Path(__file__ + '.in').touch(); time.sleep(60)\n    return"
    )
    command = dev(agent=stuck)
    server = child(command)
    command.post("/runs", {"assistant_id": "agent", "input": {}})
    eventually(Path(f"{agent}.in").exists, command)
    command.signal(signal.SIGINT)
    command.says("draining")
    command.signal(signal.SIGINT)
    assert command.ends(3) == 0
    assert not server.is_running()


def test_a_server_that_died_comes_back_with_the_next_change(dev: Callable[..., Threadmill], agent: Path) -> None:
    command = dev(agent=saying("one"), cold=True)
    child(command).kill()
    command.says("the server ended; it starts again at the next change")
    agent.write_text(saying("two"))
    command.says(SERVING, times=2)
    assert command.run() == ["two"]
