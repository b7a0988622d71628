"""Somebody's web service with agents in it: its own login, its own routes. Run by tests/http/test_mounted.py."""

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from langgraph_sdk import get_client
from starlette.types import ASGIApp, Receive, Scope, Send

import threadmill
from threadmill.errors import ThreadmillError


class Login:
    """The host's: who calls is whom `x-user` names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = dict(scope.get("headers", ())).get(b"x-user", b"").decode()
        await self.app({**scope, "user": {"identity": name, "plan": "free"} if name else None}, receive, send)


agent = threadmill.create_app(
    Path(__file__).parents[1] / "kit", user=lambda scope: scope["user"], data_dir=os.environ["HOST_DATA"]
)
app = FastAPI(lifespan=agent.lifespan)
app.add_middleware(Login)
app.mount("/deep/agent", agent)


@app.get("/ok")
async def ok() -> bool:
    return True


@app.post("/say/{thread_id}")
async def say(thread_id: str, request: Request, text: str, wait: bool = False) -> Any:
    try:
        return await agent.post_message(thread_id, text, author=request.scope["user"]["identity"], wait=wait)
    except ThreadmillError as error:
        raise HTTPException(error.status, error.message) from error


@app.get("/everything")
async def everything() -> list[str]:
    return [thread["thread_id"] for thread in await get_client().threads.search(limit=100)]
