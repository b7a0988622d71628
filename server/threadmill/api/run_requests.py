"""What a request for a run says, on a thread or without one."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from threadmill.api.state import place
from threadmill.api.wire import Body
from threadmill.ids import parse_id
from threadmill.runs.submit import Request

Mode = Literal[
    "values", "messages", "messages-tuple", "updates", "events", "debug", "tasks", "checkpoints", "custom", "tools"
]


class Config(Body):
    model_config = ConfigDict(extra="allow")

    tags: list[str] | None = None
    recursion_limit: int | None = Field(None, ge=1, le=2**31)
    configurable: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class Command(Body):
    resume: Any = None
    update: dict[str, Any] | list[Any] | None = None
    goto: str | dict[str, Any] | list[str | dict[str, Any]] | None = None

    def said(self) -> dict[str, Any] | None:
        """None for one that says nothing: LangGraph has no such command, and clients send `{}` beside an input."""
        says = self.resume is not None or self.update or self.goto
        return self.model_dump(exclude_unset=True) if says else None


class Options(Body):
    """What stateless runs and runs on a thread have in common."""

    assistant_id: str
    input: Any = None
    command: Command | None = None
    metadata: dict[str, Any] | None = None
    config: Config | None = None
    context: dict[str, Any] | None = None
    webhook: str | None = Field(None, min_length=1)
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    stream_mode: Mode | list[Mode] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    feedback_keys: list[str] | None = None
    after_seconds: float | None = Field(None, ge=0, le=10**9)
    durability: Literal["sync", "async", "exit"] | None = None
    checkpoint_during: bool | None = None
    on_disconnect: str | None = None
    on_completion: str | None = None
    strict_resume: bool | None = None
    on_crash: Literal["retry", "wait"] | None = None

    def request(self, **more: Any) -> Request:
        modes = [self.stream_mode] if isinstance(self.stream_mode, str) else self.stream_mode
        during = None if self.checkpoint_during is None else "async" if self.checkpoint_during else "exit"
        return Request(
            assistant_id=self.assistant_id,
            input=self.input,
            command=self.command.said() if self.command is not None else None,
            metadata=self.metadata or {},
            config=self.config.model_dump(exclude_none=True) if self.config is not None else {},
            context=self.context or {},
            stream_mode=tuple(dict.fromkeys(modes or ["values"])),
            stream_subgraphs=bool(self.stream_subgraphs),
            stream_resumable=bool(self.stream_resumable),
            interrupt_before=self.interrupt_before,
            interrupt_after=self.interrupt_after,
            webhook=self.webhook,
            feedback_keys=self.feedback_keys,
            after_seconds=self.after_seconds or 0,
            durability=self.durability or during,
            strict_resume=bool(self.strict_resume),
            on_crash=self.on_crash,
            **more,
        )


class ThreadRun(Options):
    multitask_strategy: Literal["enqueue", "reject", "interrupt", "rollback"] | None = None
    if_not_exists: Literal["reject", "create"] | None = None
    if_interrupted: Literal["proceed", "reject"] | None = None
    checkpoint: dict[str, Any] | None = None
    checkpoint_id: str | None = None

    def on_thread(self, key: str | None) -> Request:
        at = place(self.checkpoint)
        checkpoint_id = parse_id(self.checkpoint_id, "checkpoint") if self.checkpoint_id else None
        if at is None and checkpoint_id:
            fork: dict[str, Any] | None = {"checkpoint_id": checkpoint_id, "checkpoint_ns": ""}
        else:
            fork = {"checkpoint_id": at.checkpoint_id, "checkpoint_ns": at.checkpoint_ns} if at else None
        return self.request(
            multitask_strategy=self.multitask_strategy or "enqueue",
            if_not_exists=self.if_not_exists or "reject",
            if_interrupted=self.if_interrupted or "proceed",
            checkpoint=fork,
            idempotency_key=key or None,
        )


class StatelessRun(Options):
    def alone(self, key: str | None = None) -> Request:
        return self.request(keep_thread=self.on_completion == "keep", idempotency_key=key or None)
