"""/store with the official SDK and raw HTTP: items, searches, namespaces, and the same store inside a graph."""

import asyncio
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server, until

pytestmark = pytest.mark.anyio
beyond_reference = pytest.mark.beyond_reference


@pytest.fixture
def space() -> str:
    """A root label of its own, as all tests share a server."""
    return f"space-{uuid.uuid4().hex}"


@pytest.fixture
async def items(client: LangGraphClient, space: str) -> str:
    values: dict[str, dict[str, Any]] = {
        "one": {"n": 1, "name": "ann", "tags": ["a", "b"], "deep": {"x": 1, "y": 2}, "flag": True},
        "two": {"n": 2, "name": "bob", "tags": ["b"], "deep": {"x": 2}, "flag": False, "dotted.key": "d"},
        "ten": {"n": 10, "name": "cid", "nothing": None},
    }
    for key, value in values.items():
        await client.store.put_item([space, "items"], key, value)
    return space


def keys(found: Any) -> list[str]:
    return sorted(item["key"] for item in found["items"])


async def test_put_get_delete(client: LangGraphClient, http: httpx.AsyncClient, space: str) -> None:
    value = {"text": "grüß 你好 🧵", "nested": {"list": [1, 2.5, None, True]}}
    stored = await http.put("/store/items", json={"namespace": [space, "a"], "key": "k", "value": value})
    assert (stored.status_code, stored.content) == (204, b"")
    item = await client.store.get_item([space, "a"], "k")
    assert {name: item[name] for name in ("namespace", "key", "value")} == {  # type: ignore[literal-required]
        "namespace": [space, "a"],
        "key": "k",
        "value": value,
    }
    assert set(item) == {"namespace", "key", "value", "created_at", "updated_at"}
    assert all(str(item[name]).endswith("+00:00") for name in ("created_at", "updated_at"))  # type: ignore[literal-required]
    for _ in range(2):
        gone = await http.request("DELETE", "/store/items", json={"namespace": [space, "a"], "key": "k"})
        assert (gone.status_code, gone.content) == (204, b"")
    missing = await http.get("/store/items", params={"namespace": f"{space}.a", "key": "k"})
    assert (missing.status_code, missing.json()) == (200, None)


@beyond_reference
async def test_a_change_keeps_when_the_item_was_created(client: LangGraphClient, space: str) -> None:
    await client.store.put_item([space], "k", {"n": 1})
    first = await client.store.get_item([space], "k")
    await client.store.put_item([space], "k", {"n": 2})
    second = await client.store.get_item([space], "k")
    assert second["value"] == {"n": 2}
    assert second["created_at"] == first["created_at"]
    assert datetime.fromisoformat(str(second["updated_at"])) > datetime.fromisoformat(str(first["updated_at"]))


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"n": 1}, ["one"]),
        ({"name": "bob", "n": 2}, ["two"]),
        ({"tags": ["b"]}, ["two"]),
        ({"deep": {"x": 1}}, ["one"]),
        ({"deep": {"x": {"$eq": 2}}}, ["two"]),
        ({"flag": False}, ["two"]),
        ({"nothing": None}, ["one", "ten", "two"]),
        ({"dotted.key": "d"}, ["two"]),
        ({"missing": "x"}, []),
        ({"n": {"$eq": 10}}, ["ten"]),
        ({"deep": {"$eq": {"x": 1}}}, []),
        ({"n": {"$ne": 1}}, ["ten", "two"]),
        ({"flag": {"$ne": True}}, ["ten", "two"]),
        ({"n": {"$gt": 2}}, ["ten"]),
        ({"n": {"$gte": 2}}, ["ten", "two"]),
        ({"n": {"$lt": 2}}, ["one"]),
        ({"n": {"$lte": 2}}, ["one", "two"]),
        ({"n": {"$gt": 1, "$lt": 10}}, ["two"]),
    ],
)
async def test_filters(client: LangGraphClient, items: str, filter: dict[str, Any], expected: list[str]) -> None:
    assert keys(await client.store.search_items([items], filter=filter)) == expected


@beyond_reference
@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"name": {"$gte": "bob"}}, ["cid", "bob"]),
        ({"flag": 1}, []),
        ({"name": {"$gt": 0}}, []),
        ({"missing": {"$lt": 5}}, []),
    ],
)
async def test_values_that_cannot_be_compared_do_not_match(
    client: LangGraphClient, items: str, filter: dict[str, Any], expected: list[str]
) -> None:
    found = (await client.store.search_items([items], filter=filter))["items"]
    assert [item["value"]["name"] for item in found] == expected, "the last changed comes first"


@pytest.mark.parametrize("filter", [{"n": {"$regex": ".*"}}, {"deep": {"x": {"$in": [1]}}}])
async def test_an_unknown_operator_is_400(http: httpx.AsyncClient, items: str, filter: dict[str, Any]) -> None:
    refused = await http.post("/store/items/search", json={"namespace_prefix": [items], "filter": filter})
    assert refused.status_code == 400
    assert refused.json()["detail"].startswith("Unsupported operator: $")


HOSTILE = ["x') OR 1=1 --", "'; DROP TABLE store; --", 'a"b', "$.n", "[0]", "n') IS NOT NULL OR ('", "ü b\n"]


@beyond_reference
@pytest.mark.parametrize("key", HOSTILE)
async def test_the_key_of_a_filter_is_data(client: LangGraphClient, items: str, key: str) -> None:
    """Z3: it finds what has that key, and nothing else."""
    for filter in ({key: 1}, {key: {"$gt": 0}}, {"deep": {key: 1}}):
        if not key.startswith("$"):
            assert keys(await client.store.search_items([items], filter=filter)) == []
    await client.store.put_item([items, "odd"], "odd", {"inner": {key: 1}})
    inner = {"inner": {key: 1}} if not key.startswith("$") else {"inner": {"$eq": {key: 1}}}
    assert keys(await client.store.search_items([items], filter=inner)) == ["odd"]


@beyond_reference
async def test_a_filter_out_of_all_measure_is_422(http: httpx.AsyncClient, items: str) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = {"x": deep}
    for filter in ({"x" * 2000: 1}, {"a\0b": 1}, {str(n): n for n in range(500)}, deep):
        refused = await http.post("/store/items/search", json={"namespace_prefix": [items], "filter": filter})
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("filter: ")
    refused = await http.post("/store/items/search", json={"namespace_prefix": [items], "filter": {"$or": [{"n": 1}]}})
    assert (refused.status_code, refused.json()) == (400, {"detail": "Unsupported operator: $or"})


async def test_search_by_pages(client: LangGraphClient, items: str) -> None:
    pages = [await client.store.search_items([items], limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [len(page["items"]) for page in pages] == [2, 1, 0]
    assert sorted(key for page in pages for key in keys(page)) == ["one", "ten", "two"]


async def test_a_prefix_is_of_whole_labels(client: LangGraphClient, space: str) -> None:
    for namespace in ([space, "foo"], [space, "foo", "in"], [space, "foobar"], [space, "FOO"], [space, "fo*"]):
        await client.store.put_item(namespace, "k", {})
    found = await client.store.search_items([space, "foo"])
    assert sorted(item["namespace"] for item in found["items"]) == [[space, "foo"], [space, "foo", "in"]]
    assert [item["namespace"] for item in (await client.store.search_items([space, "fo*"]))["items"]] == [
        [space, "fo*"]
    ]


@beyond_reference
@pytest.mark.parametrize("body", [{}, {"namespace_prefix": []}, {"namespace_prefix": None}])
async def test_search_without_a_prefix_sees_everything(
    http: httpx.AsyncClient, items: str, body: dict[str, Any]
) -> None:
    found = await http.post("/store/items/search", json={**body, "filter": {"name": "ann"}, "limit": 1000})
    assert found.status_code == 200
    assert items in {item["namespace"][0] for item in found.json()["items"]}


async def test_a_query_without_an_index_is_ignored(client: LangGraphClient, items: str) -> None:
    found = await client.store.search_items([items], query="whatever")
    assert keys(found) == ["one", "ten", "two"]
    assert {item["score"] for item in found["items"]} == {None}


async def test_namespaces(client: LangGraphClient, http: httpx.AsyncClient, space: str) -> None:
    for path in (["a", "x"], ["a", "y", "z"], ["b", "x"], ["b"]):
        await client.store.put_item([space, *path], "k", {})

    async def listed(**asked: Any) -> list[list[str]]:
        answer = await http.post("/store/namespaces", json={"prefix": [space], **asked})
        assert answer.status_code == 200
        assert list(answer.json()) == ["namespaces"]
        return [namespace[1:] for namespace in answer.json()["namespaces"]]

    assert await listed() == [["a", "x"], ["a", "y", "z"], ["b"], ["b", "x"]]
    assert await listed(suffix=["x"]) == [["a", "x"], ["b", "x"]]
    assert await listed(max_depth=2) == [["a"], ["b"]]
    assert await listed(prefix=[space, "*", "x"]) == [["a", "x"], ["b", "x"]]
    assert await listed(limit=2, offset=1) == [["a", "y", "z"], ["b"]]
    assert await listed(suffix=["nope"]) == []
    answer: Any = await client.store.list_namespaces(prefix=[space, "a"], max_depth=3)
    assert answer == {"namespaces": [[space, "a", "x"], [space, "a", "y"]]}


# Refusals


async def test_a_get_without_a_key(http: httpx.AsyncClient) -> None:
    for query in ("?namespace=a.b", "?namespace=a&key="):
        refused = await http.get(f"/store/items{query}")
        assert (refused.status_code, refused.json()) == (400, {"error": "Key is required"})


async def test_a_label_with_a_dot_is_422_in_plain_text(http: httpx.AsyncClient) -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", "/store/items", {"namespace": ["a.b"], "key": "k", "value": {}}),
        ("DELETE", "/store/items", {"namespace": ["a.b"], "key": "k"}),
        ("POST", "/store/items/search", {"namespace_prefix": ["a.b"]}),
        ("POST", "/store/namespaces", {"prefix": ["a.b"]}),
        ("POST", "/store/namespaces", {"suffix": ["a.b"]}),
    ]
    for method, path, body in asked:
        refused = await http.request(method, path, json=body)
        assert refused.status_code == 422, path
        assert refused.text == "Namespace label 'a.b' must be a non-empty string without periods"
    refused = await http.get("/store/items", params={"namespace": "a..b", "key": "k"})
    assert (refused.status_code, refused.text[:18]) == (422, "Namespace label ''")


@pytest.mark.parametrize("namespace", [[], ["langgraph"], ["langgraph", "x"], ["nul\0"]])
async def test_a_namespace_that_cannot_be_written_is_400(http: httpx.AsyncClient, namespace: list[str]) -> None:
    refused = await http.put("/store/items", json={"namespace": namespace, "key": "k", "value": {}})
    assert refused.status_code == 400
    assert list(refused.json()) == ["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "a"},
        {"namespace": [1]},
        {"namespace": None},
        {"key": 5},
        {"key": None},
        {"value": None},
        {"value": [1]},
        {"value": "text"},
        {"ttl": "soon"},
        {"index": True},
        {"index": "field"},
        pytest.param({"key": ""}, marks=beyond_reference),
        pytest.param({"key": "x" * 2000}, marks=beyond_reference),
        pytest.param({"key": "nul\0"}, marks=beyond_reference),
        pytest.param({"namespace": ["x"] * 100}, marks=beyond_reference),
        pytest.param({"namespace": ["x" * 1000]}, marks=beyond_reference),
        pytest.param({"ttl": 0}, marks=beyond_reference),
        pytest.param({"ttl": -1}, marks=beyond_reference),
        pytest.param({"ttl": 1e300}, marks=beyond_reference),
        pytest.param({"index": ["x"] * 1000}, marks=beyond_reference),
    ],
    ids=lambda change: str(change)[:30],
)
async def test_an_item_that_makes_no_sense_is_422(http: httpx.AsyncClient, space: str, change: dict[str, Any]) -> None:
    good = {"namespace": [space], "key": "k", "value": {}}
    refused = await http.put("/store/items", json=good | change)
    assert refused.status_code == 422
    assert isinstance(refused.json()["detail"], str)


@beyond_reference
async def test_a_page_that_makes_no_sense_is_422(http: httpx.AsyncClient) -> None:
    for path in ("/store/items/search", "/store/namespaces"):
        for body in (
            {"limit": 0},
            {"limit": 10**6},
            {"offset": -1},
            {"offset": 2**70},
            {"limit": None},
            {"limit": "x"},
        ):
            refused = await http.post(path, json=body)
            assert refused.status_code == 422, (path, body)
            assert isinstance(refused.json()["detail"], str)
    assert (await http.post("/store/namespaces", json={"max_depth": 0})).status_code == 422


@pytest.mark.parametrize("content", [b"", b"{", b'{"namespace": ["\\ud83e"]}'])
async def test_a_body_that_is_not_json_is_422(http: httpx.AsyncClient, content: bytes) -> None:
    for method, path in (("PUT", "/items"), ("DELETE", "/items"), ("POST", "/items/search"), ("POST", "/namespaces")):
        refused = await http.request(method, f"/store{path}", content=content)
        assert (refused.status_code, refused.json()) == (422, {"detail": "Invalid JSON in request body"})


@beyond_reference
async def test_odd_values_come_back(client: LangGraphClient, http: httpx.AsyncClient, space: str) -> None:
    deep: Any = "bottom"
    for _ in range(400):
        deep = [deep]
    refused = await http.put("/store/items", json={"namespace": [space], "key": "deep", "value": {"deep": deep}})
    assert (refused.status_code, refused.json()["detail"]) == (422, "The body is nested more than 128 levels deep.")
    assert await client.store.get_item([space], "deep") is None
    odd = {"nul": "a\0b", "": 1, "sep": "\u2028", "big": 2**63}
    await client.store.put_item([space], "odd", odd)
    assert (await client.store.get_item([space], "odd"))["value"] == odd


# Graphs


async def test_a_graph_and_the_api_share_the_store(client: LangGraphClient, space: str) -> None:
    """The graph `remember` reads and writes ("facts", user) / latest."""
    wrote = await client.runs.wait(None, "remember", input={"user": space, "fact": "likes tea"})
    assert wrote["recalled"] == "nothing"  # type: ignore[call-overload,index]
    assert (await client.store.get_item(["facts", space], "latest"))["value"] == {"fact": "likes tea"}
    await client.store.put_item(["facts", space], "latest", {"fact": "likes coffee"})
    read = await client.runs.wait(None, "remember", input={"user": space})
    assert read["recalled"] == "likes coffee"  # type: ignore[call-overload,index]


async def test_many_writers_of_one_item(client: LangGraphClient, space: str) -> None:
    await asyncio.gather(*(client.store.put_item([space], "k", {"n": n}) for n in range(50)))
    found = await client.store.search_items([space], limit=100)
    assert keys(found) == ["k"]


async def test_items_survive_a_crash(start_server: Callable[..., Server]) -> None:
    server = start_server()
    await server.client().store.put_item(["a"], "k", {"n": 1})
    server.restart()
    assert (await server.client().store.get_item(["a"], "k"))["value"] == {"n": 1}


# Time to live; the SDK's type says whole minutes, the server takes parts of them


@beyond_reference
async def test_an_item_expires(client: LangGraphClient, space: str) -> None:
    await client.store.put_item([space], "short", {"n": 1}, ttl=0.01)  # type: ignore[arg-type]
    await client.store.put_item([space], "long", {"n": 2}, ttl=60)

    async def gone() -> bool:
        return await client.store.get_item([space], "short", refresh_ttl=False) is None

    await until(gone)
    assert keys(await client.store.search_items([space], refresh_ttl=False)) == ["long"]
    assert (await client.store.list_namespaces(prefix=[space])) == {"namespaces": [[space]]}
