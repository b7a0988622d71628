"""What exists is documented, and what is documented exists.

`python tests/docs/test_complete.py` writes the table of settings anew.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import httpx
import pytest
import typer

from threadmill.cli import whole
from threadmill.config import SETTINGS, Setting
from threadmill.langgraph_json.project import BUILD_TIME, NOT_YET, SUPPORTED
from threadmill.runs import queue
from threadmill.streaming import sse

if TYPE_CHECKING:
    from serving import Remote

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")), *sorted(DOCS.rglob("*.md"))]
OWN = {
    "/docs",
    "/openapi.json",
    "/",
    "/t/{thread_id}",
    "/s/{token}",
}  # pages about the API, which the schema leaves out
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def named(text: str) -> set[str]:
    """Everything that stands in backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


# Settings


def settings_table() -> str:
    rows = ["| Variable | `threadmill` key | Default | Meaning |", "|---|---|---|---|"]
    for setting in SETTINGS:
        variables = " or ".join(f"`{name}`" for name in (setting.env, setting.fallback_env) if name)
        default = f" `{_default(setting)}`" if setting.default != "" else ""
        rows.append(f"| {variables} | `{setting.name}` |{default} | {setting.doc}{_bounds(setting)} |")
    return "\n".join(rows)


def _default(setting: Setting) -> str:
    return json.dumps(setting.default) if isinstance(setting.default, bool) else str(setting.default)


def _bounds(setting: Setting) -> str:
    if setting.choices:
        return f" One of {', '.join(f'`{choice}`' for choice in setting.choices)}."
    if setting.low is not None and setting.high is not None:
        return f" {setting.low:g} to {setting.high:g}."
    return f" At least {setting.low:g}." if setting.low is not None else ""


def _between_markers(text: str) -> str:
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def test_the_table_of_settings_is_the_one_in_the_code() -> None:
    assert _between_markers(page("configuration.md")) == settings_table(), "run python tests/docs/test_complete.py"


def test_every_variable_the_code_reads_is_documented() -> None:
    code = "\n".join(
        file.read_text("utf-8") for folder in ("server", "graph") for file in (ROOT / folder).rglob("*.py")
    )
    read = set(re.findall(r"\bTHREADMILL_[A-Z_]+\b", code))
    assert read <= named(page("configuration.md"))


# langgraph.json


def test_every_key_of_langgraph_json_is_documented() -> None:
    every = {key for key in (*SUPPORTED, *NOT_YET, *BUILD_TIME) if not key.startswith("threadmill.")}
    keys = {key for key in every if not any(other.startswith(f"{key}.") for other in every)}
    assert keys <= named(page("configuration.md"))


# Command line


def _commands() -> dict[str, click.Command]:
    """By the words one types; `threadmill` is itself one."""
    return dict(_below("threadmill", typer.main.get_command(whole())))


def _below(name: str, command: Any) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _below(f"{name} {word}", inner)


def _flags(command: click.Command) -> set[str]:
    return {name for one in command.params if one.param_type_name == "option" for name in one.opts}


def _section(text: str, name: str) -> str:
    """What cli.md says of a command."""
    found = re.search(rf"^##+ `{re.escape(name)}[^\n]*`$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def test_every_command_and_flag_is_documented() -> None:
    text = page("cli.md")
    shared = named(text.partition("\n## ")[0])  # what several take stands before the first section
    missing = []
    for name, command in _commands().items():
        if getattr(command, "commands", None) and name != "threadmill":
            continue  # a group, which does nothing itself
        section = text if name == "threadmill" else _section(text, name)
        words = {word for span in named(section) | shared for word in span.split()}
        missing += [name] if not section else []
        for parameter in command.params:
            names = (
                parameter.opts
                if parameter.param_type_name == "option"
                else [parameter.metavar or str(parameter.name).upper()]
            )
            missing += [f"{name}: {one}" for one in names if one.strip("[].") not in {w.strip("[].") for w in words}]
    assert not missing


def test_no_flag_is_invented() -> None:
    commands = _commands()
    every = {"--help", *(flag for command in commands.values() for flag in _flags(command))}
    for file in PAGES:
        for line in re.findall(r"threadmill [a-z]+[^\n`]*", file.read_text("utf-8")):
            name = max((one for one in commands if f"{line} ".startswith(f"{one} ")), key=len, default="threadmill")
            known = every if name == "threadmill" else _flags(commands[name]) | {"--help"}
            assert set(re.findall(r"(?<![\w-])--[a-z-]+", line)) <= known, f"{file.name}: {line}"


# HTTP


@pytest.fixture(scope="module")
def schema(server: "Remote") -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{server.url}/openapi.json", timeout=30).json()
    return answer


def _routes(schema: dict[str, Any]) -> set[str]:
    return {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods}


def test_every_route_has_a_section(schema: dict[str, Any]) -> None:
    text = page("http.md")
    sections = set(re.findall(r"^### `([A-Z]+ /[^`]*)`$", text, re.MULTILINE))
    assert sections == _routes(schema)
    assert {f"GET {path}" for path in OWN} <= named(text)


def test_every_route_in_any_page_exists(schema: dict[str, Any]) -> None:
    known = _routes(schema) | {f"GET {path}" for path in OWN}
    for file in PAGES:
        for route in re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?\s]*)", file.read_text("utf-8")):
            assert route in known, f"{file.name}: {route}"


def test_every_field_and_parameter_is_named(schema: dict[str, Any]) -> None:
    words = {word for span in named(page("http.md")) for word in re.findall(r"[\w-]+", span)}
    missing = [
        f"{name}.{field}"
        for name, model in schema["components"]["schemas"].items()
        if "ValidationError" not in name
        for field in model.get("properties", {})
        if field not in words
    ]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                if parameter["in"] != "path" and parameter["name"] not in words:
                    missing.append(f"{method.upper()} {path}: {parameter['name']}")
    assert not missing


def test_every_stream_mode_and_comment_is_described() -> None:
    from threadmill.events.from_graph import MODES

    text = page("streaming.md")
    assert set(MODES) <= named(text)
    assert sse.HEARTBEAT.decode().strip() in text
    assert sse.DRAINING.decode().splitlines()[0] in text


def test_what_moves_runs_is_in_the_diagram() -> None:
    text = page("run-states.md")
    mentioned = set(re.findall(r"queue\.(\w+)", text))
    assert mentioned
    assert {name for name in mentioned if not hasattr(queue, name)} == {"py"}
    movers = {"insert", "claim", "finish", "put_back", "requeue_expired", "end_lost", "stop", "delete"}
    assert movers <= mentioned


# Dependencies


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    lists += [*project["dependency-groups"].values(), project["build-system"]["requires"]]
    wanted = {re.match(r"[\w.-]+", entry)[0] for entries in lists for entry in entries}  # type: ignore[index]
    ours, _, pages = page("dependencies.md").partition("## Of the chat page")
    assert set(re.findall(r"^\| `([\w.-]+)` \| \S", ours, re.MULTILINE)) == wanted | {"uv"}
    package = json.loads((ROOT / "web" / "package.json").read_text("utf-8"))
    rows = "".join(re.findall(r"^\| (`.+?`) \| \S", pages, re.MULTILINE))
    assert named(rows) - {", "} == {*package["dependencies"], *package["devDependencies"]}


# Pages


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", file.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        link = target[0] or target[1]
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), f"{file.name}: {link}"
        if anchor:
            assert anchor in _anchors(there), f"{file.name}: {link}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        file = waiting.pop()
        if file in reached or not file.exists():
            continue
        reached.add(file)
        links = re.findall(r"\]\(([^)#\s]+\.md)[^)]*\)", file.read_text("utf-8"))
        waiting += [(file.parent / link).resolve() for link in links if not link.startswith("http")]
    assert set(PAGES) <= reached


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_tests_that_are_named_exist(file: Path) -> None:
    for path, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", file.read_text("utf-8")):
        assert (ROOT / path).is_file(), f"{file.name}: {path}"
        assert not name or f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{file.name}: {path}::{name}"


def test_decisions_are_numbered_without_holes() -> None:
    files = sorted((DOCS / "decisions").glob("*.md"))
    assert [file.name[:4] for file in files] == [f"{number:04}" for number in range(1, len(files) + 1)]
    for file in files:
        assert file.read_text("utf-8").startswith(f"# {file.name[:4]}: "), file.name


def test_decisions_that_the_code_refers_to_exist() -> None:
    files = [file for folder in ("server", "checkpoints", "graph") for file in (ROOT / folder).rglob("*.py")]
    text = "\n".join(file.read_text("utf-8") for file in files)
    numbers = set(re.findall(r"docs/decisions/(\d{4})", text))
    assert numbers <= {file.name[:4] for file in (DOCS / "decisions").glob("*.md")}
    assert {name for name in re.findall(r"docs/([\w-]+\.md)", text) if not (DOCS / name).exists()} == set()


def _write_settings() -> None:
    file = DOCS / "configuration.md"
    before, _, rest = file.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    file.write_text(f"{before}{BEGIN}\n\n{settings_table()}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    _write_settings()
