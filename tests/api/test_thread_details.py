"""What is easily overlooked about threads."""

from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError
from serving import progressed

pytestmark = pytest.mark.anyio


async def test_a_born_state_may_begin_with_an_input(client: LangGraphClient) -> None:
    steps: Any = [
        {"updates": [{"values": {"log": [], "n": 1}, "as_node": "__input__"}]},
        {"updates": [{"values": {"n": 2}, "as_node": "__start__"}]},
    ]
    thread = (await client.threads.create(graph_id="hitl", supersteps=steps))["thread_id"]
    history = await client.threads.get_history(thread)
    assert [(one["metadata"]["source"], one["next"]) for one in history] == [  # type: ignore[index]
        ("update", ["propose"]),
        ("input", ["__start__"]),
    ]
    output: Any = await client.runs.wait(thread, "hitl")
    assert (output["log"], output["n"]) == (["propose"], 2)


async def test_a_factory_gets_the_config_of_the_thread_when_its_state_is_read(
    client: LangGraphClient, thread: str
) -> None:
    """The checkpoint names the node `special`, which the graph has only when it is built with that config."""
    config: Any = {"configurable": {"node": "special"}}
    await client.runs.wait(thread, "factory", input={}, config=config, interrupt_before="*")
    assert (await client.threads.get_state(thread))["next"] == ["special"]
    assert [one["next"] for one in await client.threads.get_history(thread)] == [["special"], ["__start__"]]
    await client.threads.update_state(thread, {"n": 5}, as_node="special")
    assert (await client.threads.get_state(thread))["next"] == []


async def test_the_state_cannot_be_written_under_a_running_run(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input={"steps": 200, "delay": 0.05})
    await progressed(client, thread)
    with pytest.raises(ConflictError):
        await client.threads.update_state(thread, {"tag": "x"})
    await client.runs.cancel(thread, run["run_id"], wait=True)
    await client.threads.update_state(thread, {"tag": "x"})
    assert (await client.threads.get_state(thread))["values"]["tag"] == "x"
