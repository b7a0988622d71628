"""/runs/crons and /threads/{id}/runs/crons: runs that a schedule submits."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from langgraph_sdk import schema as sdk
from pydantic import AfterValidator, Field

from threadmill import crons
from threadmill.api import answers
from threadmill.api.run_requests import Options, StatelessRun, ThreadRun
from threadmill.api.runs import allowed
from threadmill.api.wire import Body, Here, Me, Route, in_utc, json, page, selected
from threadmill.crons import Cron, Filter, Timing
from threadmill.errors import BadRequest
from threadmill.ids import new_id, parse_id, stamp
from threadmill.runs.submit import Request, respect
from threadmill.scope import Scope
from threadmill_checkpoints.database import Tx

router = APIRouter(tags=["Crons"], route_class=Route)

FIELDS = Literal[
    "cron_id", "assistant_id", "thread_id", "user_id", "end_time", "schedule", "timezone", "payload", "next_run_date",
    "metadata", "on_run_completed", "enabled", "created_at", "updated_at",
]  # fmt: skip
SORTS = Literal["cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date", "end_time"]


def _aware(moment: datetime) -> datetime:
    return in_utc(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


Moment = Annotated[datetime, AfterValidator(_aware)]  # without an offset it is UTC


class Schedule(Body):
    """What a cron has beside its run."""

    schedule: str = Field(max_length=255)
    timezone: str | None = Field(None, max_length=255)
    end_time: Moment | None = None
    enabled: bool | None = None

    def timing(self) -> Timing:
        return Timing(self.schedule, self.timezone, self.end_time, self.enabled is not False)


class CronCreate(Schedule, StatelessRun):
    on_run_completed: Literal["delete", "keep"] | None = None


class ThreadCronCreate(Schedule, ThreadRun):
    pass


class CronPatch(Options):
    """Only what is given changes; null clears the timezone and the end. The assistant stays."""

    assistant_id: str = ""
    schedule: str | None = Field(None, max_length=255)
    timezone: str | None = Field(None, max_length=255)
    end_time: Moment | None = None
    enabled: bool | None = None
    on_run_completed: Literal["delete", "keep"] | None = None
    multitask_strategy: Literal["enqueue", "reject", "interrupt", "rollback"] | None = None


class CronCount(Body):
    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata: dict[str, Any] | None = None

    def filter(self) -> Filter:
        return Filter(
            assistant_id=parse_id(self.assistant_id, "assistant") if self.assistant_id is not None else None,
            thread_id=parse_id(self.thread_id, "thread") if self.thread_id is not None else None,
            enabled=self.enabled,
            metadata=self.metadata,
        )


class CronSearch(CronCount):
    limit: int = Field(10, ge=1, le=1000)
    offset: int = Field(0, ge=0, le=2**63 - 1)
    sort_by: SORTS | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[FIELDS] | None = None


@router.post("/runs/crons", responses=answers.answers(sdk.Cron, 400, 404))
async def create(body: CronCreate, here: Here, me: Me) -> Response:
    return await _create(here, me, body, body.alone(), None, body.on_run_completed or "delete")


@router.post("/threads/{thread_id}/runs/crons", responses=answers.answers(sdk.Cron, 400, 404))
async def create_for_thread(thread_id: str, body: ThreadCronCreate, here: Here, me: Me) -> Response:
    return await _create(here, me, body, body.on_thread(None), parse_id(thread_id, "thread"), None)


async def _create(
    here: Here, me: Me, body: Schedule, request: Request, thread_id: str | None, on_run_completed: str | None
) -> Response:
    cron_id, timing, payload = new_id(), body.timing(), body.model_dump(exclude_unset=True)
    here.webhooks.check(request.webhook)
    wished = dict(request.metadata)
    scope, request = await allowed(here, me, request, thread_id)
    value: dict[str, Any] = {
        "cron_id": cron_id,
        "thread_id": thread_id,
        "user_id": me.user.identity if me.user is not None else None,
        "schedule": timing.schedule,
        "end_time": timing.end_time,
        "payload": payload,
        "metadata": wished,
    }
    await me.may("crons", "create", value)
    cron = await here.database.write(
        crons.create,
        scope,
        cron_id,
        request,
        timing,
        thread_id=thread_id,
        on_run_completed=on_run_completed,
        payload=payload,
        metadata=value["metadata"],
    )
    here.signals.notify("crons")
    return json(shown(cron))


@router.post("/runs/crons/search", responses=answers.page(answers.CronPart))
async def search(body: CronSearch, here: Here, me: Me) -> Response:
    scope = await me.may("crons", "search", body.model_dump(exclude_none=True) | {"metadata": body.metadata or {}})
    found, total = await here.database.read(
        crons.search,
        scope,
        body.filter(),
        sort_by=body.sort_by or "created_at",
        sort_order=body.sort_order or "desc",
        limit=body.limit,
        offset=body.offset,
    )
    return page(selected([shown(cron) for cron in found], body.select), total, body.limit, body.offset)


@router.post("/runs/crons/count", responses=answers.answers(int))
async def count(body: CronCount, here: Here, me: Me) -> Response:
    scope = await me.may("crons", "search", body.model_dump(exclude_none=True) | {"metadata": body.metadata or {}})
    return json(await here.database.read(crons.count, scope, body.filter()))


@router.get("/runs/crons/{cron_id}", responses=answers.answers(sdk.Cron, 404))
async def get(cron_id: str, here: Here, me: Me) -> Response:
    cron_id = parse_id(cron_id, "cron")
    scope = await me.may("crons", "read", {"cron_id": cron_id})
    return json(shown(await here.database.read(crons.get, scope, cron_id)))


@router.patch("/runs/crons/{cron_id}", responses=answers.answers(sdk.Cron, 400, 404))
async def patch(cron_id: str, body: CronPatch, here: Here, me: Me) -> Response:
    cron_id = parse_id(cron_id, "cron")
    given = body.model_dump(exclude_unset=True, exclude={"assistant_id"})
    if not body.model_fields_set:
        raise BadRequest("Name what is to change.")
    here.webhooks.check(body.webhook)
    value: dict[str, Any] = {"cron_id": cron_id, "payload": given, "schedule": body.schedule, "metadata": {}}
    if body.metadata is not None:
        value["metadata"] = dict(body.metadata)
    scope = await me.may("crons", "update", value)
    cron = await here.database.write(_patch, scope, cron_id, given, value["metadata"])
    here.signals.notify("crons")
    return json(shown(cron))


@router.delete("/runs/crons/{cron_id}", status_code=204, responses=answers.nothing(404))
async def delete(cron_id: str, here: Here, me: Me) -> Response:
    cron_id = parse_id(cron_id, "cron")
    scope = await me.may("crons", "delete", {"cron_id": cron_id})
    await here.database.write(crons.delete, scope, cron_id)
    return Response(status_code=204)


def _patch(tx: Tx, scope: Scope, cron_id: str, given: dict[str, Any], metadata: dict[str, Any]) -> Cron:
    """The run is made anew from the old payload and what is given; who asked for the cron stays who asks."""
    old = crons.get(tx, scope, cron_id)
    payload = old.payload | given
    if old.thread_id is None:
        request = StatelessRun.model_validate(payload).alone()
        on_run_completed = given.get("on_run_completed") or old.on_run_completed
        respect(tx, scope, request.metadata | old.request.thread_metadata)
    else:
        request = ThreadRun.model_validate(payload).on_thread(None)
        on_run_completed = None
    added = old.request.thread_metadata
    new = replace(
        old,
        timing=_moved(old.timing, given),
        payload=payload,
        request=replace(request, metadata=request.metadata | added, thread_metadata=added, user=old.request.user),
        metadata=old.metadata | metadata,
        on_run_completed=on_run_completed,
    )
    return crons.update(tx, old, new)


def _moved(timing: Timing, given: dict[str, Any]) -> Timing:
    changed: dict[str, Any] = {name: given[name] for name in ("timezone", "end_time") if name in given}
    changed |= {name: given[name] for name in ("schedule", "enabled") if given.get(name) is not None}
    return replace(timing, **changed)


def shown(cron: Cron) -> dict[str, Any]:
    return {
        "cron_id": cron.cron_id,
        "assistant_id": cron.assistant_id,
        "thread_id": cron.thread_id,
        "user_id": cron.user_id,
        "end_time": stamp(cron.timing.end_time) if cron.timing.end_time is not None else None,
        "schedule": cron.timing.schedule,
        "timezone": cron.timing.timezone,
        "payload": cron.payload,
        "next_run_date": cron.next_run_date,
        "metadata": cron.metadata,
        "on_run_completed": cron.on_run_completed,
        "enabled": cron.timing.enabled,
        "created_at": cron.created_at,
        "updated_at": cron.updated_at,
    }
