"""Assistants: one per graph, with an id anybody can compute; how they are found and run."""

import json
import uuid
from typing import Any

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


@pytest.fixture
async def family(client: LangGraphClient) -> str:
    """Marks six assistants of this test alone: `metadata={"family": ...}`."""
    mark = str(uuid.uuid4())
    for number, (graph, name) in enumerate(
        [("ctx", "beta"), ("echo", "Alpha"), ("echo", "gamma"), ("slow", "Gamma two"), ("ctx", "delta"), ("odd", "eps")]
    ):
        kin = {"family": mark, "place": {"number": number, "of": ["six"]}}
        await client.assistants.create(graph, name=name, metadata=kin)
    return mark


@pytest.mark.parametrize(
    ("sort_by", "expected"),
    [
        ("created_at", ["beta", "Alpha", "gamma", "Gamma two", "delta", "eps"]),
        ("updated_at", ["Alpha", "gamma", "Gamma two", "delta", "eps", "beta"]),
        ("name", ["Alpha", "beta", "delta", "eps", "gamma", "Gamma two"]),
        ("graph_id", None),
        ("assistant_id", None),
    ],
)
async def test_search_sorts_both_ways(
    client: LangGraphClient, family: str, sort_by: Any, expected: list[str] | None
) -> None:
    kin = {"family": family}
    (beta,) = await client.assistants.search(name="beta", metadata=kin)
    await client.assistants.update(beta["assistant_id"], metadata={"touched": True})
    rising = await client.assistants.search(metadata=kin, sort_by=sort_by, sort_order="asc")
    falling = await client.assistants.search(metadata=kin, sort_by=sort_by, sort_order="desc")
    if expected is not None:
        assert [a["name"] for a in rising] == expected
        assert [a["name"] for a in falling] == expected[::-1]
    keys = [a[sort_by] for a in rising]
    assert [a[sort_by] for a in falling] == keys[::-1]
    assert sorted(keys, key=str.lower) == keys or sort_by == "updated_at"


async def test_search_lists_the_newest_first(client: LangGraphClient, family: str) -> None:
    found = await client.assistants.search(metadata={"family": family}, limit=2)
    assert [a["name"] for a in found] == ["eps", "delta"]


async def test_search_filters_by_everything_at_once(client: LangGraphClient, family: str) -> None:
    kin = {"family": family}
    assert {a["name"] for a in await client.assistants.search(metadata=kin, graph_id="echo")} == {"Alpha", "gamma"}
    assert {a["name"] for a in await client.assistants.search(metadata=kin, name="AMM")} == {"gamma", "Gamma two"}
    assert [a["name"] for a in await client.assistants.search(metadata=kin, name="gam", graph_id="echo")] == ["gamma"]
    nested = kin | {"place": {"number": 3}}
    assert [a["name"] for a in await client.assistants.search(metadata=nested)] == ["Gamma two"]
    in_list = kin | {"place": {"of": ["six"]}}
    assert await client.assistants.count(metadata=in_list) == 6
    assert await client.assistants.search(metadata=kin | {"place": {"number": "3"}}) == []
    for joker in ("%", "_", "G_mma", "' OR 1=1 --"):
        assert await client.assistants.search(metadata=kin, name=joker) == []


async def test_count_is_a_bare_number(http: httpx.AsyncClient, family: str) -> None:
    for more, expected in (({}, 6), ({"graph_id": "ctx"}, 2), ({"name": "gamma"}, 2), ({"name": "nobody"}, 0)):
        response = await http.post("/assistants/count", json={"metadata": {"family": family}, **more})
        assert (response.status_code, response.json()) == (200, expected)


async def test_the_sdk_pages_by_the_next_header(client: LangGraphClient, family: str) -> None:
    page = await client.assistants.search(metadata={"family": family}, limit=4, response_format="object")
    assert (len(page["assistants"]), page["next"]) == (4, "4")
    rest = await client.assistants.search(metadata={"family": family}, limit=4, offset=4, response_format="object")
    assert (len(rest["assistants"]), rest["next"]) == (2, None)


@pytest.mark.beyond_reference
async def test_the_total_of_a_search_is_true(http: httpx.AsyncClient, family: str) -> None:
    for limit, offset in ((2, 0), (2, 2), (10, 0), (10, 50)):
        query = {"metadata": {"family": family}, "limit": limit, "offset": offset}
        response = await http.post("/assistants/search", json=query)
        assert response.headers["x-pagination-total"] == "6"
        assert response.headers.get("x-pagination-next") == (str(offset + limit) if offset + limit < 6 else None)


@pytest.mark.parametrize("path", ["/assistants/search", "/assistants/count"])
async def test_a_graph_that_never_was_is_404(http: httpx.AsyncClient, path: str) -> None:
    response = await http.post(path, json={"graph_id": "nope"})
    assert response.status_code == 404
    assert "nope" in response.json()["detail"] and "parallel_hitl" in response.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        pytest.param({"offset": 2**63}, marks=pytest.mark.beyond_reference),
        {"select": ["nope"]},
        {"sort_by": "description"},
        {"sort_order": "up"},
        {"metadata": []},
        {"name": 5},
    ],
)
async def test_search_rejects_what_it_cannot_mean(http: httpx.AsyncClient, query: dict[str, object]) -> None:
    response = await http.post("/assistants/search", json=query)
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize("name", ["counter", default_id("counter")])
async def test_a_run_takes_the_graph_name_or_the_id(client: LangGraphClient, thread: str, name: str) -> None:
    run = await client.runs.create(thread, name, input={"limit": 1})
    assert run["assistant_id"] == default_id("counter")


async def reply(client: LangGraphClient, assistant_id: str, **options: Any) -> str:
    """What graph `ctx` sees: "<context.name>/<configurable.colour>/<KIT_FLAVOUR>"."""
    output: Any = await client.runs.wait(None, assistant_id, input={"question": "?"}, **options)
    name, colour, _ = output["reply"].split("/")
    return f"{name}/{colour}"


async def test_a_run_has_the_settings_of_its_assistant(client: LangGraphClient) -> None:
    by_config = await client.assistants.create("ctx", {"configurable": {"name": "K", "colour": "blue"}})
    by_context = await client.assistants.create("ctx", context={"name": "C", "colour": "red"})
    assert await reply(client, by_config["assistant_id"]) == "K/blue"
    assert await reply(client, by_context["assistant_id"]) == "C/red"


async def test_the_settings_of_a_run_go_over_those_of_its_assistant(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx", {"configurable": {"name": "K", "colour": "blue"}})
    name = made["assistant_id"]
    assert await reply(client, name, config={"configurable": {"colour": "green"}}) == "K/green"
    assert await reply(client, name, config={"configurable": {"name": "R"}}) == "R/blue"
    assert (await reply(client, name, context={"name": "R"})).startswith("R/")
    assert await reply(client, name) == "K/blue"


async def test_config_and_metadata_of_an_assistant_reach_the_run(client: LangGraphClient, thread: str) -> None:
    made = await client.assistants.create("ctx", {"tags": ["a"], "recursion_limit": 9}, metadata={"team": "x", "k": 1})
    run = await client.runs.create(thread, made["assistant_id"], input={"question": "?"}, metadata={"k": 2})
    config = run["kwargs"]["config"]
    assert (config["tags"], config["recursion_limit"]) == (["a"], 9)
    assert (run["metadata"]["team"], run["metadata"]["k"]) == ("x", 2)
    await client.runs.join(thread, run["run_id"])
    other = await client.runs.create(thread, made["assistant_id"], input={"question": "?"}, config={"tags": ["b"]})
    assert (other["kwargs"]["config"]["tags"], other["kwargs"]["config"]["recursion_limit"]) == (["b"], 9)


async def test_a_run_takes_the_version_in_use(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx", context={"name": "one"})
    name = made["assistant_id"]
    await client.assistants.update(name, context={"name": "two"})
    assert (await reply(client, name)).startswith("two/")


@pytest.mark.beyond_reference
async def test_a_run_takes_the_version_that_was_put_back(client: LangGraphClient) -> None:
    made = await client.assistants.create("ctx", context={"name": "one", "colour": "red"})
    name = made["assistant_id"]
    await client.assistants.update(name, context={"name": "two"})
    await client.assistants.set_latest(name, 1)
    assert await reply(client, name) == "one/red"


@pytest.mark.parametrize("path", ["/runs", "/runs/wait", "/runs/stream"])
async def test_a_run_cannot_have_configurable_and_context(http: httpx.AsyncClient, path: str) -> None:
    both = {"context": {"name": "x"}, "config": {"configurable": {"name": "x"}}}
    response = await http.post(path, json={"assistant_id": "ctx", "input": {}, **both})
    assert response.status_code == 400
    assert response.json()["detail"].startswith("Cannot specify both configurable and context")
