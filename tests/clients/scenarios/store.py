"""`client.store`"""

from typing import Any
from uuid import uuid4

from clients.scenario import scenario


@scenario("store")
async def items_are_kept(client: Any) -> None:
    space = ["clients", uuid4().hex]
    await client.store.put_item(space, "a", {"n": 1})
    item = await client.store.get_item(space, "a")
    assert (item["namespace"], item["key"], item["value"]) == (space, "a", {"n": 1})
    await client.store.put_item(space, "a", {"n": 2})
    again = await client.store.get_item(space, key="a")
    assert (again["value"], again["created_at"]) == ({"n": 2}, item["created_at"])
    await client.store.delete_item(space, "a")
    assert await client.store.get_item(space, "a") is None
    await client.http.put("/store/items", json={"namespace": space, "key": "b", "value": {}})
    await client.http.delete("/store/items", json={"namespace": space, "key": "b"})
    assert (await client.store.search_items(space))["items"] == []


@scenario("store: filters, paging")
async def items_are_filtered(client: Any) -> None:
    space = ["clients", uuid4().hex]
    for n in range(5):
        await client.store.put_item(space, f"k{n}", {"n": n, "odd": n % 2 == 1})
    found = await client.store.search_items(space, filter={"n": {"$gte": 2}, "odd": True})
    assert [item["key"] for item in found["items"]] == ["k3"]
    pages = [await client.store.search_items(space, limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [len(page["items"]) for page in pages] == [2, 2, 1]
    assert {item["key"] for page in pages for item in page["items"]} == {f"k{n}" for n in range(5)}


@scenario("store: namespaces")
async def namespaces_are_listed(client: Any) -> None:
    root = uuid4().hex
    for path in (["a"], ["a", "x"], ["b", "x"]):
        await client.store.put_item([root, *path], "k", {})
    listed = await client.store.list_namespaces(prefix=[root])
    assert listed["namespaces"] == [[root, "a"], [root, "a", "x"], [root, "b", "x"]]
    by_suffix = await client.store.list_namespaces(prefix=[root], suffix=["x"], limit=1, offset=1)
    assert by_suffix["namespaces"] == [[root, "b", "x"]]
    shallow = await client.store.list_namespaces(prefix=[root], max_depth=2)
    assert shallow["namespaces"] == [[root, "a"], [root, "b"]]


@scenario("store: search by meaning")
async def items_are_found_by_meaning(client: Any) -> None:
    space = ["clients", uuid4().hex]
    await client.store.put_item(space, "felix", {"text": "a cat and a cat"})
    await client.store.put_item(space, "rex", {"text": "a dog"})
    await client.store.put_item(space, "hidden", {"text": "cat cat cat"}, index=False)
    found = (await client.store.search_items(space, query="cat", limit=1))["items"]
    assert [item["key"] for item in found] == ["felix"]
    assert found[0]["score"] > 0.5


@scenario("store: time to live")
async def items_expire(client: Any) -> None:
    space = ["clients", uuid4().hex]
    await client.store.put_item(space, "gone", {}, ttl=0.0001)
    await client.store.put_item(space, "kept", {}, ttl=60)
    assert (await client.store.get_item(space, "kept", refresh_ttl=True))["key"] == "kept"
    found = await client.store.search_items(space, refresh_ttl=False)
    while len(found["items"]) > 1:
        found = await client.store.search_items(space, refresh_ttl=False)
    assert [item["key"] for item in found["items"]] == ["kept"]


@scenario("store: shared with graphs")
async def graphs_use_the_store(client: Any) -> None:
    user = uuid4().hex
    told = await client.runs.wait(None, "remember", input={"user": user, "fact": "likes tea"})
    assert told["recalled"] == "nothing"
    assert (await client.store.get_item(["facts", user], "latest"))["value"] == {"fact": "likes tea"}
    assert (await client.runs.wait(None, "remember", input={"user": user}))["recalled"] == "likes tea"
