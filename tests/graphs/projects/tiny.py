from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str


def shout(state):
    return {"text": state["text"].upper()}


builder = StateGraph(State).add_node("shout", shout).add_edge(START, "shout")
