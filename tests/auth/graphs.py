"""A graph that says who runs it."""

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime


class State(TypedDict, total=False):
    said: dict[str, Any]
    seen: list[Any]


async def say(state: State, config: RunnableConfig, runtime: Runtime[None]) -> State:
    place = config["configurable"]
    user = runtime.server_info.user if runtime.server_info else None
    assert user is not None
    by_attribute, by_key = user.identity, user["plan"]
    said = {"id": place["langgraph_auth_user_id"], "name": by_attribute, "plan": by_key}
    said |= {key: place[key] for key in ("tenant",) if key in place}
    return {"said": said | {"permissions": place["langgraph_auth_permissions"], "user_id": place["user_id"]}}


builder = StateGraph(State)
builder.add_node("say", say)
builder.add_edge(START, "say")
who = builder.compile()
