"""Who may do what in the tests of sockets: `Bearer <name>`, or `Bearer <name>:<exp>` for a token that expires."""

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def who(authorization: str | None) -> dict[str, Any]:
    name, _, until = (authorization or "").removeprefix("Bearer ").partition(":")
    if not name or name == "nobody":
        raise Auth.exceptions.HTTPException(status_code=401, detail="Who are you?")
    return {"identity": name} | ({"exp": float(until)} if until else {})


@auth.on.threads
async def own(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, str]:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}
