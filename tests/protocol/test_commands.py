"""The commands of the event protocol: envelopes, runs, answers to questions, steering, state."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from protocol.wire import Thread, data, ended, ends, of, said, socket, texts
from serving import until

pytestmark = pytest.mark.anyio


async def test_a_success_and_a_failure_have_the_form_of_the_protocol(place: Thread) -> None:
    done = await place.send("run.start", assistant_id="echo", input=said("hi"))
    assert done == {"type": "success", "id": 1, "result": {"run_id": done["result"]["run_id"]}, "meta": done["meta"]}
    assert done["meta"] == {"applied_through_seq": 0}
    failed = await place.send("run.start", input={})
    assert failed == {
        "type": "error",
        "id": 2,
        "error": "invalid_argument",
        "message": "run.start requires an assistant_id.",
    }


async def test_the_cursor_of_an_answer_skips_nothing_that_the_command_brings_about(place: Thread) -> None:
    """Clients go on from `applied_through_seq`; however fast the run is, it comes after it."""
    through = 0
    for turn in range(5):
        started = await place.send("run.start", assistant_id="echo", input=said(f"turn {turn}"))
        assert started["meta"]["applied_through_seq"] == through
        told = await place.read(since=through)
        assert data(told[0])["event"] == "running"
        assert started["result"]["run_id"] in told[0]["event_id"]
        through = (await place.send("state.get"))["meta"]["applied_through_seq"]
        assert told[-1]["seq"] <= through


MALFORMED: list[tuple[Any, Any]] = [
    ({"method": "run.start"}, None),
    ({"id": "x", "method": "run.start", "params": {}}, "x"),
    ({"id": 1.5, "method": "run.start"}, None),
    ({"id": True, "method": "run.start"}, None),
    ({"id": 1}, 1),
    ({"id": 1, "method": 5}, 1),
    ([1], None),
    ("run.start", None),
]


@pytest.mark.parametrize(("body", "number"), MALFORMED)
async def test_what_is_no_command(place: Thread, body: Any, number: Any) -> None:
    answer = await place.http.post(f"/threads/{place.id}/commands", json=body)
    assert answer.status_code == 400
    assert answer.json() == {
        "type": "error",
        "id": number,
        "error": "invalid_argument",
        "message": "Protocol commands must include an integer id and string method.",
    }


async def test_errors_are_told_by_their_code(place: Thread) -> None:
    refused = place.refused
    assert await refused("nope") == "unknown_command"
    assert await refused("run.start") == "invalid_argument"
    assert await refused("run.start", assistant_id="nope", input={}) in ("invalid_argument", "unknown_error")
    assert await refused("run.start", assistant_id=str(uuid.UUID(int=0)), input={}) == "unknown_error"
    assert await refused("run.start", assistant_id="echo", config="x") == "invalid_argument"
    assert await refused("run.start", assistant_id="echo", multitask_strategy="x") == "invalid_argument"
    assert await refused("run.start", assistant_id="echo", if_interrupted="x") == "invalid_argument"
    for method in ("agent.getTree", "run.stop", "run.pause", "run.resume"):
        assert await refused(method) == "no_such_run", method
    assert await refused("input.inject", message={"role": "user", "content": "x"}) == "no_such_run"
    assert await refused("input.inject", message={"role": "nobody", "content": "x"}) == "invalid_argument"
    assert await refused("input.respond", interrupt_id="x", response=1) in ("no_such_run", "no_such_interrupt")
    assert await refused("input.respond", response=1) == "invalid_argument"
    assert await refused("input.respond", responses=[]) == "invalid_argument"
    await place.start("hitl", {})
    await place.read()
    assert await refused("input.respond", interrupt_id="x", response=1) == "no_such_interrupt"
    assert await refused("state.fork", checkpoint_id="nope") in ("invalid_argument", "no_such_checkpoint")
    assert await refused("state.fork", checkpoint_id=str(uuid.uuid4())) == "no_such_checkpoint"
    assert await refused("state.listCheckpoints", limit=0) == "invalid_argument"
    assert await refused("state.get", namespace=[1]) == "invalid_argument"
    assert await refused("subscription.unsubscribe", subscription_id="x") in ("unknown_command", "no_such_subscription")


@pytest.mark.parametrize("params", ["x", 5, [1], None])
async def test_params_that_are_no_object_are_none(place: Thread, params: Any) -> None:
    answer = await place.http.post(f"/threads/{place.id}/commands", json={"id": 1, "method": "ag", "params": params})
    assert answer.json()["error"] == "unknown_command"


async def test_a_question_is_told_and_answered_once(place: Thread) -> None:
    await place.start("hitl", {"n": 3})
    told = await place.read()
    (asked,) = of(told, "input.requested")
    value = {"question": "approve?", "n": 3}
    assert asked == {"interrupt_id": asked["interrupt_id"], "payload": value, "value": value}
    assert data(told[-1])["event"] == "interrupted"
    assert data(told[-1])["interrupts"] == [asked["interrupt_id"]]
    answer = {"interrupt_id": asked["interrupt_id"], "namespace": [], "response": "yes"}
    both = await asyncio.gather(place.send("input.respond", **answer), place.send("input.respond", **answer))
    assert sorted(one.get("error", "") for one in both) == ["", "no_such_interrupt"]
    assert next(one["result"] for one in both if one["type"] == "success") == {}
    told = await place.read(ends(2))
    assert of(told, "values")[-1] == {"log": ["propose", {"approve": "yes"}, "done"], "n": 3}
    assert await place.refused("input.respond", **answer) == "no_such_interrupt"
    assert not [one for one in of(told, "updates") if "__interrupt__" in one]


async def test_parallel_questions_one_by_one_and_all_at_once(place: Thread, http: httpx.AsyncClient) -> None:
    await place.start("parallel_hitl", {})
    asked = {one["value"]: one["interrupt_id"] for one in of(await place.read(), "input.requested")}
    assert sorted(asked) == ["left?", "right?"]
    await place.ask("input.respond", interrupt_id=asked["left?"], response="l")
    await place.read(ends(2))
    assert await place.refused("input.respond", interrupt_id=asked["left?"], response="again") == "no_such_interrupt"
    await place.ask("input.respond", interrupt_id=asked["right?"], response="r")
    assert of(await place.read(ends(3)), "values")[-1]["log"] == [["left", "l"], ["right", "r"], "done"]

    other = Thread(place.server, http)
    await other.start("parallel_hitl", {})
    asked = {one["value"]: one["interrupt_id"] for one in of(await other.read(), "input.requested")}
    both = [{"interrupt_id": asked[f"{side}?"], "response": side[0]} for side in ("left", "right")]
    wrong = [*both, {"interrupt_id": "x", "response": 1}]
    assert await other.refused("input.respond", responses=wrong) == "no_such_interrupt"
    await other.ask("input.respond", responses=both, update={"log": ["by the way"]})
    log = of(await other.read(ends(2)), "values")[-1]["log"]
    assert sorted(map(str, log)) == sorted(map(str, ["by the way", ["left", "l"], ["right", "r"], "done"]))


async def test_a_question_of_a_subgraph_names_its_place(place: Thread) -> None:
    await place.start("deeper", {})
    told = await place.read()
    (asked,) = [one for one in told if one["method"] == "input.requested"]
    path = asked["params"]["namespace"]
    assert [one.partition(":")[0] for one in path] == ["child", "deep"]
    await place.ask("input.respond", interrupt_id=data(asked)["interrupt_id"], namespace=path, response="yes")
    log = of(await place.read(ends(2)), "values")[-1]["log"]
    assert ["inner", "yes"] in log and log[-1] == "end"


async def test_the_input_of_a_waiting_thread_is_the_answer_unless_said_otherwise(place: Thread) -> None:
    await place.start("hitl", {})
    await place.read()
    assert await place.refused("run.start", assistant_id="hitl", input={}, if_interrupted="reject")
    await place.start("hitl", "by input")
    assert of(await place.read(ends(2)), "values")[-1]["log"] == ["propose", {"approve": "by input"}, "done"]
    await place.start("hitl", {})
    await place.read(ends(3))
    await place.start("hitl", {"n": 9}, if_interrupted="proceed")
    told = await place.read(ends(4))
    assert of(told, "input.requested")[-1]["value"] == {"question": "approve?", "n": 9}


async def test_a_busy_thread_queues_the_next_run(place: Thread) -> None:
    first = await place.start("slow", {"steps": 5, "delay": 0.05, "tag": "a"})
    second = await place.start("slow", {"steps": 1, "tag": "b"})
    assert await place.refused("run.start", assistant_id="slow", input={}, multitask_strategy="reject")
    told = await place.read(ends(2))
    begun = [one["event_id"].split(":")[1] for one in told if data(one) == {"event": "running", "graph_name": "slow"}]
    assert begun == [first, second]
    assert of(told, "values")[-1]["log"] == ["a1", "a2", "a3", "a4", "a5", "b1"]


async def test_a_run_from_a_checkpoint_of_the_past(place: Thread) -> None:
    await place.start("echo", said("one"))
    told = await place.read()
    before = of(told, "checkpoints")[-1]["id"]
    await place.start("echo", said("two"))
    await place.read(ends(2))
    await place.start("echo", said("other"), config={"configurable": {"checkpoint_id": before}})
    told = await place.read(ends(3))
    assert [one["content"] for one in of(told, "values")[-1]["messages"]][2] == "other"
    forked = await place.ask("state.fork", checkpoint_id=before, input=said("third"))
    assert forked["thread_id"] == place.id and forked["run_id"]
    told = await place.read(ends(4))
    messages = of(told, "values")[-1]["messages"]
    assert [messages[2]["content"], messages[3]["content"][0]["text"]] == ["third", "3: third"]


async def test_the_tree_of_what_runs(place: Thread) -> None:
    run_id = await place.start("slow", {"steps": 50, "delay": 0.1})
    assert (await place.ask("agent.getTree", run_id=run_id))["tree"]["graph_name"] == "slow"
    assert await place.refused("agent.getTree", run_id=str(uuid.uuid4())) == "no_such_run"
    await place.ask("run.stop", run_id=run_id)
    assert await place.refused("agent.getTree") == "no_such_run"


async def test_the_tree_shows_open_subgraphs(place: Thread) -> None:
    await place.start("sub", {**said("hi"), "delay": 1.0})

    async def grown() -> Any:
        return (await place.ask("agent.getTree"))["tree"].get("children")

    (child,) = await until(grown)
    assert (child["graph_name"], child["status"]) == ("child", "running")
    assert child["namespace"][0].startswith("child:")
    await place.ask("run.stop")


async def test_the_state_and_its_checkpoints(place: Thread) -> None:
    assert await place.refused("state.get") in ("no_such_checkpoint", "unknown_error")
    await place.start("counter", {"limit": 3})
    told = await place.read()
    named = of(told, "checkpoints")
    state = await place.ask("state.get")
    assert state == {"values": {"n": 3, "limit": 3}, "checkpoint": {"id": named[-1]["id"], "ns": ""}}
    assert (await place.ask("state.get", keys=["n"]))["values"] == {"n": 3}
    listed = (await place.ask("state.listCheckpoints"))["checkpoints"]
    assert [one["id"] for one in listed] == [one["id"] for one in reversed(named)]
    assert set(listed[0]) == {"id", "parent_id", "timestamp", "step", "next", "metadata"}
    older = (await place.ask("state.listCheckpoints", before=listed[1]["id"], limit=2))["checkpoints"]
    assert older == listed[2:4]


async def test_stop_keeps_what_was_said_and_the_next_turn_works(place: Thread) -> None:
    run_id = await place.start("strict", said("talk"))
    await place.read(lambda one: one["method"] == "messages" and data(one).get("delta", {}).get("offset", 0) > 20)
    assert await place.ask("run.stop") == {"run_id": run_id}
    await place.start("strict", said("short"))
    told = await place.read(ends(2))
    assert data(told[-1])["event"] == "completed"
    assert len(of(told, "values")[-1]["messages"]) == 4


async def test_pause_and_resume_lose_nothing(place: Thread) -> None:
    run_id = await place.start("slow", {"steps": 10, "delay": 0.05})
    await place.read(lambda one: one["method"] == "custom")
    held = await place.ask("run.pause")
    assert (held["run_id"], held["paused"]) == (run_id, True)
    told = await place.read(lambda one: data(one) == {"event": "paused", "graph_name": "slow"})
    assert told[-1]["seq"] <= held["cursor"]
    assert (await place.ask("run.resume"))["run_id"] == run_id
    told = await place.read()
    assert of(told, "values")[-1]["log"] == [str(n) for n in range(1, 11)]
    assert of(told, "custom") == [{"step": n} for n in range(1, 11)]


async def test_a_message_is_put_into_a_running_run(place: Thread) -> None:
    """One superstep is left when it comes; else it begins a run of its own."""
    run_id = await place.start("strict", said("tell 100"))
    await place.read(lambda one: one["method"] == "messages")
    injected = await place.ask("input.inject", message={"role": "user", "content": "short"})
    assert injected["run_id"] == run_id
    told = await place.read(ends(2))
    assert injected["message_id"] in [one["id"] for one in of(told, "values")[-1]["messages"]]


async def test_commands_go_over_the_socket_too(place: Thread) -> None:
    async with socket(place.server, f"/threads/{place.id}/stream") as peer:
        subscribed = await peer.ask("subscription.subscribe", channels=["values", "lifecycle", "input", "messages"])
        assert subscribed == {"subscription_id": subscribed["subscription_id"], "replayed_events": 0}
        run_id = (await peer.ask("run.start", assistant_id="tools", input=said("add 2 3")))["run_id"]
        told = await peer.events()
        assert run_id in told[0]["event_id"] and texts(told, []) == ["Let me see. ", "The result is 5."]
        assert await peer.refused("nope") == "unknown_command"
        assert await peer.refused("agent.getTree") == "no_such_run"
        assert (await peer.ask("state.get"))["values"]["messages"][-1]["content"] == "The result is 5."


async def test_a_bad_run_is_not_started_twice(place: Thread, http: httpx.AsyncClient) -> None:
    """What is refused leaves no thread behind."""
    assert await place.refused("run.start", assistant_id="nope", input={})
    assert (await http.get(f"/threads/{place.id}")).status_code == 404


async def test_metadata_and_config_reach_the_run(place: Thread, http: httpx.AsyncClient) -> None:
    config = {"tags": ["t"], "configurable": {"colour": "red"}}
    run_id = await place.start("echo", said("hi"), metadata={"topic": "colours"}, config=config)
    await place.read()
    run = (await http.get(f"/threads/{place.id}/runs/{run_id}")).json()
    assert run["metadata"]["topic"] == "colours"
    assert run["kwargs"]["config"]["configurable"]["colour"] == "red"
    assert ended((await place.read())[-1])
