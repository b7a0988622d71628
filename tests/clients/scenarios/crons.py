"""`client.crons`"""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from clients.scenario import human, new_thread, refused, scenario
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError
from serving import until

YEARLY = "0 0 1 1 *"


@scenario("crons")
async def crons_live(client: Any) -> None:
    end = datetime(2040, 1, 1, tzinfo=UTC)
    made = await client.crons.create(
        "echo", schedule="27 15 * * *", input=human("hi"), metadata={"k": 1}, timezone="Europe/Berlin", end_time=end
    )
    mine = made["cron_id"]
    assert (made["schedule"], made["timezone"], made["enabled"]) == ("27 15 * * *", "Europe/Berlin", True)
    assert datetime.fromisoformat(made["end_time"]) == end
    changed = await client.crons.update(mine, schedule=YEARLY, enabled=False, metadata={"k": 2})
    assert (changed["schedule"], changed["enabled"], changed["metadata"]["k"]) == (YEARLY, False, 2)
    assert await client.http.get(f"/runs/crons/{mine}") == changed
    await client.crons.delete(mine)
    with refused(NotFoundError):
        await client.crons.delete(mine)
    with refused(UnprocessableEntityError):
        await client.crons.create("echo", schedule="every other Tuesday", input=human("hi"))


@scenario("search and count", "paging headers")
async def crons_are_found(client: Any) -> None:
    assistant = await client.assistants.create("echo", metadata={"for": "crons"})
    mine = assistant["assistant_id"]
    place = await new_thread(client)
    for_thread = await client.crons.create_for_thread(place, mine, schedule=YEARLY, input=human("hi"))
    assert for_thread["thread_id"] == place
    other = await client.crons.create(mine, schedule=YEARLY, input=human("hi"), enabled=False, metadata={"k": mine})
    assert await client.crons.count(assistant_id=mine) == 2
    assert await client.crons.count(assistant_id=mine, thread_id=place) == 1
    found = await client.crons.search(assistant_id=mine, enabled=False)
    assert [one["cron_id"] for one in found] == [other["cron_id"]]
    page = await client.crons.search(
        assistant_id=mine, limit=1, offset=1, sort_by="created_at", sort_order="asc", select=["cron_id"]
    )
    assert page == [{"cron_id": other["cron_id"]}]
    assert [one["cron_id"] for one in await client.crons.search(thread_id=place)] == [for_thread["cron_id"]]
    await client.assistants.delete(mine)
    assert await client.crons.count(assistant_id=mine) == 0


@scenario("crons")
async def crons_run(client: Any) -> None:
    place = await new_thread(client)
    key = uuid4().hex
    cron = await client.crons.create_for_thread(place, "echo", schedule="* * * * * *", input=human(key))

    async def ran() -> Any:
        return [run for run in await client.runs.list(place) if run["status"] == "success"]

    assert (await until(ran))[0]["kwargs"]["config"]["configurable"]["cron_id"] == cron["cron_id"]
    await client.crons.delete(cron["cron_id"])
    assert key in str((await client.threads.get_state(place))["values"])
