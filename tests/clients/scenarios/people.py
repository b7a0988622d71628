"""Questions to people: interrupts, answers, breakpoints"""

from typing import Any

from clients.scenario import new_thread, scenario


@scenario("interrupt and resume")
async def a_question_is_answered(client: Any) -> None:
    place = await new_thread(client)
    asked = await client.runs.wait(place, "hitl", input={"n": 3})
    (question,) = asked["__interrupt__"]
    assert question["value"] == {"question": "approve?", "n": 3}
    thread = await client.threads.get(place)
    ((pending,),) = thread["interrupts"].values()
    assert (thread["status"], pending["id"], pending["value"]) == ("interrupted", question["id"], question["value"])
    state = await client.threads.get_state(place)
    assert [one["id"] for one in state["interrupts"]] == [question["id"]]
    assert [one["id"] for one in state["tasks"][0]["interrupts"]] == [question["id"]]
    done = await client.runs.wait(place, "hitl", command={"resume": False})
    assert done["log"] == ["propose", {"approve": False}, "done"]
    assert (await client.threads.get(place))["status"] == "idle"


@scenario("interrupt and resume")
async def a_question_is_streamed_and_answered(client: Any) -> None:
    place = await new_thread(client)
    asked = [part async for part in client.runs.stream(place, "hitl", input={}, stream_mode=["updates", "values"])]
    assert [part.data for part in asked if "__interrupt__" in part.data and part.event == "updates"]
    assert asked[-1].data["__interrupt__"][0]["value"]["question"] == "approve?"
    command = {"resume": {"by": "Ada"}, "update": {"n": 9}}
    parts = [part async for part in client.runs.stream(place, "hitl", command=command, stream_mode="values")]
    assert parts[-1].data == {"log": ["propose", {"approve": {"by": "Ada"}}, "done"], "n": 9}


@scenario("several questions, answered by id")
async def questions_are_answered_by_id(client: Any) -> None:
    place = await new_thread(client)
    asked = await client.runs.wait(place, "parallel_hitl", input={})
    ids = {one["value"]: one["id"] for one in asked["__interrupt__"]}
    assert ids.keys() == {"left?", "right?"}
    half = await client.runs.wait(place, "parallel_hitl", command={"resume": {ids["right?"]: "R"}})
    assert [one["id"] for one in half["__interrupt__"]] == [ids["left?"]]
    done = await client.runs.wait(place, "parallel_hitl", command={"resume": {ids["left?"]: "L"}})
    assert done["log"] == [["left", "L"], ["right", "R"], "done"]


@scenario("breakpoints")
async def graphs_stop_where_they_are_told(client: Any) -> None:
    place = await new_thread(client)
    await client.runs.wait(place, "counter", input={"limit": 2}, interrupt_before=["count"])
    thread = await client.threads.get(place)
    assert (thread["status"], thread["interrupts"]) == ("interrupted", {})
    after = await client.runs.wait(place, "counter", input=None, interrupt_after="*")
    assert after["n"] == 1
    assert (await client.threads.get_state(place))["next"] == ["count"]
    assert (await client.runs.wait(place, "counter", input=None))["n"] == 2


@scenario("commands: goto, update")
async def commands_steer(client: Any) -> None:
    place = await new_thread(client)
    await client.runs.wait(place, "hitl", input={"n": 1})
    values = await client.runs.wait(place, "hitl", command={"resume": "yes", "goto": "propose"})
    assert values["log"].count("propose") == 2
