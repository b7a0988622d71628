"""Users that the host of a mounted app knows, and what belongs to them where the project has no handlers of its own."""

from collections.abc import Callable, Mapping
from typing import Any

from langgraph_sdk import Auth


def auth(user: Callable[[Any], Any], handlers: Auth | None) -> Auth:
    """`user` says who calls, from the ASGI scope; `handlers` what they may do."""
    made = Auth()

    async def authenticate(scope: Mapping[str, Any]) -> Any:
        found = user(scope)
        if found is None:
            raise Auth.exceptions.HTTPException(status_code=401, detail="Unauthorized")
        return found

    made._authenticate_handler = authenticate
    if handlers is not None:
        made._handlers, made._global_handlers = handlers._handlers, handlers._global_handlers
    else:
        made.on.threads(_own)
        made.on.crons(_own)
        made.on.store(_own_namespace)
        made.on.assistants(_anybodys)
    return made


async def _own(ctx: Auth.types.AuthContext, value: Any) -> dict[str, Any]:
    value["metadata"] = {**(value.get("metadata") or {}), "owner": ctx.user.identity}
    return {"owner": ctx.user.identity}


async def _own_namespace(ctx: Auth.types.AuthContext, value: Any) -> None:
    value["namespace"] = (ctx.user.identity, *(value.get("namespace") or ()))


async def _anybodys(ctx: Auth.types.AuthContext, value: Any) -> bool:
    return ctx.action in ("read", "search")
