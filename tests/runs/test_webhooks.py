"""The dispatcher with a clock that the test moves, and the rules of langgraph.json."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from threadmill import deliveries, threads
from threadmill.deliveries import Delivery, claim, enqueue, finish, search, sweep
from threadmill.egress import LOOPBACK, Egress
from threadmill.errors import ConfigError, Conflict, Invalid, NotFound
from threadmill.langgraph_json.webhooks import WebhooksConfig
from threadmill.langgraph_json.webhooks import webhooks as read
from threadmill.scope import ALL, Scope
from threadmill.signals import Signals
from threadmill.webhooks import Webhooks, secrets, sign
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio
RUN = "01a1fc2b-5f4e-7575-b684-250167de9400"
FILE = Path("langgraph.json")


@dataclass
class Office:
    """A database with a clock, and somebody who is called in process."""

    database: SqliteDatabase
    now: list[datetime]
    answers: list[int] = field(default_factory=list)
    heard: list[tuple[datetime, dict[str, str]]] = field(default_factory=list)

    def webhooks(self, **more: Any) -> Webhooks:
        one = Webhooks(
            self.database,
            Signals(),
            Egress(),
            WebhooksConfig(disable_loopback=False),
            jitter=lambda: 1.0,
            **more,
        )
        one.app = self.answer
        return one

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.heard.append((self.now[0], {name.decode(): value.decode() for name, value in scope["headers"]}))
        assert json.loads((await receive())["body"])["values"] == 7
        await send({"type": "http.response.start", "status": self.answers.pop(0) if self.answers else 200})

    async def put(self, url: str = "/hook", run_id: str = RUN) -> None:
        await self.database.write(enqueue, run_id=run_id, thread_id=RUN, url=url, body=b'{"values":7}')

    async def send(self, sender: Webhooks) -> float:
        """Until nothing is due; returns the seconds until something may be."""
        while (wait := await sender.begin()) == 0:
            await asyncio.gather(*sender._tasks)
        return wait

    async def one(self) -> Delivery:
        ((found,), _) = await self.database.read(search, ALL)
        return found

    def forward(self, seconds: float) -> None:
        self.now[0] += timedelta(seconds=seconds)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    opened = SqliteDatabase(tmp_path / "t.sqlite", synchronous="NORMAL", clock=lambda: now[0], prepare=migrate_sqlite)
    yield Office(opened, now)
    asyncio.run(opened.close())


async def test_it_is_tried_after_longer_and_longer_pauses_and_then_given_up(office: Office) -> None:
    office.answers = [500, 302, 429] + [503] * 9
    sender = office.webhooks(max_attempts=8)
    await office.put()
    for _ in range(7):
        await office.send(sender)
        due = datetime.fromisoformat((await office.one()).next_attempt_at or "")
        office.forward((due - office.now[0]).total_seconds())
    await office.send(sender)
    times = [at for at, _ in office.heard]
    pauses = [(b - a).total_seconds() for a, b in pairwise(times)]
    assert pauses == [1, 5, 25, 125, 625, 3125, 3600]
    assert {headers["webhook-id"] for _, headers in office.heard} == {RUN}
    last = await office.one()
    assert (last.status, last.attempts, last.next_attempt_at) == ("dead", 8, None)
    assert (last.response_status, last.error) == (503, "The answer was 503.")
    office.forward(7200)
    assert await office.send(sender) > 0
    assert len(office.heard) == 8
    again = await office.database.write(deliveries.retry, ALL, RUN)
    assert (again.status, again.attempts) == ("pending", 0)
    office.answers = []
    await office.send(sender)
    assert (await office.one()).status == "delivered"
    with pytest.raises(Conflict):
        await office.database.write(deliveries.retry, ALL, RUN)


async def test_two_servers_never_send_one_at_once(office: Office) -> None:
    for number in range(200):
        await office.put(run_id=f"run{number}")
    servers = [office.webhooks() for _ in range(3)]
    await asyncio.gather(*(office.send(server) for server in servers))
    assert sorted(headers["webhook-id"] for _, headers in office.heard) == sorted(f"run{n}" for n in range(200))


async def test_who_dies_while_sending_is_replaced_and_heard_no_more(office: Office) -> None:
    await office.put()
    ((taken, _),) = await office.database.write(claim, 10, 20.0)  # and dies here
    office.forward(19)
    assert await office.database.write(claim, 10, 20.0) == []
    office.forward(1)
    await office.send(office.webhooks())
    assert (await office.one()).status == "delivered"
    assert not await office.database.write(finish, taken, "dead", answer=None, error="late")
    assert (await office.one()).status == "delivered"


async def test_a_run_is_told_of_once(office: Office) -> None:
    await office.put()
    await office.put("/other")
    assert (await office.one()).url == "/hook"


async def test_what_the_rules_forbid_by_now_is_dead_at_once(office: Office) -> None:
    await office.put("http://10.0.0.1/hook")
    await office.send(office.webhooks())
    found = await office.one()
    assert (found.status, found.attempts) == ("dead", 1)
    assert found.error == "10.0.0.1 leads to an address that is not public."
    with pytest.raises(NotFound):
        await office.database.write(deliveries.retry, Scope({"owner": "bob"}), RUN)


@pytest.mark.parametrize(("ephemeral", "left"), [(True, ["dead", "waiting"]), (False, ["waiting"])])
async def test_what_is_to_be_sent_outlives_its_thread_and_keeps_its_owner(
    ephemeral: bool, left: list[str], office: Office
) -> None:
    await office.database.write(threads.create, RUN, metadata={"owner": "alice"}, ephemeral=ephemeral)
    office.answers = [410]
    await office.put(run_id="dead")
    await office.send(office.webhooks())
    await office.put(run_id="waiting")

    async def seen(by: str) -> list[str]:
        return sorted(one.run_id for one in (await office.database.read(search, Scope({"owner": by})))[0])

    assert await seen("alice") == ["dead", "waiting"]
    await office.database.write(threads.delete, ALL, RUN)
    assert await seen("alice") == left
    assert await seen("bob") == []
    await office.send(office.webhooks())
    assert office.heard[-1][1]["webhook-id"] == "waiting"


async def test_old_rows_go(office: Office) -> None:
    office.answers = [200, 410]
    for run_id in ("arrived", "dead"):
        await office.put(run_id=run_id)
        await office.send(office.webhooks())
    await office.put(run_id="waiting")
    left = []
    for days in (0.9, 0.2, 28.0, 2.0):
        office.forward(days * 86400)
        await office.database.write(sweep)
        left.append([one.run_id for one in (await office.database.read(search, ALL))[0]])
    assert left == [["waiting", "dead", "arrived"], ["waiting", "dead"], ["waiting", "dead"], ["waiting"]]


# The signature


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The vector of the reference implementation."""
    keys = secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    at = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert sign(keys, *at) == signature
    both = secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_" + "QUFB" * 8)
    assert sign(both, *at).split()[0] == signature
    assert len(sign(both, *at).split()) == 2


@pytest.mark.parametrize(
    "text", ["hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
)
def test_a_secret_that_is_none_ends_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match="THREADMILL_WEBHOOK_SECRET must be whsec_") as caught:
        secrets(text)
    assert text == "whsec_" or text not in str(caught.value)  # it may be a secret all the same


# The rules


@pytest.mark.parametrize(
    ("rules", "allowed", "refused"),
    [
        ({}, ["https://example.com", "http://example.com:8080/x?y=z"], ["http://127.0.0.1/", "/mine", "http://0/"]),
        (
            {"allowed_domains": ["hooks.example.com", "*.corp.example"]},
            ["https://hooks.example.com/", "https://HOOKS.example.com./", "https://a.b.corp.example/"],
            [
                "https://corp.example/", "https://example.com/", "https://hooks.example.com.evil.test/",
                "https://evilcorp.example/", "https://hooks.example.com@evil.test/", "https://evil.test/#.corp.example",
            ],
        ),
        (
            {"allowed_ports": [443, 8443]},
            ["https://example.com/", "https://example.com:8443/"],
            ["http://example.com/", "https://example.com:444/"],
        ),
        ({"require_https": True}, ["https://example.com/"], ["http://example.com/"]),
        ({"max_url_length": 22}, ["https://example.com/aa"], ["https://example.com/aaa"]),
        (
            {"disable_loopback": False},
            ["http://127.0.0.1:8000/", "http://localhost/", "http://[::1]/", "/mine"],
            ["http://10.0.0.1/", "http://169.254.169.254/", "http://0.0.0.0/", "//x", "/a/../b"],
        ),
    ],
)  # fmt: skip
def test_the_rules_of_langgraph_json(
    rules: dict[str, Any], allowed: list[str], refused: list[str], office: Office
) -> None:
    wanted = read(FILE, {"url": rules}, {})
    one = Webhooks(office.database, Signals(), Egress(() if wanted.disable_loopback else LOOPBACK), wanted)
    one.app = office.answer
    for url in allowed:
        one.check(url)
    for url in refused:
        with pytest.raises(Invalid, match=r"^webhook: "):
            one.check(url)


def test_headers_are_filled_in_from_variables_with_the_prefix() -> None:
    variables = {"LG_WEBHOOK_A": "a", "MY_B": "b", "SECRET": "s", "LG_WEBHOOK_BAD": "x\r\nx-evil: 1"}
    raw: dict[str, Any] = {"headers": {"x-a": "${{ env.LG_WEBHOOK_A }}-${{env.LG_WEBHOOK_A}}", "x-plain": "$p {{q}}"}}
    assert read(FILE, raw, variables).headers == {"x-a": "a-a", "x-plain": "$p {{q}}"}
    assert read(FILE, {"env_prefix": "MY_", "headers": {"x": "${{ env.MY_B }}"}}, variables).headers == {"x": "b"}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"x": "${{ env.SECRET }}"}, r"webhooks\.headers\.x may name variables as \$\{\{ env\.LG_WEBHOOK_X \}\} only"),
        ({"x": "${{ SECRET }}"}, "may name variables"),
        ({"x": "${{ env.LG_WEBHOOK_GONE }}"}, "needs the environment variable LG_WEBHOOK_GONE, which is not set"),
        ({"x": "${{ env.LG_WEBHOOK_BAD }}"}, "one line of ASCII"),
        ({"x": 5}, "must be a string"),
        ({"x y": "z"}, "is not the name of a header"),
        ({"Host": "z"}, "is set by the server"),
        ({"Webhook-Signature": "z"}, "is set by the server"),
    ]
    for headers, sentence in wrong:
        with pytest.raises(ConfigError, match=sentence):
            read(FILE, {"headers": headers}, variables)


@pytest.mark.parametrize(
    "raw",
    [
        "x", {"url": ["x"]}, {"headers": ["x"]}, {"env_prefix": 5}, {"url": {"allowed_domains": "example.com"}},
        {"url": {"allowed_domains": ["https://example.com"]}}, {"url": {"allowed_domains": ["*"]}},
        {"url": {"allowed_ports": [0]}}, {"url": {"allowed_ports": ["443"]}}, {"url": {"allowed_ports": [True]}},
        {"url": {"max_url_length": 0}}, {"url": {"require_https": "yes"}}, {"url": {"disable_loopback": 0}},
    ],
)  # fmt: skip
def test_what_cannot_be_right_ends_the_start(raw: Any) -> None:
    with pytest.raises(ConfigError, match=r"langgraph\.json: webhooks"):
        read(FILE, raw, {})
