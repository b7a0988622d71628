"""What the commands share: which data directory or server they work on, how they answer, and how they fail."""

import inspect
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Concatenate, NoReturn, ParamSpec, TypeVar, cast

import httpx
import typer

from threadmill import datadir
from threadmill.config import load_settings
from threadmill.datadir import DataDir, Owned
from threadmill.errors import ConfigError, ThreadmillError
from threadmill.jsonable import dumps_text
from threadmill.langgraph_json.project import Project, apply_environment, load_project
from threadmill_checkpoints.database import DatabaseError
from threadmill_checkpoints.serde import Unreadable

T = TypeVar("T")
P = ParamSpec("P")

TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command works, and how it answers: what its options say."""

    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="langgraph.json, or its folder. Default: the one here, if there is one."),
    ] = None
    data_dir: Annotated[
        Path | None, typer.Option(help="Where threads are kept. Default .threadmill beside the config.")
    ] = None
    url: Annotated[str | None, typer.Option(help="Ask the server there, instead of the data directory.")] = None
    header: Annotated[
        list[str] | None,
        typer.Option("--header", help="For the server, as 'Authorization: Bearer …'. May be repeated."),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False

    @contextmanager
    def data(self) -> Iterator[DataDir]:
        """The data directory that `serve` would use with the same options."""
        project = _project(self.config)
        folder = self.data_dir.absolute() if self.data_dir else None
        settings = load_settings(project or Nowhere(), data_dir=folder)
        if project is not None:
            apply_environment(project)
        with datadir.opened(settings.data_dir, project) as found:
            yield found

    @contextmanager
    def owned(self, instead: str = "stop it") -> Iterator[Owned]:
        """The same, when no server has it. `instead`: what to do when one has."""
        with self.data() as found:
            try:
                with found.owned() as mine:
                    yield mine
            except datadir.InUse:
                raise ConfigError(f"A Threadmill server uses {found.folder}: {instead}.") from None

    def asked(self, local: Callable[[], T], remote: Callable[[httpx.Client], T]) -> T:
        """From the server that is named, or from the data directory."""
        if self.url is None:
            return local()
        with client(self.url, self.header) as http:
            return remote(http)

    def answer(self, value: Any, text: Callable[[], str]) -> None:
        typer.echo(dumps_text(value) if self.as_json else text())


def here(command: Callable[Concatenate[Place, P], None]) -> Callable[P, None]:
    """A command for typer, of a function that gets its place first: it works on the data directory. What goes wrong
    ends it with a sentence."""
    return _placed(command, ("config", "data_dir", "as_json"))


def anywhere(command: Callable[Concatenate[Place, P], None]) -> Callable[P, None]:
    """The same, and it may ask a server instead."""
    return _placed(command, ("config", "data_dir", "url", "header", "as_json"))


def _placed(command: Callable[Concatenate[Place, P], None], names: Sequence[str]) -> Callable[P, None]:
    def run(**given: Any) -> None:
        with told():
            command(Place(**{name: given.pop(name) for name in names}), **given)  # type: ignore[call-arg]

    _, *own = inspect.signature(command).parameters.values()
    options = inspect.signature(Place).parameters
    parameters = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *(options[name] for name in names))
    ]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return cast("Callable[P, None]", run)


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Settings without a langgraph.json."""

    path: Path = field(default_factory=lambda: Path.cwd() / "langgraph.json")
    root: Path = field(default_factory=Path.cwd)
    env: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)


def _project(config: Path | None) -> Project | None:
    if config is None and not Path("langgraph.json").is_file():
        return None
    return load_project(config or Path("langgraph.json"))


def client(url: str, headers: Sequence[str] | None) -> httpx.Client:
    named = dict(one.split(":", 1) for one in headers or () if ":" in one)
    return httpx.Client(
        base_url=url.rstrip("/"),
        headers={name.strip(): value.strip() for name, value in named.items()},
        timeout=TIMEOUT_S,
    )


def checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        try:
            detail = answer.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = answer.text or answer.reason_phrase
        raise ConfigError(f"The server answers {answer.status_code}: {detail}")
    return answer


# Answers


def table(rows: Sequence[Sequence[Any]]) -> str:
    """In columns as wide as what stands in them."""
    shown = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in shown)
    return "\n".join(line.rstrip() for line in lines)


def size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


@contextmanager
def progress(what: str, total: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar for a person who watches; call what it yields with how much more is done."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong ends the command with one sentence and exit code 1."""
    try:
        yield
    except (ThreadmillError, DatabaseError, Unreadable) as error:
        fail(error)
    except sqlite3.Error as error:
        fail(ConfigError(f"The database cannot be used: {error}. Restore a backup if it is damaged."))
    except httpx.HTTPError as error:
        fail(ConfigError(f"The server cannot be reached: {error}"))


def fail(error: Exception) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(1)
