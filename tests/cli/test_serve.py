"""`threadmill serve`: what it takes, what it says, and how it says no."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from cli.command import Threadmill, eventually, project, saying

Start = Callable[..., Threadmill]


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return project(tmp_path / "agent", agent=saying("hello"))


@pytest.mark.parametrize("named", ["file", "folder", "here"])
def test_a_free_port_and_the_data_beside_the_config(threadmill: Start, agent: Path, named: str) -> None:
    config = {"file": ["--config", agent / "langgraph.json"], "folder": ["-c", agent], "here": []}[named]
    server = threadmill("serve", "--port", "0", *config, cwd=agent if named == "here" else None)
    assert server.run() == ["hello"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    assert (agent / ".threadmill" / "threadmill.sqlite").is_file()
    assert server.term() == 0
    assert server.out == ""


def test_host_port_and_data_dir_are_taken(threadmill: Start, agent: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = threadmill("serve", "-c", agent, "--host", "localhost", "--port", str(port), "--data-dir", "here")
    assert server.url == f"http://127.0.0.1:{port}"
    assert server.get("/ok?check_db=true").json()["ok"]
    assert (tmp_path / "command0" / "here" / "threadmill.sqlite").is_file()
    assert not (agent / ".threadmill").exists()


def test_keys_that_are_not_supported_are_named(threadmill: Start, tmp_path: Path) -> None:
    folder = project(tmp_path / "p", more='"ui": {"a": "./a.tsx"}, "grphs": 1', agent=saying("x"))
    server = threadmill("serve", "--port", "0", "-c", folder)
    server.says("not supported yet and ignored: ui")
    server.says("unknown key 'grphs' is ignored; did you mean 'graphs'?")
    assert server.run() == ["x"]


BROKEN = {
    "no file": (None, "", [r"langgraph\.json does not exist"]),
    "no JSON": ('{"graphs": {"agent": }}', "", [r"langgraph\.json: invalid JSON at line 1, column 22"]),
    "no graphs": ("{}", "", ["graphs is missing or empty"]),
    "no such graph file": ('{"graphs": {"agent": "./gone.py:graph"}}', "", [r"gone\.py does not exist"]),
    "a wrong name": ("", saying("x").replace("graph =", "grahp ="), [r"has no 'graph'.*'grahp'"]),
    "no graph": ("", "graph = 5", ["is no graph: it is a int"]),
    "an import error": (
        "",
        "def helper():\n    import no_such_module_here\nhelper()\n",
        [r"agent\.py:2: ModuleNotFoundError", r"agent\.py\", line 3, in <module>\n    helper\(\)", "installed here"],
    ),
    "a syntax error": ("", "x = 1\ndef f(:\n    pass\n", [r"agent\.py:2: SyntaxError", r"def f\(:\n +\^"]),
    "an await outside": ("", "x = 1\nawait f()\n", [r"agent\.py:2: SyntaxError: 'await' outside"]),
    "an async error": (
        "",
        "import asyncio\nasync def main():\n    raise ValueError('the inner reason')\nasyncio.run(main())\n",
        [r"agent\.py:3: ValueError: the inner reason", r"line 4, in <module>", r"line 3, in main"],
    ),
    "an exit": ("", "import sys\nsys.exit('no key')\n", [r"agent\.py:2: SystemExit: no key"]),
    "a setting": ('{"graphs": {"a": "./a.py:g"}, "threadmill": {"lease_s": "x"}}', "", ["lease_s must be a number"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_one_readable_message(threadmill: Start, tmp_path: Path, case: str) -> None:
    config, agent, expected = BROKEN[case]
    folder = project(tmp_path / "p", agent=agent)
    if config is None:
        (folder / "langgraph.json").unlink()
    elif config:
        (folder / "langgraph.json").write_text(config)
    command = threadmill("serve", "--port", "0", "-c", folder)
    assert command.ends() == 1
    for pattern in expected:
        assert re.search(pattern, command.log), command.log
    _nothing_of_ours(command)


def _nothing_of_ours(command: Threadmill) -> None:
    assert command.out == ""
    for inner in ("Traceback (most recent call last)", "site-packages", "server/threadmill", '"event"'):
        assert inner not in command.log


def _refused(command: Threadmill, reason: str) -> None:
    """One sentence, exit code 1."""
    assert command.ends() == 1
    assert re.fullmatch(f"[^\n]*{reason}[^\n]*\n", command.log), command.log
    _nothing_of_ours(command)


def test_a_port_in_use_is_one_sentence(threadmill: Start, agent: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        _refused(
            threadmill("serve", "-c", agent, "--port", port, cold=True),
            f"127.0.0.1:{port} cannot be used: Address already",
        )


def test_a_second_server_on_the_same_data_is_one_sentence(threadmill: Start, agent: Path) -> None:
    first = threadmill("serve", "-c", agent, "--port", "0")
    assert first.url
    _refused(
        threadmill("serve", "-c", agent, "--port", "0"), r"Another Threadmill server uses \S+\.threadmill: stop it"
    )
    dev = threadmill("dev", "-c", agent, "--port", "0")  # nor does it wait for a change that would not help
    assert dev.ends() == 1
    assert "Another Threadmill server uses" in dev.log
    assert first.run() == ["hello"]


def test_data_that_cannot_be_used_is_one_sentence(threadmill: Start, agent: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    command = threadmill("serve", "-c", agent, "--port", "0", "--data-dir", tmp_path / "file")
    _refused(command, "file cannot be used as the data directory: File exists")


def test_a_file_that_is_no_database_is_one_sentence(threadmill: Start, agent: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "threadmill.sqlite").write_bytes(b"not a database at all" * 100)
    command = threadmill("serve", "-c", agent, "--port", "0", "--data-dir", tmp_path / "data")
    _refused(command, "not a database")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])
def test_other_machines_are_kept_out(threadmill: Start, agent: Path, host: str) -> None:
    _refused(threadmill("serve", "-c", agent, "--host", host), "can be reached from other machines and no auth")


def test_insecure_lets_other_machines_in(threadmill: Start, agent: Path) -> None:
    server = threadmill("serve", "-c", agent, "--host", "0.0.0.0", "--port", "0", "--insecure")
    assert server.url.startswith("http://0.0.0.0:")
    assert server.run() == ["hello"]


def test_the_version(threadmill: Start) -> None:
    command = threadmill("--version", cold=True, PYTHONPROFILEIMPORTTIME="1")
    assert command.ends() == 0
    assert command.out == f"threadmill {version('threadmill')}\n"
    assert "threadmill.config" in command.log
    assert "fastapi" not in command.log and "langchain" not in command.log, "one need not wait for a server's imports"


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_person_at_a_terminal_is_told_what_they_need(agent: Path, command: str) -> None:
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "threadmill", command, "-c", str(agent), "--port", "0"]
    process = subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    try:
        while b"Ctrl-C" not in shown:
            shown += os.read(ours, 4096)
        text = shown.decode()
        url = re.search(r"API +(http://127\.0\.0\.1:\d+)", text)
        assert url, text
        assert f"{url[1]}/docs" in text
        assert re.search(r"Graphs +agent\r\n", text), text
        assert f"{agent}/.threadmill" in text
        assert f"Threadmill {version('threadmill')}" in text
        assert "{" not in text
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        os.close(ours)


def test_a_signal_while_a_graph_is_imported_ends_it(threadmill: Start, tmp_path: Path) -> None:
    slow = "from pathlib import Path\nPath(__file__ + '.begun').touch()\nimport time\ntime.sleep(60)\n"
    folder = project(tmp_path / "p", agent=slow)
    command = threadmill("serve", "-c", folder, "--port", "0")
    eventually((folder / "agent.py.begun").exists, command)
    command.signal(signal.SIGINT)
    assert command.ends(5) != 0
    assert "Traceback" not in command.log


def test_the_log_of_a_server_is_json_and_says_no_more_than_it_must(threadmill: Start, agent: Path) -> None:
    server = threadmill("serve", "-c", agent, "--port", "0")
    assert server.get("/ok").status_code == 200
    assert server.term() == 0
    events = [json.loads(line)["event"] for line in server.log.splitlines()]
    assert events == ["serving", "draining", "stopped"]
