"""What a run's webhook is told when the run ends."""

from collections.abc import Mapping
from typing import Any

from threadmill import deliveries
from threadmill.ids import stamp
from threadmill.jsonable import dumps
from threadmill.langgraph_json.http import SECRETS
from threadmill.runs.run import Run, shown
from threadmill_checkpoints.database import Tx


def report(
    tx: Tx, run: Run, status: str, *, error: Mapping[str, Any] | None = None, values: bytes | None = None
) -> bool:
    """True if there is somebody to be told. `run` as it was before its end, in the transaction that ends it.

    `status` is "rollback" for a run that is about to be as if it had never been.
    """
    url = run.kwargs.get("webhook")
    if not url:
        return False
    now = stamp(tx.now)
    told = shown(run) | {
        "status": status,
        "updated_at": now,
        "kwargs": _without_secrets(run.kwargs),
        "run_started_at": run.updated_at if run.attempt else None,
        "run_ended_at": now,
    }
    if error is not None:
        told["error"] = error
    left = None if run.kwargs["temporary"] else values
    body = dumps(told)[:-1] + b',"values":' + (left or b"null") + b"}"
    deliveries.enqueue(tx, run_id=run.run_id, thread_id=run.thread_id, url=url, body=body)
    return True


def _without_secrets(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What authentication knows of a user (a token, perhaps) is for the graph, as are headers with secrets; the
    user's id is left."""
    config = kwargs["config"]
    told = {key: value for key, value in config["configurable"].items() if not SECRETS.fullmatch(key.lower())}
    return kwargs | {"config": config | {"configurable": told | {"langgraph_auth_user": None}}}
