"""Routes, middleware and a lifespan of the project's own."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request, WebSocket
from langgraph_sdk import get_client
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Teapot(Exception):
    pass


class Shout:
    """Rewrites the body of whoever asks for it: what a project may do with ours too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (b"x-rewrite", b"1") not in scope["headers"]:
            await self.app(scope, receive, send)
            return
        body = await Request(scope, receive).json()
        body["metadata"] = {"rewritten": True}

        async def rewritten() -> Message:
            return {"type": "http.request", "body": orjson.dumps(body), "more_body": False}

        headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
        await self.app({**scope, "headers": headers}, rewritten, send)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
    logging.warning("web: up")
    yield {"pool": "open"}
    logging.warning("web: down")


app = FastAPI(title="Project", lifespan=lifespan)
app.add_middleware(Shout)


@app.middleware("http")
async def signed(request: Request, call_next: Any) -> Any:
    response = await call_next(request)
    response.headers["x-signed"] = f"by {getattr(request.scope.get('user'), 'identity', 'nobody')}"
    return response


@app.exception_handler(Teapot)
async def teapot(_: Request, error: Teapot) -> JSONResponse:
    return JSONResponse({"teapot": str(error)}, 418)


@app.get("/hello")
async def hello(request: Request) -> dict[str, Any]:
    """Says hello."""
    return {"user": getattr(request.scope.get("user"), "identity", None), "pool": request.state.pool}


@app.get("/teapot")
async def brew() -> None:
    raise Teapot("short and stout")


@app.get("/crash")
async def crash() -> None:
    raise RuntimeError("secret of the project")


@app.get("/info")
async def info() -> dict[str, str]:
    return {"info": "the project's"}


@app.get("/ok")
async def get_ok() -> dict[str, str]:
    return {"ok": "the project's"}


@app.post("/ok")
async def post_ok() -> dict[str, str]:
    return {"ok": "posted"}


@app.get("/threads/mine/list")
async def mine() -> Any:
    return await get_client().runs.wait(None, "who", input={"ask": "me"})


@app.websocket("/socket")
async def socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


told: list[Any] = []


@app.post("/told")
async def tell(request: Request) -> None:
    told.append((await request.json())["status"])


@app.get("/told")
async def all_told() -> list[Any]:
    return told
