"""What A2A says (messages, tasks, artifacts), in terms of runs and their outputs, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from threadmill.api.inputs import Input
from threadmill.api.rpc import PARAMS, Fault
from threadmill.api.wire import Body
from threadmill.assistants import Assistant
from threadmill.jsonable import dumps_text
from threadmill.runs.run import Run

Json = dict[str, Any]
STATES = {
    "pending": "submitted", "running": "working", "success": "completed", "error": "failed", "timeout": "failed",
    "interrupted": "canceled",
}  # fmt: skip
ROLES = {"human": "user", "ai": "agent", "AIMessageChunk": "agent"}
MEDIA = ("image", "audio", "video")


class File(Body):
    name: str | None = None
    mimeType: str = "application/octet-stream"
    bytes: str | None = None
    uri: str | None = None


class Part(Body):
    kind: str = ""
    text: str = ""
    data: Json = Field(default_factory=dict)
    file: File | None = None


class Message(Body):
    messageId: str
    parts: list[Part]
    role: Literal["user", "agent"] = "user"
    contextId: str | None = None
    taskId: str | None = None

    @property
    def data(self) -> Json:
        return {key: value for part in self.parts if part.kind == "data" for key, value in part.data.items()}

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts if part.kind == "text")

    def input(self, assistant: Assistant, takes: Input) -> Any:
        """Text and files are a message, data are fields of the input. Raises a Fault if the graph has no messages."""
        if all(part.kind == "data" for part in self.parts):
            return takes.value(self.data)
        if "messages" not in takes.fields:
            raise Fault(
                PARAMS,
                f"Assistant '{assistant.assistant_id}' (graph '{assistant.graph_id}') does not support A2A "
                "conversational messages. Graph input schema must include a 'messages' field to accept text or file "
                f"parts. Available input fields: {takes.fields}",
            )
        blocks = [_block(part) for part in self.parts if part.kind != "data"]
        content: Any = self.text if all(part.kind in ("text", "data") for part in self.parts) else blocks
        role = "human" if self.role == "user" else "ai"
        return {**self.data, "messages": [{"role": role, "content": content, "id": self.messageId}]}

    def answer(self, interrupts: list[Json]) -> Any:
        """What to resume with. Several questions are answered with data, by their ids."""
        ids = {one["id"] for one in interrupts}
        data = self.data
        if len(ids) > 1 and not (data and data.keys() <= ids):
            raise Fault(PARAMS, f"Several answers are wanted: send a data part with the keys {', '.join(sorted(ids))}")
        return data or self.text


def _block(part: Part) -> Json:
    if part.kind == "text":
        return {"type": "text", "text": part.text}
    if part.kind != "file" or part.file is None or not (part.file.bytes or part.file.uri):
        raise Fault(PARAMS, "A part must be of the kind text, data, or file with bytes or uri")
    kind = part.file.mimeType.partition("/")[0]
    source = {"base64": part.file.bytes} if part.file.bytes else {"url": part.file.uri}
    return {"type": kind if kind in MEDIA else "file", "mime_type": part.file.mimeType, **source}


@dataclass(frozen=True, slots=True)
class Task:
    """A run, and those that answered its questions: `first` gives the id, `run` is the newest, `output` its output."""

    first: str
    run: Run
    output: Any = None

    @property
    def ids(self) -> Json:
        return {"taskId": f"{self.run.thread_id}:{self.first}", "contextId": self.run.thread_id}

    @property
    def interrupts(self) -> list[Json]:
        found = self.output.get("__interrupt__") if isinstance(self.output, Mapping) else None
        return list(found or []) if self.run.status == "success" else []

    @property
    def over(self) -> bool:
        return not self.run.active and not self.interrupts

    def shown(self, length: int | None = None) -> Json:
        """`length`: how many messages of the history, the newest."""
        history = self._history()
        if length is not None:
            history = history[max(len(history) - length, 0) :]
        ids = {"id": self.ids["taskId"], "contextId": self.run.thread_id}
        return {"kind": "task", **ids, "history": history, "status": self.status(), "artifacts": self.artifacts()}

    def status(self, working: Json | None = None) -> Json:
        state = "input-required" if self.interrupts else STATES[self.run.status]
        said = working
        if self.interrupts:
            said = self._message(f"{self.run.run_id}:status", "agent", _questions(self.interrupts))
        elif self.run.error is not None and state == "failed":
            text = f"{self.run.error.get('error')}: {self.run.error.get('message')}"
            said = self._message(f"{self.run.run_id}:status", "agent", [{"kind": "text", "text": text}])
        return {"state": state, "timestamp": self.run.updated_at, **({"message": said} if said else {})}

    def update(self, *, final: bool, said: Json | None = None) -> Json:
        working = {"state": "working", "timestamp": self.run.updated_at, "message": said} if said else None
        return {"kind": "status-update", **self.ids, "status": working or self.status(), "final": final}

    def said(self, message_id: str, text: str) -> Json:
        return self._message(message_id, "agent", [{"kind": "text", "text": text}])

    def artifacts(self) -> list[Json]:
        ids = {"artifactId": f"{self.run.run_id}:output"}
        if self.interrupts:
            about = {"name": "Interrupt", "description": "Agent requires input to continue"}
            return [{**ids, **about, "parts": _questions(self.interrupts)}]
        if self.run.status != "success":
            return []
        about = {"name": "Assistant Response", "description": f"Response from assistant {self.run.assistant_id}"}
        return [{**ids, **about, "parts": [self._response()]}]

    def _response(self) -> Json:
        answers = [text_of(one) for one in self._messages() if ROLES.get(str(one.get("type"))) == "agent"]
        if answers and answers[-1]:
            return {"kind": "text", "text": answers[-1]}
        if isinstance(self.output, dict):
            return {"kind": "data", "data": self.output}
        return {"kind": "text", "text": self.output if isinstance(self.output, str) else dumps_text(self.output)}

    def _messages(self) -> list[Json]:
        found = self.output.get("messages") if isinstance(self.output, Mapping) else None
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def _history(self) -> list[Json]:
        """What people and the agent said on the thread; calls of tools and their results stay inside."""
        spoken = [(ROLES.get(str(one.get("type"))), str(one.get("id")), text_of(one)) for one in self._messages()]
        return [
            self._message(key, role, [{"kind": "text", "text": text}]) for role, key, text in spoken if role and text
        ]

    def _message(self, message_id: str, role: str, parts: list[Json]) -> Json:
        return {"kind": "message", "role": role, "parts": parts, "messageId": message_id, **self.ids}


def _questions(interrupts: list[Json]) -> list[Json]:
    return [{"kind": "data", "data": {"id": one.get("id"), "value": one.get("value")}} for one in interrupts]


def text_of(message: Json) -> str:
    """Of a message as the wire has it: its content is text, or blocks of which some are."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(one if isinstance(one, str) else str(one.get("text") or "") for one in blocks if _speaks(one))


def _speaks(block: Any) -> bool:
    return isinstance(block, str) or (isinstance(block, dict) and block.get("type") == "text")


def card(assistant: Assistant, takes: Input, url: str) -> Json:
    about = assistant.description or f"{assistant.name} assistant"
    modes = ["application/json", "text/plain"]
    skill = {
        "id": f"{assistant.assistant_id}-main",
        "name": f"{assistant.name} Capabilities",
        "description": about,
        "tags": ["assistant", "langgraph"],
        "examples": [],
        "inputModes": modes,
        "outputModes": modes,
    }
    return {
        "protocolVersion": "0.3.0",
        "name": assistant.name,
        "description": about,
        "url": url,
        "preferredTransport": "JSONRPC",
        "version": str(assistant.version),
        "capabilities": {"streaming": True, "pushNotifications": False, "stateTransitionHistory": False},
        "defaultInputModes": modes,
        "defaultOutputModes": modes,
        "skills": [{**skill, "metadata": {"inputSchema": takes.schema, "supportsA2A": "messages" in takes.fields}}],
    }
