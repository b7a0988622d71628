"""What a killed process and a cut power take with them, for each `durability` and `synchronous`: docs/durability.md.

A cut is a random moment at which the server stands still and its files are copied twice: as they are, which is what a
kill leaves, and as of their last fsync (disk/forgetful.c), which is what the power leaves. Long form:
THREADMILL_CHAOS=long.
"""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import httpx
import pytest
from chaos.conftest import SEED, scaled
from crash.conftest import Victim
from crash.rows import ask
from serving import until
from streaming.frames import frames

from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import SqliteSaver
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(scaled(120, 1800))]

SOURCE = Path(__file__).parent / "disk" / "forgetful.c"
FILE = "threadmill.sqlite"
DURABILITIES = ("sync", "async", "exit")
ROUNDS, CUTS = scaled(1, 8), scaled(3, 8)  # of each durability
STEPS = 30  # of a turn
UP_TO = 60  # supersteps between two cuts
LAST_MOMENT_S = 0.03


@pytest.fixture(scope="session")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, Path], dict[str, str]]:
    """The environment of a process whose disk keeps, of one folder, only what was synced: in another folder."""
    if (compiler := shutil.which("cc")) is None:
        lacking = "no C compiler (cc) is here: what a power cut takes was not tested"
        pytest.fail(lacking) if os.environ.get("CI") == "true" else pytest.skip(lacking)
    library = tmp_path_factory.mktemp("disk") / "forgetful.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, SOURCE], check=True)

    def preload(disk: Path, images: Path) -> dict[str, str]:
        images.mkdir()
        return {"LD_PRELOAD": str(library), "FORGETFUL_DISK": str(disk), "FORGETFUL_IMAGES": str(images)}

    return preload


WRITER = """
import os, sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA journal_mode=WAL")
file.execute("CREATE TABLE rows (n)")
file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
file.execute(f"PRAGMA synchronous={sys.argv[2]}")
for n in range(100):
    file.execute("INSERT INTO rows VALUES (?)", (n,))
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("synchronous", "kept"), [("FULL", 100), ("NORMAL", 0), ("OFF", 0)])
def test_the_disk_forgets_what_was_not_synced(
    forgetful: Callable[[Path, Path], dict[str, str]], tmp_path: Path, synchronous: str, kept: int
) -> None:
    disk, images = tmp_path / "disk", tmp_path / "images"
    disk.mkdir()
    command = [sys.executable, "-c", WRITER, str(disk / FILE), synchronous]
    subprocess.run(command, env={**os.environ, **forgetful(disk, images)}, check=False)
    for folder, rows in ((disk, 100), (images, kept)):
        connection = sqlite3.connect(folder / FILE)
        assert connection.execute("SELECT count(*) FROM rows").fetchone() == (rows,)
        connection.close()


@dataclass
class Turn:
    number: int
    run_id: str | None = None  # when the server has said 200
    ended: bool = False


@dataclass
class User:
    """Talks without pause, and remembers what the server has let him know."""

    server: Victim
    thread: str
    durability: str
    turns: list[Turn] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)  # when each superstep was seen
    events: list[int] = field(default_factory=list)

    async def talk(self, enough: anyio.Event) -> None:
        with suppress(httpx.TransportError):  # killed
            while not enough.is_set():
                self.turns.append(Turn(len(self.turns) + 1))
                await self._take(self.turns[-1])

    async def _take(self, turn: Turn) -> None:
        asked = {
            "assistant_id": "slow",
            "input": {"steps": STEPS, "delay": 0.001, "tag": f"{turn.number}."},
            "stream_mode": "values",
            "stream_resumable": True,
            **({"durability": self.durability} if self.durability != DURABILITIES[0] else {}),  # the server's default
        }
        async with (
            self.server.http as http,
            http.stream("POST", f"/threads/{self.thread}/runs/stream", json=asked) as response,
        ):
            assert response.status_code == 200, await response.aread()
            turn.run_id = response.headers["content-location"].rpartition("/")[2]
            async for frame in frames(response):
                self.events.append(int(str(frame.id)))
                if frame.event == "values":
                    new = len(frame.data.get("log", ())) - len(self.steps)
                    self.steps += [time.monotonic()] * new
        turn.ended = True

    async def reaches(self, steps: int) -> None:
        async def has() -> bool:
            return len(self.steps) >= steps

        await until(has)

    def log(self) -> list[str]:
        """Of the state, if all that was said is done."""
        return [f"{turn.number}.{n + 1}" for turn in self.turns for n in range(STEPS)]


@dataclass(frozen=True)
class Known:
    """What a user knew at a moment; `log` is what the state will be."""

    at: float
    accepted: set[str]
    ended: set[str]
    steps: tuple[float, ...]
    events: tuple[int, ...]
    log: list[str]

    @classmethod
    def of(cls, user: User) -> "Known":
        ended = {turn.run_id for turn in user.turns if turn.ended and turn.run_id}
        accepted = {turn.run_id for turn in user.turns if turn.run_id}
        return cls(time.monotonic(), accepted, ended, tuple(user.steps), tuple(user.events), user.log())


@dataclass(frozen=True)
class Left:
    """What is in a database."""

    sound: str
    runs: Mapping[str, str]
    log: list[str]
    event: int

    @classmethod
    def by(cls, folder: Path, thread: str) -> "Left":
        database = SqliteDatabase(folder / FILE, readers=1, prepare=migrate_sqlite)
        try:
            found = SqliteSaver(database).get_tuple({"configurable": {"thread_id": thread}})
            sound, runs, events = (
                database.query(lambda tx, sql=sql: [tuple(row) for row in tx.all(sql)]).result()  # type: ignore[misc]
                for sql in (
                    "PRAGMA integrity_check",
                    "SELECT run_id, status FROM runs",
                    f"SELECT coalesce(max(last_seq), 0) FROM events WHERE thread_id = '{thread}'",
                )
            )
        finally:
            asyncio.run(database.close())
        values = found.checkpoint["channel_values"] if found else {}
        return cls(sound[0][0], dict(runs), values.get("log", []), events[0][0])


@dataclass(frozen=True)
class Loss:
    """`runs`: accepted, or ended with success for all to see, and not so any more."""

    supersteps: int
    events: int
    ms: float
    runs: int

    @classmethod
    def between(cls, known: Known, left: Left) -> "Loss":
        kept = len(left.log)
        age = known.at - known.steps[kept] if kept < len(known.steps) else 0
        missing = known.accepted - left.runs.keys()
        missing |= {run for run in known.ended if left.runs.get(run) != "success"}
        events = sum(seq > left.event for seq in known.events)
        return cls(max(0, len(known.steps) - kept), events, age * 1000, len(missing))


def keeps(known: Known, left: Left, durability: str, *, synced: bool) -> None:
    """The promises of docs/durability.md. `synced`: of all that was committed."""
    assert left.sound == "ok"
    assert left.log == known.log[: len(left.log)], "a beginning, without holes"
    if not synced:
        return
    loss = Loss.between(known, left)
    assert loss.runs == 0, "what was acknowledged, and the end of a run that anybody saw"
    assert len(left.log) >= STEPS * len(known.ended), "with its state"
    if durability == "sync":
        assert loss.supersteps <= 1, "a superstep is on disk before the next begins"


def stand_still(server: Victim, images: Path, into: Path) -> None:
    """Copies its files of one moment."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    os.waitpid(server.process.pid, os.WUNTRACED)
    try:
        for name, folder in (("kill", server.data_dir), ("power", images)):
            (into / name).mkdir(parents=True)
            for file in folder.glob(f"{FILE}*"):
                if not file.name.endswith(("-shm", ".making")):
                    shutil.copy(file, into / name)
    finally:
        server.process.send_signal(signal.SIGCONT)


Losses = dict[tuple[str, str], list[Loss]]


async def cuts(server: Victim, images: Path, user: User, chance: random.Random, into: Path) -> Losses:
    """Of a conversation; the promises are kept in each."""
    found: Losses = defaultdict(list)
    enough = anyio.Event()
    async with anyio.create_task_group() as talking:
        talking.start_soon(user.talk, enough)
        for number in range(CUTS):
            await user.reaches(len(user.steps) + chance.randrange(1, UP_TO))
            await anyio.sleep(chance.random() * LAST_MOMENT_S)  # a moment, not an event
            known = Known.of(user)
            stand_still(server, images, into / str(number))
            for kind in ("kill", "power"):
                left = await anyio.to_thread.run_sync(Left.by, into / str(number) / kind, user.thread)
                synced = kind == "kill" or server.env["THREADMILL_SQLITE_SYNCHRONOUS"] == "FULL"
                keeps(known, left, user.durability, synced=synced)
                found[kind, user.durability].append(Loss.between(known, left))
            shutil.rmtree(into / str(number))
        enough.set()
    return found


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
async def test_what_is_lost_is_what_the_page_says(
    victims: Callable[..., Victim],
    forgetful: Callable[[Path, Path], dict[str, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    synchronous: str,
) -> None:
    sys.stdout.write(f"to repeat: THREADMILL_SEED={SEED}")
    chance, images = random.Random(SEED), tmp_path / "images"
    server = victims(THREADMILL_SQLITE_SYNCHRONOUS=synchronous, THREADMILL_DURABILITY=DURABILITIES[0])
    server.env |= forgetful(server.data_dir, images)
    server.start()
    await check_default(server, DURABILITIES[0])
    losses: Losses = defaultdict(list)
    for durability in DURABILITIES * ROUNDS:
        for key, found in (await cuts(server, images, await joins(server, durability), chance, tmp_path)).items():
            losses[key] += found
    await check_restart(server, images, chance, synced=synchronous == "FULL")
    with capsys.disabled():
        sys.stderr.write("".join(lines(losses, synchronous)))
    if synchronous == "NORMAL":
        assert any(loss.runs for loss in chain.from_iterable(losses.values())), "no cut met anything: nothing is shown"


async def check_default(server: Victim, default: str) -> None:
    """What the deployment says holds for runs that say nothing themselves."""
    for said, wanted in (({}, default), ({"durability": "exit"}, "exit"), ({"checkpoint_during": True}, "async")):
        async with server.http as http:
            asked = {"assistant_id": "slow", "input": {"steps": 1}, **said}
            run = (await http.post(f"/threads/{(await joins(server, default)).thread}/runs", json=asked)).json()
        assert run["kwargs"]["durability"] == wanted


async def joins(server: Victim, durability: str) -> User:
    return User(server, (await server.client().threads.create())["thread_id"], durability)


async def check_restart(server: Victim, images: Path, chance: random.Random, *, synced: bool) -> None:
    """The power goes under three users, for good; a server starts on what is left, and goes on."""
    users = [await joins(server, durability) for durability in DURABILITIES]
    async with anyio.create_task_group() as talking:
        for user in users:
            talking.start_soon(user.talk, anyio.Event())
        await users[-1].reaches(chance.randrange(1, UP_TO))
        server.kill()
    server.data_dir = images
    del server.env["LD_PRELOAD"]
    server.start()
    for user in users if synced else [await joins(server, "sync")]:
        for turn in user.turns:
            if turn.run_id:
                await server.client().runs.join(user.thread, turn.run_id)
        accepted = [turn for turn in user.turns if turn.run_id]
        state: Any = await server.client().threads.get_state(user.thread)
        assert state["values"].get("log", [])[: STEPS * len(accepted)] == user.log()[: STEPS * len(accepted)]
        output: Any = await server.client().runs.wait(user.thread, "slow", input={"steps": 1, "tag": "new."})
        assert output["log"][-1] == "new.1"
    server.kill()
    assert ask(server.file, "PRAGMA integrity_check") == [("ok",)]


def lines(losses: Losses, synchronous: str) -> list[str]:
    made = []
    for (kind, durability), found in losses.items():
        figures = ", ".join(
            f"{name} {median(values):.0f}/{max(values):.0f}"
            for name in ("supersteps", "events", "ms", "runs")
            for values in [[getattr(loss, name) for loss in found]]
        )
        made.append(f"\n{synchronous:6} {kind:5} {durability:5}: {len(found)} cuts, lost median/worst: {figures}")
    return [*sorted(made), f"\nTHREADMILL_SEED={SEED}\n"]
