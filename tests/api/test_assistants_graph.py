"""What an assistant's graph looks like: drawing, schemas, subgraphs."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk.client import LangGraphClient
from serving import Remote, Server

pytestmark = pytest.mark.anyio

NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
SCHEMAS = {"input_schema", "output_schema", "state_schema", "config_schema", "context_schema"}
PLAIN = {
    "nodes": [
        {"id": "__start__", "type": "runnable", "data": {"name": "__start__"}},
        {"id": "before", "type": "runnable", "data": {"name": "before"}},
        {"id": "child", "type": "runnable", "data": {"name": "child"}},
        {"id": "__end__"},
    ],
    "edges": [
        {"source": "__start__", "target": "before"},
        {"source": "before", "target": "child"},
        {"source": "child", "target": "__end__"},
    ],
}
NESTED = """
from typing import TypedDict
from langgraph.graph import START, StateGraph

class Grand(TypedDict):
    grand: int

class Child(TypedDict):
    child: int

class Parent(TypedDict):
    parent: int

def nothing(state):
    return {}

grand = StateGraph(Grand).add_node("leaf", nothing).add_edge(START, "leaf").compile()
child = StateGraph(Child).add_node("grand/one", grand).add_edge(START, "grand/one").compile()
parent = (StateGraph(Parent).add_node("child", child).add_node("other", nothing)
          .add_edge(START, "child").add_conditional_edges("child", nothing, {"again": "child", "on": "other"}))
"""


def default_id(graph: str) -> str:
    return str(uuid.uuid5(NAMESPACE, graph))


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one graph, `parent`, over three levels."""
    folder = tmp_path_factory.mktemp("nested")
    (folder / "nested.py").write_text(NESTED)
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"parent": "./nested.py:parent"}}))
    server = Server(folder / "data", folder / "langgraph.json").start()
    yield server
    server.kill()


def names(graph: dict[str, Any]) -> list[str]:
    return [node["id"] for node in graph["nodes"]]


@pytest.mark.parametrize("name", ["sub", default_id("sub")])
async def test_a_graph_is_drawn_by_its_name_or_the_assistants_id(client: LangGraphClient, name: str) -> None:
    assert await client.assistants.get_graph(name) == PLAIN


async def test_a_conditional_edge_says_so(client: LangGraphClient) -> None:
    edges = (await client.assistants.get_graph("tools"))["edges"]
    assert {"source": "agent", "target": "tools", "conditional": True} in edges
    assert {"source": "tools", "target": "agent"} in edges


async def test_the_drawing_is_of_the_graph_as_the_assistant_configures_it(client: LangGraphClient) -> None:
    made = await client.assistants.create("factory", {"configurable": {"node": "special"}})
    assert names(await client.assistants.get_graph(made["assistant_id"])) == ["__start__", "special", "__end__"]
    assert names(await client.assistants.get_graph("factory")) == ["__start__", "unnamed", "__end__"]


@pytest.mark.parametrize("xray", ["true", "True", "1", "2"])
async def test_xray_draws_what_is_inside(http: httpx.AsyncClient, xray: str) -> None:
    graph = (await http.get(f"/assistants/sub/graph?xray={xray}")).json()
    assert names(graph) == ["__start__", "before", "__end__", "child:inner"]
    assert {"source": "before", "target": "child:inner"} in graph["edges"]


@pytest.mark.parametrize("query", ["?xray=false", "?xray=False", "?xray=", ""])
async def test_without_xray_a_subgraph_is_a_node(http: httpx.AsyncClient, query: str) -> None:
    assert (await http.get(f"/assistants/sub/graph{query}")).json() == PLAIN


@pytest.mark.parametrize(
    "xray", ["0", "-1", "abc", "1.5", "²", pytest.param("9" * 30, marks=pytest.mark.beyond_reference)]
)
async def test_a_bad_xray_is_422(http: httpx.AsyncClient, xray: str) -> None:
    response = await http.get("/assistants/sub/graph", params={"xray": xray})
    assert (response.status_code, response.json()) == (422, {"detail": "Invalid xray value"})


@pytest.mark.beyond_reference
async def test_xray_goes_as_deep_as_it_is_told(nested: Server) -> None:
    client = nested.client()
    assert "child" in names(await client.assistants.get_graph("parent"))
    assert "child:grand/one" in names(await client.assistants.get_graph("parent", xray=1))
    assert "child:grand/one:leaf" in names(await client.assistants.get_graph("parent", xray=2))
    assert await client.assistants.get_graph("parent", xray=True) == await client.assistants.get_graph("parent", xray=9)


async def test_every_graph_of_the_kit_can_be_drawn_and_described(client: LangGraphClient) -> None:
    for assistant in await client.assistants.search(metadata={"created_by": "system"}, limit=100):
        assert await client.assistants.get_graph(assistant["assistant_id"], xray=True)
        assert await client.assistants.get_schemas(assistant["assistant_id"])
        assert await client.assistants.get_subgraphs(assistant["assistant_id"], recurse=True) is not None


async def test_schemas_are_json_schemas(client: LangGraphClient) -> None:
    schemas: Any = await client.assistants.get_schemas(default_id("ctx"))
    assert set(schemas) == SCHEMAS | {"graph_id"}
    assert schemas["graph_id"] == "ctx"
    assert set(schemas["input_schema"]["properties"]) == {"question", "reply", "secret"}
    assert schemas["output_schema"] == {
        "properties": {"reply": {"title": "Reply", "type": "string"}},
        "required": ["reply"],
        "title": "Reply",
        "type": "object",
    }
    assert schemas["state_schema"]["title"] == "ctx_state"
    assert schemas["context_schema"]["properties"]["name"]["default"] == "nobody"
    assert schemas["config_schema"] == schemas["context_schema"]


async def test_a_graph_without_a_context_has_no_context_schema(client: LangGraphClient) -> None:
    schemas = await client.assistants.get_schemas(default_id("functional"))
    assert (schemas["context_schema"], schemas["config_schema"]) == (None, {})
    assert (schemas["input_schema"] or {})["type"] == "array"


async def test_messages_are_described_by_their_kinds(client: LangGraphClient) -> None:
    schemas = await client.assistants.get_schemas(default_id("chat"))
    assert {"AIMessage", "HumanMessage", "ToolMessage"} <= set((schemas["input_schema"] or {})["$defs"])


async def test_subgraphs_have_schemas_of_their_own(client: LangGraphClient) -> None:
    subgraphs = await client.assistants.get_subgraphs(default_id("sub"))
    assert list(subgraphs) == ["child"]
    assert set(subgraphs["child"]) == SCHEMAS
    assert await client.assistants.get_subgraphs(default_id("sub"), namespace="child") == subgraphs
    assert await client.assistants.get_subgraphs(default_id("sub"), recurse=True) == subgraphs


@pytest.mark.parametrize("namespace", ["nope", "child|nope", "chil", "before"])
async def test_an_unknown_namespace_has_no_subgraphs(client: LangGraphClient, namespace: str) -> None:
    for recurse in (False, True):
        assert await client.assistants.get_subgraphs(default_id("sub"), namespace, recurse) == {}


async def test_a_graph_without_subgraphs_has_none(client: LangGraphClient) -> None:
    assert await client.assistants.get_subgraphs(default_id("chat"), recurse=True) == {}


@pytest.mark.beyond_reference
async def test_recurse_finds_subgraphs_of_subgraphs(nested: Server) -> None:
    client, parent = nested.client(), default_id("parent")
    deep: Any = await client.assistants.get_subgraphs(parent, recurse=True)
    assert {name: list(found["state_schema"]["properties"]) for name, found in deep.items()} == {
        "child": ["child"],
        "child|grand/one": ["grand"],
    }
    assert list(await client.assistants.get_subgraphs(parent)) == ["child"]
    inner = await client.assistants.get_subgraphs(parent, "child|grand/one", recurse=True)
    assert inner == {"child|grand/one": deep["child|grand/one"]}


async def test_a_remote_graph_draws_itself(server: Remote) -> None:
    remote = RemoteGraph("sub", url=server.url)
    drawn = await remote.aget_graph()
    assert {node.name for node in drawn.nodes.values()} == {"__start__", "before", "child", "__end__"}
    assert drawn.first_node() is not None
    deep = remote.get_graph(xray=True)
    assert "child:inner" in deep.nodes
    assert "before --> child" in drawn.draw_mermaid()
