"""`client.http`: what the SDK has no method for"""

from typing import Any
from uuid import uuid4

from clients.scenario import human, new_thread, scenario, texts


@scenario("information and numbers about the server")
async def the_server_tells_about_itself(client: Any) -> None:
    assert await client.http.get("/ok", params={"check_db": "1"}) == {"ok": True, "services": {}}
    info = await client.http.get("/info")
    assert info["flags"]["assistants"] and info["host"]["kind"] == "self-hosted"
    numbers = await client.http.get("/metrics", params={"format": "json"})
    assert {"queue", "api", "workers"} <= numbers.keys()
    assert "/threads/{thread_id}" in (await client.http.get("/openapi.json"))["paths"]


@scenario("`client.http`")
async def every_method_of_http(client: Any) -> None:
    place = await new_thread(client)
    changed = await client.http.patch(f"/threads/{place}", json={"metadata": {"a": 1}})
    assert changed["metadata"] == {"a": 1}
    space = ["clients", uuid4().hex]
    assert await client.http.put("/store/items", json={"namespace": space, "key": "k", "value": {"v": 1}}) is None
    assert (await client.http.get("/store/items", params={"namespace": ".".join(space), "key": "k"}))["key"] == "k"
    body = {"assistant_id": "echo", "input": human("hi")}
    run = await client.http.post(f"/threads/{place}/runs", json=body)
    where = f"/threads/{place}/runs/{run['run_id']}"
    assert texts(await client.http.request_reconnect(f"{where}/join", "GET")) == ["hi", "1: hi"]
    stream = client.http.stream(f"{where}/stream", "GET", headers={"Last-Event-ID": "-1"})
    assert [part.event async for part in stream] == ["metadata", "values", "values"]
    await client.http.delete(where)
    assert await client.http.get(f"/threads/{place}/runs") == []


@scenario("stateless runs and batches")
async def a_stateless_run_is_joined(client: Any) -> None:
    run = await client.runs.create(None, "echo", input=human("hi"), stream_resumable=True, on_completion="keep")
    stream = client.http.stream(f"/runs/{run['run_id']}/stream", "GET", headers={"Last-Event-ID": "-1"})
    assert texts([part.data async for part in stream][-1]) == ["hi", "1: hi"]


@scenario("MCP")
async def assistants_are_tools(client: Any) -> None:
    async def rpc(method: str, **params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"Accept": "application/json, text/event-stream"}
        return (await client.http.post("/mcp", json=body, headers=headers))["result"]

    assert "echo" in {tool["name"] for tool in (await rpc("tools/list"))["tools"]}
    answer = await rpc("tools/call", name="echo", arguments=human("hello"))
    assert texts(answer["structuredContent"])[-1] == "1: hello"


@scenario("A2A")
async def assistants_are_agents(client: Any) -> None:
    (echo,) = await client.assistants.search(graph_id="echo", metadata={"created_by": "system"})
    mine = echo["assistant_id"]
    card = await client.http.get("/.well-known/agent-card.json", params={"assistant_id": mine})
    assert card["url"].endswith(f"/a2a/{mine}")
    message = {"role": "user", "parts": [{"kind": "text", "text": "hi"}], "messageId": uuid4().hex}
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message}}
    task = (await client.http.post(f"/a2a/{mine}", json=body))["result"]
    assert task["status"]["state"] == "completed"
    assert task["artifacts"][0]["parts"] == [{"kind": "text", "text": "1: hi"}]
    stream = client.http.stream(f"/a2a/{mine}", "POST", json={**body, "method": "message/stream"})
    said = [part.data["result"] async for part in stream]
    assert (said[0]["kind"], said[-1]["kind"], said[-1]["final"]) == ("task", "status-update", True)
