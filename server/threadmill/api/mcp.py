"""/mcp: each assistant is a tool for MCP clients (Streamable HTTP, without sessions)."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

import threadmill
from threadmill import assistants
from threadmill.api import answers, rpc
from threadmill.api.inputs import input_of
from threadmill.api.rpc import Fault
from threadmill.api.runs import run_and_wait
from threadmill.api.wire import UNTRUSTED, Here, Me, Route, json, read_json, trusts
from threadmill.assistants import Assistant
from threadmill.auth import Caller
from threadmill.errors import Forbidden, ThreadmillError
from threadmill.jsonable import dumps_text
from threadmill.runs import submit
from threadmill.runs.run import Run
from threadmill.runtime import Runtime

router = APIRouter(tags=["MCP"], route_class=Route)

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # of the protocol, newest first
PAGE = 50
MOST = 10_000  # tools; a client could not make use of as many
NAME_LENGTH = 64  # what model providers allow; the protocol itself says 128
ACCEPT = "Accept header must include application/json or text/event-stream"
ANNOTATIONS = {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False, "openWorldHint": True}


@dataclass(frozen=True, slots=True)
class Call:
    http: Request
    here: Runtime
    me: Caller
    id: int | str
    params: dict[str, Any]

    def answer(self, value: Any) -> Response:
        return Response(rpc.result(self.id, value), media_type="application/json")


@router.post("/mcp", openapi_extra=rpc.BODY, responses=answers.answers(answers.RpcAnswer, empty=202) | rpc.UNREADABLE)
async def post(http: Request, here: Here, me: Me) -> Response:
    if not trusts(here, http):
        raise Forbidden(UNTRUSTED)
    if not _accepts(http.headers.get("accept")):
        return json({"error": ACCEPT}, status=400)
    version = http.headers.get("mcp-protocol-version")
    if version is not None and version not in VERSIONS:
        return json({"error": f"Unsupported protocol version; known are {', '.join(VERSIONS)}"}, status=400)
    try:
        message = rpc.read(read_json(await http.body()))
    except orjson.JSONDecodeError:
        return json({"error": "Invalid JSON"}, status=400)
    except Fault as error:
        return json({"error": str(error)}, status=400)
    if message.id is None or message.method is None:  # a notification, or an answer to nothing we asked
        return Response(status_code=202)
    try:
        method = METHODS.get(message.method)
        if method is None:
            raise Fault(rpc.METHOD, f"Method not found: {message.method}")
        return await method(Call(http, here, me, message.id, message.params))
    except Fault as error:
        return Response(rpc.fault(message.id, error), media_type="application/json")


@router.get("/mcp", include_in_schema=False)
async def no_stream() -> Response:
    """There is nothing that the server would say by itself."""
    return Response(status_code=405, headers={"allow": "POST"})


@router.delete("/mcp", include_in_schema=False)
async def no_session() -> Response:
    return Response(status_code=404)


@router.api_route("/mcp/", methods=["GET", "POST", "DELETE"], include_in_schema=False)
async def slash(http: Request) -> Response:
    return Response(status_code=307, headers={"location": str(http.url.replace(path=http.url.path.rstrip("/")))})


async def _initialize(call: Call) -> Response:
    asked = call.params.get("protocolVersion")
    return call.answer(
        {
            "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": {"name": "Threadmill", "version": threadmill.__version__},
        }
    )


async def _ping(call: Call) -> Response:
    return call.answer({})


async def _list(call: Call) -> Response:
    """The cursor is the place of the last tool shown, so that a page stays right when assistants come and go."""
    tools = list((await _tools(call)).items())
    cursor = call.params.get("cursor")
    if cursor is not None:
        if not isinstance(cursor, str) or "/" not in cursor:
            raise Fault(rpc.PARAMS, "Invalid cursor")
        tools = [(name, one) for name, one in tools if _place(one) > cursor]
    shown = [await _tool(call, name, one) for name, one in tools[:PAGE]]
    more = {"nextCursor": _place(tools[PAGE - 1][1])} if len(tools) > PAGE else {}
    return call.answer({"tools": shown, **more})


async def _call(call: Call) -> Response:
    name, arguments = call.params.get("name"), call.params.get("arguments") or {}
    assistant = (await _tools(call)).get(name) if isinstance(name, str) else None
    if assistant is None:
        raise Fault(rpc.PARAMS, f"Unknown tool: {name}")
    if not isinstance(arguments, dict):
        raise Fault(rpc.PARAMS, "'arguments' must be an object")
    takes = await input_of(call.http, call.here, call.me, assistant)
    request = submit.Request(assistant.assistant_id, takes.value(arguments), keep_thread=False)

    async def answer(_: Run, output: bytes) -> bytes:
        return rpc.result(call.id, _outcome(orjson.loads(output)))

    try:
        return await run_and_wait(call.here, call.me, request, None, call.http, answer=answer)
    except ThreadmillError as error:  # for the model to read: it may do something else
        return call.answer(_failure(error.message))


METHODS: dict[str, Callable[[Call], Awaitable[Response]]] = {
    "initialize": _initialize,
    "ping": _ping,
    "tools/list": _list,
    "tools/call": _call,
}


async def _tools(call: Call) -> dict[str, Assistant]:
    """By the name of the tool, oldest first."""
    scope = await call.me.may("assistants", "search", {"graph_id": None, "metadata": {}})
    found, _ = await call.here.database.read(
        assistants.search, scope, assistants.Filter(), sort_by="created_at", sort_order="asc", limit=MOST
    )
    named: dict[str, Assistant] = {}
    for one in found:
        named[_name(one, named)] = one
    return named


def _name(assistant: Assistant, taken: dict[str, Assistant]) -> str:
    """The oldest of a name has it for itself; the others get the end of their id."""
    plain = _plain(assistant.name) or _plain(assistant.graph_id) or "assistant"
    digits = assistant.assistant_id.replace("-", "")
    names = [plain[:NAME_LENGTH], *(f"{plain[: NAME_LENGTH - n - 1]}_{digits[-n:]}" for n in (8, 32))]
    return next(name for name in names if name not in taken)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")


def _place(assistant: Assistant) -> str:
    return f"{assistant.created_at}/{assistant.assistant_id}"


async def _tool(call: Call, name: str, assistant: Assistant) -> dict[str, Any]:
    return {
        "name": name,
        "title": assistant.name,
        "description": assistant.description or f"Runs the assistant {assistant.name}.",
        "inputSchema": (await input_of(call.http, call.here, call.me, assistant)).schema,
        "annotations": ANNOTATIONS,
    }


def _outcome(output: Any) -> dict[str, Any]:
    if isinstance(output, dict) and output.keys() == {"__error__"}:
        error = output["__error__"]
        return _failure(f"{error.get('error')}: {error.get('message')}")
    structured = {"structuredContent": output} if isinstance(output, dict) else {}
    return {"content": [{"type": "text", "text": dumps_text(output)}], **structured, "isError": False}


def _failure(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _accepts(header: str | None) -> bool:
    kinds = {part.partition(";")[0].strip().lower() for part in (header or "*/*").split(",")}
    return bool(kinds & {"application/json", "text/event-stream", "application/*", "text/*", "*/*"})
