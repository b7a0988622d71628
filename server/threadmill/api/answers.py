"""What routes answer, for /openapi.json. Only described: nothing of this is looked at when a request is served.

Where the wire is what the types of `langgraph_sdk.schema` say, routes name those; here is what says more than they do,
or leaves out what they require.
"""

from datetime import datetime
from typing import Any, Literal, NotRequired

from fastapi.routing import APIRoute
from typing_extensions import TypedDict

Responses = dict[int | str, dict[str, Any]]
Json = dict[str, Any]


class Refusal(TypedDict):
    """Why not, in one sentence."""

    detail: str


class KeyRequired(TypedDict):
    error: str


class Unreadable(TypedDict):
    """What MCP and A2A say of what is no message at all."""

    error: str | Json


class Failure(TypedDict):
    """An exception of the graph: its class, and what it said."""

    error: str
    message: str


class Interrupt(TypedDict):
    id: str
    value: Any


class Expiry(TypedDict):
    strategy: Literal["delete", "keep_latest"]
    ttl_minutes: float
    expires_at: datetime


class Origin(TypedDict):
    """Where a thread was forked from, or a fork of it: the other thread, and the checkpoint at which they part."""

    thread_id: str
    checkpoint_id: str
    created_at: datetime


class Lineage(TypedDict):
    forked_from: Origin | None
    forks: list[Origin]


class Thread(TypedDict):
    thread_id: str
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    metadata: Json
    status: Literal["idle", "busy", "interrupted", "error"]
    config: Json
    values: Any
    error: NotRequired[Failure | None]
    interrupts: NotRequired[dict[str, list[Interrupt]]]
    title: str | None
    preview: str | None
    message_count: int
    last_activity_at: datetime
    ttl: NotRequired[Expiry | None]
    lineage: NotRequired[Lineage]


class ThreadPart(TypedDict, total=False):
    """A thread, or the fields of it that were selected."""

    thread_id: str
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    metadata: Json
    status: Literal["idle", "busy", "interrupted", "error"]
    config: Json
    context: Json
    values: Any
    error: Failure | None
    interrupts: dict[str, list[Interrupt]]
    title: str | None
    preview: str | None
    message_count: int
    last_activity_at: datetime
    extracted: Json
    unread: bool


class FeedThread(TypedDict):
    """A thread as a list shows it."""

    thread_id: str
    status: Literal["idle", "queued", "running", "waiting", "failed", "paused"]
    title: str | None
    preview: str | None
    message_count: int
    created_at: datetime
    updated_at: datetime
    last_activity_at: datetime
    unread: bool
    metadata: Json


class Marker(TypedDict):
    thread_id: str
    seq: int
    unread: bool


class Revision(TypedDict):
    revision: str
    updated_at: str


class Draft(TypedDict):
    content: str | list[Json] | None
    revision: str | None
    updated_at: str | None


class Question(TypedDict):
    interrupt_id: str
    value: Any
    namespace: list[str]


class ToolCount(TypedDict):
    calls: int
    errors: int


class ToolCounts(ToolCount):
    by_name: dict[str, ToolCount]


class EndedRun(TypedDict):
    """Times are in milliseconds since 1970."""

    run_id: str
    status: Literal["completed", "failed", "interrupted"]
    error: str | None
    started_at: int | None
    ended_at: int
    seconds: float | None


class MessageCount(TypedDict):
    count: int
    last: str | None


class Digest(TypedDict):
    since: int
    cursor: int
    tools: ToolCounts
    runs: list[EndedRun]
    messages: MessageCount
    questions: list[Question]


class MessageTiming(TypedDict):
    first_token_ms: int
    finished_ms: int


class RunTimings(TypedDict):
    run_id: str
    started_at: int
    ended_at: int
    messages: dict[str, MessageTiming]
    tools: dict[str, int]


class Timings(TypedDict):
    runs: list[RunTimings]
    next_before: str | None


class QueuedRun(TypedDict):
    run_id: str
    position: int | None
    status: Literal["pending", "running"]
    paused: bool
    created_at: datetime
    asked: str | None
    attempt: int


class InFlight(TypedDict):
    """A run that is under way. Times are in milliseconds since 1970."""

    run_id: str
    attempt: int
    started_at: int
    last_event_at: int
    stated: bool
    messages: list[Json]
    tools: list[Json]


class Snapshot(TypedDict):
    thread: FeedThread
    values: Any
    messages: list[Any]
    in_flight: InFlight | None
    interrupts: list[Question]
    status: Literal["running", "paused", "completed", "failed", "interrupted"] | None
    error: str | None
    stale: bool
    queue: list[QueuedRun]
    cursor: int


class Share(TypedDict):
    share_id: str
    thread_id: str
    checkpoint_id: str
    redact: list[Literal["tool-results"]]
    created_at: datetime
    expires_at: datetime | None


class NewShare(Share):
    """`token` is told here only."""

    token: str
    url: str


class SharedConversation(TypedDict):
    title: str | None
    created_at: datetime
    shared_at: datetime
    messages: list[Json]


class Pruned(TypedDict):
    pruned_count: int


class Bytes(TypedDict):
    count: int
    bytes: int


class ChannelBytes(Bytes):
    by_channel: Json


class Storage(TypedDict):
    thread_id: str
    total_bytes: int
    checkpoints: Bytes
    channel_values: ChannelBytes
    pending_writes: Bytes
    events: Bytes


class Checkpoint(TypedDict):
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: NotRequired[str | None]
    checkpoint_map: NotRequired[Json | None]


class Task(TypedDict):
    id: str
    name: str
    path: list[Any]
    error: str | None
    interrupts: list[Interrupt]
    checkpoint: Checkpoint | None
    state: Json | None
    result: Any


class State(TypedDict, total=False):
    """A state, or the fields of it that were selected."""

    values: Any
    next: list[str]
    tasks: list[Task]
    metadata: Json | None
    created_at: str | None
    checkpoint: Checkpoint | None
    parent_checkpoint: Checkpoint | None
    interrupts: list[Interrupt]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


class Updated(TypedDict):
    checkpoint: Checkpoint
    configurable: Checkpoint
    checkpoint_id: str


class Run(TypedDict):
    run_id: str
    thread_id: str
    assistant_id: str
    created_at: datetime
    updated_at: datetime
    status: Literal["pending", "running", "error", "success", "timeout", "interrupted"]
    metadata: Json
    kwargs: Json
    multitask_strategy: Literal["reject", "interrupt", "rollback", "enqueue"]
    langsmith_session_name: None


class RunPart(TypedDict, total=False):
    """A run, or the fields of it that were selected."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: datetime
    updated_at: datetime
    status: Literal["pending", "running", "error", "success", "timeout", "interrupted"]
    metadata: Json
    kwargs: Json
    multitask_strategy: Literal["reject", "interrupt", "rollback", "enqueue"]
    langsmith_session_name: None


class Version(TypedDict):
    assistant_id: str
    graph_id: str
    config: Json
    context: Json
    metadata: Json
    name: str
    created_at: datetime
    version: int
    description: str | None


class Assistant(Version):
    updated_at: datetime


class AssistantPart(TypedDict, total=False):
    """An assistant, or the fields of it that were selected."""

    assistant_id: str
    graph_id: str
    config: Json
    context: Json
    metadata: Json
    name: str
    created_at: datetime
    updated_at: datetime
    version: int
    description: str | None


class Drawing(TypedDict):
    nodes: list[Json]
    edges: list[Json]


class Schemas(TypedDict):
    """JSON schemas; null where a type has none."""

    input_schema: Json | None
    output_schema: Json | None
    state_schema: Json | None
    config_schema: Json | None
    context_schema: Json | None


class GraphSchemas(Schemas):
    graph_id: str


class CronPart(TypedDict, total=False):
    """A cron, or the fields of it that were selected."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    on_run_completed: Literal["delete", "keep"] | None
    end_time: datetime | None
    schedule: str
    timezone: str | None
    created_at: datetime
    updated_at: datetime
    payload: Json
    user_id: str | None
    next_run_date: datetime | None
    metadata: Json
    enabled: bool


class Health(TypedDict):
    ok: Literal[True]
    services: Json


class Info(TypedDict):
    version: str
    langgraph_py_version: str
    flags: dict[str, bool]
    host: Json


class RpcAnswer(TypedDict):
    """JSON-RPC 2.0: a result or an error."""

    jsonrpc: Literal["2.0"]
    id: int | str | None
    result: NotRequired[Json]
    error: NotRequired[Json]


class CommandAnswer(TypedDict):
    """`success` has `result` and `meta`, `error` has `error` (a code) and `message`."""

    type: Literal["success", "error"]
    id: int | str | None
    result: NotRequired[Json]
    meta: NotRequired[Json]
    error: NotRequired[str]
    message: NotRequired[str]


WHY = {
    400: "It can be read but not done.",
    401: "Authentication refused the caller.",
    403: "An authorisation handler refused it.",
    404: "It does not exist, or not for the caller.",
    409: "It conflicts with what is there.",
    413: "The body is larger than the server takes.",
    422: "The body is no JSON, a field or parameter is wrong, or an id is no UUID.",
    503: "Something it needs does not work; the log of the server says why.",
    501: "Not offered by this server as it is set up.",
}


def refusals(*statuses: int) -> Responses:
    return {status: {"model": Refusal, "description": WHY[status]} for status in statuses}


INVALID = refusals(422)
COMMON = refusals(401, 403, 413, 422)  # of all routes that ask who calls


def answers(model: Any, *refused: int, status: int = 200, headers: tuple[str, ...] = (), empty: int = 0) -> Responses:
    """`responses=` of a route. `headers` of the answer; `empty` is another status that it may have, without a body."""
    named = {name: {"schema": {"type": "string"}, "description": HEADERS[name]} for name in headers}
    described: Responses = {status: {"model": model, "description": "Done.", "headers": named}, **refusals(*refused)}
    return described | ({empty: {"description": "Done; there is nothing to tell."}} if empty else {})


def nothing(*refused: int) -> Responses:
    """204, or refused."""
    return {204: {"description": "Done."}, **refusals(*refused)}


def page(model: Any, *refused: int) -> Responses:
    return answers(list[model], *refused, headers=("x-pagination-total", "x-pagination-next"))


def output(*refused: int) -> Responses:
    return _content("application/json", OUTPUT, "location", "content-location") | refusals(*refused)


def events(told: str, names: tuple[str, ...], *refused: int) -> Responses:
    """Server-sent events, of which the schema describes one. `told` says when they come."""
    return _content("text/event-stream", _event(told, names)) | refusals(*refused)


def _event(told: str, names: tuple[str, ...]) -> Json:
    return {
        "title": "Event",
        "type": "object",
        "description": f"{told} One of the events {', '.join(names)}. Comments are heartbeats.",
        "required": ["event", "data"],
        "properties": {
            "event": {"type": "string", "pattern": rf"^({'|'.join(names)})(\|.*)?$"},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "id": {"type": "string"},
        },
    }


def text(media_type: str, told: str) -> Responses:
    return _content(media_type, {"title": "Text", "type": "string", "description": told})


def rpc(told: tuple[str, tuple[str, ...]]) -> Responses:
    """JSON-RPC, some methods of which are answered with events."""
    described = answers(RpcAnswer)
    described[200]["content"] = events(*told)[200]["content"]
    return described


def body(schema: Json) -> Json:
    """`openapi_extra=` of a route that reads its body by hand."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _content(media_type: str, schema: Json, *headers: str) -> Responses:
    named = {name: {"schema": {"type": "string"}, "description": HEADERS[name]} for name in headers}
    return {200: {"description": "Done.", "headers": named, "content": {media_type: {"schema": schema}}}}


def operation_id(route: APIRoute) -> str:
    """`threads_create`: the tag and the function's name, which do not change with the path."""
    return "_".join((*(str(tag) for tag in route.tags[:1]), route.name)).lower().replace(" ", "_")


HEADERS = {
    "x-pagination-total": "How many match; beyond 2,000 at least so many.",
    "x-pagination-next": "The next `offset`, if there is more.",
    "location": "Where to wait for the run again.",
    "content-location": "Where the run is.",
}
OUTPUT: Json = {
    "title": "Output",
    "description": "The graph's output. `__interrupt__` in it is what it asks a person; an object with only "
    "`__error__` tells that it failed. White space comes before it while it takes long.",
}
RUN_EVENTS = (
    "The stream modes asked for, between `metadata`, which begins, and `error`, if it failed; after `|` the namespace "
    "of a subgraph. It ends with the run.",
    (
        *("metadata", "values", "updates", "messages", "messages/metadata", "messages/partial", "messages/complete"),
        *("custom", "tools", "tasks", "checkpoints", "debug", "events", "error"),
    ),
)
THREAD_EVENTS = (
    "Those of its runs, one after the other; `metadata` begins and ends each. It ends with the thread.",
    (*RUN_EVENTS[1], "state_update"),
)
PROTOCOL_EVENTS = (
    "Envelopes of the event protocol. It does not end by itself.",
    ("lifecycle", "values", "updates", "messages", "tools", "custom", "input.requested", "tasks", "checkpoints"),
)
FEED_EVENTS = ("Threads as they are now. It does not end by itself.", ("thread", "deleted", "resync"))
MANY_EVENTS = (
    "The frames of `/ws`: `ready`, then envelopes with `thread_id` and `subscription_id`, and the list feed.",
    ("message",),
)
TASK_EVENTS = ("Answers to message/stream and tasks/resubscribe. It ends with the task.", ("message",))
STREAM: Json = {
    "title": "Subscription",
    "type": "object",
    "required": ["channels"],
    "properties": {
        "channels": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        "namespaces": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        "depth": {"type": "integer", "minimum": 0},
        "since": {"type": "integer"},
        "profile": {"type": "string"},
    },
}
MANY: Json = {
    "title": "Subscriptions",
    "type": "object",
    "properties": {
        "cursors": {"type": "object", "additionalProperties": {"type": "integer"}},
        "thread_id": {"type": "string"},
        "feed": {"type": "object", "properties": {"since": {"type": "integer"}}},
        **STREAM["properties"],
    },
}
COMMAND: Json = {
    "title": "Command",
    "type": "object",
    "required": ["id", "method"],
    "properties": {"id": {"type": "integer"}, "method": {"type": "string"}, "params": {"type": "object"}},
}
