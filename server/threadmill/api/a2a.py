"""/a2a: each assistant is an agent for A2A clients (protocol 0.3). A task is a run, its context the thread."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Response
from fastapi import Request as HTTPRequest
from pydantic import Field, ValidationError

from threadmill import assistants
from threadmill.api import answers, rpc
from threadmill.api.a2a_task import Message, Task, card, text_of
from threadmill.api.inputs import input_of
from threadmill.api.rpc import PARAMS, Fault
from threadmill.api.runs import begin, run_and_wait
from threadmill.api.wire import Body, Here, Me, Route, Stream, json, read_json
from threadmill.assistants import Assistant
from threadmill.auth import Caller
from threadmill.errors import BadRequest, Conflict, Invalid, NotFound, Unavailable
from threadmill.ids import new_id, parse_id
from threadmill.runs import run as runs
from threadmill.runs.run import Run
from threadmill.runs.submit import Request
from threadmill.runtime import Runtime
from threadmill.scope import ALL, Scope
from threadmill.streaming import sse
from threadmill_checkpoints.database import Tx

router = APIRouter(tags=["A2A"], route_class=Route)

NO_TASK, NOT_CANCELABLE, UNSUPPORTED = -32001, -32002, -32004
TASK = "a2a_task"  # in the metadata of a run that answers: the run whose task it goes on with
RUNS = 100  # of a thread, newest first: where to look for those


class Configuration(Body):
    blocking: bool = True
    historyLength: int | None = Field(None, ge=0)


class Send(Body):
    message: Message
    configuration: Configuration = Field(default_factory=lambda: Configuration(historyLength=None))


class Named(Body):
    id: str
    historyLength: int | None = Field(None, ge=0)


@dataclass(frozen=True, slots=True)
class Call:
    http: HTTPRequest
    here: Runtime
    me: Caller
    id: int | str | None
    params: dict[str, Any]
    assistant: Assistant

    def answer(self, value: Any) -> Response:
        return Response(rpc.result(self.id, value), media_type="application/json")

    def event(self, value: Any) -> bytes:
        return sse.frame("message", rpc.result(self.id, value))


@router.post("/a2a/{assistant_id}", openapi_extra=rpc.BODY, responses=answers.rpc(answers.TASK_EVENTS))
async def post(assistant_id: str, http: HTTPRequest, here: Here, me: Me) -> Response:
    message_id = None
    try:
        message = rpc.read(read_json(await http.body()))
        message_id = message.id
        assistant = await _assistant(here, me, assistant_id)
        method = METHODS.get(message.method or "")
        if method is None:
            raise Fault(rpc.METHOD, f"Method not found: {message.method}")
        return await method(Call(http, here, me, message.id, message.params, assistant))
    except orjson.JSONDecodeError:
        fault = Fault(rpc.PARSE, "Invalid JSON payload")
    except ValidationError as error:
        first = error.errors()[0]
        fault = Fault(PARAMS, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
    except (BadRequest, Conflict, Invalid, NotFound, Unavailable) as error:
        fault = Fault(PARAMS, error.message)
    except Fault as error:
        fault = error
    return Response(rpc.fault(message_id, fault), media_type="application/json")


@router.get("/.well-known/agent-card.json", responses=answers.answers(answers.Json) | rpc.UNREADABLE)
@router.get("/a2a/{assistant_id}/.well-known/agent-card.json", include_in_schema=False)  # where the clients' SDKs look
@router.get("/a2a/{assistant_id}", include_in_schema=False)
async def agent_card(http: HTTPRequest, here: Here, me: Me, assistant_id: str | None = None) -> Response:
    try:
        if not assistant_id:
            raise Fault(PARAMS, "Missing required query parameter: assistant_id")
        assistant = await _assistant(here, me, assistant_id)
    except Fault as error:
        return json({"error": {"code": error.code, "message": str(error)}}, status=400)
    url = f"{str(http.base_url).rstrip('/')}/a2a/{assistant.assistant_id}"
    return json(card(assistant, await input_of(http, here, me, assistant), url))


async def _assistant(here: Runtime, me: Caller, assistant_id: str) -> Assistant:
    try:
        assistant_id = parse_id(assistant_id, "assistant")
        scope = await me.may("assistants", "read", {"assistant_id": assistant_id, "metadata": {}})
        return await here.database.read(assistants.get, scope, assistant_id)
    except Invalid as error:
        raise Fault(PARAMS, error.message) from error
    except NotFound as error:
        raise Fault(PARAMS, f"Assistant '{assistant_id}' not found") from error


# Messages


async def _send(call: Call) -> Response:
    body = Send.model_validate(call.params)
    request, thread_id, first = await _request(call, body.message)
    if not body.configuration.blocking:
        run = (await begin(call.here, call.me, request, thread_id, call.http)).accepted
        return call.answer(_opened(call, Task(first or run.run_id, run)))

    async def answer(run: Run, output: bytes) -> bytes:
        task = await _ended(call.here, first or run.run_id, run, output)
        return rpc.result(call.id, task.shown(body.configuration.historyLength))

    return await run_and_wait(call.here, call.me, request, thread_id, call.http, answer=answer)


async def _stream(call: Call) -> Response:
    request, thread_id, first = await _request(call, Send.model_validate(call.params).message)
    submitted = await begin(call.here, call.me, request, thread_id, call.http)
    first = first or submitted.run.run_id
    opened = _opened(call, Task(first, submitted.accepted))
    # The run as it was started: a reader of one that is pending waits for a start that has been.
    return Stream(_events(call, Task(first, submitted.run), opened), sse.HEADERS)


def _opened(call: Call, task: Task) -> dict[str, Any]:
    """The task before its run has said anything: all there is is what was asked."""
    asked = {key: call.params["message"].get(key) for key in ("role", "parts", "messageId")}
    return {**task.shown(), "history": [{"kind": "message", **asked, **task.ids}]}


async def _request(call: Call, message: Message) -> tuple[Request, str, str | None]:
    """The run to make, its thread, and the run whose task it goes on with."""
    if not message.parts:
        raise Fault(PARAMS, "'parts' of a message must not be empty")
    if message.taskId is not None:
        return await _resumption(call, message, message.taskId)
    thread_id = parse_id(message.contextId, "context") if message.contextId is not None else new_id()
    takes = await input_of(call.http, call.here, call.me, call.assistant)
    request = Request(
        call.assistant.assistant_id,
        message.input(call.assistant, takes),
        stream_mode=("values", "messages-tuple"),
        if_not_exists="create",
    )
    return request, thread_id, None


async def _resumption(call: Call, message: Message, task_id: str) -> tuple[Request, str, str]:
    task = await _find(call, "read", task_id)
    thread_id = task.run.thread_id
    if message.contextId not in (None, thread_id):
        raise Fault(PARAMS, "The task belongs to another context")
    if task.run.active:
        raise Fault(UNSUPPORTED, "A working task cannot accept another message")
    thread = await call.here.thread(ALL, thread_id)
    if task.over or not thread.interrupts:
        raise Fault(UNSUPPORTED, "A terminal task cannot accept another message")
    request = Request(
        call.assistant.assistant_id,
        command={"resume": message.answer(task.interrupts)},
        metadata={TASK: task.first},
        stream_mode=("values", "messages-tuple"),
    )
    return request, thread_id, task.first


async def _events(call: Call, task: Task, opened: dict[str, Any]) -> AsyncIterator[bytes]:
    """The task as it is; what the agent says, as far as it is known; what came out; how it ended."""
    yield call.event(opened)
    texts: dict[str, str] = {}
    async for frames in call.here.reader.follow(task.run):
        if frames.startswith(b":"):
            yield frames
            if frames == sse.DRAINING:
                return
        for key in _heard(frames, texts):  # one update for many tokens, when there are many at once
            yield call.event(task.update(final=False, said=task.said(key, texts[key])))
    ended = await _state(call.here, task.first, task.run)
    for artifact in ended.artifacts():
        change = {"kind": "artifact-update", **ended.ids, "artifact": artifact, "append": False, "lastChunk": True}
        yield call.event(change)
    yield call.event(ended.update(final=True))


def _heard(frames: bytes, texts: dict[str, str]) -> list[str]:
    """Adds what the agent says in frames of a run's stream to `texts`, by message; returns which have grown."""
    grown: dict[str, None] = {}
    for frame in frames.split(b"\n\n"):
        name, _, data = frame.partition(b"\ndata: ")
        if name != b"event: messages":
            continue
        message = orjson.loads(data.partition(b"\nid: ")[0])[0]
        key, text, kind = str(message.get("id")), text_of(message), message.get("type")
        if text and kind in ("ai", "AIMessageChunk"):
            texts[key] = text if kind == "ai" else texts.get(key, "") + text
            grown[key] = None
    return list(grown)


# Tasks


async def _get(call: Call) -> Response:
    named = Named.model_validate(call.params)
    return call.answer((await _find(call, "read", named.id)).shown(named.historyLength))


async def _cancel(call: Call) -> Response:
    task = await _find(call, "update", Named.model_validate(call.params).id)
    run = task.run
    if not await call.here.cancel(run.thread_id, [run.run_id], "interrupt", "tasks/cancel"):
        raise Fault(NOT_CANCELABLE, "Task is not cancelable in its current state")
    await call.here.ended(run.run_id)
    return call.answer((await _state(call.here, task.first, run)).shown())


async def _resubscribe(call: Call) -> Response:
    task = await _find(call, "read", Named.model_validate(call.params).id)
    return Stream(_events(call, task, task.shown()), sse.HEADERS)


METHODS: dict[str, Callable[[Call], Awaitable[Response]]] = {
    "message/send": _send,
    "message/stream": _stream,
    "tasks/get": _get,
    "tasks/cancel": _cancel,
    "tasks/resubscribe": _resubscribe,
}


async def _find(call: Call, action: str, task_id: str) -> Task:
    try:
        thread_id, first = (parse_id(part, "task") for part in task_id.split(":"))
        scope = await call.me.may("threads", action, {"thread_id": thread_id, "run_id": first})
        run = await call.here.database.read(_newest, scope, thread_id, first)
    except (ValueError, Invalid, NotFound):
        run = None
    if run is None or run.assistant_id != call.assistant.assistant_id:
        raise Fault(NO_TASK, f"Task not found: {task_id}")
    return await _state(call.here, first, run)


def _newest(tx: Tx, scope: Scope, thread_id: str, first: str) -> Run:
    """Of the runs that make the task."""
    one = runs.get(tx, scope, thread_id, first)
    later = runs.of_thread(tx, scope, thread_id, limit=RUNS)
    return next((run for run in later if run.metadata.get(TASK) == first), one)


async def _state(here: Runtime, first: str, run: Run) -> Task:
    return await _ended(here, first, run, await here.output(run.thread_id, run.run_id))


async def _ended(here: Runtime, first: str, run: Run, output: bytes) -> Task:
    now = await here.database.read(runs.find, ALL, run.run_id)
    return Task(first, now or run, orjson.loads(output))
