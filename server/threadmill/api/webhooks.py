"""/webhooks/deliveries: what became of the webhooks of runs. A delivery belongs to whom the run's thread belongs to."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from threadmill import deliveries
from threadmill.api import answers
from threadmill.api.wire import Here, Me, Route, json, page
from threadmill.ids import parse_id

router = APIRouter(prefix="/webhooks/deliveries", tags=["Webhooks"], route_class=Route)


@router.get("", responses=answers.page(deliveries.Delivery))
async def search(
    here: Here,
    me: Me,
    status: Literal["pending", "delivered", "dead"] | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    offset: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> Response:
    scope = await me.may("threads", "search", {"metadata": {}})
    found, total = await here.database.read(deliveries.search, scope, status=status, limit=limit, offset=offset)
    return page([asdict(one) for one in found], total, limit, offset)


@router.post("/{run_id}/retry", responses=answers.answers(deliveries.Delivery, 404, 409))
async def retry(run_id: str, here: Here, me: Me) -> Response:
    """Send a dead one again; all its attempts are given back."""
    run_id = parse_id(run_id, "run")
    scope = await me.may("threads", "update", {"run_id": run_id, "metadata": {}})
    again = await here.database.write(deliveries.retry, scope, run_id)
    here.signals.notify("webhooks")
    return json(asdict(again))
