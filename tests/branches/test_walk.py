"""A random walk of edits, regenerations, forks, switches and deletions, against a plain account of what was said.

`THREADMILL_WALK=long` goes deeper and more often.
"""

import os
import random
from dataclasses import dataclass, field

import pytest
from branches.conftest import Threads
from serving import Server

LONG = os.environ.get("THREADMILL_WALK") == "long"
WALKS, STEPS = (20, 50) if LONG else (2, 14)


@dataclass(eq=False)
class Said:
    """A message; `below` are the ones that were said after it, oldest first."""

    text: str
    above: "Said | None" = None
    below: list["Said"] = field(default_factory=list)

    def path(self) -> list["Said"]:
        return [*(self.above.path() if self.above else []), *([self] if self.above else [])]

    def say(self, text: str) -> "Said":
        self.below.append(Said(text, self))
        return self.below[-1]


class Account:
    """Of one thread: the root of what was said, and where it is."""

    def __init__(self) -> None:
        self.root = self.at = Said("")

    def turn(self, place: Said, text: str) -> None:
        question = place.say(text)
        self.at = question.say(f"{len(question.path())}: {text}")

    def again(self, question: Said) -> None:
        self.at = question.say(f"{len(question.path())}: {question.text}")

    def copied(self) -> "Account":
        """A fork has the path, and nothing beside it."""
        other = Account()
        for one in self.at.path():
            other.at = other.at.say(one.text)
        return other


@pytest.mark.parametrize("graph", ["echo", "deltas"])
@pytest.mark.parametrize("seed", range(WALKS))
def test_the_tree_is_what_was_done(threads: Threads, graph: str, seed: int) -> None:
    dice = random.Random(f"{graph} {seed}")
    known = {threads.new(graph): Account()}
    for step in range(STEPS):
        thread = dice.choice(list(known))
        account = known[thread]
        path = account.at.path()
        what = dice.choice(("say", "say", "edit", "edit", "again", "fork", "switch", "back"))
        shown = threads.shown(thread)
        questions = [at for at in range(len(path)) if at % 2 == 0]
        if what == "say" or not path:
            threads.say(thread, f"s{step}", graph)
            account.turn(account.at, f"s{step}")
        elif what == "edit":
            at = dice.choice(questions)
            threads.say(thread, f"e{step}", graph, checkpoint_id=shown[at]["fork_from"])
            account.turn(path[at].above or account.root, f"e{step}")
        elif what == "again":
            at = dice.choice(questions)
            threads.sdk.runs.wait(thread, graph, input=None, checkpoint_id=shown[at + 1]["fork_from"])
            account.again(path[at])
        elif what == "fork":
            fork = threads.fork(thread)["thread_id"]
            known[fork] = account.copied()
            thread, account = fork, known[fork]
        elif what == "switch":
            choices = [(at, one) for at, row in enumerate(shown) for one in range(len(row.get("siblings", ())))]
            if choices:
                at, one = dice.choice(choices)
                threads.head(thread, shown[at]["siblings"][one]["head"])
                account.at = _newest(threads, thread, (path[at].above or account.root).below[one])
        else:  # go on from the middle
            at = dice.choice(questions)
            if at:
                threads.head(thread, shown[at]["fork_from"])
                account.at = path[at].above or account.root
        same(threads, thread, account)
    for thread, account in known.items():
        same(threads, thread, account)
    if isinstance(threads.server, Server) and seed == 0:
        threads.server.kill()
        threads.server.start()
        for thread, account in known.items():
            same(threads, thread, account)


def _newest(threads: Threads, thread: str, place: Said) -> Said:
    """Where the head is: below `place`, as the server chose what was said last there."""
    at = place
    for text in threads.texts(thread)[len(place.path()) :]:
        at = next(one for one in reversed(at.below) if one.text == text)
    return at


def same(threads: Threads, thread: str, account: Account) -> None:
    path = account.at.path()
    shown = threads.shown(thread)
    assert threads.texts(thread) == [one.text for one in path] == [one["message"]["content"] for one in shown]
    there = threads.sdk.threads.get(thread)
    assert there["message_count"] == len(path)
    for one, row in zip(path, shown, strict=True):
        others = one.above.below if one.above else [one]
        assert [other["preview"] for other in row.get("siblings", [{"preview": one.text}])] == [
            other.text for other in others
        ]
        assert row.get("shown", 0) == others.index(one)
