"""Finding threads: filters, order, pages, chosen fields."""

import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

pytestmark = pytest.mark.anyio


class Shelf:
    """Four threads under one key of metadata; 0 interrupted, 1 counted to 3, 2 failed, 3 never run."""

    def __init__(self, key: str, ids: list[str]) -> None:
        self.mine, self.ids = {"key": key}, ids

    def where(self, threads: list[Any]) -> list[int]:
        return [self.ids.index(t["thread_id"]) for t in threads]


@pytest.fixture
async def shelf(client: LangGraphClient) -> Shelf:
    key = str(uuid.uuid4())
    made = [
        await client.threads.create(metadata={"key": key, "i": i, "nest": {"a": {"b": i % 2}, "c": 1}})
        for i in range(4)
    ]
    ids = [thread["thread_id"] for thread in made]
    await client.runs.wait(ids[0], "hitl", input={"n": 1})
    await client.runs.wait(ids[1], "counter", input={"limit": 3})
    await client.runs.wait(ids[2], "boom", input={}, raise_error=False)
    return Shelf(key, ids)


async def test_metadata_filters_by_containment_at_any_depth(client: LangGraphClient, shelf: Shelf) -> None:
    expected: list[tuple[dict[str, Any], set[int]]] = [
        ({}, {0, 1, 2, 3}),
        ({"i": 2}, {2}),
        ({"nest": {"a": {"b": 1}}}, {1, 3}),
        ({"nest": {"c": 1}}, {0, 1, 2, 3}),
        ({"nest": {"c": 2}}, set()),
        ({"i": "2"}, set()),
    ]
    for query, wanted in expected:
        found = await client.threads.search(metadata={**shelf.mine, **query})
        assert set(shelf.where(found)) == wanted, query
        assert await client.threads.count(metadata={**shelf.mine, **query}) == len(wanted), query


@pytest.mark.beyond_reference
async def test_a_number_is_the_same_however_it_is_written(http: httpx.AsyncClient) -> None:
    """JavaScript writes 1 for 1.0; true is no number."""
    key = uuid.uuid4()
    for number in ("1", "1.0", "true", '"1"', "0.5", "1e16", "10000000000000000", "-3.0"):
        body = f'{{"metadata": {{"key": "{key}", "number": {number}}}}}'
        await http.post("/threads", content=body)
    same = [("1", 2), ("1.0", 2), ("true", 1), ("1e16", 2), ("10000000000000000", 2), ("-3", 1), ("0.5", 1), ("2", 0)]
    for number, many in same:
        filter = f'{{"metadata": {{"key": "{key}", "number": {number}}}}}'
        assert (await http.post("/threads/count", content=filter)).json() == many, number


@pytest.mark.parametrize(
    "metadata", [{'a"b': 1}, {"a'b": 1}, {"a.b": 1}, {"$.a": 1}, {"a[0]": "x"}, {"ключ": "значение"}, {"": 1}]
)
async def test_metadata_keys_are_data_not_syntax(client: LangGraphClient, metadata: dict[str, Any]) -> None:
    key = str(uuid.uuid4())
    thread = await client.threads.create(metadata={"key": key, **metadata})
    await client.threads.create(metadata={"key": key})
    found = await client.threads.search(metadata={"key": key, **metadata})
    assert [t["thread_id"] for t in found] == [thread["thread_id"]]


async def test_status_filters(client: LangGraphClient, shelf: Shelf) -> None:
    for status, wanted in {"interrupted": {0}, "idle": {1, 3}, "error": {2}, "busy": set()}.items():
        found = await client.threads.search(metadata=shelf.mine, status=status)  # type: ignore[arg-type]
        assert set(shelf.where(found)) == wanted
        counted = await client.threads.count(metadata=shelf.mine, status=status)  # type: ignore[arg-type]
        assert counted == len(wanted)


async def test_ids_restrict_the_search(client: LangGraphClient, shelf: Shelf) -> None:
    unknown = str(uuid.uuid4())
    found = await client.threads.search(ids=[shelf.ids[3], unknown, shelf.ids[1]])
    assert set(shelf.where(found)) == {1, 3}
    assert await client.threads.search(ids=[unknown]) == []


async def test_values_filter_where_every_thread_has_values(client: LangGraphClient, shelf: Shelf) -> None:
    ids = shelf.ids[:3]
    assert shelf.where(await client.threads.search(ids=ids, values={"n": 3})) == [1]
    assert await client.threads.search(ids=ids, values={"n": 4}) == []


@pytest.mark.beyond_reference
async def test_values_filter_skips_threads_without_values(client: LangGraphClient, shelf: Shelf) -> None:
    assert shelf.where(await client.threads.search(metadata=shelf.mine, values={"n": 3})) == [1]
    assert await client.threads.count(metadata=shelf.mine, values={"n": 3}) == 1


async def test_the_thread_touched_last_comes_first(client: LangGraphClient, shelf: Shelf) -> None:
    assert shelf.where(await client.threads.search(metadata=shelf.mine)) == [2, 1, 0, 3]
    await client.threads.update(shelf.ids[3], metadata={"touched": True})
    assert shelf.where(await client.threads.search(metadata=shelf.mine)) == [3, 2, 1, 0]


async def test_results_can_be_sorted(client: LangGraphClient, shelf: Shelf) -> None:
    async def order(by: str, direction: str) -> list[int]:
        found = await client.threads.search(
            metadata=shelf.mine,
            sort_by=by,  # type: ignore[arg-type]
            sort_order=direction,  # type: ignore[arg-type]
        )
        return shelf.where(found)

    assert await order("created_at", "asc") == [0, 1, 2, 3]
    assert await order("created_at", "desc") == [3, 2, 1, 0]
    assert await order("updated_at", "asc") == [3, 0, 1, 2]
    assert await order("state_updated_at", "desc") == [2, 1, 0, 3]
    assert await order("thread_id", "asc") == sorted(range(4), key=lambda i: shelf.ids[i])
    by_status = await order("status", "asc")
    assert (by_status[0], set(by_status[1:3]), by_status[3]) == (2, {1, 3}, 0)


async def test_pages_tell_where_the_next_one_starts(http: httpx.AsyncClient, shelf: Shelf) -> None:
    async def page(**query: Any) -> httpx.Response:
        return await http.post("/threads/search", json={"metadata": shelf.mine, "sort_by": "created_at", **query})

    first = await page(limit=3)
    assert shelf.where(first.json()) == [3, 2, 1]
    assert first.headers["x-pagination-next"] == "3"
    assert first.headers["x-pagination-total"] == "4"
    last = await page(limit=3, offset=3)
    assert shelf.where(last.json()) == [0]
    assert "x-pagination-next" not in last.headers
    assert last.headers["x-pagination-total"] == "4"
    assert (await page(offset=4)).json() == []


async def test_select_returns_only_those_fields(client: LangGraphClient, shelf: Shelf) -> None:
    found = await client.threads.search(metadata=shelf.mine, select=["thread_id", "status"])
    assert [set(t) for t in found] == [{"thread_id", "status"}] * 4


async def test_extract_picks_values_out_of_the_thread(client: LangGraphClient, shelf: Shelf) -> None:
    paths = {
        "last": "values.log[-1]",
        "first": "values.log[0]",
        "n": "values.n",
        "b": "metadata.nest.a.b",
        "none": "values.zzz[3].x",
    }
    found = await client.threads.search(ids=[shelf.ids[0]], extract=paths, select=["thread_id"])
    extracted = {"last": "propose", "first": "propose", "n": 1, "b": 0, "none": None}
    assert found == [{"thread_id": shelf.ids[0], "extracted": extracted}]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": "x"},
        {"offset": -1},
        {"status": "zzz"},
        {"sort_by": "zzz"},
        {"sort_order": "zzz"},
        {"select": ["zzz"]},
        {"extract": {"a": "zzz"}},
        {"extract": {f"a{i}": "values.n" for i in range(11)}},
        {"metadata": "x"},
    ],
)
async def test_a_search_that_means_nothing_is_422(http: httpx.AsyncClient, query: dict[str, Any]) -> None:
    response = await http.post("/threads/search", json=query)
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


async def test_count_rejects_an_unknown_status(http: httpx.AsyncClient) -> None:
    assert (await http.post("/threads/count", json={"status": "zzz"})).status_code == 422
