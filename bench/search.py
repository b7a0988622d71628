"""How long a search takes over 100,000 messages: `python bench/search.py [messages]`.

A database of threads of 100 messages, made as the checkpointer makes it and indexed as the server does, then asked by a
client of a real server. Prints milliseconds by kind of query, and what the index costs.
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from serving import Server  # noqa: E402

from threadmill import threads  # noqa: E402
from threadmill_checkpoints.migrate import migrate_sqlite  # noqa: E402
from threadmill_checkpoints.saver import blobs  # noqa: E402
from threadmill_checkpoints.saver.parts import part  # noqa: E402
from threadmill_checkpoints.search import index  # noqa: E402
from threadmill_checkpoints.serde import Serializer  # noqa: E402
from threadmill_checkpoints.sqlite import SqliteDatabase  # noqa: E402

PER_THREAD, USERS, ROUNDS = 100, 50, 40
HAN = "我想退款订单已经发货请问什么时候可以收到货物谢谢您的帮助我们会尽快处理这个问题地址电话支付成功失败查询"
WORDS = [
    f"{a}{b}{c}"
    for a in ("re", "con", "in", "de", "pro")
    for b in ("fund", "tain", "vest", "mand", "duct", "late")
    for c in ("", "s", "ed", "ing", "ment", "able")
]
COMMON = ["the", "order", "please", "and", "number", "is", "to"]
QUERIES = {
    "a common word": "order",
    "two common words": "order please",
    "a rare number": "{number}",
    "the beginning of words": "refu",
    "a phrase": '"order number"',
    "nothing": "zzzyx",
    "one Han character": "款",
    "two Han characters": "退款",
    "four Han characters": "订单已经",
    "a rare Han pair": "{pair}",
}


def said(rng: random.Random, number: int) -> object:
    words = " ".join(rng.choice(COMMON) if rng.random() < 0.4 else rng.choice(WORDS) for _ in range(28))
    if number % 5 == 0:
        start = rng.randrange(len(HAN) - 12)
        words = HAN[start : start + 12] + "，" + "".join(rng.choices(HAN, k=60))
    text = f"{words} order number {number}"
    name = f"m{number}"
    if number % 7 == 0:
        return ToolMessage(text, tool_call_id=f"c{number}", id=name)
    if number % 2:
        return HumanMessage(text, id=name)
    calls = [{"name": "look_up", "args": {"order": number}, "id": f"c{number}"}] if number % 7 == 6 else []
    return AIMessage(text, id=name, tool_calls=calls)


async def fill(path: Path, count: int) -> float:
    database, serde, rng = (
        SqliteDatabase(path, prepare=migrate_sqlite, synchronous="NORMAL"),
        Serializer(),
        random.Random(7),
    )

    def thread(tx, first: int) -> None:
        thread_id = f"{first:08x}-0000-4000-8000-000000000000"
        threads.create(tx, thread_id, metadata={"owner": f"user{first // PER_THREAD % USERS}"})
        threads.patch(tx, threads.ALL, thread_id, metadata=None, title=f"Order {first}")
        parts = [part(serde, said(rng, number)) for number in range(first, first + PER_THREAD)]
        blobs.put(tx, blobs.holder(tx, thread_id), serde, parts, "1f1e563b-6259-6835-8005-eed061671b8f")

    for first in range(0, count, PER_THREAD):
        await database.write(thread, first)
    before, begun = path.stat().st_size, time.perf_counter()
    longest = 0.0
    while (batch := await database.read(index.waiting, serde)) is not None:
        at = time.perf_counter()
        await database.write(index.put, batch)
        longest = max(longest, time.perf_counter() - at)
    took = time.perf_counter() - begun
    await database.close()
    print(
        f"indexed in {took:.1f} s ({took / count * 1e6:.0f} us a message, longest commit {longest * 1e3:.0f} ms); "
        f"the file grew from {before / 2**20:.0f} to {path.stat().st_size / 2**20:.0f} MiB"
    )
    return took


def ask(url: str, count: int) -> None:
    rng, all_of_them = random.Random(11), list[float]()
    print(f"{'query':26} {'p50':>7} {'p95':>7} ms   hits")
    with httpx.Client(base_url=url) as client:
        for among, more in (("", {}), (" of one user", {"metadata": {"owner": "user7"}}), (" in a thread", None)):
            for name, query in QUERIES.items():
                times, hits = [], 0
                for _ in range(ROUNDS):
                    text = query.format(number=rng.randrange(count), pair="".join(rng.choices(HAN, k=2)))
                    body = (
                        more
                        if more is not None
                        else {"thread_ids": [f"{rng.randrange(0, count, PER_THREAD):08x}-0000-4000-8000-000000000000"]}
                    )
                    at = time.perf_counter()
                    answer = client.post("/search", json={"query": text, **body})
                    times.append((time.perf_counter() - at) * 1e3)
                    hits = max(hits, len(answer.json()["hits"]))
                all_of_them += times
                times.sort()
                print(
                    f"{name + among:38} {statistics.median(times):7.1f} {times[int(len(times) * 0.95)]:7.1f}   {hits}"
                )
    all_of_them.sort()
    print(f"{'all':38} {statistics.median(all_of_them):7.1f} {all_of_them[int(len(all_of_them) * 0.95)]:7.1f}")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(Path(folder) / "threadmill.sqlite", count))
        server = Server(Path(folder)).start()
        try:
            ask(server.url, count)
        finally:
            server.kill()
