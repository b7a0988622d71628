from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from threadmill.graphs import Graphs
from threadmill.langgraph_json.project import Project, apply_environment, load_project

TINY = (Path(__file__).parent / "projects/tiny.py").read_text()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a project changes in the process (path, modules, environment) ends with the test."""
    modules, environment = set(sys.modules), dict(os.environ)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("threadmill_graph_") or str(getattr(sys.modules[name], "__file__", "")).startswith("/tmp"):
            del sys.modules[name]
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write langgraph.json (an object, or text as it is) and other files below a project folder."""

    def write(config: Any, **files: str) -> Path:
        root = tmp_path / "project"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text))
        path = root / "langgraph.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return path

    return write


@pytest.fixture
def project(write: Callable[..., Path]) -> Callable[..., Project]:
    def project(config: Any, **files: str) -> Project:
        made = load_project(write(config, **files))
        apply_environment(made)
        return made

    return project


@pytest.fixture
def graphs(project: Callable[..., Project]) -> Callable[..., Graphs]:
    """The graphs of a project whose agent.py is the tiny builder and `code`; graph `g` is its attribute `name`."""

    def graphs(code: str, name: str = "graph") -> Graphs:
        config = {"graphs": {"g": f"./agent.py:{name}"}, "dependencies": ["."]}
        made = Graphs(project(config, **{"agent.py": TINY + dedent(code)}))
        made.load()
        return made

    return graphs
