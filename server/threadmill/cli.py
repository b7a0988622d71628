"""The `threadmill` command."""

import gc
import shutil
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from threadmill.config import Settings, load_settings
from threadmill.errors import ConfigError, ThreadmillError
from threadmill.langgraph_json.project import Project, apply_environment, load_project

if TYPE_CHECKING:
    from threadmill.graphs import Graphs

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Serve LangGraph graphs as durable threads.",
)

QUICK = {"serve", "dev", "child", "init", "ui", "--version"}  # begin without the imports of the others

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="langgraph.json, or the folder it is in.")]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on. Default 127.0.0.1.")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on, 0 for any free one. Default 2024.")]
DataOption = Annotated[Path | None, typer.Option(help="Where threads are kept. Default .threadmill beside the config.")]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Allow an address that is not loopback, without auth.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"threadmill {version('threadmill')}")
        raise typer.Exit


@cli.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@cli.command()
def serve(
    config: ConfigOption = Path("langgraph.json"),
    host: HostOption = None,
    port: PortOption = None,
    data_dir: DataOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Serve the graphs of a langgraph.json."""
    project, settings = _load(config, host, port, data_dir, insecure)
    _serve(project, settings, _listen(settings), keep_going=False, note="Ctrl-C stops it; runs go on at the next start")


@cli.command()
def dev(
    config: ConfigOption = Path("langgraph.json"),
    host: HostOption = None,
    port: PortOption = None,
    data_dir: DataOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Serve, and start again whenever the project's code changes. Threads stay; running runs go on afterwards."""
    from threadmill import logs, reload

    project, settings = _load(config, host, port, data_dir, insecure)
    logs.configure(settings.log_level, settings.log_format)
    with _listen(settings) as listening:
        # The address as it was bound: a child must not choose another free port.
        options = ["--config", str(project.path), "--host", settings.host, "--port", str(listening.getsockname()[1])]
        options += ["--data-dir", str(settings.data_dir), *(["--insecure"] if settings.insecure else [])]
        try:
            sys.exit(reload.supervise(lambda: _read(config, host, port, data_dir, insecure), listening, options))
        except ThreadmillError as error:
            _fail(error)


@cli.command(hidden=True)
def child(
    fd: Annotated[int, typer.Option()],
    again: Annotated[bool, typer.Option("--again")] = False,
    config: ConfigOption = Path("langgraph.json"),
    host: HostOption = None,
    port: PortOption = None,
    data_dir: DataOption = None,
    insecure: InsecureOption = False,
) -> None:
    """What `dev` runs: a server on a socket that is already open, which serves what can be loaded."""
    from threadmill import reload

    reload.end_with_parent()
    project, settings = _load(config, host, port, data_dir, insecure)
    note = None if again else "Starts again when code changes; Ctrl-C stops it"
    _serve(project, settings, socket.socket(fileno=fd), keep_going=True, note=note)


@cli.command()
def init(folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Make a project: the default agent, to be changed into your own."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        _fail(ConfigError(f"{folder} is there and not an empty folder: name a new one."))
    template = _template()
    try:
        shutil.copytree(template / "graph", folder / "graph", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(template / "langgraph.json", folder / "langgraph.json")
        (folder / ".gitignore").write_text(".threadmill/\n.env\n__pycache__/\n")
    except OSError as error:
        _fail(ConfigError(f"{folder} cannot be written: {error.strerror}."))
    made, option = ("it here", "") if folder.resolve() == Path.cwd() else (folder, f" --config {folder}")
    typer.echo(f"Made {made}. Next: threadmill dev{option}")


ui = typer.Typer(no_args_is_help=True, help="The chat page, which is served at /.")
cli.add_typer(ui, name="ui")


@ui.command("build")
def ui_build() -> None:
    """Build the chat page of this checkout, if its sources have changed."""
    script = Path(__file__).parents[2] / "web" / "build.py"
    if not script.exists():
        _fail(
            ConfigError("This is an installed package: its page was built with it, or is missing; see / of the server.")
        )
    if subprocess.run([sys.executable, str(script), "require"]).returncode:
        raise typer.Exit(1)
    typer.echo("The chat page is built; a server that runs shows it when it is loaded again.")


def _template() -> Path:
    """In a wheel the default agent lies in the package; in a checkout it is the folder `graph`."""
    packaged = Path(__file__).parent / "template"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


def _serve(
    project: Project, settings: Settings, listening: socket.socket, *, keep_going: bool, note: str | None
) -> None:
    """Until SIGINT or SIGTERM; then drain. `keep_going` serves what loads when a graph does not.

    `note` ends the message that greets a person at a terminal; None: no message.
    """
    gc.disable()  # nothing that is loaded goes again; to look for what does costs a sixth of the start
    from threadmill import logs, server  # slow imports, after the arguments are known to be right

    watched = logs.configure(settings.log_level, settings.log_format)
    for warning in project.warnings:
        server.logger.warning(warning)

    def greet(url: str, graphs: "Graphs") -> None:
        broken = [f"{graph_id} (broken)" for graph_id in graphs.errors]
        lines = {"Chat": url, "API": url, "Docs": f"{url}/docs", "Graphs": ", ".join([*graphs.ids(), *broken])}
        lines["Data"] = str(settings.data_dir)
        shown = "\n".join(f"  {name:<8}{value}" for name, value in lines.items())
        typer.echo(f"\nThreadmill {version('threadmill')}\n\n{shown}\n\n  {note}.\n", err=True)

    apply_environment(project)
    try:
        started = greet if watched and note else None
        server.run(project, settings, listening, keep_going=keep_going, started=started)
    except ThreadmillError as error:
        _fail(error)


def _load(
    config: Path, host: str | None, port: int | None, data_dir: Path | None, insecure: bool
) -> tuple[Project, Settings]:
    try:
        return _read(config, host, port, data_dir, insecure)
    except ThreadmillError as error:
        _fail(error)


def _read(
    config: Path, host: str | None, port: int | None, data_dir: Path | None, insecure: bool
) -> tuple[Project, Settings]:
    project = load_project(config)
    settings = load_settings(
        project, host=host, port=port, data_dir=data_dir.absolute() if data_dir else None, insecure=insecure or None
    )
    if not settings.insecure and project.auth is None and not _loopback(settings.host):
        raise ConfigError(
            f"{settings.host} can be reached from other machines and no auth is configured: anybody there could "
            "read and run everything. Listen on 127.0.0.1, or say --insecure if something else guards it."
        )
    return project, settings


def _loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(2048)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        _fail(ConfigError(f"{where} cannot be used: {error.strerror}; try another --port."))
    return listening


def _fail(error: Exception) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    sys.exit(1)


@cache
def whole() -> typer.Typer:
    """With the commands that work on data: they import most of the server, which takes a second."""
    from threadmill.commands import backups, imports, threads

    cli.command("import")(imports.import_)
    cli.command()(backups.backup)
    cli.command()(backups.restore)
    cli.add_typer(threads.app, name="threads")
    return cli


def main() -> None:
    (cli if QUICK.intersection(sys.argv[1:2]) else whole())(prog_name="threadmill")
