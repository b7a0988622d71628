"""Assistants: one per graph, with an id anybody can compute."""

import json
import uuid

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from serving import KIT

pytestmark = pytest.mark.anyio

NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
GRAPHS = json.loads(KIT.read_text())["graphs"]


def default_id(graph: str) -> str:
    return str(uuid.uuid5(NAMESPACE, graph))


async def test_every_graph_has_a_default_assistant_with_a_computable_id(client: LangGraphClient) -> None:
    for graph in GRAPHS:
        (assistant,) = await client.assistants.search(graph_id=graph, metadata={"created_by": "system"})
        assert assistant["assistant_id"] == default_id(graph)
        assert assistant["graph_id"] == assistant["name"] == graph
        assert assistant["version"] == 1


async def test_an_assistant_is_a_complete_object(client: LangGraphClient) -> None:
    assistant = await client.assistants.get(default_id("chat"))
    assert {k: v for k, v in assistant.items() if k not in ("created_at", "updated_at")} == {
        "assistant_id": default_id("chat"),
        "graph_id": "chat",
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "name": "chat",
        "version": 1,
        "description": "Streams scripted tokens from a fake chat model.",
    }
    assert assistant["created_at"].endswith("+00:00")


async def test_an_unknown_assistant_is_404(client: LangGraphClient) -> None:
    with pytest.raises(NotFoundError):
        await client.assistants.get(str(uuid.uuid4()))


async def test_a_graph_name_is_not_an_assistant_id(http: httpx.AsyncClient) -> None:
    response = await http.get("/assistants/chat")
    assert response.status_code == 422
    assert response.json() == {"detail": "Invalid assistant ID: must be a UUID"}


async def test_search_pages_through_all_assistants(http: httpx.AsyncClient) -> None:
    seen, offset = [], 0
    while True:
        query = {"limit": 5, "offset": offset, "metadata": {"created_by": "system"}}
        page = await http.post("/assistants/search", json=query)
        seen += [a["graph_id"] for a in page.json()]
        if "x-pagination-next" not in page.headers:
            break
        offset = int(page.headers["x-pagination-next"])
    assert sorted(seen) == sorted(GRAPHS)


async def test_search_finds_by_part_of_the_name_whatever_the_case(client: LangGraphClient) -> None:
    found = await client.assistants.search(name="HITL", metadata={"created_by": "system"})
    assert {a["name"] for a in found} == {"hitl", "parallel_hitl"}


async def test_search_selects_fields(http: httpx.AsyncClient) -> None:
    response = await http.post("/assistants/search", json={"graph_id": "chat", "select": ["name", "graph_id"]})
    assert response.json() == [{"name": "chat", "graph_id": "chat"}]


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"select": ["nope"]}, {"sort_by": "nope"}]
)
async def test_search_rejects_what_it_cannot_mean(http: httpx.AsyncClient, query: dict[str, object]) -> None:
    response = await http.post("/assistants/search", json=query)
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize("name", ["counter", default_id("counter")])
async def test_a_run_takes_the_graph_name_or_the_id(client: LangGraphClient, thread: str, name: str) -> None:
    run = await client.runs.create(thread, name, input={"limit": 1})
    assert run["assistant_id"] == default_id("counter")
