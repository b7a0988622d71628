"""Imports the graphs of langgraph.json; lends each use a private copy of one, with the server's saver and store."""

from __future__ import annotations

import asyncio
import copy
import difflib
import functools
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias, TypeVar, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph._internal import _serde
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk import Auth
from langgraph_sdk.runtime import ServerRuntime, _ExecutionRuntime, _ReadRuntime

from threadmill.changed import FINGERPRINT, fingerprint
from threadmill.errors import GraphLoadError, NotFound, Unavailable
from threadmill.langgraph_json.graphs import GraphSpec
from threadmill.langgraph_json.project import Project, package_parent

Access: TypeAlias = Literal["threads.create_run", "threads.read", "threads.update", "assistants.read"]
Graph: TypeAlias = Pregel[Any, Any, Any, Any]
T = TypeVar("T")

_ACCEPTED = "a compiled graph, a StateGraph, an @entrypoint, or a function that makes one of these"
_HERE = Path(__file__).resolve().parent


class Graphs:
    """The graphs of one project. Call `apply_environment(project)` before `load`.

    `errors` holds what `load(keep_going=True)` could not load, by graph id.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._loaded: dict[str, Graph | _Factory] = {}
        self.errors: dict[str, GraphLoadError] = {}
        self._fingerprints: dict[str, str] = {}

    def about(self, graph_id: str, graph: Graph) -> dict[str, str]:
        """What each checkpoint of this opened graph records of it, besides its id."""
        if isinstance(self._loaded.get(graph_id), _Factory):
            return {FINGERPRINT: fingerprint(graph)}
        if graph_id not in self._fingerprints:
            self._fingerprints[graph_id] = fingerprint(graph)
        return {FINGERPRINT: self._fingerprints[graph_id]}

    def load(self, *, keep_going: bool = False) -> None:
        modules: dict[str, ModuleType] = {}
        for spec in self._project.graphs.values():
            try:
                self._loaded[spec.id] = self._load(spec, modules)
            except GraphLoadError as error:
                if not keep_going:
                    raise
                self.errors[spec.id] = error

    def ids(self) -> list[str]:
        return list(self._loaded)

    def spec(self, graph_id: str) -> GraphSpec:
        self._find(graph_id)
        return self._project.graphs[graph_id]

    def __contains__(self, graph_id: object) -> bool:
        return graph_id in self._loaded

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        config: RunnableConfig,
        *,
        access: Access,
        context: Any = None,
        user: Any = None,
        store: BaseStore | None = None,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
    ) -> AsyncIterator[Graph]:
        """A graph for one use, whatever saver and store it was compiled with; a factory lives as long as the use.

        Do not call `copy` or `with_config` on it: langgraph 1.2 loses the types a checkpoint may hold on the way.
        """
        loaded = self._find(graph_id)
        if not isinstance(loaded, _Factory):
            yield _equipped(loaded, checkpointer, store)
            return
        failure: BaseException | None = None
        async with loaded.opened(config, _runtime(access, context, user, store)) as made:
            graph = _finished(_compiled(self._project.graphs[graph_id], made, "it returned"), graph_id)
            try:
                yield _equipped(graph, checkpointer, store)
            except BaseException as error:
                failure = error
                raise
        if failure is not None:  # a user's context manager may swallow, but a stopped run must not look finished
            raise failure

    def _find(self, graph_id: str) -> Graph | _Factory:
        found = self._loaded.get(graph_id)
        if found is not None:
            return found
        if graph_id in self.errors:
            raise Unavailable(str(self.errors[graph_id]).splitlines()[0])
        raise NotFound(f"Graph {graph_id!r} not found; the graphs here are: {', '.join(sorted(self._loaded))}.")

    def _load(self, spec: GraphSpec, modules: dict[str, ModuleType]) -> Graph | _Factory:
        source = str(spec.file or spec.module)
        if source not in modules:
            modules[source] = self._imported(spec)
        module = modules[source]
        if not hasattr(module, spec.attribute):
            raise GraphLoadError(_missing_attribute(spec, module))
        value = getattr(module, spec.attribute)
        if _is_factory(value):
            return _Factory(_managed(value), _roles(spec, value))
        return _finished(_compiled(spec, value, "it is"), spec.id)

    def _imported(self, spec: GraphSpec) -> ModuleType:
        if spec.file is not None and not spec.file.is_file():
            raise GraphLoadError(f"Graph {spec.id!r}: {spec.file} does not exist ({self._project.path}).")
        try:
            if spec.file is None:
                return importlib.import_module(cast(str, spec.module))
            return _import_file(spec.file, self._project.root)
        except (Exception, SystemExit) as error:  # user code may raise anything while it is imported
            folders = [self._project.root, *self._project.dependencies]
            folders += [spec.file.parent] if spec.file else []
            raise GraphLoadError(_import_failure(spec, error, folders)) from error


def load_object(project: Project, spec: GraphSpec, kind: type[T], where: str) -> T:
    """What langgraph.json names at `where`, which has to be a `kind`. Raises GraphLoadError."""
    found = getattr(imported(project, spec), spec.attribute, None)
    if not isinstance(found, kind):
        is_a = "missing" if found is None else f"a {type(found).__name__}"
        name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
        raise GraphLoadError(f"{project.path}: {where}: {spec.attribute} is {is_a}, not a {name} object.")
    return found


def load_auth(project: Project) -> Auth | None:
    return None if project.auth is None else load_object(project, project.auth, Auth, "auth.path")


def imported(project: Project, spec: GraphSpec) -> ModuleType:
    """A file that a graph is in has been imported: a second time would make its types other types."""
    loaded = [one for one in list(sys.modules.values()) if spec.file and _file_of(one) == spec.file]
    return loaded[0] if loaded else Graphs(project)._imported(spec)


def _file_of(module: Any) -> Path | None:
    name = getattr(module, "__file__", None)
    return Path(name) if isinstance(name, str) else None


@dataclass(frozen=True)
class _Factory:
    """A user's function that makes the graph anew for each use; `roles` says which parameter gets what."""

    function: Callable[..., Any]
    roles: tuple[tuple[inspect.Parameter, str], ...]

    @asynccontextmanager
    async def opened(self, config: RunnableConfig, runtime: ServerRuntime[Any]) -> AsyncGenerator[Any, None]:
        made = await self._call({"config": _own(config), "runtime": runtime})
        if hasattr(made, "__aenter__"):
            async with made as graph:
                yield graph
        elif hasattr(made, "__enter__"):
            async with _in_thread(made) as graph:
                yield graph
        else:
            yield made

    async def _call(self, given: Mapping[str, Any]) -> Any:
        positional = [given[role] for parameter, role in self.roles if parameter.kind is parameter.POSITIONAL_ONLY]
        named = {p.name: given[role] for p, role in self.roles if p.kind is not p.POSITIONAL_ONLY}
        call = functools.partial(self.function, *positional, **named)
        made = call() if _is_async(self.function) else await asyncio.to_thread(call)
        return await made if inspect.isawaitable(made) else made


@asynccontextmanager
async def _in_thread(manager: AbstractContextManager[Any]) -> AsyncGenerator[Any, None]:
    entering = asyncio.ensure_future(asyncio.to_thread(manager.__enter__))
    try:
        value = await asyncio.shield(entering)
    except asyncio.CancelledError as error:  # the thread goes on all the same: close what it opens
        await asyncio.wait([entering])
        if entering.exception() is None:
            await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
        raise
    try:
        yield value
    except BaseException as error:
        if not await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await asyncio.to_thread(manager.__exit__, None, None, None)


def output_of(graph: Graph, values: Any) -> Any:
    """The part of the state that is the graph's output."""
    keys = graph.output_channels
    if isinstance(keys, str) or not isinstance(values, dict):
        return values
    return {key: values[key] for key in keys if key in values}


def shown_of(graph: Graph) -> frozenset[str] | None:
    """The channels of the output, where the state has others; None where it has not."""
    keys, everything = graph.output_channels, graph.stream_channels_asis
    if isinstance(keys, str) or isinstance(everything, str) or {*keys} >= {*everything}:
        return None
    return frozenset(keys)


def _runtime(access: Access, context: Any, user: Any, store: BaseStore | None) -> ServerRuntime[Any]:
    given = cast(BaseStore, store)  # the server always has one; only tests and schema look-ups come without
    if access == "threads.create_run":
        return _ExecutionRuntime(access_context=access, user=user, store=given, context=context)
    return _ReadRuntime(access_context=access, user=user, store=given)


def _equipped(graph: Graph, checkpointer: BaseCheckpointSaver[Any] | None, store: BaseStore | None) -> Graph:
    # Not `graph.copy`: it calls the constructor, which resets the allow-list and the output mappers, and is 6x slower.
    own = copy.copy(graph)
    own.checkpointer, own.store = checkpointer, store
    if own.config is not None:
        own.config = _own(own.config)
    return own


def _own(config: RunnableConfig) -> RunnableConfig:
    parts = {key: value.copy() if isinstance(value, (dict, list)) else value for key, value in config.items()}
    return cast(RunnableConfig, parts)


def _finished(graph: Graph, graph_id: str) -> Graph:
    own = copy.copy(graph)
    if own.name == "LangGraph":  # the default; traces and schema titles read better with the id
        own.name = graph_id
    own._serde_allowlist = set().union(*map(_checkpoint_types, _with_subgraphs(graph)))
    return own


def _with_subgraphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    yield from (child for _, child in graph.get_subgraphs(recurse=True) if isinstance(child, Pregel))


def _checkpoint_types(graph: Graph) -> set[tuple[str, ...]]:
    # Every graph that went through `with_config`, as those of create_agent do, has lost its list: make it again.
    if graph._serde_allowlist is not None:
        return graph._serde_allowlist
    builder = getattr(graph, "builder", None)
    schemas = [*(builder.schemas if builder is not None else ()), graph.context_schema]
    return _serde.build_serde_allowlist(schemas=schemas, channels=cast(dict[str, Any], graph.channels))


def _is_factory(value: Any) -> bool:
    return callable(value) and not isinstance(value, (Runnable, StateGraph, type))


def _managed(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return asynccontextmanager(function)
    return contextmanager(function) if inspect.isgeneratorfunction(function) else function


def _is_async(function: Callable[..., Any]) -> bool:
    inner = inspect.unwrap(function)
    checks = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    return any(check(inner) or check(getattr(type(inner), "__call__", None)) for check in checks)  # noqa: B004


def _compiled(spec: GraphSpec, value: Any, is_or_returned: str) -> Graph:
    if isinstance(value, Pregel):
        return value
    if isinstance(value, StateGraph):
        try:
            return value.compile()
        except ValueError as error:
            raise GraphLoadError(f"{_label(spec)} does not compile: {error}") from error
    kind = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
    hint = " Put a LangChain runnable into a node of a StateGraph." if isinstance(value, Runnable) else ""
    raise GraphLoadError(f"{_label(spec)} is no graph: {is_or_returned} {kind}, not {_ACCEPTED}.{hint}")


def _roles(spec: GraphSpec, function: Callable[..., Any]) -> tuple[tuple[inspect.Parameter, str], ...]:
    """Which parameter is the config and which the runtime: by annotation, else by name, else in that order."""
    roles: dict[inspect.Parameter, str | None] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        role = _role(parameter)
        if role or parameter.default is parameter.empty:
            roles[parameter] = role
    free = [role for role in ("config", "runtime") if role not in roles.values()]
    for parameter in [parameter for parameter, role in roles.items() if role is None]:
        if not free:
            names = ", ".join(parameter.name for parameter in roles)
            raise GraphLoadError(f"{_label(spec)} takes ({names}), but a factory gets at most (config, runtime).")
        roles[parameter] = free.pop(0)
    return tuple((parameter, cast(str, role)) for parameter, role in roles.items())


def _role(parameter: inspect.Parameter) -> str | None:
    annotation = inspect.formatannotation(parameter.annotation)
    if re.search(r"(Server|Execution|Read)Runtime", annotation):
        return "runtime"
    if "RunnableConfig" in annotation:
        return "config"
    return parameter.name if parameter.name in ("config", "runtime") else None


def _import_file(file: Path, root: Path) -> ModuleType:
    """A file inside a package keeps its dotted name, so that relative imports work; another gets one of its own.

    The name depends on the path below `root` only: checkpoints store it with the types the file defines.
    """
    parent = package_parent(file, root)
    parts = [part for part in file.relative_to(parent).with_suffix("").parts if part != "__init__"]
    if parent != file.parent and all(part.isidentifier() for part in parts):
        package = importlib.util.find_spec(parts[0])
        if package and package.origin and Path(package.origin).parent.resolve() == (parent / parts[0]).resolve():
            return importlib.import_module(".".join(parts))
    relative = Path(os.path.relpath(file, root)).as_posix()
    slug = re.sub(r"\W+", "_", relative.removesuffix(".py"))
    name = f"threadmill_graph_{slug}_{zlib.crc32(relative.encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is not a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _label(spec: GraphSpec) -> str:
    return f"Graph {spec.id!r} ({spec.file or spec.module}:{spec.attribute})"


def _missing_attribute(spec: GraphSpec, module: ModuleType) -> str:
    def offered(value: Any) -> bool:
        defined_here = inspect.isfunction(value) and value.__module__ == module.__name__
        return defined_here or isinstance(value, (Pregel, StateGraph))

    names = [name for name, value in vars(module).items() if not name.startswith("_") and offered(value)]
    close = difflib.get_close_matches(spec.attribute, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    found = f"It has: {', '.join(names)}." if names else "It has nothing that could be a graph."
    return f"Graph {spec.id!r}: {spec.file or spec.module} has no {spec.attribute!r}.{hint} {found}"


def _import_failure(spec: GraphSpec, error: BaseException, folders: list[Path]) -> str:
    def of_the_user(frame: traceback.FrameSummary) -> bool:
        path = Path(frame.filename)
        foreign = {"site-packages", "dist-packages"} & set(path.parts) or path.is_relative_to(_HERE)
        return not foreign and any(path.is_relative_to(folder) for folder in folders)

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if of_the_user(frame)]
    lines = traceback.format_list(frames)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(spec.file or spec.module)
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        where, reason = f"{error.filename}:{error.lineno}", f"{type(error).__name__}: {error.msg}"
        lines += list(traceback.TracebackException.from_exception(error).format_exception_only())[:-1]
    if isinstance(error, ModuleNotFoundError):
        reason += " (is it installed here, or its folder listed in dependencies?)"
    return f"Graph {spec.id!r} cannot be imported: {where}: {reason}\n{''.join(lines)}".rstrip()
