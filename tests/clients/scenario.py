"""A scenario: what a program does with the Python SDK, written once for every client that has its methods.

Nothing here may need more than the SDK itself: the previous SDK runs scenarios in an environment of its own.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from langgraph_sdk.errors import APIStatusError

Story = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """`shows`: rows of docs/compatibility.md. `previous`: the SDK of the last minor version can do it too."""

    name: str
    story: Story
    shows: tuple[str, ...]
    previous: bool


SCENARIOS: dict[str, Scenario] = {}


def scenario(*shows: str, previous: bool = True) -> Callable[[Story], Story]:
    def told(story: Story) -> Story:
        name = story.__name__
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(name, story, shows, previous)
        return story

    return told


@contextmanager
def refused(error: type[APIStatusError]) -> Iterator[None]:
    """The client must raise exactly this."""
    try:
        yield
    except APIStatusError as raised:
        assert type(raised) is error, repr(raised)
    else:
        raise AssertionError(f"no {error.__name__}")


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def texts(values: Any) -> list[str]:
    return [message["content"] for message in values["messages"]]


async def new_thread(client: Any) -> str:
    thread: str = (await client.threads.create())["thread_id"]
    return thread
