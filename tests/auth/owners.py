"""One handler for everything, as LangGraph's own guide has it; and one that says more of a run than was asked."""

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str) -> dict[str, Any] | None:
    name = authorization.removeprefix("Bearer ")
    return None if name == "nobody" else {"identity": name, "plan": "free"}


@auth.on
async def own(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    mine = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(mine)
    return mine


@auth.on.threads.create_run
async def own_runs(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    if ctx.user.identity == "mallory":
        return {"owner": "mallory"}  # and says nothing of the metadata
    asked = value["kwargs"]
    asked["config"]["configurable"]["tenant"] = f"of {ctx.user.identity}"
    asked["input"] = {**(asked["input"] or {}), "seen": [value["assistant_id"].hex, str(value["run_id"])]}
    return await own(ctx, value)
