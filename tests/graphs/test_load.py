from __future__ import annotations

import asyncio
import copy
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from threadmill.errors import GraphLoadError, NotFound, Unavailable
from threadmill.graphs import Access, Graphs
from threadmill.langgraph_json.project import Project
from threadmill.schemas import schemas

TINY = (Path(__file__).parent / "projects/tiny.py").read_text()
Make = Callable[..., Graphs]
MakeProject = Callable[..., Project]
HEADER = """
    from contextlib import asynccontextmanager, contextmanager
    from langchain_core.runnables import RunnableConfig
    from langgraph_sdk.runtime import ServerRuntime
    log = []
"""


async def shout(graphs: Graphs, **given: Any) -> str:
    config: Any = {"configurable": {"thread_id": "t"}}
    async with graphs.open("g", config, access="threads.create_run", **given) as graph:
        return str((await graph.ainvoke({"text": "hi"}, config))["text"])


def module_of(graphs: Graphs) -> Any:
    file = str(graphs.spec("g").file)
    return next(m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == file)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "graph = builder",
        "graph = builder.compile()",
        "graph = builder.compile().with_config(tags=['x'])",
        "def graph(): return builder",
        "def graph(): return builder.compile()",
        "async def graph(): return builder",
        "def graph(): return make()\nasync def make(): return builder.compile()",
        "@contextmanager\ndef graph(): yield builder",
        "@contextmanager\ndef graph(config): yield builder.compile()",
        "@asynccontextmanager\nasync def graph(): yield builder",
        "@asynccontextmanager\nasync def graph(config, runtime): yield builder.compile()",
        "def graph(config):\n    yield builder",
        "async def graph(config):\n    yield builder",
        "class Make:\n    async def __call__(self, config): return builder\ngraph = Make()",
    ],
)
async def test_every_accepted_form_runs(graphs: Make, code: str) -> None:
    made = graphs("from contextlib import asynccontextmanager, contextmanager\n" + code)
    assert "g" in made
    assert made.ids() == ["g"]
    assert await shout(made, checkpointer=InMemorySaver()) == "HI"


@pytest.mark.anyio
async def test_the_functional_api_runs(graphs: Make) -> None:
    made = graphs(
        "from langgraph.func import entrypoint\n@entrypoint()\ndef graph(x: dict) -> dict: return {'text': 'F'}"
    )
    assert await shout(made) == "F"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("", {}),
        ("config", {"config"}),
        ("anything", {"config"}),
        ("anything, /", {"config"}),
        ("runtime", {"runtime"}),
        ("rt: ServerRuntime", {"runtime"}),
        ("rt: ServerRuntime[dict] | None", {"runtime"}),
        ("config, runtime", {"config", "runtime"}),
        ("runtime, config", {"config", "runtime"}),
        ("rt: ServerRuntime, cfg: RunnableConfig", {"config", "runtime"}),
        ("rt: 'ServerRuntime', cfg", {"config", "runtime"}),
        ("a, b", {"config", "runtime"}),
        ("config, *, runtime", {"config", "runtime"}),
        ("config, model='m', *args, **kw", {"config"}),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_factory_gets_config_and_runtime(graphs: Make, kind: str, signature: str, expected: set[str]) -> None:
    code = f"{kind} graph({signature}):\n    log.append(dict(locals()))\n    return builder"
    made = graphs(HEADER.replace("\n    ", "\n") + code)
    store, user = InMemoryStore(), {"identity": "ann"}
    assert await shout(made, store=store, user=user, context={"k": 1}) == "HI"
    (given,) = module_of(made).log
    runtimes = [value for value in given.values() if hasattr(value, "access_context")]
    configs = [value for value in given.values() if isinstance(value, dict) and "configurable" in value]
    assert len(runtimes) == ("runtime" in expected)
    assert [config["configurable"] for config in configs] == [{"thread_id": "t"}] * ("config" in expected)
    for runtime in runtimes:
        assert (runtime.access_context, runtime.store, runtime.user) == ("threads.create_run", store, user)
        assert runtime.execution_runtime.context == {"k": 1}


@pytest.mark.anyio
@pytest.mark.parametrize("access", ["threads.read", "threads.update", "assistants.read"])
async def test_other_accesses_are_no_execution(graphs: Make, access: Access) -> None:
    made = graphs("log = []\ndef graph(runtime):\n    log.append(runtime)\n    return builder")
    async with made.open("g", {}, access=access, store=InMemoryStore()):
        (runtime,) = module_of(made).log
        assert (runtime.access_context, runtime.execution_runtime) == (access, None)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["@contextmanager\ndef", "@asynccontextmanager\nasync def"])
async def test_a_context_manager_lives_as_long_as_the_use_and_cannot_hide_a_failure(graphs: Make, kind: str) -> None:
    made = graphs(f"""
from contextlib import asynccontextmanager, contextmanager
log = []
{kind} graph(config):
    log.append("in")
    try:
        yield builder
    except BaseException as error:
        log.append(repr(error))
    finally:
        log.append("out")
""")
    log = module_of(made).log
    async with made.open("g", {}, access="threads.read"):
        assert log == ["in"]
    assert log == ["in", "out"]
    with pytest.raises(KeyError):
        async with made.open("g", {}, access="threads.read"):
            raise KeyError("x")
    assert log[2:] == ["in", "KeyError('x')", "out"]


@pytest.mark.anyio
async def test_a_sync_context_manager_cancelled_while_it_opens_is_closed(graphs: Make) -> None:
    made = graphs("""
import threading
from contextlib import contextmanager
entered, go, closed = threading.Event(), threading.Event(), threading.Event()
@contextmanager
def graph(config):
    entered.set()
    go.wait(5)
    try:
        yield builder
    finally:
        closed.set()
""")
    module = module_of(made)
    task = asyncio.ensure_future(shout(made))
    await asyncio.to_thread(module.entered.wait, 5)
    task.cancel()
    module.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert module.closed.is_set()


@pytest.mark.anyio
async def test_a_sync_factory_runs_off_the_loop_with_the_callers_context(graphs: Make) -> None:
    made = graphs("""
import contextvars, threading
tenant = contextvars.ContextVar("tenant")
log = []
def graph():
    log.append((threading.get_ident(), tenant.get()))
    return builder
""")
    module = module_of(made)
    module.tenant.set("acme")
    await shout(made)
    ((thread, tenant),) = module.log
    assert thread != threading.get_ident()
    assert tenant == "acme"


@pytest.mark.anyio
async def test_the_servers_saver_and_store_replace_those_it_was_compiled_with(graphs: Make) -> None:
    made = graphs("""
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
graph = builder.compile(checkpointer=InMemorySaver(), store=InMemoryStore())
""")
    saver, store = InMemorySaver(), InMemoryStore()
    await shout(made, checkpointer=saver, store=store)
    config: Any = {"configurable": {"thread_id": "t"}}
    assert saver.get_tuple(config) is not None
    assert module_of(made).graph.checkpointer.get_tuple(config) is None
    async with made.open("g", {}, access="threads.read", checkpointer=saver, store=store) as graph:
        assert graph.store is store
        assert graph.get_state(config).values == {"text": "HI"}


@pytest.mark.anyio
async def test_two_users_at_once_leave_the_loaded_graph_as_it_was(graphs: Make) -> None:
    made = graphs("""
import asyncio
from langchain_core.runnables import RunnableConfig
both = asyncio.Barrier(2)
async def meet(state, config: RunnableConfig):
    config["metadata"]["seen"] = config["configurable"]["thread_id"]
    config["configurable"]["leak"] = config["configurable"]["thread_id"]
    await both.wait()
    return {"text": state["text"] + config["configurable"]["thread_id"]}
graph = (StateGraph(State).add_node("meet", meet).add_edge(START, "meet").compile(name="Pair")
         .with_config({"tags": ["t"], "metadata": {"a": 1}, "configurable": {"b": 2}}))
""")
    loaded = module_of(made).graph
    before, config_before = dict(vars(loaded)), copy.deepcopy(loaded.config)
    parts = {key: dict(value) for key, value in before.items() if isinstance(value, dict)}
    savers = {"ann": InMemorySaver(), "bob": InMemorySaver()}

    opened = asyncio.Barrier(2)

    async def use(user: str) -> str:
        config: Any = {"configurable": {"thread_id": user}}
        async with made.open("g", config, access="threads.create_run", checkpointer=savers[user]) as graph:
            graph.config["metadata"]["mine"] = user  # type: ignore[index]
            graph.name = user
            await opened.wait()
            assert (graph.name, graph.checkpointer) == (user, savers[user])
            return str((await graph.ainvoke({"text": "I am "}, config))["text"])

    assert list(await asyncio.gather(use("ann"), use("bob"))) == ["I am ann", "I am bob"]
    assert vars(loaded) == before
    assert {key: value for key, value in vars(loaded).items() if isinstance(value, dict)} == parts
    assert loaded.config == config_before
    async with made.open("g", {}, access="threads.read") as graph:
        assert (graph.name, graph.config, graph.checkpointer) == ("Pair", config_before, None)
    for user, other in (("ann", "bob"), ("bob", "ann")):
        assert savers[user].get_tuple({"configurable": {"thread_id": user}}) is not None
        assert savers[user].get_tuple({"configurable": {"thread_id": other}}) is None


TYPED = """
from dataclasses import dataclass
@dataclass
class Order:
    number: int
class Typed(TypedDict, total=False):
    order: Order
typed = StateGraph(Typed).add_node("n", lambda state: {"order": Order(7)}).add_edge(START, "n")
"""


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "graph = typed",
        "graph = typed.compile()",
        "graph = typed.compile().with_config(tags=['x'])",
        "def graph(): return typed.compile().with_config(tags=['x'])",
    ],
)
async def test_types_of_the_state_come_back_from_a_strict_checkpoint(graphs: Make, code: str) -> None:
    made, saver = graphs(TYPED + code), InMemorySaver()
    config: Any = {"configurable": {"thread_id": "t"}}
    order = module_of(made).Order
    async with made.open("g", config, access="threads.create_run", checkpointer=saver) as graph:
        assert graph._serde_allowlist is not None
        assert (order.__module__, "Order") in graph._serde_allowlist
        await graph.ainvoke({}, config)
    async with made.open("g", config, access="threads.read", checkpointer=saver) as graph:
        assert (await graph.aget_state(config)).values == {"order": order(7)}


@pytest.mark.anyio
async def test_types_of_a_subgraph_come_back_too(graphs: Make) -> None:
    made, saver = (
        graphs(
            TYPED
            + """
inner = typed.compile(interrupt_after=["n"]).with_config(tags=["x"])
graph = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")
"""
        ),
        InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "t"}}
    async with made.open("g", config, access="threads.create_run", checkpointer=saver) as graph:
        await graph.ainvoke({"text": "hi"}, config)
        (task,) = (await graph.aget_state(config, subgraphs=True)).tasks
        assert task.state.values == {"order": module_of(made).Order(7)}  # type: ignore[union-attr]


@pytest.mark.anyio
async def test_a_type_the_state_does_not_name_stays_data(graphs: Make) -> None:
    made = graphs(TYPED.replace("order: Order", "order: object") + "graph = typed")
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "t"}}
    async with made.open("g", {}, access="threads.create_run", checkpointer=saver) as graph:
        await graph.ainvoke({}, config)
        assert (await graph.aget_state(config)).values == {"order": {"number": 7}}


def loading(graphs: Callable[[], Any]) -> str:
    with pytest.raises(GraphLoadError) as caught:
        graphs()
    message = str(caught.value)
    assert "importlib" not in message
    assert "site-packages" not in message
    assert "threadmill/graphs.py" not in message
    return message


def test_a_failing_import_shows_the_users_own_lines_only(project: MakeProject) -> None:
    agent = "import tools\n\n\ngraph = tools.build()\n"
    tools = "import importlib\n\n\ndef build():\n    return importlib.import_module('no_such_module')\n"
    made = project({"graphs": {"g": "./agent.py:graph"}}, **{"agent.py": agent, "tools.py": tools})
    with pytest.raises(GraphLoadError) as caught:
        Graphs(made).load()
    first, *trace = str(caught.value).splitlines()
    assert first == (
        f"Graph 'g' cannot be imported: {made.root}/tools.py:5: ModuleNotFoundError: No module named 'no_such_module' "
        "(is it installed here, or its folder listed in dependencies?)"
    )
    assert [line for line in trace if "File" in line] == [
        f'  File "{made.root}/agent.py", line 4, in <module>',
        f'  File "{made.root}/tools.py", line 5, in build',
    ]
    assert "    graph = tools.build()" in trace


def test_an_error_raised_in_a_library_points_at_the_users_line(graphs: Make) -> None:
    message = loading(
        lambda: graphs("\nfrom pydantic import TypeAdapter\ngraph = TypeAdapter(int).validate_python('x')")
    )
    number = TINY.count("\n") + 3
    assert f"agent.py:{number}: ValidationError: 1 validation error" in message
    assert f"line {number}, in <module>" in message


def test_a_syntax_error_shows_the_line_and_the_caret(project: MakeProject) -> None:
    made = project({"graphs": {"g": "./agent.py:graph"}}, **{"agent.py": "x = 1\ndef graph(:\n    pass\n"})
    lines = loading(Graphs(made).load).splitlines()
    assert lines[0] == f"Graph 'g' cannot be imported: {made.root}/agent.py:2: SyntaxError: invalid syntax"
    assert lines[2].strip() == "def graph(:"
    assert lines[3].strip() == "^"


def test_a_module_that_exits_is_an_error_not_an_exit(graphs: Make) -> None:
    assert "SystemExit: 3" in loading(lambda: graphs("import sys\nsys.exit(3)"))


def test_a_missing_file_and_a_missing_module_are_named(project: MakeProject) -> None:
    made = project({"graphs": {"g": "./gone.py:graph"}})
    assert loading(Graphs(made).load) == f"Graph 'g': {made.root}/gone.py does not exist ({made.path})."
    made = project({"graphs": {"g": "no_such.module:graph"}})
    assert "Graph 'g' cannot be imported: no_such.module: ModuleNotFoundError" in loading(Graphs(made).load)


def test_a_missing_attribute_lists_what_there_is(graphs: Make) -> None:
    message = loading(lambda: graphs("graph = builder.compile()\ndef make(config): ...", "grap"))
    assert "agent.py has no 'grap'. Did you mean 'graph'? It has: shout, builder, graph, make." in message


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("graph = [1]", "it is a list, not a compiled graph"),
        ("graph = None", "it is a NoneType, not"),
        ("class graph: pass", "it is the class graph, not"),
        (
            "from langchain_core.runnables import RunnableLambda\ngraph = RunnableLambda(len)",
            "a function that makes one of these. Put a LangChain runnable into a node of a StateGraph.",
        ),
        ("graph = StateGraph(State)", "does not compile: Graph must have an entrypoint"),
        ("def graph(config, runtime, model): ...", "takes (config, runtime, model), but a factory gets at most"),
    ],
)
def test_what_is_no_graph_is_refused_with_a_reason(graphs: Make, code: str, said: str) -> None:
    message = loading(lambda: graphs(code))
    assert message.startswith("Graph 'g' (/")
    assert said in message


@pytest.mark.anyio
async def test_a_factory_that_returns_no_graph_is_refused_when_used(graphs: Make) -> None:
    with pytest.raises(GraphLoadError, match="it returned a NoneType, not a compiled graph"):
        await shout(graphs("def graph(): return None"))


@pytest.mark.anyio
async def test_an_error_of_the_factory_itself_is_passed_on(graphs: Make) -> None:
    with pytest.raises(ZeroDivisionError):
        await shout(graphs("def graph(): return 1 / 0"))


@pytest.mark.anyio
async def test_keep_going_serves_the_good_ones_and_explains_the_bad(project: MakeProject) -> None:
    config = {"graphs": {"bad": "./bad.py:graph", "g": "./agent.py:builder"}}
    made = Graphs(project(config, **{"agent.py": TINY, "bad.py": "1 / 0"}))
    made.load(keep_going=True)
    assert made.ids() == ["g"]
    assert "ZeroDivisionError" in str(made.errors["bad"])
    assert await shout(made) == "HI"
    with pytest.raises(Unavailable, match=r"bad\.py:1: ZeroDivisionError"):
        async with made.open("bad", {}, access="threads.read"):
            pass
    with pytest.raises(NotFound, match="Graph 'nope' not found; the graphs here are: g"):
        async with made.open("nope", {}, access="threads.read"):
            pass


@pytest.mark.anyio
async def test_a_dotted_module_in_a_src_dependency(project: MakeProject) -> None:
    config = {"graphs": {"g": "shouting.agent:builder"}, "dependencies": ["./lib"]}
    made = Graphs(project(config, **{"lib/src/shouting/agent.py": TINY}))
    made.load()
    assert await shout(made) == "HI"


@pytest.mark.anyio
async def test_a_file_in_a_package_may_import_relatively_and_is_imported_once(project: MakeProject) -> None:
    files = {
        "src/loud_agent/__init__.py": "",
        "src/loud_agent/state.py": "from typing_extensions import TypedDict\nclass State(TypedDict):\n    text: str\n",
        "src/loud_agent/agent.py": TINY + "from .state import State as Other\ngraph = builder\n",
    }
    made = Graphs(project({"graphs": {"g": "./src/loud_agent/agent.py:graph"}, "dependencies": ["."]}, **files))
    made.load()
    assert module_of(made).__name__ == "loud_agent.agent"
    assert await shout(made) == "HI"


@pytest.mark.anyio
async def test_a_lone_file_imports_its_neighbours_under_a_name_that_cannot_collide(project: MakeProject) -> None:
    files = {
        "agents/json.py": "from __future__ import annotations\nimport loudness\n"
        + TINY
        + "assert loudness.LEVEL == 11\n",
        "agents/loudness.py": "LEVEL = 11\n",
    }
    config = {"graphs": {"g": "./agents/json.py:builder", "same": "./agents/json.py:builder"}}
    made = Graphs(project(config, **files))
    made.load()
    assert hasattr(json, "loads")
    assert module_of(made).__name__.startswith("threadmill_graph_agents_json_")
    assert await shout(made) == "HI"


@pytest.mark.anyio
async def test_schemas_of_a_graph_with_old_typed_dicts_and_a_context(graphs: Make) -> None:
    made = graphs("""
import typing
class Item(typing.TypedDict):
    name: str
class Context(typing.TypedDict, total=False):
    tenant: str
class Old(typing.TypedDict):
    items: typing.Annotated[list[Item], lambda a, b: a + b]
    note: typing.NotRequired[str | None]
    count: int
class Out(typing.TypedDict):
    note: str
graph = (StateGraph(Old, context_schema=Context, output_schema=Out)
         .add_node("n", lambda state: {}).add_edge(START, "n"))
""")
    async with made.open("g", {}, access="assistants.read") as graph:
        found = schemas(graph)
    assert {key: (value or {}).get("title") for key, value in found.items()} == {
        "input_schema": "Old",
        "output_schema": "Out",
        "state_schema": "g_state",
        "config_schema": "Context",
        "context_schema": "Context",
    }
    assert found["input_schema"]["required"] == ["items", "count"]  # type: ignore[index]
    assert found["input_schema"]["$defs"]["Item"]["required"] == ["name"]  # type: ignore[index]
    assert set(found["state_schema"]["properties"]) == {"items", "note", "count"}  # type: ignore[index]


@pytest.mark.anyio
async def test_a_schema_that_cannot_be_derived_is_none(graphs: Make) -> None:
    made = graphs("class Odd: ...\nclass Strange(TypedDict):\n    odd: Odd\ngraph = (StateGraph(Strange)"
                  ".add_node('n', lambda state: {}).add_edge(START, 'n'))")  # fmt: skip
    async with made.open("g", {}, access="assistants.read") as graph:
        found = schemas(graph)
    assert (found["input_schema"], found["state_schema"], found["context_schema"]) == (None, None, None)
    assert found["config_schema"] == {}


def test_spec_tells_the_description(project: MakeProject) -> None:
    config = {"graphs": {"g": {"path": "./agent.py:builder", "description": "Shouts."}}}
    made = Graphs(project(config, **{"agent.py": TINY}))
    made.load()
    assert made.spec("g").description == "Shouts."
    with pytest.raises(NotFound):
        made.spec("nope")
