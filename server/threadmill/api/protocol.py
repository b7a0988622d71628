"""The event protocol (v2): /threads/{id}/commands, /threads/{id}/stream/events over SSE and WebSocket."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from threadmill import interrupts, threads
from threadmill.api import answers, snapshot
from threadmill.api.feed import reader_of
from threadmill.api.runs import allowed
from threadmill.api.wire import Here, Me, Route, Stream, json, read_json
from threadmill.auth import Caller
from threadmill.errors import BadRequest, NotFound, ThreadmillError
from threadmill.ids import new_id, parse_id
from threadmill.runs import recovery, submit
from threadmill.runs import run as runs
from threadmill.runtime import Runtime
from threadmill.scope import ALL, Scope
from threadmill.state import Checkpoint
from threadmill.streaming import commands, simple, sse, v2
from threadmill.streaming.commands import Command, Refused
from threadmill.streaming.projection import Envelope
from threadmill_checkpoints.database import Tx

router = APIRouter(prefix="/threads/{thread_id}", tags=["Event Protocol"], route_class=Route)
Result = Mapping[str, Any]
NO_RUN = Refused("no_such_run", "No active run is bound to this thread.")


async def _body(http: Request) -> Any:
    try:
        return read_json(await http.body())
    except orjson.JSONDecodeError:
        raise BadRequest("Invalid JSON body") from None


@router.post(
    "/commands",
    responses=answers.answers(answers.CommandAnswer)
    | {400: {"model": answers.CommandAnswer | answers.Refusal, "description": answers.WHY[400]}},
    openapi_extra=answers.body(answers.COMMAND),
)
async def command(thread_id: str, here: Here, me: Me, http: Request) -> Response:
    """One command of the protocol: `{"id", "method", "params"}`."""
    value = await _body(http)
    try:
        asked = Command.parse(value)
    except commands.Malformed as error:
        return json(commands.failure(error.command_id, error), status=error.status)
    return json(await answer(here, me, thread_id, asked, str(http.scope.get("state", {}).get("request_id", ""))))


@router.post(
    "/stream/events",
    responses=answers.events(*answers.PROTOCOL_EVENTS, 400, 404),
    openapi_extra=answers.body(answers.STREAM),
)
async def stream(thread_id: str, here: Here, me: Me, http: Request) -> Response:
    """What happens on the thread, as envelopes; does not end by itself. The thread may not be there yet."""
    params = await _body(http)
    if not isinstance(params, dict):
        raise BadRequest("channels is required and must be a non-empty array")
    wanted, since = v2.Wanted.from_params(params), v2.cursor(params.get("since"))
    thread_id = parse_id(thread_id, "thread")
    await watchable(here, me, thread_id)
    framed = simple.Profile(thread_id).frames if params.get("profile") == "simple" else v2.frames
    return Stream(_frames(here, thread_id, wanted, since, framed), sse.HEADERS)


async def _frames(
    here: Runtime, thread_id: str, wanted: v2.Wanted, since: int | None, framed: Callable[[list[Envelope]], bytes]
) -> AsyncIterator[bytes]:
    async for batch in here.events.follow(thread_id, since):
        if not batch:
            yield sse.HEARTBEAT
        elif found := framed([one for one in batch if wanted.takes(one)]):
            yield found
    if here.log.closing:  # a stream that just ended would look like a run without an end
        raise ConnectionAbortedError("the server stops")


async def watchable(here: Runtime, me: Caller, thread_id: str) -> None:
    """Anybody may wait for a thread that is not there, unless somebody else's could be told from it by that."""
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    if scope.filter and not await here.database.read(threads.exists, scope, thread_id):
        raise NotFound(f"Thread with ID {thread_id} not found")


# Commands


async def answer(here: Runtime, me: Caller, thread_id: str, asked: Command, request_id: str) -> dict[str, Any]:
    """Never raises for what a client did wrong: errors are answers too."""
    try:
        thread_id = parse_id(thread_id, "thread")
        act = ACTIONS.get(asked.method)
        if act is None:
            raise Refused("unknown_command", f"Unknown protocol command: {asked.method}")
        # Clients take the number for a cursor, and may not have read what a run has said or the command brings about.
        seen = await here.database.read(_before, thread_id)
        return commands.success(asked, await act(here, me, thread_id, asked, request_id), seen)
    except ThreadmillError as error:
        return commands.failure(asked.id, error)


def _before(tx: Tx, thread_id: str) -> int:
    """The number of the last event before those of the run that is under way."""
    begun = [run.first_seq for run in runs.active(tx, thread_id) if run.first_seq is not None]
    return min(begun) - 1 if begun else threads.left(tx, thread_id)[0]


async def _start(here: Runtime, me: Caller, thread_id: str, asked: Command, request_id: str) -> Result:
    """On a thread that waits for a person, the input is the answer."""
    choice = asked.params.get("if_interrupted", "resume")
    if choice not in ("resume", "proceed", "reject"):
        raise Refused("invalid_argument", "if_interrupted must be one of resume, proceed, reject.")

    def decide(tx: Tx, request: submit.Request) -> submit.Request:
        if choice == "resume" and _unanswered(tx, thread_id):
            return replace(request, input=None, command={"resume": request.input})
        return request

    request = replace(_request(asked, asked.text("assistant_id")), input=asked.params.get("input"))
    request = replace(request, if_interrupted="reject" if choice == "reject" else "proceed")
    return {"run_id": await _submit(here, me, thread_id, request, request_id, decide)}


async def _respond(here: Runtime, me: Caller, thread_id: str, asked: Command, request_id: str) -> Result:
    one = {"interrupt_id": asked.params.get("interrupt_id"), "response": asked.params.get("response")}
    given = asked.typed("responses", list, [one])
    if not all(isinstance(each, dict) and isinstance(each.get("interrupt_id"), str) for each in given) or not given:
        raise Refused("invalid_argument", "input.respond requires an interrupt_id for each response.")
    resume = {each["interrupt_id"]: each.get("response") for each in given}

    def decide(tx: Tx, request: submit.Request) -> submit.Request:
        waiting = _unanswered(tx, thread_id)
        if unknown := [id for id in resume if id not in waiting]:
            raise Refused("no_such_interrupt", f"Unknown or already-consumed interrupt: {', '.join(unknown)}")
        return request

    command = {"resume": resume} | {name: asked.params[name] for name in ("update", "goto") if asked.params.get(name)}
    request = replace(_request(asked, await _assistant(here, me, thread_id)), command=command)
    await _submit(here, me, thread_id, request, request_id, decide)
    return {}


def _unanswered(tx: Tx, thread_id: str) -> set[str]:
    """What a person is asked, without what a run that is under way, or about to be, brings an answer to."""
    asked = {one.interrupt_id for one in interrupts.of_thread(tx, thread_id)}
    for run in runs.active(tx, thread_id):
        brought = (run.kwargs["command"] or {}).get("resume")
        if brought is not None:
            asked -= set(brought) if isinstance(brought, dict) and asked & set(brought) else asked
    return asked


async def _stop(here: Runtime, me: Caller, thread_id: str, asked: Command, _: str) -> Result:
    """Ends what runs; what was said is kept, and the thread is ready for the next message."""
    await _mine(here, me, thread_id, "stop")
    stopped = await here.stop_turn(thread_id, asked.typed("run_id", str))
    if stopped is None:
        raise NO_RUN
    await here.ended(stopped.run_id)
    return {"run_id": stopped.run_id}


async def _pause(here: Runtime, me: Caller, thread_id: str, asked: Command, _: str) -> Result:
    """At the next safe point, between two supersteps. The snapshot is of the thread as it waits there; a reader goes on
    at `cursor`."""
    await _mine(here, me, thread_id, "pause")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    run = await here.pause(thread_id, asked.typed("run_id", str))
    if run is None:
        raise NO_RUN
    shown = await snapshot.taken(here, scope, thread_id, reader_of(me))
    now = await here.database.read(runs.find, ALL, run.run_id)
    status = now.status if now is not None else "interrupted"
    named = {"run_id": run.run_id, "paused": status == "pending", "status": status}
    return named | {"cursor": shown["cursor"], "snapshot": shown}


async def _resume(here: Runtime, me: Caller, thread_id: str, asked: Command, _: str) -> Result:
    """Asking again changes nothing."""
    await _mine(here, me, thread_id, "resume")
    run = await here.resume(thread_id, asked.typed("run_id", str))
    if run is None and not await here.database.read(runs.active, thread_id):
        raise NO_RUN
    return {} if run is None else {"run_id": run.run_id}


async def _recover(here: Runtime, me: Caller, thread_id: str, asked: Command, _: str) -> Result:
    """What is to become of a run that ended with a crash: the thread's last one unless it is named."""
    choice = asked.text("choice")
    if choice not in recovery.CHOICES:
        raise Refused("invalid_argument", f"choice must be one of {', '.join(recovery.CHOICES)}.")
    run_id = asked.typed("run_id", str)
    scope = await me.may("threads", "update", {"thread_id": thread_id, "run_id": run_id, "action": "recover"})
    if run_id is None:
        run_id = await here.database.read(recovery.newest_crash, thread_id)
    if run_id is None or not await here.database.read(threads.exists, scope, thread_id):
        raise NO_RUN
    return {"choice": choice, "run_id": await here.recover(scope, thread_id, run_id, choice)}


async def _inject(here: Runtime, me: Caller, thread_id: str, asked: Command, _: str) -> Result:
    """To the run that is under way, which sees it from its next superstep on."""
    message = asked.typed("message", dict, {})
    if message.get("role") not in ("user", "system") or not isinstance(message.get("content"), str | list):
        raise Refused("invalid_argument", "input.inject requires a message with role user or system, and content.")
    await _mine(here, me, thread_id, "inject")
    said = {"id": new_id(), **{key: message[key] for key in ("id", "role", "content", "name") if message.get(key)}}
    run = await here.say(thread_id, said)
    if run is None:
        raise NO_RUN
    return {"run_id": run.run_id, "message_id": said["id"]}


async def _mine(here: Runtime, me: Caller, thread_id: str, action: str) -> None:
    scope = await me.may("threads", "update", {"thread_id": thread_id, "action": action})
    if not await here.database.read(threads.exists, scope, thread_id):
        raise NO_RUN


async def _tree(here: Runtime, me: Caller, thread_id: str, asked: Command, _: str) -> Result:
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    there = await here.database.read(_active, scope, thread_id)
    wanted = asked.params.get("run_id")
    found = [run for run in there if wanted in (None, run.run_id)]
    if not found:
        raise NO_RUN
    return {"tree": await here.events.tree(found[0])}


def _active(tx: Tx, scope: Scope, thread_id: str) -> list[runs.Run]:
    return runs.active(tx, thread_id) if threads.exists(tx, scope, thread_id) else []


async def _get(here: Runtime, me: Caller, thread_id: str, asked: Command, _: str) -> Result:
    state = await _state(here, me, thread_id, "|".join(asked.texts("namespace") or []))
    if state["checkpoint"] is None:
        raise Refused("no_such_checkpoint", "The thread has no state yet.")
    keys = asked.texts("keys")
    values = {key: value for key, value in state["values"].items() if keys is None or key in keys}
    return {"values": values, "checkpoint": {"id": state["checkpoint_id"], "ns": state["checkpoint"]["checkpoint_ns"]}}


async def _state(here: Runtime, me: Caller, thread_id: str, namespace: str) -> dict[str, Any]:
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    return await here.on_state_loop(here.states.get(scope, thread_id, Checkpoint(None, namespace)))


async def _checkpoints(here: Runtime, me: Caller, thread_id: str, asked: Command, _: str) -> Result:
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    limit, before = asked.typed("limit", int, 10), asked.typed("before", str)
    if not 1 <= limit <= 1000:
        raise Refused("invalid_argument", "limit must be from 1 to 1000.")
    at = Checkpoint(None, "|".join(asked.texts("namespace") or []))
    earlier = Checkpoint(before) if before else None
    found = await here.on_state_loop(here.states.history(scope, thread_id, at, limit=limit, before=earlier))
    return {"checkpoints": [_summary(state) for state in found]}


def _summary(state: Mapping[str, Any]) -> dict[str, Any]:
    metadata = state["metadata"] or {}
    return {
        "id": state["checkpoint_id"],
        "parent_id": state["parent_checkpoint_id"],
        "timestamp": state["created_at"],
        "step": metadata.get("step"),
        "next": state["next"],
        "metadata": metadata,
    }


async def _fork(here: Runtime, me: Caller, thread_id: str, asked: Command, request_id: str) -> Result:
    """A run from a checkpoint of the past, on this thread."""
    checkpoint_id = asked.text("checkpoint_id")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    state = await here.on_state_loop(here.states.get(scope, thread_id, Checkpoint(checkpoint_id)))
    if state["checkpoint"] is None or state["created_at"] is None:
        raise Refused("no_such_checkpoint", f"The thread has no checkpoint {checkpoint_id}.")
    request = _request(asked, await _assistant(here, me, thread_id))
    place = {"checkpoint_id": checkpoint_id, "checkpoint_ns": ""}
    request = replace(request, input=asked.params.get("input"), checkpoint=place)
    return {"run_id": await _submit(here, me, thread_id, request, request_id), "thread_id": thread_id}


async def _nothing_here(here: Runtime, me: Caller, thread_id: str, asked: Command, _: str) -> Result:
    """Over HTTP a subscription is a request of its own; the command is accepted, as clients may send it first."""
    v2.Wanted.from_params(dict(asked.params))
    await watchable(here, me, thread_id)
    return {"subscription_id": f"http-{asked.id}", "replayed_events": 0}


def _request(asked: Command, assistant_id: str) -> submit.Request:
    return submit.Request(
        assistant_id=assistant_id,
        config=asked.typed("config", dict, {}),
        metadata=asked.typed("metadata", dict, {}),
        stream_mode=commands.MODES,
        stream_subgraphs=True,
        stream_resumable=True,
        on_crash=_policy(asked),
        if_not_exists="create",
        multitask_strategy=_strategy(asked),
    )


def _policy(asked: Command) -> str | None:
    policy = asked.typed("on_crash", str)
    if policy is not None and policy not in recovery.POLICIES:
        raise Refused("invalid_argument", "on_crash must be one of retry, wait.")
    return str(policy) if policy is not None else None


def _strategy(asked: Command) -> str:
    strategy = asked.params.get("multitask_strategy", "enqueue")
    if strategy not in ("enqueue", "reject", "interrupt", "rollback"):
        raise Refused("invalid_argument", "multitask_strategy must be one of enqueue, reject, interrupt, rollback.")
    return str(strategy)


async def _assistant(here: Runtime, me: Caller, thread_id: str) -> str:
    """That of the thread's last run."""
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    try:
        thread = await here.database.read(threads.get, scope, thread_id)
    except NotFound:
        raise Refused("no_such_run", "No run is bound to this thread.") from None
    found = thread.metadata.get("assistant_id") or thread.metadata.get("graph_id")
    if found is None:
        raise Refused("no_such_run", "No run is bound to this thread.")
    return str(found)


async def _submit(
    here: Runtime,
    me: Caller,
    thread_id: str,
    request: submit.Request,
    request_id: str,
    decide: Callable[[Tx, submit.Request], submit.Request] | None = None,
) -> str:
    scope, request = await allowed(here, me, request, thread_id)
    return (await here.submit(scope, request, thread_id, request_id, decide=decide)).run.run_id


Action = Callable[[Runtime, Caller, str, Command, str], Awaitable[Result]]
ACTIONS: dict[str, Action] = {
    "run.start": _start,
    "run.stop": _stop,
    "run.pause": _pause,
    "run.resume": _resume,
    "run.recover": _recover,
    "input.inject": _inject,
    "input.respond": _respond,
    "agent.getTree": _tree,
    "state.get": _get,
    "state.listCheckpoints": _checkpoints,
    "state.fork": _fork,
    "subscription.subscribe": _nothing_here,
}
