"""Semantic search and times to live as langgraph.json configures them, on servers of their own."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server, until

from threadmill.errors import ConfigError
from threadmill.langgraph_json.project import load_project
from threadmill.langgraph_json.store import StoreConfig

pytestmark = pytest.mark.anyio

CODE = """
import asyncio
from typing import TypedDict

from langgraph.graph import StateGraph
from langgraph.store.base import BaseStore

WORDS = ["cat", "dog", "car"]
print("agent imported", flush=True)
LOOPS = set()


def embed(texts: list[str]) -> list[list[float]]:
    if any("fail" in text for text in texts):
        raise RuntimeError("secret of the provider")
    return [[float(text.lower().count(word)) for word in WORDS] for text in texts]


async def aembed(texts: list[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    LOOPS.add(id(asyncio.get_running_loop()))
    assert len(LOOPS) == 1, "a client of the provider would belong to another loop"
    return embed(texts)


class State(TypedDict, total=False):
    say: str
    found: list[str]


async def use(state: State, *, store: BaseStore) -> State:
    await store.aput(("graph",), state["say"], {"text": state["say"]})
    return {"found": [item.key for item in await store.asearch(("graph",), query="cat", limit=1)]}


def use_sync(state: State, *, store: BaseStore) -> State:
    store.put(("graph",), state["say"], {"text": state["say"]})
    return {"found": [item.key for item in store.search(("graph",), query="cat", limit=1)]}


graph = StateGraph(State).add_node("use", use).set_entry_point("use").compile()
sync = StateGraph(State).add_node("use", use_sync).set_entry_point("use").compile()
"""


def project(folder: Path, store: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "agent.py").write_text(CODE)
    config = folder / "langgraph.json"
    config.write_text(
        json.dumps({"graphs": {"agent": "./agent.py:graph", "sync": "./agent.py:sync"}, "store": store}), "utf-8"
    )
    return config


@pytest.fixture(scope="module", params=["./agent.py:embed", "./agent.py:aembed", "agent:embed"])
def searching(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("searching")
    index = {"dims": 3, "embed": request.param, "fields": ["text", "tags[*]"]}
    server = Server(folder / "data", project(folder / "project", {"index": index})).start()
    yield server
    server.kill()


@pytest.fixture
async def animals(searching: Server) -> LangGraphClient:
    client = searching.client()
    for key, value in {
        "felix": {"text": "a cat and a cat", "kind": "pet"},
        "rex": {"text": "a dog with a cat", "kind": "pet"},
        "beetle": {"text": "a car", "tags": ["car", "dog"], "kind": "thing"},
        "silent": {"other": "cat"},
    }.items():
        await client.store.put_item(["animals"], key, value)
    return client


def ranked(found: Any) -> list[str]:
    return [item["key"] for item in found["items"]]


async def test_the_most_similar_comes_first(animals: LangGraphClient) -> None:
    found = await animals.store.search_items(["animals"], query="CAT")
    assert ranked(found) == ["felix", "rex", "beetle"], "an item without a text is no answer to a question"
    scores = [item["score"] for item in found["items"]]
    assert scores == pytest.approx([1.0, 0.7071, 0.0], abs=1e-3)
    assert ranked(await animals.store.search_items(["animals"], query="dog")) == ["beetle", "rex", "felix"]


async def test_similar_with_a_filter_and_pages(animals: LangGraphClient) -> None:
    pets = await animals.store.search_items(["animals"], query="car", filter={"kind": "thing"})
    assert ranked(pets) == ["beetle"]
    pages = [await animals.store.search_items(["animals"], query="cat", limit=1, offset=n) for n in range(4)]
    assert [ranked(page) for page in pages] == [["felix"], ["rex"], ["beetle"], []]
    everything = await animals.store.search_items(["animals"])
    assert sorted(ranked(everything)) == ["beetle", "felix", "rex", "silent"]
    assert {item["score"] for item in everything["items"]} == {None}


async def test_index_of_an_item(animals: LangGraphClient) -> None:
    """None: as configured, false: not at all, a list: these paths."""
    await animals.store.put_item(["own"], "off", {"text": "cat"}, index=False)
    await animals.store.put_item(["own"], "other", {"text": "dog", "title": "cat"}, index=["title"])
    assert ranked(await animals.store.search_items(["own"], query="cat")) == ["other"]
    await animals.store.put_item(["own"], "other", {"text": "dog"})
    found = (await animals.store.search_items(["own"], query="cat"))["items"]
    assert [item["score"] for item in found] == pytest.approx([0.0]), "the old vector is gone with the old value"
    await animals.store.delete_item(["own"], "other")
    assert ranked(await animals.store.search_items(["own"], query="cat")) == []


async def test_a_graph_searches_by_meaning(searching: Server) -> None:
    client = searching.client()
    for graph in ("agent", "sync"):
        await client.runs.wait(None, graph, input={"say": "a car"})
        answer: Any = await client.runs.wait(None, graph, input={"say": "one cat"})
        assert answer["found"] == ["one cat"]
    assert ranked(await client.store.search_items(["graph"], query="car")) == ["a car", "one cat"]


async def test_a_failing_embedding_is_503_and_stores_nothing(searching: Server) -> None:
    async with searching.http as http:
        body: dict[str, Any] = {"namespace": ["broken"], "key": "k", "value": {"text": "please fail"}}
        for refused in (
            await http.put("/store/items", json=body),
            await http.post("/store/items/search", json={"query": "fail"}),
        ):
            assert refused.status_code == 503
            assert list(refused.json()) == ["detail"]
            assert "secret" not in refused.text
        assert (await http.get("/store/items?namespace=broken&key=k")).json() is None
    assert "secret of the provider" in searching.log


async def test_a_model_with_other_dimensions_later(tmp_path: Path) -> None:
    """Old vectors cannot be compared with new ones: those items are not found until they are put again."""
    config = project(tmp_path / "project", {"index": {"dims": 3, "embed": "./agent.py:embed"}})
    server = Server(tmp_path / "data", config).start()
    try:
        await server.client().store.put_item(["a"], "old", {"text": "cat"})
        server.kill()
        agent = tmp_path / "project" / "agent.py"
        agent.write_text(CODE.replace('"car"]', '"car", "bus"]'))
        project_file = json.loads(config.read_text())
        project_file["store"]["index"]["dims"] = 4
        config.write_text(json.dumps(project_file))
        server.start()
        await server.client().store.put_item(["a"], "new", {"text": "cat"})
        assert ranked(await server.client().store.search_items(["a"], query="cat")) == ["new"]
        assert sorted(ranked(await server.client().store.search_items(["a"]))) == ["new", "old"]
        assert server.log.count("agent imported") == 2, "once at each start, although it holds graphs and the function"
    finally:
        server.kill()


# Configuration


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        ("./agent.py:missing", "has no function 'missing'"),
        ("./nowhere.py:embed", "does not exist"),
        ("no-such-provider:model-x", "store.index.embed is 'no-such-provider:model-x'"),
        ("nowhere:embed", "store.index.embed is 'nowhere:embed'"),
    ],
)
def test_an_embedding_that_is_not_there_ends_the_start(tmp_path: Path, embed: str, message: str) -> None:
    config = project(tmp_path / "project", {"index": {"dims": 3, "embed": embed}})
    server = Server(tmp_path / "data", config)
    with pytest.raises(RuntimeError, match="exited with 1"):
        server.start()
    assert message in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("store", "named"),
    [
        (5, "store must be an object"),
        ({"index": 5}, "store.index must be an object"),
        ({"index": {"embed": "./a.py:f"}}, "store.index.dims"),
        ({"index": {"dims": True, "embed": "./a.py:f"}}, "store.index.dims"),
        ({"index": {"dims": 0, "embed": "./a.py:f"}}, "store.index.dims"),
        ({"index": {"dims": 3}}, "store.index.embed"),
        ({"index": {"dims": 3, "embed": "nothing"}}, "store.index.embed"),
        ({"index": {"dims": 3, "embed": "./a.py:1x"}}, "store.index.embed"),
        ({"index": {"dims": 3, "embed": "./a.py:f", "fields": "text"}}, "store.index.fields must be a list"),
        ({"index": {"dims": 3, "embed": "./a.py:f", "fields": [1]}}, "store.index.fields"),
        ({"ttl": 5}, "store.ttl must be an object"),
        ({"ttl": {"default_ttl": 0}}, "store.ttl.default_ttl"),
        ({"ttl": {"default_ttl": "1"}}, "store.ttl.default_ttl"),
        ({"ttl": {"refresh_on_read": 1}}, "store.ttl.refresh_on_read"),
        ({"ttl": {"sweep_interval_minutes": -1}}, "store.ttl.sweep_interval_minutes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_store_section_is_named(tmp_path: Path, store: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_project(project(tmp_path / "project", store))


def test_a_store_section_is_read(tmp_path: Path) -> None:
    config = project(
        tmp_path / "project",
        {
            "index": {"dims": 1536, "embed": "openai:text-embedding-3-small", "distance": "l2"},
            "ttl": {"default_ttl": 1.5, "refresh_on_read": False, "sweep_interval_minutes": 10},
        },
    )
    loaded = load_project(config)
    assert loaded.store.index is not None
    assert (loaded.store.index.dims, loaded.store.index.function) == (1536, None)
    assert loaded.store.index.fields == ("$",)
    assert (loaded.store.default_ttl, loaded.store.refresh_on_read, loaded.store.sweep_interval) == (1.5, False, 10.0)
    assert [warning for warning in loaded.warnings if "store.index.distance" in warning]
    assert load_project(project(tmp_path / "project", {})).store == StoreConfig()


# Time to live


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], Server]]:
    started: list[Server] = []

    def start(ttl: dict[str, Any]) -> Server:
        started.append(Server(tmp_path / "data", project(tmp_path / "project", {"ttl": ttl})))
        return started[-1].start()

    yield start
    for server in started:
        server.kill()


def rows(server: Server) -> int:
    connection = sqlite3.connect(server.data_dir / "threadmill.sqlite")
    try:
        return int(connection.execute("SELECT count(*) FROM store").fetchone()[0])
    finally:
        connection.close()


async def test_items_expire_by_default_and_are_swept(serve: Callable[[dict[str, Any]], Server]) -> None:
    server = serve({"default_ttl": 0.01, "refresh_on_read": False, "sweep_interval_minutes": 0.005})
    client = server.client()
    await client.store.put_item(["a"], "default", {})
    await client.store.put_item(["a"], "own", {}, ttl=60)

    async def swept() -> bool:
        return rows(server) == 1

    await until(swept)
    assert await client.store.get_item(["a"], "default") is None
    assert (await client.store.get_item(["a"], "own"))["key"] == "own"


async def test_a_read_makes_an_item_live_longer(serve: Callable[[dict[str, Any]], Server]) -> None:
    """Read again and again, one outlives the other by far."""
    server = serve({"default_ttl": 0.05, "refresh_on_read": True})
    client = server.client()
    await client.store.put_item(["a"], "read", {})
    await client.store.put_item(["a"], "found", {}, index=False)
    await client.store.put_item(["b"], "peeked", {})

    async def peeked_is_gone() -> bool:
        assert await client.store.get_item(["a"], "read") is not None
        assert "found" in ranked(await client.store.search_items(["a"]))
        return await client.store.get_item(["b"], "peeked", refresh_ttl=False) is None

    await until(peeked_is_gone)
    async with httpx.AsyncClient(base_url=server.url) as http:
        found = await http.post("/store/items/search", json={"namespace_prefix": ["b"]})
    assert found.json() == {"items": []}
