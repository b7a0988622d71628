"""/threads: pruning, and what a thread takes."""

from datetime import timedelta
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import Field
from typing_extensions import TypedDict

from threadmill import retention
from threadmill.api import answers
from threadmill.api.wire import Body, Here, Me, Route, json
from threadmill.ids import parse_id
from threadmill.retention import MONTH, Generations

router = APIRouter(prefix="/threads", tags=["Threads"], route_class=Route)


class Prune(Body):
    thread_ids: list[str] = Field(max_length=1000)
    strategy: Literal["delete", "keep_latest"] = "delete"


class ByAge(Body):
    thread_ids: list[str] = Field(max_length=1000)
    keep_all_days: float = Field(ge=0, le=36_500)
    keep_turns_months: float = Field(12, ge=0, le=1200)
    dry_run: bool = True


class ThreadReport(TypedDict):
    thread_id: str
    checkpoints: int
    bytes: int


class Report(TypedDict):
    dry_run: bool
    checkpoints: int
    bytes: int
    threads: list[ThreadReport]


@router.post("/retention", responses=answers.answers(Report))
async def by_age(body: ByAge, here: Here, me: Me) -> Response:
    """What pruning by age would remove; without `dry_run` it is removed."""
    wanted = Generations(timedelta(days=body.keep_all_days), body.keep_turns_months * MONTH)
    found: list[ThreadReport] = []
    for thread_id in dict.fromkeys(parse_id(one, "thread") for one in body.thread_ids):
        scope = await me.may("threads", "read" if body.dry_run else "delete", {"thread_id": thread_id})
        ask = here.retention.report if body.dry_run else here.retention.thin_one
        gone = await ask(scope, thread_id, wanted)
        found.append({"thread_id": thread_id, "checkpoints": gone.checkpoints, "bytes": gone.bytes})
    total = {"checkpoints": sum(one["checkpoints"] for one in found), "bytes": sum(one["bytes"] for one in found)}
    return json({"dry_run": body.dry_run, **total, "threads": found})


@router.post("/prune", responses=answers.answers(answers.Pruned))
async def prune(body: Prune, here: Here, me: Me) -> Response:
    """Both strategies destroy, so both ask as a delete does, for each thread."""
    pruned = 0
    for thread_id in dict.fromkeys(parse_id(one, "thread") for one in body.thread_ids):
        scope = await me.may("threads", "delete", {"thread_id": thread_id})
        pruned += await here.retention.prune(scope, thread_id, body.strategy)
    return json({"pruned_count": pruned})


@router.get("/{thread_id}/storage", responses=answers.answers(answers.Storage, 404))
async def storage(thread_id: str, here: Here, me: Me) -> Response:
    thread_id = parse_id(thread_id, "thread")
    scope = await me.may("threads", "read", {"thread_id": thread_id})
    return json(await here.database.read(retention.storage, scope, thread_id))
