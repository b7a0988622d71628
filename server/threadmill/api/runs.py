"""/threads/{id}/runs and /runs: create, wait, stream, join, cancel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal, cast, get_args

from fastapi import APIRouter, Header, Query, Response
from fastapi import Request as HTTPRequest

from threadmill import assistants, threads
from threadmill.api import answers
from threadmill.api.run_requests import StatelessRun, ThreadRun
from threadmill.api.wire import Body, Here, Me, Route, Stream, json, listed, one_of, selected
from threadmill.auth import Caller
from threadmill.errors import Invalid, NotFound
from threadmill.ids import new_id, parse_id
from threadmill.jsonable import dumps
from threadmill.runs import run as runs
from threadmill.runs.run import FIELDS, NEVER_SET, Action, Run, shown
from threadmill.runs.submit import Request, Submitted
from threadmill.runtime import SEEN_S, STOP_S, Runtime
from threadmill.scope import ALL, Scope
from threadmill.signals import Waiter
from threadmill.streaming import sse, wait

threaded = APIRouter(prefix="/threads/{thread_id}/runs", tags=["Thread Runs"], route_class=Route)
stateless = APIRouter(prefix="/runs", tags=["Stateless Runs"], route_class=Route)
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)]
Modes = Annotated[list[str] | None, Query(alias="stream_mode")]
Ending = Annotated[str, Query(json_schema_extra={"enum": ["interrupt", "rollback"]})]
Waits = Annotated[str, Query(alias="wait", description="`1` or `true`: answer when it has ended.")]

Answer = Callable[[Run, bytes], Awaitable[bytes]]
GONE = "No matching runs to cancel: they have ended, or the thread ID and run IDs do not belong together."


class Cancel(Body):
    thread_id: str | None = None
    run_ids: list[str] | None = None
    status: Literal["pending", "running", "all"] | None = None


class Recovery(Body):
    choice: Literal["keep", "continue", "regenerate", "discard"]


# Runs on a thread


@threaded.post("", responses=answers.answers(answers.Run, 400, 404, 409, headers=("content-location",)))
async def create(thread_id: str, body: ThreadRun, here: Here, me: Me, http: HTTPRequest, key: Key = None) -> Response:
    thread_id = parse_id(thread_id, "thread")
    run = (await begin(here, me, body.on_thread(key), thread_id, http)).accepted
    return json(shown(run), headers={"content-location": f"/threads/{thread_id}/runs/{run.run_id}"})


@threaded.post("/wait", responses=answers.output(400, 404, 409))
async def create_and_wait(
    thread_id: str, body: ThreadRun, here: Here, me: Me, http: HTTPRequest, key: Key = None
) -> Response:
    return await run_and_wait(here, me, body.on_thread(key), parse_id(thread_id, "thread"), http, body.on_disconnect)


@threaded.post("/stream", responses=answers.events(*answers.RUN_EVENTS, 400, 404, 409))
async def create_and_stream(
    thread_id: str, body: ThreadRun, here: Here, me: Me, http: HTTPRequest, key: Key = None
) -> Response:
    thread_id = parse_id(thread_id, "thread")
    run = (await begin(here, me, body.on_thread(key), thread_id, http)).run
    return _stream(here, run, f"/threads/{thread_id}/runs/{run.run_id}", body.on_disconnect)


@threaded.get("", responses=answers.answers(list[answers.RunPart], 404))
async def list_runs(
    thread_id: str,
    here: Here,
    me: Me,
    limit: Annotated[int, Query(ge=0, le=1000)] = 10,
    offset: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    status: str | None = None,
    select: Annotated[list[str] | None, Query()] = None,
) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    names = listed(select)
    for name in names:
        one_of("select", name, (*FIELDS, *NEVER_SET))
    found = await here.database.read(runs.of_thread, scope, thread_id, status=status, limit=limit, offset=offset)
    return json(selected([shown(run) for run in found], names))


@threaded.get("/{run_id}", responses=answers.answers(answers.Run, 404))
async def get(thread_id: str, run_id: str, here: Here, me: Me) -> Response:
    return json(shown(await _find(here, me, "read", thread_id, run_id)))


@threaded.delete("/{run_id}", status_code=204, responses=answers.nothing(404, 409))
async def delete(thread_id: str, run_id: str, here: Here, me: Me) -> Response:
    thread_id, run_id = _ids(thread_id, run_id)
    scope = await me.may("threads", "delete", {"thread_id": thread_id, "run_id": run_id})
    await here.delete_run(scope, thread_id, run_id)
    return Response(status_code=204)


@threaded.get("/{run_id}/join", responses=answers.output(404))
async def join(thread_id: str, run_id: str, here: Here, me: Me) -> Response:
    thread_id, run_id = _ids(thread_id, run_id)
    with ExitStack() as watching:
        waiter = watching.enter_context(_watch(here, run_id))  # before the look at it, as it may end just after
        try:
            run = await _find(here, me, "read", thread_id, run_id)
        except NotFound:
            scope = await me.may("threads", "read", {"thread_id": thread_id})
            if not await here.database.read(threads.exists, scope, thread_id):
                raise NotFound("Thread not found") from None
            location = f"/threads/{thread_id}/runs/{run_id}"
            headers = {"location": f"{location}/join", "content-location": location}
            return Response(wait.NOT_FOUND, headers=headers, media_type="application/json")
        return _joined(here, run, waiter, watching.pop_all())


@threaded.get("/{run_id}/stream", responses=answers.events(*answers.RUN_EVENTS))
async def join_stream(
    thread_id: str,
    run_id: str,
    here: Here,
    me: Me,
    stream_mode: Modes = None,
    cancel_on_disconnect: bool = False,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    thread_id, run_id = _ids(thread_id, run_id)
    location = f"/threads/{thread_id}/runs/{run_id}"
    try:
        run = await _find(here, me, "read", thread_id, run_id)
    except NotFound as error:
        return Response(sse.frame("error", _not_found(error)), headers=dict(sse.HEADERS))
    left = "cancel" if cancel_on_disconnect else None
    return _stream(here, run, location, left, modes=stream_mode, last_event_id=last_event_id)


@threaded.post("/{run_id}/cancel", responses=answers.answers(answers.Json, 404, empty=202))
async def cancel(
    thread_id: str, run_id: str, here: Here, me: Me, action: Ending = "interrupt", waits: Waits = ""
) -> Response:
    thread_id, run_id = _ids(thread_id, run_id)
    await _find(here, me, "update", thread_id, run_id)
    if not await here.cancel(thread_id, [run_id], _action(action), f"{action} requested for run {run_id}"):
        raise NotFound(GONE)
    waited = waits in ("1", "true", "True")
    await here.ended(run_id, STOP_S if waited else SEEN_S)
    if not waited:
        return Response(status_code=202)
    location = f"/threads/{thread_id}/runs/{run_id}"
    return json({}, headers={"location": f"{location}/join", "content-location": location})


@threaded.post("/{run_id}/recover", responses=answers.answers(answers.Json, 404, 409))
async def recover(thread_id: str, run_id: str, body: Recovery, here: Here, me: Me) -> Response:
    """What is to become of a run that ended with a crash; `run_id` of the answer is the run that does it."""
    thread_id, run_id = _ids(thread_id, run_id)
    asked = {"thread_id": thread_id, "run_id": run_id, "action": "recover"}
    scope = await me.may("threads", "update", asked)
    return json({"choice": body.choice, "run_id": await here.recover(scope, thread_id, run_id, body.choice)})


# Stateless runs


@stateless.post("", responses=answers.answers(answers.Run, 400, 404, 409, headers=("content-location",)))
async def create_stateless(body: StatelessRun, here: Here, me: Me, http: HTTPRequest, key: Key = None) -> Response:
    run = (await begin(here, me, body.alone(key), None, http)).accepted
    return json(shown(run), headers={"content-location": f"/runs/{run.run_id}"})


@stateless.post("/wait", responses=answers.output(400, 404, 409))
async def wait_stateless(body: StatelessRun, here: Here, me: Me, http: HTTPRequest, key: Key = None) -> Response:
    return await run_and_wait(here, me, body.alone(key), None, http, body.on_disconnect)


@stateless.post("/stream", responses=answers.events(*answers.RUN_EVENTS, 400, 404, 409))
async def stream_stateless(body: StatelessRun, here: Here, me: Me, http: HTTPRequest, key: Key = None) -> Response:
    run = (await begin(here, me, body.alone(key), None, http)).run
    return _stream(here, run, f"/runs/{run.run_id}", body.on_disconnect)


@stateless.post("/batch", responses=answers.answers(list[answers.Run], 400, 404, 409))
async def create_batch(body: list[StatelessRun], here: Here, me: Me, http: HTTPRequest) -> Response:
    if not body:
        raise Invalid("A batch needs at least one run.")
    asked = [await allowed(here, me, one.alone(), None) for one in body]
    created = await here.submit_all(
        asked[0][0], [replace(request, headers=_headers(here, http)) for _, request in asked], _request_id(http)
    )
    return json([shown(run) for run in created])


@stateless.post("/cancel", status_code=204, responses=answers.nothing(404))
async def cancel_many(body: Cancel, here: Here, me: Me, action: Ending = "interrupt") -> Response:
    if body.status is None and not (body.thread_id and body.run_ids):
        raise Invalid("Name the runs by 'status', or by 'thread_id' and 'run_ids'.")
    scope = await me.may("threads", "update", {"thread_id": body.thread_id, "action": action})
    chosen = await here.database.read(
        runs.active_where,
        scope,
        thread_id=parse_id(body.thread_id, "thread") if body.thread_id else None,
        run_ids=[parse_id(one, "run") for one in body.run_ids] if body.run_ids else None,
        status=None if body.status in ("all", None) else body.status,
    )
    if not chosen:
        raise NotFound(GONE)
    reason, stopped = f"{action} requested via POST /runs/cancel", []
    for thread_id, run_ids in chosen.items():
        stopped += await here.cancel(thread_id, run_ids, _action(action), reason)
    await asyncio.gather(*(here.ended(one.run_id, SEEN_S) for one in stopped if one.status == "running"))
    return Response(status_code=204)


@stateless.get("/{run_id}/stream", responses=answers.events(*answers.RUN_EVENTS))
async def join_stateless(
    run_id: str,
    here: Here,
    me: Me,
    stream_mode: Modes = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Where `location` of POST /runs/stream leads a reader that comes back."""
    scope = await me.may("threads", "read", {"run_id": run_id})
    found = await here.database.read(runs.find, scope, parse_id(run_id, "run"))
    if found is None:
        return Response(sse.frame("error", _not_found(NotFound("Run not found"))), headers=dict(sse.HEADERS))
    return _stream(here, found, f"/runs/{run_id}", None, modes=stream_mode, last_event_id=last_event_id)


async def _find(here: Runtime, me: Caller, action: str, thread_id: str, run_id: str) -> Run:
    thread_id, run_id = _ids(thread_id, run_id)
    scope = await me.may("threads", action, {"thread_id": thread_id, "run_id": run_id})
    return await here.database.read(runs.get, scope, thread_id, run_id)


async def begin(
    here: Runtime, me: Caller, request: Request, thread_id: str | None, http: HTTPRequest, run_id: str | None = None
) -> Submitted:
    run_id = run_id or new_id()
    scope, request = await allowed(here, me, request, thread_id, run_id)
    request = replace(request, headers=_headers(here, http))
    return await here.submit(scope, request, thread_id, _request_id(http), run_id)


async def allowed(
    here: Runtime, me: Caller, request: Request, thread_id: str | None, run_id: str | None = None
) -> tuple[Scope, Request]:
    """What the auth handlers make of a run: on which threads it may be, its metadata, and what the graph is given.

    The metadata goes to a thread that is made with the run as well, so that it can be found.
    """
    assistant_id = assistants.id_of(request.assistant_id)
    use = await _usable(here, me, assistant_id)
    configurable = dict(request.config.get("configurable") or {})
    value: dict[str, Any] = {
        "thread_id": thread_id,
        "assistant_id": assistant_id,
        "run_id": run_id,
        "metadata": dict(request.metadata),
        "multitask_strategy": request.multitask_strategy,
        "if_not_exists": request.if_not_exists,
        "after_seconds": request.after_seconds,
        "kwargs": {
            "input": request.input,
            "command": request.command,
            "config": {**request.config, "configurable": configurable},
            "context": dict(request.context),
        },
    }
    scope = await me.may("threads", "create_run", value)
    added = {key: item for key, item in value["metadata"].items() if request.metadata.get(key) != item}
    user = me.user.to_dict() if me.user is not None else None
    request = _given(request, value["kwargs"])
    return scope, replace(request, metadata=value["metadata"], thread_metadata=added, user=user, use=use.filter)


async def _usable(here: Runtime, me: Caller, assistant_id: str) -> Scope:
    """Which assistants may be run: those of the project's graphs by all, also where each assistant has an owner."""
    if assistant_id in map(assistants.default_id, here.graphs.ids()):
        return ALL
    return await me.may("assistants", "read", {"assistant_id": assistant_id, "metadata": {}})


def _given(request: Request, said: dict[str, Any]) -> Request:
    """What a handler made of the `kwargs`. A run has a context or `configurable`: what it adds joins what there is."""
    config, context = said["config"], said["context"]
    if request.context and not request.config.get("configurable"):
        context, config = {**context, **config["configurable"]}, {**config, "configurable": {}}
    return replace(request, input=said["input"], command=said["command"], config=config, context=context)


async def run_and_wait(
    here: Runtime,
    me: Caller,
    request: Request,
    thread_id: str | None,
    http: HTTPRequest,
    on_disconnect: str | None = None,
    answer: Answer | None = None,
) -> Response:
    """Responds with the output, or with what `answer` makes of it; newlines come before, while it takes long."""
    with ExitStack() as watching:
        run_id = new_id()
        waiter = watching.enter_context(_watch(here, run_id))  # before it can end
        run = (await begin(here, me, request, thread_id, http, run_id)).run
        if run.run_id != run_id:  # known by its Idempotency-Key, and may have ended since it was looked up
            waiter = watching.enter_context(_watch(here, run.run_id))
            waiter.raise_()
            now = await here.database.read(runs.find, ALL, run.run_id)  # it may have ended before the watch
            run = now or run
        return _joined(here, run, waiter, watching.pop_all(), on_disconnect, answer)


@contextmanager
def _watch(here: Runtime, run_id: str) -> Iterator[Waiter]:
    """Also asks the worker to keep the output for us."""
    with here.signals.subscribe(f"run:{run_id}", f"output:{run_id}") as waiter:
        try:
            yield waiter
        finally:
            here.worker.outputs.pop(run_id, None)


def _joined(
    here: Runtime,
    run: Run,
    waiter: Waiter,
    watching: ExitStack,
    on_disconnect: str | None = None,
    answer: Answer | None = None,
) -> Response:
    chunks = wait.output(
        waiter,
        here.worker.outputs,
        here.database,
        run,
        here.output,
        here.settings.heartbeat_s,
        lambda: here.log.closing,
    )
    location = f"/threads/{run.thread_id}/runs/{run.run_id}"
    headers = {
        "content-type": "application/json",
        "cache-control": "no-store, no-transform",
        "location": f"{location}/join",
        "content-location": location,
    }
    if answer is not None:
        chunks = _answered(chunks, run, answer)
    return Stream(chunks, headers, _leaving(here, run, on_disconnect), watching.close)


async def _answered(chunks: AsyncIterator[bytes], run: Run, answer: Answer) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk if chunk == wait.KEEPALIVE else await answer(run, chunk)


def _stream(
    here: Runtime,
    run: Run,
    location: str,
    on_disconnect: str | None,
    *,
    modes: list[str] | None = None,
    last_event_id: str | None = None,
) -> Response:
    headers = {**sse.HEADERS, "location": f"{location}/stream", "content-location": location}
    frames = here.reader.follow(run, modes=frozenset(listed(modes)) or None, last_event_id=last_event_id)
    return Stream(frames, headers, _leaving(here, run, on_disconnect))


def _leaving(here: Runtime, run: Run, on_disconnect: str | None) -> Any:
    if on_disconnect != "cancel":
        return None

    async def left() -> None:
        reason = "client disconnected from the run stream (on_disconnect=cancel)"
        await here.cancel(run.thread_id, [run.run_id], "interrupt", reason)

    return left


def _ids(thread_id: str, run_id: str) -> tuple[str, str]:
    return parse_id(thread_id, "thread"), parse_id(run_id, "run")


def _action(action: str) -> Action:
    for known in get_args(Action):
        if action == known:
            return cast("Action", known)
    raise Invalid(f"action: '{action}' is not one of {', '.join(get_args(Action))}")


def _headers(here: Runtime, http: HTTPRequest) -> dict[str, str]:
    return here.project.http.configurable_headers.chosen(http.scope["headers"])


def _request_id(http: HTTPRequest) -> str:
    return str(http.scope.get("state", {}).get("request_id", ""))


def _not_found(error: NotFound) -> bytes:
    return dumps({"error": "HTTPException", "message": f"404: {error}"})
