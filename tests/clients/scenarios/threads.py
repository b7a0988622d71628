"""`client.threads`, but for its state and its stream"""

from typing import Any
from uuid import uuid4

from clients.scenario import human, new_thread, refused, scenario, texts
from langgraph_sdk.errors import ConflictError, NotFoundError


@scenario("threads")
async def threads_live(client: Any) -> None:
    mine = str(uuid4())
    made = await client.threads.create(thread_id=mine, metadata={"a": 1, "b": 1}, graph_id="echo")
    assert (made["thread_id"], made["status"], made["values"]) == (mine, "idle", None)
    assert made["metadata"] == {"a": 1, "b": 1, "graph_id": "echo"}
    with refused(ConflictError):
        await client.threads.create(thread_id=mine)
    assert (await client.threads.create(thread_id=mine, if_exists="do_nothing"))["metadata"] == made["metadata"]
    changed = await client.threads.update(mine, metadata={"b": 2})
    assert changed["metadata"] == {"a": 1, "b": 2, "graph_id": "echo"}
    await client.runs.wait(mine, "echo", input=human("hi"))
    found = await client.threads.get(mine)
    assert texts(found["values"]) == ["hi", "1: hi"]
    await client.threads.delete(mine)
    with refused(NotFoundError):
        await client.threads.get(mine)


@scenario("search and count", "paging headers", "select and extract")
async def threads_are_found(client: Any) -> None:
    topic = {"topic": {"id": str(uuid4())}}
    ids = [(await client.threads.create(metadata=topic))["thread_id"] for _ in range(3)]
    await client.runs.wait(ids[0], "counter", input={"limit": 2})
    await client.runs.wait(ids[1], "hitl", input={"n": 7})
    assert await client.threads.count(metadata=topic) == 3
    assert await client.threads.count(metadata=topic, status="interrupted") == 1
    assert await client.threads.count(metadata=topic, values={"n": 2}) == 1
    (counted,) = await client.threads.search(values={"n": 2}, metadata=topic, select=["thread_id"])
    assert counted == {"thread_id": ids[0]}
    (asked,) = await client.threads.search(ids=ids, status="interrupted", extract={"first": "values.log[0]"})
    assert (asked["thread_id"], asked["extracted"]) == (ids[1], {"first": "propose"})
    page = await client.threads.search(metadata=topic, sort_by="created_at", sort_order="asc", limit=2, offset=1)
    assert [one["thread_id"] for one in page] == ids[1:]
    seen: list[Any] = []
    await client.http.post("/threads/search", json={"metadata": topic, "limit": 2}, on_response=seen.append)
    assert (seen[0].headers["x-pagination-total"], seen[0].headers["x-pagination-next"]) == ("3", "2")


@scenario("a thread born with state")
async def threads_are_born_with_state(client: Any) -> None:
    steps: list[Any] = [
        {"updates": [{"values": human("from elsewhere"), "as_node": "__start__"}]},
        {"updates": [{"values": {"messages": [{"role": "assistant", "content": "told"}]}, "as_node": "say"}]},
    ]
    made = await client.threads.create(graph_id="echo", supersteps=steps)
    answer = await client.runs.wait(made["thread_id"], "echo", input=human("and now"))
    assert texts(answer) == ["from elsewhere", "told", "and now", "3: and now"]


@scenario("copy a thread")
async def threads_are_copied(client: Any) -> None:
    place = await new_thread(client)
    await client.runs.wait(place, "echo", input=human("one"))
    await client.threads.copy(place)
    copies = await client.threads.search(limit=1, sort_by="created_at", sort_order="desc")
    twin = copies[0]["thread_id"]
    assert twin != place
    assert texts(await client.runs.wait(twin, "echo", input=human("two"))) == ["one", "1: one", "two", "3: two"]
    assert texts((await client.threads.get_state(place))["values"]) == ["one", "1: one"]
    assert {past["checkpoint"]["thread_id"] for past in await client.threads.get_history(twin, limit=20)} == {twin}


@scenario("time to live, prune")
async def threads_expire_and_are_pruned(client: Any) -> None:
    made = await client.threads.create(ttl={"ttl": 90, "strategy": "keep_latest"})
    place = made["thread_id"]
    shown = await client.threads.get(place, include=["ttl"])
    assert (shown["ttl"]["strategy"], shown["ttl"]["ttl_minutes"]) == ("keep_latest", 90)
    await client.threads.update(place, metadata={}, ttl=5)
    assert (await client.threads.get(place, include=["ttl"]))["ttl"]["ttl_minutes"] == 5
    await client.runs.wait(place, "counter", input={"limit": 5})
    before = await client.http.get(f"/threads/{place}/storage")
    assert await client.threads.prune([place, str(uuid4())], strategy="keep_latest") == {"pruned_count": 1}
    assert (await client.threads.get_state(place))["values"]["n"] == 5
    after = await client.http.get(f"/threads/{place}/storage")
    assert (before["checkpoints"]["count"], after["checkpoints"]["count"]) == (7, 1)
    assert await client.threads.prune([place]) == {"pruned_count": 1}
    with refused(NotFoundError):
        await client.threads.get(place)


@scenario("brief answers (`return_minimal`)")
async def threads_answer_briefly(client: Any) -> None:
    place = await new_thread(client)
    assert await client.threads.update(place, metadata={"a": 1}, return_minimal=True) is None
    assert (await client.threads.get(place))["metadata"] == {"a": 1}
