"""From a request to a row in the queue, in one transaction: assistant, thread, multitask strategy, run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from threadmill import assistants, threads
from threadmill.assistants import Assistant
from threadmill.errors import BadRequest, Conflict, Invalid, NotFound
from threadmill.interrupts import unanswered
from threadmill.runs import queue, recovery, run
from threadmill.runs.run import Run
from threadmill.scope import ALL, Scope, filtered
from threadmill.threads import Thread
from threadmill_checkpoints.database import Tx

STRATEGIES = ("enqueue", "reject", "interrupt", "rollback")
BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for; see docs/http.md. Values are checked by the route, references are checked here."""

    assistant_id: str
    input: Any = None
    command: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)  # also that of a thread made with the run
    config: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    stream_mode: tuple[str, ...] = ("values",)
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    interrupt_before: Any = None
    interrupt_after: Any = None
    webhook: str | None = None
    feedback_keys: list[str] | None = None
    multitask_strategy: str = "enqueue"
    if_not_exists: str = "reject"
    if_interrupted: str = "proceed"
    strict_resume: bool = False
    after_seconds: float = 0
    checkpoint: dict[str, Any] | None = None
    durability: str | None = None  # the default of the server
    on_crash: str | None = None
    keep_thread: bool = True
    idempotency_key: str | None = None
    thread_metadata: dict[str, Any] = field(default_factory=dict)  # of it, what handlers added: a cron keeps it
    user: dict[str, Any] | None = None  # who asked, as authentication said
    headers: dict[str, str] = field(default_factory=dict)  # of the HTTP request, for `configurable`
    use: Mapping[str, Any] | None = None  # filter of the assistants that they may run


@dataclass(frozen=True, slots=True)
class Submitted:
    """`run` may have been started since; `accepted` is the answer to who created it: pending, unless it was known.

    `stopping`: runs of the thread that were asked to stop and have to be told.
    """

    run: Run
    accepted: Run
    stopping: tuple[Run, ...] = ()


def submit(
    tx: Tx,
    scope: Scope,
    request: Request,
    *,
    run_id: str,
    thread_id: str | None,
    request_id: str,
    new_thread: str,
    end: Callable[[Tx, Run, run.Action], None] = queue.stop,
) -> Submitted:
    """`scope`: the threads the caller may run on. `thread_id` None makes one (`new_thread`) for a stateless run. `end`
    ends the pending runs that the strategy does not want.

    Raises NotFound or Invalid for an unknown thread or assistant, Conflict by the strategy `reject`.
    """
    if request.idempotency_key and (known := _known(tx, scope, request.idempotency_key, thread_id)):
        return Submitted(known, known)
    assistant = _assistant(tx, Scope(request.use), request.assistant_id)
    place = _thread(tx, scope, request, thread_id, new_thread)
    stopping = _make_way(tx, place, request.multitask_strategy, end)
    thread = threads.get(tx, ALL, place)
    if thread.status != "busy":  # of one that is busy nobody knows yet; the run looks when it begins
        _respect_questions(request, thread)
    kwargs, metadata = _prepare(request, assistant, run_id, thread, request_id, stateless=thread_id is None)
    own = {key: value for key, value in kwargs["config"].items() if key not in ("configurable", "metadata")}
    said = request.input.get("messages") if isinstance(request.input, dict) else None
    threads.announce_run(
        tx,
        thread,
        graph_id=assistant.graph_id,
        assistant_id=assistant.assistant_id,
        config=own | {"configurable": _configurable(request, assistant)},
        messages=said,
    )
    created = queue.insert(
        tx,
        run_id=run_id,
        thread_id=place,
        assistant_id=assistant.assistant_id,
        metadata=metadata,
        kwargs=kwargs,
        multitask_strategy=request.multitask_strategy,
        after_seconds=request.after_seconds,
        idempotency_key=request.idempotency_key,
    )
    return Submitted(created, created, stopping)


def resolve(tx: Tx, scope: Scope, name: str) -> Assistant | None:
    """By id, or by the name of a graph."""
    try:
        return assistants.get(tx, scope, assistants.id_of(name))
    except NotFound:
        return None


def _known(tx: Tx, scope: Scope, key: str, thread_id: str | None) -> Run | None:
    """A key belongs to whom its run belongs to: for everybody else it is taken, and says no more."""
    row = tx.one("SELECT * FROM runs WHERE idempotency_key = :key", key=key)
    if row is None:
        return None
    if row["thread_id"] != (thread_id or row["thread_id"]) or not threads.exists(tx, scope, row["thread_id"]):
        raise Conflict("This Idempotency-Key was used for a run on another thread.")
    return Run.from_row(row)


def _assistant(tx: Tx, scope: Scope, name: str) -> Assistant:
    found = resolve(tx, scope, name)
    if found is not None:
        return found
    try:
        UUID(name)
    except ValueError:
        graphs = [row["graph_id"] for row in tx.all("SELECT DISTINCT graph_id FROM assistants ORDER BY 1")]
        if name not in graphs:
            raise Invalid(
                f"Invalid assistant: '{name}'. Must be either:\n- A valid assistant UUID, or\n"
                f"- One of the registered graphs: {', '.join(graphs)}"
            ) from None
    raise NotFound("Thread or assistant not found.")


def _thread(tx: Tx, scope: Scope, request: Request, thread_id: str | None, new_thread: str) -> str:
    if thread_id is None:
        respect(tx, scope, request.metadata)
        threads.create(tx, new_thread, metadata=request.metadata, ephemeral=not request.keep_thread)
        return new_thread
    if request.if_not_exists == "create":
        threads.create(tx, thread_id, metadata=request.metadata, if_exists="do_nothing")
    if not threads.exists(tx, scope, thread_id):
        raise NotFound("Thread or assistant not found.")
    return thread_id


def respect(tx: Tx, scope: Scope, metadata: Mapping[str, Any]) -> None:
    """For a thread to be made: a handler may leave it nobody's, but it is not somebody else's. Raises NotFound."""
    if metadata.keys() & {*filtered(scope.filter or {})} and not scope.holds(tx, metadata):
        raise NotFound("Thread or assistant not found.")


def _make_way(tx: Tx, thread_id: str, strategy: str, end: Callable[[Tx, Run, run.Action], None]) -> tuple[Run, ...]:
    """What the strategy says about the runs that are there. Only the database decides who runs."""
    if strategy == "enqueue":
        return ()
    there = run.active(tx, thread_id)
    if there and strategy == "reject":
        raise Conflict(BUSY)
    action: run.Action = "rollback" if strategy == "rollback" else "interrupt"
    for one in there:
        (queue.stop if one.status == "running" else end)(tx, one, action)
    return tuple(one for one in there if one.status == "running")


def _respect_questions(request: Request, thread: Thread) -> None:
    asked = [one["id"] for task in (thread.interrupts or {}).values() for one in task]
    if asked and request.if_interrupted == "reject" and request.command is None and request.input is not None:
        raise Conflict(unanswered(asked))


def _configurable(request: Request, assistant: Assistant) -> dict[str, Any]:
    """The client's configurable values; names that LangGraph keeps for itself are not the client's to set."""
    both = {**(assistant.config.get("configurable") or {}), **(request.config.get("configurable") or {})}
    return _ours_to_give(both)


def _ours_to_give(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith("__") and key not in RESERVED}


def _identity(user: dict[str, Any] | None) -> dict[str, Any]:
    """Set last: a client does not say who it is."""
    if user is None:
        return {"langgraph_auth_user": None, "langgraph_auth_user_id": "", "langgraph_auth_permissions": []}
    return {
        "langgraph_auth_user": user,
        "langgraph_auth_user_id": user["identity"],
        "langgraph_auth_permissions": user["permissions"],
        "user_id": user["identity"],
    }


RESERVED = ("thread_id", "run_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "graph_id", "assistant_id")


def _prepare(
    request: Request, assistant: Assistant, run_id: str, thread: Thread, request_id: str, *, stateless: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run's `kwargs` and metadata, as the wire shows them and as the executor reads them."""
    mine = request.config.get("configurable") or {}
    if request.context and mine:
        raise BadRequest(assistants.BOTH)
    named = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    metadata = {**assistant.metadata, **thread.metadata, **named, **request.metadata}
    configurable: dict[str, Any] = {
        "user_id": "",
        **_configurable(request, assistant),
        **_ours_to_give(request.context),
        **_ours_to_give(request.headers),
        **_identity(request.user),
        "langgraph_request_id": request_id,
        "run_id": run_id,
        "thread_id": thread.thread_id,
        **named,
    }
    fork = request.checkpoint or {key: mine[key] for key in ("checkpoint_id", "checkpoint_ns") if mine.get(key)}
    configurable |= {key: value for key, value in fork.items() if key.startswith("checkpoint") and value is not None}
    config = {
        **{key: value for key, value in assistant.config.items() if key != "configurable"},
        **request.config,
        "configurable": configurable,
        "metadata": {**(request.config.get("metadata") or {}), **metadata},
    }
    kwargs = {
        "input": request.input,
        "command": request.command,
        "config": config,
        "context": {**assistant.context, **(request.context or _configurable(request, assistant))},
        "stream_mode": list(request.stream_mode),
        "interrupt_before": request.interrupt_before,
        "interrupt_after": request.interrupt_after,
        "webhook": request.webhook,
        "feedback_keys": request.feedback_keys,
        "temporary": stateless and not request.keep_thread,
        "subgraphs": request.stream_subgraphs,
        "resumable": request.stream_resumable,
        "checkpoint_during": request.durability != "exit",
        "durability": request.durability,
    }
    if policy := recovery.chosen_policy(request.on_crash, assistant.metadata):
        kwargs["on_crash"] = policy
    if request.strict_resume:
        kwargs["strict_resume"] = True
    if request.if_interrupted != "proceed":
        kwargs["if_interrupted"] = request.if_interrupted
    return kwargs, metadata
