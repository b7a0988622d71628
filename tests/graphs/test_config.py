from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from threadmill.config import SETTINGS, Settings, load_settings
from threadmill.errors import ConfigError
from threadmill.langgraph_json.project import Project, apply_environment, load_project

Write = Callable[..., Path]
AGENT = {"graphs": {"agent": "./agent.py:graph"}}


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        for name in (setting.env, setting.fallback_env):
            if name:
                monkeypatch.delenv(name, raising=False)


def failure(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_project(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_graph_may_be_a_file_a_module_or_an_object_with_a_description(write: Write) -> None:
    path = write(
        {
            "graphs": {
                "file": "./src/agent.py:graph",
                "bare": "agent.py:graph",
                "module": "my.agent:make",
                "described": {"path": "./agent.py:graph", "description": "Answers mail."},
            }
        }
    )
    project = load_project(path)
    graphs = project.graphs
    assert (project.path, project.root) == (path, path.parent)
    assert (graphs["file"].file, graphs["file"].module) == (path.parent / "src/agent.py", None)
    assert graphs["bare"].file == path.parent / "agent.py"
    assert (graphs["module"].file, graphs["module"].module, graphs["module"].attribute) == (None, "my.agent", "make")
    assert (graphs["described"].description, graphs["file"].description) == ("Answers mail.", None)
    assert project.warnings == ()


def test_the_folder_of_langgraph_json_is_enough(write: Write) -> None:
    assert load_project(write(AGENT).parent).path.name == "langgraph.json"


def test_a_path_with_dots_is_the_same_project(write: Write) -> None:
    path = write(AGENT)
    assert load_project(path.parent / ".." / "project" / "langgraph.json").root == path.parent


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert failure(tmp_path) == f"{tmp_path}/langgraph.json does not exist."


def test_invalid_json_is_located(write: Write) -> None:
    assert "invalid JSON at line 2, column 12: " in failure(write('{\n "graphs": oops}'))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ([], "the file must be an object, not []"),
        ({}, "graphs is missing or empty"),
        ({"graphs": {}}, "graphs is missing or empty"),
        ({"graphs": ["./agent.py:graph"]}, "graphs must be an object"),
        ({"graphs": {"agent": 7}}, "graphs.agent must be a string, not 7"),
        ({"graphs": {"agent": {"description": "x"}}}, "graphs.agent.path must be a string, not null"),
        ({"graphs": {"agent": {"path": "./a.py:g", "description": 1}}}, "graphs.agent.description must be a string"),
        ({"graphs": {"agent": "./agent.py"}}, "graphs.agent must be './file.py:name' or 'package.module:name'"),
        ({"graphs": {"agent": "./agent.py:"}}, "graphs.agent must be './file.py:name'"),
        ({"graphs": {"agent": "my-module:graph"}}, "graphs.agent must be './file.py:name'"),
        ({"graphs": {"agent": "./agent.ts:graph"}}, "only Python graphs are supported"),
        ({"graphs": {"agent": "./agent.mjs"}}, "only Python graphs are supported"),
        ({**AGENT, "env": 5}, "env must be a file name or an object, not 5"),
        ({**AGENT, "env": {"A": ["x"]}}, 'env.A must be a string, not ["x"]'),
        ({**AGENT, "dependencies": "."}, "dependencies must be a list"),
        ({**AGENT, "dependencies": [1]}, "dependencies[0] must be a string, not 1"),
        ({**AGENT, "dependencies": [".", "./nowhere"]}, "dependencies[1] is './nowhere', but "),
        ({**AGENT, "threadmill": []}, "threadmill must be an object"),
        ({**AGENT, "checkpointer": "x"}, "checkpointer must be an object"),
        (
            {**AGENT, "checkpointer": {"serde": {"allowed_msgpack_modules": ["my.types"]}}},
            'allowed_msgpack_modules must hold ["module", "Name"] pairs, not "my.types"',
        ),
    ],
)
def test_bad_input_is_one_sentence_with_file_and_position(write: Write, config: Any, said: str) -> None:
    path = write(config)
    assert failure(path).startswith(f"{path}: ")
    assert said in failure(path)


def test_env_is_a_map_or_a_file_and_the_process_wins(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN", "from the process")
    from_map = load_project(write({**AGENT, "env": {"TAKEN": "no", "PORT_NUMBER": 5, "ON": True}}))
    assert from_map.env == {"TAKEN": "no", "PORT_NUMBER": "5", "ON": "true"}
    from_file = load_project(write({**AGENT, "env": ".env"}, **{".env": 'TAKEN=no\nNEW="a b" # comment\n'}))
    assert from_file.env == {"TAKEN": "no", "NEW": "a b"}
    apply_environment(from_file)
    assert (os.environ["TAKEN"], os.environ["NEW"]) == ("from the process", "a b")


def test_a_missing_env_file_is_named(write: Write) -> None:
    path = write({**AGENT, "env": ".env.local"})
    assert failure(path) == f"{path}: env names '.env.local', but {path.parent}/.env.local does not exist."


def test_local_dependencies_and_their_src_go_first_on_the_path_once(write: Write) -> None:
    config = {"graphs": {"agent": "./deep/agent.py:graph"}, "dependencies": ["./lib", "pytest>=8"]}
    project = load_project(write(config, **{"lib/src/a.py": "", "deep/agent.py": ""}))
    assert project.dependencies == (project.root / "lib", project.root / "lib/src")
    apply_environment(project)
    once = list(sys.path)
    apply_environment(project)
    assert sys.path == once
    assert once[:3] == [str(project.root / "lib"), str(project.root / "lib/src"), str(project.root)]
    assert once[-1] == str(project.root / "deep")


def test_a_requirement_that_is_not_installed_is_a_warning(write: Write) -> None:
    project = load_project(write({**AGENT, "dependencies": [".", "pytest>=8", "no-such-thing[x]>=2"]}))
    assert len(project.warnings) == 1
    assert "dependencies names no-such-thing[x]>=2, which is not installed" in project.warnings[0]


def test_unsupported_keys_are_one_warning_and_unknown_ones_get_a_suggestion(write: Write) -> None:
    extra = {
        "python_version": "3.12",
        "dockerfile_lines": ["RUN true"],
        "ui": {"card": "./card.tsx"},
        "checkpointer": {"ttl": {}, "path": "./a.py:saver"},
        "grafs": {},
        "threadmill": {"prot": 1},
    }
    unsupported, unknown, setting = load_project(write({**AGENT, **extra})).warnings
    assert unsupported.endswith(": not supported yet and ignored: ui, checkpointer.path.")
    assert unknown.endswith(": unknown key 'grafs' is ignored; did you mean 'graphs'?")
    assert setting.endswith(": unknown key 'threadmill.prot' is ignored; did you mean 'threadmill.port'?")


def test_allowed_types_come_from_the_checkpointer_section(write: Write) -> None:
    serde = {"allowed_msgpack_modules": [["my.types", "Order"], ["my.types", "Line"]]}
    project = load_project(write({**AGENT, "checkpointer": {"serde": serde}}))
    assert project.allowed_types == (("my.types", "Order"), ("my.types", "Line"))
    assert project.warnings == ()


def plain(write: Write, **section: Any) -> Project:
    return load_project(write({**AGENT, "threadmill": section}))


def test_every_field_of_settings_is_in_the_table_with_a_default_and_a_doc(write: Write) -> None:
    assert [s.name for s in SETTINGS] == [f.name for f in fields(Settings)]
    assert all(s.env.startswith("THREADMILL_") and s.doc.endswith(".") for s in SETTINGS)
    project = plain(write)
    settings = load_settings(project)
    assert (settings.port, settings.flush_ms, settings.recursion_limit) == (2024, 20, 10007)
    assert settings.data_dir == project.root / ".threadmill"


def test_flag_beats_environment_beats_section_beats_default(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    project = plain(write, port=1)
    assert load_settings(project).port == 1
    monkeypatch.setenv("PORT", "2")
    assert load_settings(project).port == 2
    monkeypatch.setenv("THREADMILL_PORT", "3")
    assert load_settings(project, port=None).port == 3
    assert load_settings(project, port=4).port == 4


def test_env_of_langgraph_json_counts_as_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    project = load_project(write({**AGENT, "env": {"THREADMILL_LEASE": "60"}, "threadmill": {"lease_s": 5}}))
    assert load_settings(project).lease_s == 60.0
    monkeypatch.setenv("THREADMILL_LEASE", "7.5")
    assert load_settings(project).lease_s == 7.5


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("THREADMILL_INSECURE", "yes", ("insecure", True)),
        ("THREADMILL_INSECURE", "0", ("insecure", False)),
        ("THREADMILL_SQLITE_SYNCHRONOUS", "normal", ("sqlite_synchronous", "NORMAL")),
        ("THREADMILL_RUN_TIMEOUT", "90", ("run_timeout_s", 90.0)),
        ("THREADMILL_DATA_DIR", "/var/lib/x", ("data_dir", Path("/var/lib/x"))),
        ("THREADMILL_PORT", "", ("port", 2024)),
    ],
)
def test_text_is_parsed(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: tuple[str, Any]
) -> None:
    monkeypatch.setenv(name, text)
    assert getattr(load_settings(plain(write)), value[0]) == value[1]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("THREADMILL_PORT", "http", "THREADMILL_PORT must be a whole number from 0 to 65535, not 'http'."),
        ("THREADMILL_PORT", "70000", "THREADMILL_PORT must be a whole number from 0 to 65535, not '70000'."),
        ("THREADMILL_FLUSH_MS", "26", "THREADMILL_FLUSH_MS must be a whole number from 1 to 25, not '26'."),
        ("THREADMILL_LEASE", "nan", "THREADMILL_LEASE must be a number of at least 1, not 'nan'."),
        ("THREADMILL_INSECURE", "maybe", "THREADMILL_INSECURE must be true or false, not 'maybe'."),
        ("THREADMILL_LOG_FORMAT", "xml", "THREADMILL_LOG_FORMAT must be one of auto, json, console, not 'xml'."),
    ],
)
def test_a_bad_value_names_variable_and_value(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(plain(write))
    assert str(caught.value) == said


@pytest.mark.parametrize("section", [{"port": True}, {"port": 1.5}, {"host": 1}, {"insecure": 1}, {"data_dir": ""}])
def test_a_bad_value_in_the_section_names_file_and_key(write: Write, section: dict[str, Any]) -> None:
    project = plain(write, **section)
    with pytest.raises(ConfigError, match=rf"langgraph.json: threadmill\.{next(iter(section))} must be "):
        load_settings(project)


def test_a_flag_is_named_as_it_is_typed(write: Write) -> None:
    with pytest.raises(ConfigError, match="--max-attempts must be a whole number of at least 1, not 0"):
        load_settings(plain(write), max_attempts=0)
    with pytest.raises(TypeError, match="no such setting: prot"):
        load_settings(plain(write), prot=1)


def test_importing_threadmill_makes_checkpoints_strict() -> None:
    code = "import threadmill, langgraph.checkpoint.serde._msgpack as m; print(m.STRICT_MSGPACK_ENABLED)"
    env = {key: value for key, value in os.environ.items() if key != "LANGGRAPH_STRICT_MSGPACK"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
