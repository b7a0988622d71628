"""`checkpointer.ttl` of langgraph.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from threadmill.errors import ConfigError
from threadmill.langgraph_json.checkpointer import RetentionConfig
from threadmill.langgraph_json.project import load_project


def load(folder: Path, ttl: Any) -> Any:
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./a.py:a"}, "checkpointer": {"ttl": ttl}}))
    return load_project(folder)


@pytest.mark.parametrize("nothing", [None, {}])
def test_without_it_nothing_expires(tmp_path: Path, nothing: Any) -> None:
    project = load(tmp_path, nothing)
    assert (project.retention, project.warnings) == (RetentionConfig("delete", None, 5.0, 1000), ())


def test_all_keys_are_read(tmp_path: Path) -> None:
    ttl = {"strategy": "keep_latest", "default_ttl": 43200, "sweep_interval_minutes": 10, "sweep_limit": 50}
    project = load(tmp_path, ttl)
    assert (project.retention, project.warnings) == (RetentionConfig("keep_latest", 43200.0, 10.0, 50), ())


def test_a_misspelt_key_is_a_warning(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, {"defautl_ttl": 1}).warnings
    assert "did you mean 'checkpointer.ttl.default_ttl'?" in warning


@pytest.mark.parametrize(
    "wrong",
    [
        *(5, "x", {"strategy": "archive"}, {"default_ttl": 0}, {"default_ttl": "5"}, {"default_ttl": True}),
        *({"sweep_interval_minutes": -1}, {"sweep_limit": 0}, {"sweep_limit": 1.5}, {"sweep_limit": True}),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"checkpointer\.ttl"):
        load(tmp_path, wrong)
