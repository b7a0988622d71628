"""`client.assistants`"""

from typing import Any
from uuid import uuid4

from clients.scenario import human, new_thread, refused, scenario
from langgraph_sdk.errors import ConflictError, NotFoundError


@scenario("assistants")
async def assistants_live(client: Any) -> None:
    mine = str(uuid4())
    made = await client.assistants.create(
        "ctx", assistant_id=mine, context={"name": "Ada"}, metadata={"team": mine}, name="Desk", description="answers"
    )
    assert (made["assistant_id"], made["version"], made["graph_id"]) == (mine, 1, "ctx")
    assert made["config"]["configurable"] == made["context"] == {"name": "Ada"}
    with refused(ConflictError):
        await client.assistants.create("ctx", assistant_id=mine)
    assert await client.assistants.create("echo", assistant_id=mine, if_exists="do_nothing") == made
    assert await client.assistants.get(mine) == made
    changed = await client.assistants.update(mine, name="Front desk", metadata={"floor": 2}, description="sees")
    assert (changed["version"], changed["name"]) == (2, "Front desk")
    assert changed["metadata"] == {**made["metadata"], "floor": 2}
    place = await new_thread(client)
    await client.threads.update(place, metadata={"assistant_id": mine})
    await client.assistants.delete(mine, delete_threads=True)
    with refused(NotFoundError):
        await client.assistants.get(mine)
    with refused(NotFoundError):
        await client.threads.get(place)


@scenario("assistant versions")
async def assistants_have_versions(client: Any) -> None:
    made = await client.assistants.create("ctx", context={"name": "one"}, name="first")
    mine = made["assistant_id"]
    await client.assistants.update(mine, context={"name": "two"}, name="second", metadata={"k": 1})
    versions = await client.assistants.get_versions(mine, limit=10)
    assert [(one["version"], one["name"]) for one in versions] == [(2, "second"), (1, "first")]
    assert [one["version"] for one in await client.assistants.get_versions(mine, {"k": 1})] == [2]
    assert [one["version"] for one in await client.assistants.get_versions(mine, limit=1, offset=1)] == [1]
    back = await client.assistants.set_latest(mine, 1)
    assert (back["version"], back["context"]) == (1, {"name": "one"})
    answer = await client.runs.wait(None, mine, input={"question": "?"})
    assert answer == {"reply": "one/None/vanilla"}
    await client.assistants.delete(mine)


@scenario("search and count", "paging headers", "select and extract")
async def assistants_are_found(client: Any) -> None:
    team = {"team": str(uuid4())}
    made = [await client.assistants.create("echo", name=f"Clerk {n}", metadata=team) for n in range(3)]
    assert await client.assistants.count(metadata=team) == 3
    assert await client.assistants.count(metadata=team, graph_id="ctx") == 0
    assert await client.assistants.count(metadata=team, name="clerk 1") == 1
    (found,) = await client.assistants.search(metadata=team, graph_id="echo", name="CLERK 2", select=["name"])
    assert found == {"name": "Clerk 2"}
    page = await client.assistants.search(
        metadata=team, limit=2, sort_by="name", sort_order="asc", response_format="object"
    )
    assert ([one["name"] for one in page["assistants"]], page["next"]) == (["Clerk 0", "Clerk 1"], "2")
    seen: list[Any] = []
    rest = await client.http.post(
        "/assistants/search", json={"metadata": team, "limit": 2, "offset": 2}, on_response=seen.append
    )
    assert rest == [made[0]]
    assert (seen[0].headers["x-pagination-total"], seen[0].headers.get("x-pagination-next")) == ("3", None)
    for one in made:
        await client.assistants.delete(one["assistant_id"])


@scenario("graph drawing, schemas and subgraphs")
async def assistants_show_their_graph(client: Any) -> None:
    (sub,) = await client.assistants.search(graph_id="sub", metadata={"created_by": "system"})
    mine = sub["assistant_id"]
    flat = await client.assistants.get_graph(mine)
    assert [node["id"] for node in flat["nodes"]] == ["__start__", "before", "child", "__end__"]
    deep = await client.assistants.get_graph(mine, xray=True)
    assert "child:inner" in {node["id"] for node in deep["nodes"]}
    schemas = await client.assistants.get_schemas(mine)
    assert schemas["graph_id"] == "sub"
    assert "messages" in schemas["input_schema"]["properties"]
    subgraphs = await client.assistants.get_subgraphs(mine, recurse=True)
    assert list(subgraphs) == ["child"]
    assert await client.assistants.get_subgraphs(mine, namespace="child") == subgraphs
    assert await client.assistants.get_subgraphs(mine, namespace="nobody") == {}


@scenario("errors as the SDK's own")
async def unknown_things_raise(client: Any) -> None:
    nobody = str(uuid4())
    place = await new_thread(client)
    with refused(NotFoundError):
        await client.assistants.get(nobody)
    with refused(NotFoundError):
        await client.threads.get(nobody)
    with refused(NotFoundError):
        await client.runs.get(place, nobody)
    with refused(NotFoundError):
        await client.runs.create(nobody, "echo", input=human("hi"))
    with refused(NotFoundError):
        await client.assistants.create("no such graph")
