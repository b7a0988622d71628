"""Bringing home: a thread takes over a fork, or takes messages or a summary from another branch."""

from collections.abc import Mapping, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill import branches, threads
from threadmill.errors import BadRequest, Conflict, NotFound
from threadmill.scope import ALL, Scope
from threadmill_checkpoints import sealing
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import forks, heads
from threadmill_checkpoints.saver.adopt import adopt
from threadmill_checkpoints.saver.steps import Steps


def promote(tx: Tx, serde: SerializerProtocol, thread_id: str, fork: str) -> str:
    """What the fork has done since becomes the thread's newest branch, and the thread goes on from there; returns its
    head. The fork stays."""
    for one in (thread_id, fork):
        branches.require_idle(tx, ALL, one)
    try:
        with sealing.under(sealing.CONTEXT.get() or tx.context_of(thread_id=thread_id)):
            head = adopt(tx, serde, fork, thread_id)
    except forks.Unknown as error:
        raise Conflict(f"{error}.") from None
    branches.moved(tx, thread_id, serde)
    return branches.go_to(tx, ALL, thread_id, head, serde)


def chosen(
    tx: Tx, scope: Scope, serde: SerializerProtocol, source: str, checkpoint_id: str | None, ids: Sequence[str]
) -> list[BaseMessage]:
    """These messages of a branch, in their order there. A tool call and its answers go together."""
    threads.get(tx, scope, source, shown=True)
    at = checkpoint_id or heads.head(tx, source)
    steps = Steps(tx, serde, source)
    if at is None or at not in {step.checkpoint_id for step in steps.read()}:
        raise NotFound(branches.NO_CHECKPOINT.format(at))
    there = {one.id: one for one in steps.messages(at) if isinstance(one, BaseMessage)}
    if unknown := [one for one in ids if one not in there]:
        raise NotFound(f"There is no message {unknown[0]} at checkpoint {at}")
    found = [message for name, message in there.items() if name in ids]
    calls = {call["id"] for one in found if isinstance(one, AIMessage) for call in one.tool_calls}
    answers = {one.tool_call_id for one in found if isinstance(one, ToolMessage)}
    if apart := calls ^ answers:
        raise BadRequest(f"A tool call and its answer go together: {sorted(map(str, apart))[0]} is without the other.")
    return found


def marked(messages: Sequence[BaseMessage], origin: Mapping[str, str | None]) -> list[BaseMessage]:
    """Each says where it is from."""
    return [
        one.model_copy(update={"additional_kwargs": {**one.additional_kwargs, "merged_from": dict(origin)}})
        for one in messages
    ]
