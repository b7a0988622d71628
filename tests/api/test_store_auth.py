"""/store with auth: a handler that puts the user's name before every namespace separates what users own."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving import Server

pytestmark = pytest.mark.anyio

CODE = """
from langgraph.graph import StateGraph
from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def who(headers: dict) -> str:
    name = (headers.get(b"x-user") or b"").decode()
    if not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail="who are you?")
    return name


@auth.on.store
async def own(ctx, value):
    if ctx.action == "delete" and ctx.user.identity == "reader":
        return False
    if ctx.user.identity != "admin":
        value["namespace"] = (ctx.user.identity, *(value["namespace"] or ()))
    if ctx.user.identity == "filtered":
        return {"owner": "filtered"}


graph = StateGraph(dict).add_node("a", lambda state: state).set_entry_point("a").compile()
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "project.py").write_text(CODE)
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"g": "./project.py:graph"}, "auth": {"path": "./project.py:auth"}}))
    server = Server(folder / "data", config).start()
    yield server
    server.kill()


def as_user(server: Server, name: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers={"x-user": name})


async def put(http: httpx.AsyncClient, namespace: list[str], value: dict[str, Any]) -> None:
    stored = await http.put("/store/items", json={"namespace": namespace, "key": "k", "value": value})
    assert stored.status_code == 204


async def found(http: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    answer = await http.post("/store/items/search", json=asked)
    assert answer.status_code == 200
    return [item["value"] for item in answer.json()["items"]]


async def test_users_do_not_meet(guarded: Server) -> None:
    async with as_user(guarded, "ann") as ann, as_user(guarded, "bob") as bob, as_user(guarded, "admin") as admin:
        await put(ann, ["notes"], {"of": "ann"})
        assert (await bob.get("/store/items?namespace=notes&key=k")).json() is None
        for asked in ({}, {"namespace_prefix": ["ann"]}, {"namespace_prefix": ["notes"]}):
            assert await found(bob, **asked) == []
        assert (await bob.post("/store/namespaces", json={})).json() == {"namespaces": []}
        gone = await bob.request("DELETE", "/store/items", json={"namespace": ["notes"], "key": "k"})
        assert gone.status_code == 204
        item = (await ann.get("/store/items?namespace=notes&key=k")).json()
        assert (item["namespace"], item["value"]) == (["ann", "notes"], {"of": "ann"})
        assert await found(ann) == [{"of": "ann"}]
        assert (await ann.post("/store/namespaces", json={"prefix": []})).json() == {"namespaces": [["ann", "notes"]]}
        assert await found(admin, namespace_prefix=["ann"]) == [{"of": "ann"}]


async def test_nobody_and_forbidden(guarded: Server) -> None:
    async with guarded.http as nobody:
        body = {"namespace": ["notes"], "key": "k", "value": {}}
        for method, path in (("PUT", "items"), ("DELETE", "items"), ("POST", "items/search"), ("POST", "namespaces")):
            assert (await nobody.request(method, f"/store/{path}", json=body)).status_code == 401
        assert (await nobody.get("/store/items?namespace=a&key=k")).status_code == 401
    async with as_user(guarded, "reader") as reader:
        refused = await reader.request("DELETE", "/store/items", json={"namespace": ["notes"], "key": "k"})
        assert refused.status_code == 403


async def test_what_a_handler_answers_filters_a_search(guarded: Server) -> None:
    async with as_user(guarded, "filtered") as http:
        await put(http, ["a"], {"owner": "filtered", "n": 1})
        await put(http, ["b"], {"owner": "somebody", "n": 1})
        assert await found(http) == [{"owner": "filtered", "n": 1}]
        assert await found(http, filter={"owner": "somebody"}) == [{"owner": "filtered", "n": 1}], "it cannot be undone"
        assert await found(http, filter={"n": 2}) == []


async def test_a_name_that_is_no_label_is_400(guarded: Server) -> None:
    async with as_user(guarded, "ann@example.com") as http:
        refused = await http.put("/store/items", json={"namespace": ["a"], "key": "k", "value": {}})
        assert refused.status_code == 400
        assert "ann@example.com" in refused.json()["detail"]
