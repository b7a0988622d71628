"""`client.runs`, but for its streams"""

from typing import Any
from uuid import uuid4

import anyio
from clients.scenario import human, new_thread, refused, scenario, texts
from langgraph_sdk.errors import ConflictError, NotFoundError
from serving import progressed, status_is

LONG = {"tag": "long", "steps": 500, "delay": 0.02}


@scenario("runs", "run id from the headers")
async def runs_live(client: Any) -> None:
    place = await new_thread(client)
    told: list[Any] = []
    run = await client.runs.create(
        place, "echo", input=human("hi"), metadata={"k": 1}, config={"tags": ["t"]}, on_run_created=told.append
    )
    assert told == [{"run_id": run["run_id"], "thread_id": place}]
    assert texts(await client.runs.join(place, run["run_id"])) == ["hi", "1: hi"]
    found = await client.runs.get(place, run["run_id"])
    assert (found["status"], found["metadata"]["k"], found["kwargs"]["config"]["tags"]) == ("success", 1, ["t"])
    again = await client.runs.wait(place, "echo", input=human("more"), on_run_created=told.append)
    assert texts(again) == ["hi", "1: hi", "more", "3: more"]
    newest = await client.runs.list(place, limit=1)
    assert [one["run_id"] for one in newest] == [told[1]["run_id"]]
    assert [one["run_id"] for one in await client.runs.list(place, offset=1)] == [run["run_id"]]
    assert await client.runs.list(place, status="error") == []
    assert await client.runs.list(place, select=["run_id"]) == [{"run_id": one["run_id"]} for one in told[::-1]]
    await client.runs.delete(place, run["run_id"])
    with refused(NotFoundError):
        await client.runs.get(place, run["run_id"])


@scenario("stateless runs and batches")
async def runs_without_a_thread(client: Any) -> None:
    assert texts(await client.runs.wait(None, "echo", input=human("alone"))) == ["alone", "1: alone"]
    parts = [part async for part in client.runs.stream(None, "echo", input=human("s"), stream_mode="values")]
    assert texts(parts[-1].data) == ["s", "1: s"]
    kept = await client.runs.create(None, "echo", input=human("kept"), on_completion="keep")
    assert texts(await client.runs.join(kept["thread_id"], kept["run_id"])) == ["kept", "1: kept"]
    batch = await client.runs.create_batch(
        [{"assistant_id": "echo", "input": human(text), "on_completion": "keep"} for text in ("a", "b")]
    )
    for text, run in zip(("a", "b"), batch, strict=True):
        assert texts(await client.runs.join(run["thread_id"], run["run_id"])) == [text, f"1: {text}"]


@scenario("context and config")
async def runs_get_context_and_config(client: Any) -> None:
    place = await new_thread(client)
    answer = await client.runs.wait(place, "ctx", input={"question": "?"}, context={"name": "Ada"})
    assert answer == {"reply": "Ada/None/vanilla"}
    answer = await client.runs.wait(place, "ctx", input={"question": "?"}, config={"configurable": {"colour": "red"}})
    assert answer["reply"].endswith("/red/vanilla")
    looped = await client.runs.wait(
        place, "counter", input={"limit": 50}, config={"recursion_limit": 5}, raise_error=False
    )
    assert looped["__error__"]["error"] == "GraphRecursionError"


@scenario("errors of a graph")
async def runs_fail(client: Any) -> None:
    place = await new_thread(client)
    answer = await client.runs.wait(place, "boom", input={}, raise_error=False)
    assert answer["__error__"] == {"error": "ValueError", "message": "boom on purpose"}
    parts = [part async for part in client.runs.stream(place, "boom", input={}, stream_mode="updates")]
    assert (parts[-1].event, parts[-1].data) == ("error", {"error": "ValueError", "message": "boom on purpose"})
    assert [one["status"] for one in await client.runs.list(place)] == ["error"] * 2
    assert (await client.threads.get(place))["status"] == "error"
    assert (await client.runs.wait(place, "boom", input={"fail_first": 0}))["log"][-1] == "second"
    assert (await client.threads.get(place))["status"] == "idle"


@scenario("errors as the SDK's own", previous=False)  # the synchronous 0.3 never raises it
async def a_failed_wait_raises(client: Any) -> None:
    try:
        await client.runs.wait(None, "boom", input={})
    except Exception as error:
        assert "boom on purpose" in str(error)
    else:
        raise AssertionError("no error")


@scenario("delayed runs", "threads made by their first run")
async def runs_later_and_first(client: Any) -> None:
    place = str(uuid4())
    run = await client.runs.create(place, "echo", input=human("later"), after_seconds=3600, if_not_exists="create")
    assert (await client.runs.get(place, run["run_id"]))["status"] == "pending"
    assert (await client.threads.get(place))["status"] == "busy"
    await client.runs.cancel(place, run["run_id"], wait=True)
    soon = await client.runs.create(place, "echo", input=human("soon"), after_seconds=1)
    assert texts(await client.runs.join(place, soon["run_id"]))[-2] == "soon"


@scenario("durability")
async def runs_are_as_durable_as_asked(client: Any) -> None:
    kept = {}
    for durability in ("sync", "async", "exit"):
        place = await new_thread(client)
        await client.runs.wait(place, "counter", input={"limit": 3}, durability=durability)
        kept[durability] = len(await client.threads.get_history(place, limit=20))
    assert kept == {"sync": 5, "async": 5, "exit": 1}


@scenario("cancel with `interrupt`")
async def runs_are_cancelled(client: Any) -> None:
    place = await new_thread(client)
    run = await client.runs.create(place, "slow", input=LONG)
    done = (await progressed(client, place))["done"]
    await client.runs.cancel(place, run["run_id"], wait=True)
    assert (await client.runs.get(place, run["run_id"]))["status"] == "interrupted"
    state = await client.threads.get_state(place)
    assert (state["next"], (await client.threads.get(place))["status"]) == (["step"], "interrupted")
    assert done <= state["values"]["done"] < LONG["steps"]
    await client.threads.update_state(place, {"steps": 0})
    assert (await client.runs.wait(place, "slow", input=None))["log"][-1].startswith("long")
    assert (await client.threads.get(place))["status"] == "idle"


@scenario("cancel with `rollback`")
async def runs_are_rolled_back(client: Any) -> None:
    place = await new_thread(client)
    await client.runs.wait(place, "slow", input={"tag": "kept", "steps": 1})
    before = await client.threads.get_state(place)
    run = await client.runs.create(place, "slow", input=LONG)
    await progressed(client, place, 2)
    await client.runs.cancel(place, run["run_id"], wait=True, action="rollback")
    with refused(NotFoundError):
        await client.runs.get(place, run["run_id"])
    after = await client.threads.get_state(place)
    assert (after["values"], after["checkpoint"]) == (before["values"], before["checkpoint"])
    assert (await client.threads.get(place))["status"] == "idle"


@scenario("cancel many runs at once")
async def many_runs_are_cancelled(client: Any) -> None:
    place = await new_thread(client)
    runs = [await client.runs.create(place, "slow", input=LONG) for _ in range(3)]
    await progressed(client, place)
    await client.runs.cancel_many(thread_id=place, run_ids=[run["run_id"] for run in runs])
    for run in runs:
        await status_is(client, place, run["run_id"], "interrupted")
    with refused(NotFoundError):
        await client.runs.cancel_many(thread_id=place, run_ids=[runs[0]["run_id"]], action="rollback")


@scenario("multitask: reject")
async def a_busy_thread_rejects(client: Any) -> None:
    place = await new_thread(client)
    run = await client.runs.create(place, "slow", input=LONG)
    with refused(ConflictError):
        await client.runs.create(place, "slow", input={"tag": "b"}, multitask_strategy="reject")
    assert len(await client.runs.list(place)) == 1
    await client.runs.cancel(place, run["run_id"], wait=True)


@scenario("multitask: enqueue")
async def a_busy_thread_enqueues(client: Any) -> None:
    place = await new_thread(client)
    ran: list[str] = []

    async def ask(tag: str, **how: Any) -> None:
        run = await client.runs.create(place, "slow", input={"tag": tag, "steps": 1, "delay": 0.1}, **how)
        await client.runs.join(place, run["run_id"])
        ran.append(tag)

    await client.runs.create(place, "slow", input={"tag": "a", "steps": 2, "delay": 0.1})
    await ask("b", multitask_strategy="enqueue")
    await ask("c")
    assert (await client.threads.get_state(place))["values"]["log"] == ["a1", "a2", "b1", "c1"]
    assert ran == ["b", "c"]


@scenario("multitask: interrupt")
async def a_busy_thread_is_interrupted(client: Any) -> None:
    place = await new_thread(client)
    run = await client.runs.create(place, "slow", input={**LONG, "tag": "a"})
    await progressed(client, place)
    values = await client.runs.wait(place, "slow", input={"tag": "b", "steps": 1}, multitask_strategy="interrupt")
    assert (values["log"][0], values["log"][-1]) == ("a1", "b1")
    assert (await client.runs.get(place, run["run_id"]))["status"] == "interrupted"


@scenario("multitask: rollback")
async def a_busy_thread_rolls_back(client: Any) -> None:
    place = await new_thread(client)
    run = await client.runs.create(place, "slow", input={**LONG, "tag": "a"})
    await progressed(client, place)
    values = await client.runs.wait(place, "slow", input={"tag": "b", "steps": 1}, multitask_strategy="rollback")
    assert values["log"] == ["b1"]
    with refused(NotFoundError):
        await client.runs.get(place, run["run_id"])


@scenario("idempotent creation")
async def a_repeated_run_is_one(client: Any) -> None:
    place = await new_thread(client)
    key = {"Idempotency-Key": str(uuid4())}
    made: list[str] = []

    async def ask() -> None:
        made.append((await client.runs.create(place, "echo", input=human("once"), headers=key))["run_id"])

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    assert len(set(made)) == 1
    assert texts(await client.runs.join(place, made[0])) == ["once", "1: once"]
