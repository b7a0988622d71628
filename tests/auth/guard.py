"""Each user sees their own threads; assistants are for everybody; nobody may delete one."""

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None, path: str) -> dict[str, Any]:
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail=f"Say who you are to see {path}.")
    return {"identity": name, "permissions": ["threads:all"], "display_name": name.title(), "plan": "free"}


@auth.on.threads
async def own(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, str]:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.threads.create_run
async def own_runs(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, str]:
    if value["metadata"].get("forbidden"):
        raise Auth.exceptions.HTTPException(status_code=403, detail="Not this one.")
    value["metadata"]["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.assistants
async def anybody(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> bool:
    return ctx.action in ("read", "search")


@auth.on.crons
async def own_crons(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, str]:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.store
async def own_items(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    value["namespace"] = (ctx.user.identity, *(value.get("namespace") or ()))
