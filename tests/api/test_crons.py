"""Runs that a schedule submits, through the SDK."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server, until

pytestmark = pytest.mark.anyio

UNKNOWN = "01a1fbab-0000-7000-8000-000000000000"
YEARLY = "0 0 1 1 *"
SECOND = "* * * * * *"
HELLO = {"messages": "hello"}


@pytest.fixture
async def made(client: LangGraphClient) -> AsyncIterator[list[str]]:
    """Ids of crons that must not outlive the test."""
    ids: list[str] = []
    yield ids
    for cron_id in ids:
        await client.crons.delete(cron_id)


@pytest.fixture
async def assistant(client: LangGraphClient) -> str:
    """An assistant of this test's own, so that searches find nobody else's crons."""
    return (await client.assistants.create("echo", metadata={"for": "crons"}))["assistant_id"]


# One cron


async def test_a_stateless_cron(client: LangGraphClient) -> None:
    cron: Any = await client.crons.create(
        "echo", schedule="27 15 * * *", input=HELLO, metadata={"x": 1}, timezone="Europe/Berlin", config={"tags": ["t"]}
    )
    assert list(cron) == [
        *("cron_id", "assistant_id", "thread_id", "user_id", "end_time", "schedule", "timezone", "payload"),
        *("next_run_date", "metadata", "on_run_completed", "enabled", "created_at", "updated_at"),
    ]
    echo = (await client.assistants.search(graph_id="echo", metadata={"created_by": "system"}))[0]["assistant_id"]
    assert cron["payload"] == {
        "assistant_id": echo,
        "schedule": "27 15 * * *",
        "timezone": "Europe/Berlin",
        "input": HELLO,
        "metadata": {"x": 1},
        "config": {"tags": ["t"], "configurable": {"cron_id": cron["cron_id"]}},
    }
    assert (cron["assistant_id"], cron["thread_id"], cron["user_id"], cron["end_time"]) == (echo, None, "", None)
    assert (cron["metadata"], cron["on_run_completed"], cron["enabled"]) == ({"x": 1}, "delete", True)
    due = datetime.fromisoformat(cron["next_run_date"])
    assert datetime.now(UTC) < due < datetime.now(UTC) + timedelta(hours=25)
    assert (due.hour, due.minute, due.utcoffset()) in [(13, 27, timedelta()), (14, 27, timedelta())]
    await client.crons.delete(cron["cron_id"])


async def test_a_cron_of_a_thread_goes_with_it(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    cron: Any = await client.crons.create_for_thread(thread, "echo", schedule=YEARLY, multitask_strategy="reject")
    assert (cron["thread_id"], cron["on_run_completed"], cron["timezone"]) == (thread, None, None)
    assert cron["payload"]["multitask_strategy"] == "reject"
    assert (await http.get(f"/runs/crons/{cron['cron_id']}")).json() == cron
    await client.threads.delete(thread)
    assert (await http.get(f"/runs/crons/{cron['cron_id']}")).status_code == 404


async def test_update_changes_what_is_given(client: LangGraphClient, http: httpx.AsyncClient, made: list[str]) -> None:
    cron: Any = await client.crons.create(
        "echo", schedule=YEARLY, input=HELLO, metadata={"x": 1}, timezone="Asia/Tokyo"
    )
    made.append(cron["cron_id"])
    end = datetime(2040, 1, 1, tzinfo=UTC)
    changed: Any = await client.crons.update(
        cron["cron_id"],
        schedule="0 1 1 6 *",
        end_time=end,
        metadata={"y": 2},
        input={"messages": "new"},
        config={"configurable": {"q": 3}},
        on_run_completed="keep",
        stream_mode="updates",
    )
    assert (changed["schedule"], changed["timezone"], changed["on_run_completed"]) == (
        "0 1 1 6 *",
        "Asia/Tokyo",
        "keep",
    )
    assert changed["next_run_date"].endswith("-05-31T16:00:00.000000+00:00")
    assert datetime.fromisoformat(changed["end_time"]) == end
    assert changed["metadata"] == {"x": 1, "y": 2}
    assert changed["payload"]["input"] == {"messages": "new"}
    assert changed["payload"]["config"]["configurable"] == {"q": 3, "cron_id": cron["cron_id"]}
    assert (changed["created_at"], changed["assistant_id"]) == (cron["created_at"], cron["assistant_id"])
    assert changed["updated_at"] > cron["updated_at"]
    off: Any = await client.crons.update(cron["cron_id"], enabled=False)
    assert (off["enabled"], off["next_run_date"]) == (False, changed["next_run_date"])
    cleared = await http.patch(f"/runs/crons/{cron['cron_id']}", json={"end_time": None, "timezone": None})
    assert (cleared.json()["end_time"], cleared.json()["timezone"]) == (None, None)
    assert cleared.json()["next_run_date"].endswith("-06-01T01:00:00.000000+00:00")
    assert (await http.get(f"/runs/crons/{cron['cron_id']}")).json() == cleared.json()


async def test_delete(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    cron: Any = await client.crons.create("echo", schedule=YEARLY)
    gone = await http.delete(f"/runs/crons/{cron['cron_id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    for method in ("GET", "DELETE", "PATCH"):
        again = await http.request(method, f"/runs/crons/{cron['cron_id']}", json={"enabled": True})
        assert (again.status_code, list(again.json())) == (404, ["detail"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"assistant_id": "echo"}, 422),
        ({"schedule": YEARLY}, 422),
        ({"assistant_id": "echo", "schedule": None}, 422),
        ({"assistant_id": "echo", "schedule": "bad"}, 422),
        ({"assistant_id": "echo", "schedule": "* " * 3000}, 422),
        ({"assistant_id": "echo", "schedule": "0 0 31 2 *"}, 422),
        ({"assistant_id": "echo", "schedule": YEARLY, "timezone": "Mars/Olympus"}, 422),
        ({"assistant_id": "echo", "schedule": YEARLY, "timezone": "../../etc/passwd"}, 422),
        ({"assistant_id": "echo", "schedule": YEARLY, "end_time": "soon"}, 422),
        ({"assistant_id": "echo", "schedule": YEARLY, "end_time": "9999-12-31T23:59:59-14:00"}, 422),
        ({"assistant_id": "echo", "schedule": YEARLY, "on_run_completed": "explode"}, 422),
        ({"assistant_id": "echo", "schedule": YEARLY, "stream_mode": "nonsense"}, 422),
        ({"assistant_id": "echo", "schedule": YEARLY, "context": {"a": 1}, "config": {"configurable": {"b": 1}}}, 400),
        ({"assistant_id": "nobody", "schedule": YEARLY}, 404),
        ({"assistant_id": UNKNOWN, "schedule": YEARLY}, 404),
    ],
)
async def test_what_cannot_be_is_refused(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str, body: dict[str, Any], status: int
) -> None:
    for path in ("/runs/crons", f"/threads/{thread}/runs/crons"):
        if "on_run_completed" in body and thread in path:
            continue  # has no meaning there
        answer = await http.post(path, json=body)
        assert (answer.status_code, list(answer.json())) == (status, ["detail"]), answer.text
    assert await client.crons.count(thread_id=thread) == 0


async def test_ids_are_checked(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "echo", "schedule": YEARLY}
    assert (await http.post(f"/threads/{UNKNOWN}/runs/crons", json=body)).status_code == 404
    assert (await http.post("/threads/nonsense/runs/crons", json=body)).status_code == 422
    bad = await http.get("/runs/crons/nonsense")
    assert (bad.status_code, bad.json()) == (422, {"detail": "Invalid cron ID: must be a UUID"})


async def test_an_update_is_checked_and_changes_nothing_then(
    client: LangGraphClient, http: httpx.AsyncClient, made: list[str]
) -> None:
    cron: Any = await client.crons.create("echo", schedule=YEARLY, config={"configurable": {"k": 1}})
    made.append(cron["cron_id"])
    path = f"/runs/crons/{cron['cron_id']}"
    for change, status in [
        ({}, 400),
        ({"schedule": "bad"}, 422),
        ({"timezone": "bad"}, 422),
        ({"end_time": "bad"}, 422),
        ({"context": {"a": 1}}, 400),
        ({"on_run_completed": "bad"}, 422),
    ]:
        answer = await http.patch(path, json=change)
        assert (answer.status_code, list(answer.json())) == (status, ["detail"]), change
    assert (await http.get(path)).json() == cron


# Lists


async def test_search_and_count(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, assistant: str, made: list[str]
) -> None:
    ids = []
    for number in range(3):
        cron: Any = await client.crons.create(
            assistant, schedule=f"0 {3 - number} 1 1 *", metadata={"n": {"deep": number}}, enabled=number != 1
        )
        ids.append(cron["cron_id"])
    on_thread: Any = await client.crons.create_for_thread(thread, assistant, schedule=YEARLY)
    made += [*ids, on_thread["cron_id"]]

    async def found(**wanted: Any) -> list[str]:
        return [one["cron_id"] for one in await client.crons.search(assistant_id=assistant, **wanted)]

    assert await found() == [on_thread["cron_id"], *reversed(ids)]  # newest first
    assert await found(enabled=False) == [ids[1]]
    assert await found(thread_id=thread) == [on_thread["cron_id"]]
    assert await found(metadata={"n": {"deep": 2}}) == [ids[2]]
    assert await found(sort_by="next_run_date", sort_order="asc") == [on_thread["cron_id"], *reversed(ids)]
    assert await found(sort_by="cron_id", sort_order="asc", limit=2, offset=1) == ids[1:]
    assert await client.crons.search(assistant_id=assistant, limit=1, select=["cron_id", "schedule"]) == [
        {"cron_id": on_thread["cron_id"], "schedule": YEARLY}
    ]
    counts = [{"assistant_id": assistant}, {"thread_id": thread}, {"metadata": {"n": {"deep": 0}}}]
    assert [await client.crons.count(**wanted) for wanted in counts[:2]] == [4, 1]
    assert (await http.post("/runs/crons/count", json=counts[0] | {"enabled": True})).json() == 3

    page = await http.post("/runs/crons/search", json={"assistant_id": assistant, "limit": 2})
    assert (page.headers["x-pagination-total"], page.headers["x-pagination-next"]) == ("4", "2")
    page = await http.post("/runs/crons/search", json={"assistant_id": assistant, "limit": 2, "offset": 2})
    assert page.headers["x-pagination-total"] == "4"
    assert "x-pagination-next" not in page.headers


@pytest.mark.parametrize(
    "body",
    [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"sort_by": "x"}, {"select": ["x"]}, {"assistant_id": "echo"}],
)
async def test_a_search_is_checked(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await http.post("/runs/crons/search", json=body)
    assert (answer.status_code, list(answer.json())) == (422, ["detail"])


# Runs


async def test_it_runs_on_its_thread(client: LangGraphClient, thread: str) -> None:
    cron: Any = await client.crons.create_for_thread(thread, "echo", schedule=SECOND, input=HELLO, metadata={"x": 1})

    async def ran_twice() -> list[Any]:
        ended = await client.runs.list(thread, status="success")
        return ended if len(ended) >= 2 else []

    runs = await until(ran_twice)
    await client.crons.delete(cron["cron_id"])
    for run in runs:
        assert (run["metadata"]["cron_id"], run["metadata"]["x"]) == (cron["cron_id"], 1)
        assert run["kwargs"]["config"]["configurable"]["cron_id"] == cron["cron_id"]
    assert len({run["created_at"][:19] for run in runs}) == len(runs)  # one for each second
    assert len((await client.threads.get_state(thread))["values"]["messages"]) >= 4
    await client.runs.list(thread)  # runs outlive their cron


async def test_a_stateless_cron_keeps_its_threads_or_not(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    kept: Any = await client.crons.create("echo", schedule=SECOND, input=HELLO, on_run_completed="keep")
    gone: Any = await client.crons.create("remember", schedule=SECOND, input={"messages": "gone"})

    async def threads_of_kept() -> list[Any]:
        return await client.threads.search(metadata={"cron_id": kept["cron_id"]}, status="idle")

    (thread, *_) = await until(threads_of_kept)
    assert [one["content"] for one in thread["values"]["messages"]] == ["hello", "1: hello"]
    assert await client.threads.search(metadata={"cron_id": gone["cron_id"]}) == []

    async def moved() -> bool:
        now = (await http.get(f"/runs/crons/{gone['cron_id']}")).json()
        return bool(now["next_run_date"] > gone["next_run_date"])

    assert await until(moved)
    for cron in (kept, gone):
        await client.crons.delete(cron["cron_id"])


async def test_crons_survive_a_crash(start_server: Callable[..., Server]) -> None:
    server = start_server()
    client = server.client()
    thread = (await client.threads.create())["thread_id"]
    cron: Any = await client.crons.create_for_thread(thread, "echo", schedule=SECOND, input=HELLO)

    async def runs() -> int:
        return len(await client.runs.list(thread, status="success", limit=100))

    await until(runs)
    server.kill()
    server.start()
    before = await runs()

    async def more() -> bool:
        return await runs() > before

    assert await until(more)
    await client.crons.delete(cron["cron_id"])
    listed = await client.runs.list(thread, limit=100)
    assert len({run["created_at"][:19] for run in listed}) == len(listed)
