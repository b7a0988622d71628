"""`client.threads.stream(...)` of LangGraph's Python SDK, both clients over both transports."""

import asyncio
import uuid
from collections.abc import Callable
from threading import Thread
from typing import Any, Literal

import anyio
import pytest
from langgraph_sdk import get_client, get_sync_client
from protocol.wire import said
from serving import Remote, Server, until

pytestmark = pytest.mark.anyio
Transport = Literal["sse", "websocket"]


@pytest.fixture(params=["sse", "websocket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param  # type: ignore[no-any-return]


async def messages_of(stream: Any) -> list[str]:
    """The text of each message; handles are read while others come."""

    async def text(message: Any) -> str:
        return "".join([piece async for piece in message.text])

    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(text(message)) async for message in stream.messages]
    return [one.result() for one in reading]


async def tools_of(stream: Any) -> list[tuple[str, Any, Any]]:
    async def result(call: Any) -> tuple[str, Any, Any]:
        try:
            return call.name, call.input, (await call.output)["content"]
        except RuntimeError as error:
            return call.name, call.input, error

    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(result(call)) async for call in stream.tool_calls]
    return [one.result() for one in reading]


async def all_of(stream: Any) -> list[Any]:
    return [one async for one in stream]


async def interrupted(thread: Any) -> list[Any]:
    async def asked() -> Any:
        return thread.interrupted and list(thread.interrupts)

    return await until(asked)  # type: ignore[no-any-return]


async def test_text_tools_and_values(server: Remote, transport: Transport) -> None:
    async with server.client().threads.stream(assistant_id="tools", transport=transport) as thread:
        assert (await thread.run.start(input=said("add 2 3")))["run_id"]
        with anyio.fail_after(20):
            texts, tools, values, output = await asyncio.gather(
                messages_of(thread), tools_of(thread), all_of(thread.values), thread.output
            )
    assert texts == ["Let me see. ", "The result is 5."]
    assert tools == [("add", {"a": 2, "b": 3}, "5")]
    assert [one["type"] for one in values[-1]["messages"]] == ["human", "ai", "tool", "ai"]
    assert output["messages"][-1]["content"] == "The result is 5."


async def test_nothing_of_a_fast_run_is_missed(server: Remote, transport: Transport) -> None:
    """The SDK subscribes after the start was answered, and goes on from the number in that answer."""
    for _ in range(15):
        async with server.client().threads.stream(assistant_id="tools", transport=transport) as thread:
            await thread.run.start(input=said("add 2 3"))
            await asyncio.sleep(0.02)  # the run is over by now, or in its middle
            with anyio.fail_after(20):
                assert await messages_of(thread) == ["Let me see. ", "The result is 5."]


async def test_turn_after_turn_on_one_thread(server: Remote, transport: Transport) -> None:
    thread_id = str(uuid.uuid4())
    for turn in range(3):
        client = server.client()
        async with client.threads.stream(thread_id, assistant_id="chat", transport=transport) as thread:
            await thread.run.start(input=said(f"turn {turn}"))
            with anyio.fail_after(20):
                assert await messages_of(thread) == ["t0 t1 t2 "]
    state = await server.client().threads.get_state(thread_id)
    assert len(state["values"]["messages"]) == 6


async def test_extensions(server: Remote, transport: Transport) -> None:
    async with server.client().threads.stream(assistant_id="weather", transport=transport) as thread:
        await thread.run.start(input=said("?"))
        with anyio.fail_after(20):
            wind, rain = await asyncio.gather(all_of(thread.extensions["wind"]), all_of(thread.extensions["rain"]))
    assert (wind, rain) == ([{"name": "wind", "knots": 7}], [{"name": "rain", "mm": 2}])


async def test_subgraphs_in_subgraphs(server: Remote, transport: Transport) -> None:
    async def inside(stream: Any) -> list[Any]:
        async def one(handle: Any) -> Any:
            texts, below = await asyncio.gather(messages_of(handle), inside(handle))
            return handle.graph_name, texts, below

        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(one(handle)) async for handle in stream.subgraphs]
        return [task.result() for task in reading]

    async with server.client().threads.stream(assistant_id="matryoshka", transport=transport) as thread:
        await thread.run.start(input=said("hi"))
        with anyio.fail_after(20):
            found = await inside(thread)
    assert found == [("small", [], [("smallest", ["inmost"], [])])]


async def test_questions_and_answers(server: Remote, transport: Transport) -> None:
    async with server.client().threads.stream(assistant_id="hitl", transport=transport) as thread:
        await thread.run.start(input={})
        (asked,) = await interrupted(thread)
        assert asked["value"] == {"question": "approve?", "n": None}
        await thread.run.respond("yes")
        with pytest.raises(RuntimeError, match="no_such_interrupt"):
            await thread._send_command("input.respond", {"interrupt_id": asked["interrupt_id"], "response": "again"})
        with anyio.fail_after(20):
            assert (await thread.output)["log"] == ["propose", {"approve": "yes"}, "done"]


async def test_parallel_questions(server: Remote, transport: Transport) -> None:
    async with server.client().threads.stream(assistant_id="parallel_hitl", transport=transport) as thread:
        await thread.run.start(input={})

        async def both() -> Any:
            return len(thread.interrupts) == 2 and {one["value"]: one["interrupt_id"] for one in thread.interrupts}

        asked = await until(both)
        await thread.run.respond("l", interrupt_id=asked["left?"])
        await thread.run.respond("r", interrupt_id=asked["right?"])

        async def answered() -> Any:
            log = (await server.client().threads.get_state(thread.thread_id))["values"].get("log")
            return log and len(log) == 3 and log

        assert await until(answered) == [["left", "l"], ["right", "r"], "done"]


async def test_a_failing_graph(server: Remote, transport: Transport) -> None:
    async with server.client().threads.stream(assistant_id="boom", transport=transport) as thread:
        await thread.run.start(input={})
        with anyio.fail_after(20), pytest.raises(RuntimeError, match="boom on purpose"):
            await thread.output


async def test_a_failing_tool(server: Remote, transport: Transport) -> None:
    async with server.client().threads.stream(assistant_id="tools", transport=transport) as thread:
        await thread.run.start(input=said("divide 1 0"))
        with anyio.fail_after(20):
            ((name, _, error),) = await tools_of(thread)
    assert name == "divide" and "division" in str(error)


@pytest.mark.parametrize("way", ["stop", "interrupt", "rollback"])
async def test_a_run_that_somebody_ends(server: Remote, transport: Transport, way: str) -> None:
    """By a stop or a cancel of another client: every projection ends, and the output is the state that was left."""
    other = server.client()
    async with other.threads.stream(assistant_id="strict", transport=transport) as thread:
        run_id = (await thread.run.start(input=said("talk")))["run_id"]
        ready = asyncio.Event()

        async def text(message: Any) -> str:
            found = ""
            with pytest.raises(RuntimeError, match=r"The run was stopped|stopped by the user"):
                async for piece in message.text:
                    found += piece
            return found

        async def texts() -> str:
            async with asyncio.TaskGroup() as group:
                handles = []
                async for message in thread.messages:
                    handles.append(group.create_task(text(message)))
                    ready.set()
            return "".join(one.result() for one in handles)

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(texts())
            others = [group.create_task(all_of(one)) for one in (thread.values, thread.subscribe(["lifecycle"]))]
            await asyncio.wait_for(ready.wait(), 20)
            if way == "stop":
                asked = {"id": 1, "method": "run.stop", "params": {"run_id": run_id}}
                await other.http.post(f"/threads/{thread.thread_id}/commands", json=asked)
            else:
                await other.runs.cancel(thread.thread_id, run_id, action=way)  # type: ignore[arg-type]
            with anyio.fail_after(10):
                await asyncio.gather(reading, *others)
        with anyio.fail_after(10):
            output = await thread.output
    last = others[1].result()[-1]["params"]["data"]
    assert (last["event"], last["stopped"], last.get("undone", False)) == ("completed", True, way == "rollback")
    kept = (output or {}).get("messages", [])
    if way == "stop":
        assert kept[-1]["content"] == reading.result()
    else:
        assert [one["type"] for one in kept] == (["human"] if way == "interrupt" else [])


def test_the_synchronous_client_is_told_of_a_stop(server: Remote, transport: Transport) -> None:
    """Of a run that would talk for a minute."""
    client = get_sync_client(url=server.url)
    with client.threads.stream(assistant_id="strict", transport=transport) as thread:
        run_id = thread.run.start(input=said("tell 6000"))["run_id"]
        values: list[Any] = []
        reading = Thread(target=lambda: values.extend(thread.values), daemon=True)
        reading.start()
        while client.runs.get(thread.thread_id, run_id)["status"] == "pending":
            pass
        thread._send_command("run.stop", {})
        reading.join(20)
        assert values and not reading.is_alive()
        assert thread.output["messages"][0]["content"] == "tell 6000"


@pytest.mark.parametrize("end", ["term", "kill"])
async def test_the_server_restarts_in_the_middle(serve: Callable[..., Server], transport: Transport, end: str) -> None:
    """Gracefully or not: the SDK comes back by itself, and ends with the whole."""
    own = serve(THREADMILL_DRAIN_GRACE="0", THREADMILL_LEASE="1")
    async with own.client().threads.stream(assistant_id="slow", transport=transport) as thread:
        thread._shared_max_reconnect_attempts = thread._lifecycle_max_reconnect_attempts = 200
        await thread.run.start(input={"steps": 25, "delay": 0.05})
        values = asyncio.create_task(all_of(thread.values))
        steps = asyncio.create_task(all_of(thread.subscribe(["custom"])))

        async def some() -> bool:
            return bool(((await own.client().threads.get_state(thread.thread_id))["values"] or {}).get("done", 0) > 3)

        await until(some)
        await asyncio.to_thread(getattr(own, end))
        await asyncio.to_thread(own.start)
        with anyio.fail_after(40):
            output = await thread.output
            await values
            told = [one["params"]["data"]["step"] for one in await steps]
    assert output["log"] == [str(n) for n in range(1, 26)]
    assert values.result()[-1]["log"] == output["log"]
    assert set(told) == set(range(1, 26))


def test_the_synchronous_client(server: Remote, transport: Transport) -> None:
    client = get_sync_client(url=server.url)
    with client.threads.stream(assistant_id="tools", transport=transport) as thread:
        thread.run.start(input=said("add 2 3"))
        found: dict[str, list[Any]] = {"values": [], "messages": [], "tool_calls": []}
        for name, item in thread.interleave_projections(list(found)):
            found[name].append(item)
        assert ["".join(one.text) for one in found["messages"]] == ["Let me see. ", "The result is 5."]
        assert [(one.name, one.output["content"]) for one in found["tool_calls"]] == [("add", "5")]
        assert len(found["values"][-1]["messages"]) == 4
        assert thread.output["messages"][-1]["content"] == "The result is 5."


def test_the_synchronous_client_answers(server: Remote, transport: Transport) -> None:
    client = get_sync_client(url=server.url)
    with client.threads.stream(assistant_id="hitl", transport=transport) as thread:
        thread.run.start(input={})
        list(thread.values)
        assert thread.interrupted
        thread.run.respond("yes")
        assert thread.output["log"] == ["propose", {"approve": "yes"}, "done"]


async def test_an_old_thread_is_read_again(server: Remote, transport: Transport) -> None:
    """Attached to a thread that is done: everything comes again, and the output is there at once."""
    client = get_client(url=server.url)
    thread_id = str(uuid.uuid4())
    asked = {"input": said("add 2 3"), "if_not_exists": "create", "stream_mode": "messages-tuple"}
    assert [one async for one in client.runs.stream(thread_id, "tools", **asked)]
    async with client.threads.stream(thread_id, assistant_id="tools", transport=transport) as thread:
        with anyio.fail_after(20):
            assert (await thread.output)["messages"][-1]["content"] == "The result is 5."
            assert await messages_of(thread) == ["Let me see. ", "The result is 5."]
