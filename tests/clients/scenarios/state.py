"""State, history, forks: `client.threads`"""

from typing import Any

from clients.scenario import human, new_thread, scenario, texts

NOWHERE = "00000000-0000-6000-8000-000000000000"


async def counted(client: Any, limit: int = 3) -> str:
    place = await new_thread(client)
    await client.runs.wait(place, "counter", input={"limit": limit})
    return place


@scenario("state and history", "paging headers")
async def history_is_paged(client: Any) -> None:
    place = await counted(client)
    past = await client.threads.get_history(place, limit=20)
    assert [one["metadata"]["step"] for one in past] == [3, 2, 1, 0, -1]
    assert past[0] == await client.threads.get_state(place)
    second = await client.threads.get_history(place, limit=2, before=past[1]["checkpoint"])
    assert second == past[2:4]
    by_config = {"configurable": {"checkpoint_id": past[1]["checkpoint"]["checkpoint_id"]}}
    assert await client.threads.get_history(place, limit=2, before=by_config) == second
    inputs = await client.threads.get_history(place, limit=20, metadata={"source": "input"})
    assert [one["metadata"]["step"] for one in inputs] == [-1]
    assert (await client.threads.get_history(place, checkpoint=past[2]["checkpoint"]))[0] == past[2]
    by_query = await client.http.get(f"/threads/{place}/history", params={"limit": 2})
    assert by_query == past[:2]


@scenario("state and history")
async def state_at_a_checkpoint(client: Any) -> None:
    place = await counted(client)
    for past in await client.threads.get_history(place, limit=20):
        there = past["checkpoint"]
        by_object = await client.threads.get_state(place, checkpoint=there)
        by_id = await client.threads.get_state(place, checkpoint_id=there["checkpoint_id"])
        assert by_object["values"] == by_id["values"] == past["values"]
        assert by_object["next"] == by_id["next"] == past["next"]
    nowhere = await client.threads.get_state(place, checkpoint_id=NOWHERE)
    assert (nowhere["values"], nowhere["next"], nowhere["created_at"]) == ({}, [], None)


@scenario("parts of a state (`select`)", previous=False)
async def state_in_parts(client: Any) -> None:
    place = await counted(client)
    wanted = ["values.n"]
    there = (await client.threads.get_state(place))["checkpoint"]
    for asked in ({}, {"checkpoint": there}, {"checkpoint_id": there["checkpoint_id"]}):
        assert (await client.threads.get_state(place, select=wanted, **asked))["values"] == {"n": 3}
    past = await client.threads.get_history(place, limit=3, select=wanted)
    assert [one["values"] for one in past] == [{"n": 3}, {"n": 2}, {"n": 1}]


@scenario("state updates")
async def state_is_updated(client: Any) -> None:
    place = await new_thread(client)
    await client.runs.wait(place, "hitl", input={"n": 1})
    answer = await client.threads.update_state(place, {"log": ["by hand"]}, as_node="approve")
    state = await client.threads.get_state(place)
    assert state["values"] == {"log": ["propose", "by hand"], "n": 1}
    assert (state["next"], state["metadata"]["source"]) == (["done"], "update")
    assert state["checkpoint"]["checkpoint_id"] == answer["checkpoint"]["checkpoint_id"]
    await client.threads.update_state(place, None, as_node="__end__")
    assert (await client.threads.get_state(place))["next"] == []
    assert (await client.threads.get(place))["status"] == "idle"


@scenario("fork from a checkpoint")
async def state_is_forked(client: Any) -> None:
    place = await new_thread(client)
    await client.runs.wait(place, "echo", input=human("one"))
    there = (await client.threads.get_state(place))["checkpoint"]
    first = await client.runs.wait(place, "echo", input=human("left"))
    second = await client.runs.wait(place, "echo", input=human("right"), checkpoint=there)
    third = await client.runs.wait(place, "echo", input=human("up"), checkpoint_id=there["checkpoint_id"])
    assert [texts(values)[2:] for values in (first, second, third)] == [
        ["left", "3: left"],
        ["right", "3: right"],
        ["up", "3: up"],
    ]
    forked = await client.threads.update_state(place, human("by hand"), as_node="say", checkpoint=there)
    state = await client.threads.get_state(place)
    assert texts(state["values"]) == ["one", "1: one", "by hand"]
    assert state["parent_checkpoint"]["checkpoint_id"] == there["checkpoint_id"]
    assert state["checkpoint"]["checkpoint_id"] == forked["checkpoint"]["checkpoint_id"]
    by_id = await client.threads.update_state(
        place, human("again"), as_node="say", checkpoint_id=there["checkpoint_id"]
    )
    assert by_id["checkpoint"]["checkpoint_id"] != forked["checkpoint"]["checkpoint_id"]
    children = [
        past
        for past in await client.threads.get_history(place, limit=50)
        if past["parent_checkpoint"] and past["parent_checkpoint"]["checkpoint_id"] == there["checkpoint_id"]
    ]
    assert len(children) == 5


@scenario("replay from a checkpoint")
async def state_is_replayed(client: Any) -> None:
    place = await counted(client)
    past = await client.threads.get_history(place, limit=20)
    (early,) = [one for one in past if one["values"].get("n") == 1]
    await client.threads.update_state(place, {"limit": 9}, checkpoint=early["checkpoint"])
    answer = await client.runs.wait(place, "counter", input=None)
    assert answer["n"] == 9
    replayed = await client.runs.wait(place, "counter", input=None, checkpoint=early["checkpoint"])
    assert replayed["n"] == 3


@scenario("subgraph state")
async def subgraphs_have_state(client: Any) -> None:
    place = await new_thread(client)
    await client.runs.wait(place, "sub", input={"messages": []})
    (outer,) = [past for past in await client.threads.get_history(place, limit=20) if past["next"] == ["child"]]
    (task,) = outer["tasks"]
    inside = await client.threads.get_history(place, limit=20, checkpoint=task["checkpoint"])
    assert texts(inside[0]["values"]) == ["from the parent", "inner"]
    there = await client.threads.get_state(place, checkpoint=inside[0]["checkpoint"], subgraphs=True)
    assert there["values"] == inside[0]["values"]
    waiting = await new_thread(client)
    await client.runs.wait(waiting, "sub", input={"messages": []}, interrupt_before=["child"])
    (task,) = (await client.threads.get_state(waiting))["tasks"]
    assert task["checkpoint"]["checkpoint_ns"] == f"child:{task['id']}"
    (task,) = (await client.threads.get_state(waiting, subgraphs=True))["tasks"]
    assert task["name"] == "child"
