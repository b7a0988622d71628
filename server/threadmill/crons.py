"""Crons: runs that a schedule submits. A tick and its run commit together.

Who fires a cron moves its next date in the transaction that submits the run, and only if nobody else has: however many
servers look, and whenever one dies, a date makes one run. Dates that passed while no server was up make one run, not
one each.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

import structlog
from cronsim import CronSim, CronSimError

from threadmill import assistants, threads
from threadmill.errors import BadRequest, Invalid, NotFound, ThreadmillError
from threadmill.ids import stamp
from threadmill.jsonable import dumps_text
from threadmill.runs.submit import Request, resolve, respect
from threadmill.scope import Scope
from threadmill.signals import Signals
from threadmill_checkpoints.database import Database, Row, Tx

logger = structlog.get_logger("threadmill.crons")

SORTS = ("cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date", "end_time")
NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
TICK_S = 5.0  # at the most between two looks at the table
PAGE = 100  # crons fired at the same time
GRACE = timedelta(minutes=1)  # how late the last date before `end_time` may come


@dataclass(frozen=True, slots=True)
class Timing:
    """When a cron is due. `timezone` None is UTC."""

    schedule: str
    timezone: str | None = None
    end_time: datetime | None = None
    enabled: bool = True

    def next(self, after: datetime) -> datetime | None:
        """The first date after `after` that is not past the end. Raises Invalid for what is no schedule or timezone."""
        date = _next(self.schedule, self.timezone, after)
        return date if self.end_time is None or date <= self.end_time else None


def _next(schedule: str, timezone: str | None, after: datetime) -> datetime:
    parts = NAMED.get(schedule.strip().lower(), schedule).split()
    if len(parts) == 6:  # clients write the seconds last, the library has them first
        parts.insert(0, parts.pop())
    try:
        # In the hour that comes twice in autumn the library may answer with a date of the first one.
        for date in CronSim(" ".join(parts), after.astimezone(_zone(timezone))):
            if date > after:
                return date.astimezone(UTC)
    except (CronSimError, ValueError, OverflowError) as error:
        raise Invalid(
            f"Invalid cron schedule: {schedule!r} ({error}). It has five fields, minute, hour, day of month, month and "
            "day of week, and may have seconds as a sixth. Example: '*/5 * * * *' for every 5 minutes."
        ) from None
    raise Invalid(f"Invalid cron schedule: {schedule!r} never comes.")


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo("UTC" if name is None else name)
    except (KeyError, ValueError, OSError):  # unknown, not a name, a folder of names
        raise Invalid(f"Invalid timezone: {name!r}. Use an IANA name, such as 'America/New_York'.") from None


@dataclass(frozen=True, slots=True)
class Cron:
    """`thread_id` None makes a thread for each run, which goes with the run unless `on_run_completed` is "keep".

    `payload` is the run as the client wrote it, `request` the same for the queue.
    """

    cron_id: str
    assistant_id: str
    thread_id: str | None
    user_id: str
    timing: Timing
    next_run_date: str | None
    on_run_completed: str | None
    payload: dict[str, Any]
    request: Request
    metadata: dict[str, Any]
    created_at: str
    updated_at: str

    @classmethod
    def from_row(cls, row: Row) -> Self:
        ends = datetime.fromisoformat(row["end_time"]) if row["end_time"] else None
        made: dict[str, Any] = {name: json.loads(row[name]) for name in ("payload", "metadata")}
        made["timing"] = Timing(row["schedule"], row["timezone"], ends, bool(row["enabled"]))
        made["request"] = _request(json.loads(row["request"]))
        return cls(**{name: made[name] if name in made else row[name] for name in cls.__slots__})


def _request(stored: dict[str, Any]) -> Request:
    """As this version of the code knows it; another version may have written it."""
    known = {one.name: stored[one.name] for one in fields(Request) if one.name in stored}
    return Request(**{**known, "stream_mode": tuple(stored["stream_mode"])})


# One cron


def create(
    tx: Tx,
    scope: Scope,
    cron_id: str,
    request: Request,
    timing: Timing,
    *,
    thread_id: str | None,
    on_run_completed: str | None,
    payload: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> Cron:
    """`scope`: the threads the caller may run on. Raises NotFound for an unknown thread or assistant."""
    assistant = resolve(tx, Scope(request.use), request.assistant_id)
    if assistant is None:
        raise NotFound(f"Assistant '{request.assistant_id}' not found")
    if thread_id is not None:
        threads.require(tx, scope, thread_id)
    else:
        respect(tx, scope, request.metadata)
    cron = Cron(
        cron_id=cron_id,
        assistant_id=assistant.assistant_id,
        thread_id=thread_id,
        user_id=str((request.user or {}).get("identity", "")),
        timing=timing,
        next_run_date=_stamped(timing.next(tx.now)),
        on_run_completed=on_run_completed,
        payload=dict(payload),
        request=request,
        metadata=dict(metadata),
        created_at=stamp(tx.now),
        updated_at=stamp(tx.now),
    )
    return _put(tx, cron)


def update(tx: Tx, old: Cron, new: Cron) -> Cron:
    """`old` as `get` found it in the same transaction. A change of the timing counts from now."""
    moved = old.timing != new.timing
    date = _stamped(new.timing.next(tx.now)) if moved else old.next_run_date
    return _put(tx, replace(new, next_run_date=date, updated_at=stamp(tx.now)))


def get(tx: Tx, scope: Scope, cron_id: str) -> Cron:
    sql = f"SELECT * FROM crons WHERE cron_id = :cron_id AND {scope.condition(tx)}"
    row = tx.one(sql, cron_id=cron_id, **scope.params)
    if row is None:
        raise NotFound(f"Cron with ID {cron_id} not found")
    return Cron.from_row(row)


def delete(tx: Tx, scope: Scope, cron_id: str) -> None:
    """Its runs stay."""
    get(tx, scope, cron_id)
    tx.run("DELETE FROM crons WHERE cron_id = :cron_id", cron_id=cron_id)


def _put(tx: Tx, cron: Cron) -> Cron:
    """Write it, with its id where the run and its graph find it."""
    cron = _marked(cron)
    row = tx.one(
        "INSERT INTO crons (cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, enabled, "
        "next_run_date, on_run_completed, payload, request, metadata, created_at, updated_at) VALUES (:cron_id, "
        ":assistant_id, :thread_id, :user_id, :schedule, :timezone, :end_time, :enabled, :next_run_date, "
        ":on_run_completed, :payload, :request, :metadata, :created_at, :updated_at) ON CONFLICT (cron_id) DO UPDATE "
        "SET schedule = excluded.schedule, timezone = excluded.timezone, end_time = excluded.end_time, "
        "enabled = excluded.enabled, next_run_date = excluded.next_run_date, payload = excluded.payload, "
        "on_run_completed = excluded.on_run_completed, request = excluded.request, metadata = excluded.metadata, "
        "updated_at = excluded.updated_at RETURNING *",
        cron_id=cron.cron_id,
        assistant_id=cron.assistant_id,
        thread_id=cron.thread_id,
        user_id=cron.user_id,
        schedule=cron.timing.schedule,
        timezone=cron.timing.timezone,
        end_time=_stamped(cron.timing.end_time),
        enabled=cron.timing.enabled,
        next_run_date=cron.next_run_date,
        on_run_completed=cron.on_run_completed,
        payload=dumps_text(cron.payload),
        request=dumps_text(asdict(cron.request)),
        metadata=dumps_text(cron.metadata),
        created_at=cron.created_at,
        updated_at=cron.updated_at,
    )
    assert row is not None
    return Cron.from_row(row)


def _marked(cron: Cron) -> Cron:
    mark, asked = {"cron_id": cron.cron_id}, cron.request
    config = asked.config | {"configurable": (asked.config.get("configurable") or {}) | mark}
    if asked.context:  # a run takes one of the two, and a context ends up in `configurable` as well
        if config["configurable"] != mark:
            raise BadRequest(assistants.BOTH)
        config["configurable"] = {}
    request = replace(
        asked,
        assistant_id=cron.assistant_id,
        config=config,
        context=asked.context and asked.context | mark,
        metadata=asked.metadata | mark,
        thread_metadata=asked.thread_metadata | mark,
        keep_thread=cron.on_run_completed == "keep",
    )
    shown = dict(cron.payload.get("config") or {})
    shown["configurable"] = (shown.get("configurable") or {}) | mark
    return replace(cron, request=request, payload=cron.payload | {"assistant_id": cron.assistant_id, "config": shown})


def _stamped(date: datetime | None) -> str | None:
    return stamp(date) if date is not None else None


# Lists


@dataclass(frozen=True, slots=True)
class Filter:
    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata: Mapping[str, Any] | None = None

    def where(self, tx: Tx, scope: Scope) -> tuple[str, dict[str, Any]]:
        conditions, params = [scope.condition(tx)], dict[str, Any](scope.params)
        for name in ("assistant_id", "thread_id", "enabled"):
            if getattr(self, name) is not None:
                conditions.append(f"{name} = :{name}")
                params[name] = getattr(self, name)
        if self.metadata:
            conditions.append(tx.dialect.contains("metadata", "wanted"))
            params["wanted"] = json.dumps(self.metadata)
        return " AND ".join(conditions), params


def search(
    tx: Tx, scope: Scope, wanted: Filter, *, sort_by: str, sort_order: str, limit: int, offset: int
) -> tuple[list[Cron], int]:
    """A page and the total. `sort_by` is one of SORTS."""
    where, params = wanted.where(tx, scope)
    order = f"{SORTS[SORTS.index(sort_by)]} {'ASC' if sort_order == 'asc' else 'DESC'}"
    rows = tx.all(
        f"SELECT * FROM crons WHERE {where} ORDER BY {order}, cron_id DESC LIMIT :limit OFFSET :offset",
        **params,
        limit=limit,
        offset=offset,
    )
    return [Cron.from_row(row) for row in rows], count(tx, scope, wanted)


def count(tx: Tx, scope: Scope, wanted: Filter) -> int:
    where, params = wanted.where(tx, scope)
    row = tx.one(f"SELECT count(*) AS n FROM crons WHERE {where}", **params)
    return row["n"] if row else 0


# Ticks


def due(tx: Tx) -> tuple[list[Cron], float]:
    """Crons whose date has come, and the seconds until the next one's, at most TICK_S."""
    now = stamp(tx.now)
    rows = tx.all(
        "SELECT * FROM crons WHERE enabled = 1 AND next_run_date <= :now ORDER BY next_run_date LIMIT :page",
        now=now,
        page=PAGE,
    )
    row = tx.one("SELECT min(next_run_date) AS at FROM crons WHERE enabled = 1 AND next_run_date > :now", now=now)
    at = row["at"] if row else None
    left = (datetime.fromisoformat(at) - tx.now).total_seconds() if at else TICK_S
    return [Cron.from_row(one) for one in rows], min(left, TICK_S)


def take(tx: Tx, cron: Cron) -> bool:
    """Move on to the next date. True if `cron` is as `due` found it and its run is to be submitted: now, by us."""
    assert cron.next_run_date is not None
    date = datetime.fromisoformat(cron.next_run_date)
    taken = tx.run(
        "UPDATE crons SET next_run_date = :next WHERE cron_id = :cron_id AND enabled = 1 AND next_run_date = :date "
        "AND updated_at = :updated_at",
        next=_stamped(cron.timing.next(max(tx.now, date))),  # max: a clock that was set back must not repeat a date
        cron_id=cron.cron_id,
        date=cron.next_run_date,
        updated_at=cron.updated_at,
    )
    ends = cron.timing.end_time
    return bool(taken) and (ends is None or tx.now <= max(ends, date + GRACE))


class Ticker:
    """Fires crons when they are due. `submit` puts a cron's run into the queue, within the transaction it is given."""

    def __init__(self, database: Database, signals: Signals, submit: Callable[[Tx, Cron], object]) -> None:
        self._database = database
        self._signals = signals
        self._submit = submit

    async def run(self) -> None:
        """Until it is cancelled. The topic `crons` says that a date may have changed."""
        while True:
            wait = TICK_S
            with self._signals.subscribe("crons") as waiter:
                try:
                    wait = await self.fire()
                except Exception:  # the tick must outlive a full disk; the date stands, and comes again
                    logger.exception("a cron could not be fired")
                await waiter.wait(wait)

    async def fire(self) -> float:
        """Submit the runs of all crons that are due; returns the seconds until another may be."""
        found, wait = await self._database.read(due)
        await asyncio.gather(*(self._fire(cron) for cron in found))
        return 0.0 if found else wait

    async def _fire(self, cron: Cron) -> None:
        try:
            await self._database.write(self._take_and_submit, cron)
        except ThreadmillError as error:  # busy with strategy `reject`, or nothing there to run it
            logger.warning("a cron's run was refused; its next date stands", cron_id=cron.cron_id, error=error.message)
            await self._database.write(take, cron)

    def _take_and_submit(self, tx: Tx, cron: Cron) -> None:
        if take(tx, cron):
            self._submit(tx, cron)
