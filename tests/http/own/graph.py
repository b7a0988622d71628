"""What a run knows of its request, and runs that it starts itself on this very server."""

import asyncio
from contextlib import aclosing
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph_sdk import get_client, get_sync_client

here = get_client()  # made before the server is there


class State(TypedDict, total=False):
    ask: str
    said: Any


async def say(state: State, config: RunnableConfig) -> State:
    ask = state.get("ask")
    if ask == "itself":
        inner = await here.runs.wait(None, "who", input={"ask": "me"})
        thread = await get_client().threads.create(metadata={"made": "inside"})
        return {"said": {"inner": inner["said"], "thread": thread}}
    if ask == "stream":
        stream = get_client().runs.stream(None, "who", input={"ask": "me"}, stream_mode="updates")
        return {"said": [part.event async for part in stream]}
    if ask == "leave":
        thread_id = (await here.threads.create())["thread_id"]
        stream = here.runs.stream(thread_id, "who", input={"ask": "wait"}, on_disconnect="cancel")
        async with aclosing(stream) as parts:
            await anext(parts)
        return {"said": thread_id}
    if ask == "wait":
        await asyncio.sleep(3600)
    place = config["configurable"]
    return {"said": {key: value for key, value in place.items() if isinstance(value, str) and key != "__pregel"}}


def say_synchronously(state: State) -> State:
    return {"said": get_sync_client().runs.wait(None, "who", input={"ask": "me"})["said"]}


builder = StateGraph(State)
builder.add_node("say", say)
builder.add_edge(START, "say")
who = builder.compile()

synchronous = StateGraph(State)
synchronous.add_node("say", say_synchronously)
synchronous.add_edge(START, "say")
blocking = synchronous.compile()
