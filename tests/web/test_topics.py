"""Several conversations at once, over years, and on every device that a person has."""

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, Locator, Page, expect
from serving import Server

from tests.web.talking import (
    answer_of,
    begin,
    box,
    done,
    grows,
    item,
    last,
    log,
    say,
    snapshot,
    spoke,
    squeezed,
    titled,
)

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "reduced_motion": "reduce"}


def rows(page: Page) -> Locator:
    return page.locator(".side-list [data-thread] .side-title")


WORDS = 20_000 if os.environ.get("THREADMILL_CHAOS") == "long" else 4_000

# The turn at the upper edge, and how far it is above it.
TOP = """(one) => {
  if (!one) return null
  const edge = one.getBoundingClientRect().top
  const first = [...one.querySelectorAll('article')].find((turn) => turn.getBoundingClientRect().bottom > edge)
  return first && [first.innerText, Math.round(first.getBoundingClientRect().top - edge)]
}"""


def odd(page: Page) -> None:
    """New conversations are with the odd graph, which answers at once."""
    page.goto("/")
    page.get_by_label("Assistant", exact=True).select_option("odd")


def test_three_topics_are_written_at_once(page: Page, agent: Server) -> None:
    topics = {begin(page, f"Tell me a story of {words} words"): "" for words in (90, 100, 110)}
    for _ in range(3):
        for thread, before in topics.items():
            item(page, thread).get_by_role("link").click()
            expect(item(page, thread).get_by_role("link")).to_have_attribute("aria-current", "page")
            spoke(page)
            topics[thread] = grows(page, before)
    wholes = set()
    for thread, before in topics.items():
        item(page, thread).get_by_role("link").click()
        expect(item(page, thread).get_by_role("link")).to_have_attribute("aria-current", "page")
        spoke(page)
        done(page)
        assert grows(page, before) == squeezed(answer_of(agent, thread))
        expect(page.locator("article")).to_have_count(2)
        wholes.add(answer_of(agent, thread))
    assert len(wholes) == 3


def test_a_fresh_browser_finds_everything(page: Page, person: Callable[..., BrowserContext], agent: Server) -> None:
    odd(page)
    thread = begin(page, "the first")
    for turns, text in ((4, "the second"), (6, "the third")):
        say(page, text)
        expect(log(page)).to_have_attribute("data-turns", str(turns))
    expect(page.locator(".figures")).to_have_count(3)
    shown, held = log(page).inner_text(), snapshot(agent, thread)["messages"]
    page.close()
    other = person().new_page()
    other.goto("/")
    item(other, thread).get_by_role("link").click()
    expect(log(other)).to_have_attribute("data-turns", "6")
    expect(log(other)).to_have_text(shown, use_inner_text=True)
    assert snapshot(agent, thread)["messages"] == held


def test_a_reload_at_once_loses_nothing(page: Page, agent: Server) -> None:
    thread = begin(page, "Tell me a story of 40 words")
    expect(page.locator("article.human")).to_be_visible()
    page.reload()
    expect(page.locator("article.human")).to_have_count(1)
    spoke(page)
    done(page)
    assert grows(page, "") == squeezed(answer_of(agent, thread))
    assert len(snapshot(agent, thread)["messages"]) == 2


def test_old_conversations_stay_in_their_order_and_go_on(page: Page, agent: Server) -> None:
    odd(page)
    old = begin(page, "many days ago")
    expect(log(page)).to_have_attribute("data-turns", "2")
    done(page)
    now = datetime.now(UTC)
    ages = {old: 400, **dict(zip(titled(agent, "month", "week", "yesterday"), (20, 4, 1), strict=True))}
    with closing(sqlite3.connect(agent.data_dir / "threadmill.sqlite", timeout=30)) as database:
        for thread, days in ages.items():
            then = (now - timedelta(days=days)).isoformat()
            columns = "created_at = :then, updated_at = :then, state_updated_at = :then, last_activity_at = :then"
            database.execute(
                f"UPDATE threads SET {columns} WHERE thread_id = :thread", {"then": then, "thread": thread}
            )
        database.commit()
    agent.restart()
    page.goto("/")
    headings = page.get_by_role("navigation", name="Conversations").get_by_role("heading")
    mine = [*ages][::-1]
    for heading in ("Yesterday", "Last 7 days", "Last 30 days", (now - timedelta(days=400)).strftime("%B %Y")):
        expect(headings.filter(has_text=heading)).to_have_count(1)

    def order() -> list[str]:
        all_ids = page.locator(".side-list [data-thread]").evaluate_all("(all) => all.map((one) => one.dataset.thread)")
        return [one for one in all_ids if one in ages]

    item(page, old).get_by_role("link").click()
    expect(page.locator("article.human")).to_have_text(re.compile("many days ago"))
    item(page, mine[1]).get_by_role("link").dblclick()
    page.get_by_role("textbox", name="Name of the conversation").fill("Renamed")
    page.keyboard.press("Enter")
    expect(item(page, mine[1])).to_contain_text("Renamed")
    assert order() == mine  # reading and renaming move nothing
    item(page, old).get_by_role("link").click()
    say(page, "and today")
    expect(log(page)).to_have_attribute("data-turns", "4")
    done(page)
    assert order() == [old, *mine[:-1]]
    said = [one["content"] for one in snapshot(agent, old)["messages"] if one["type"] == "human"]
    assert said == ["many days ago", "and today"]


def test_what_begins_at_a_desk_goes_on_on_a_phone(person: Callable[..., BrowserContext], agent: Server) -> None:
    desk, phone = person().new_page(), person(**PHONE).new_page()
    phone.goto("/")
    thread = begin(desk, "Tell me a story of 3000 words")
    spoke(desk)
    phone.get_by_role("button", name="Show conversations").tap()
    item(phone, thread).get_by_role("link").tap()
    spoke(phone)
    text = grows(phone, "")
    expect(desk.get_by_role("button", name="Stop")).to_be_visible()
    phone.get_by_role("button", name="Stop").tap()
    for page in (desk, phone):
        done(page)
        expect(last(page)).to_contain_text("Stopped here.")
        assert grows(page, text) == squeezed(answer_of(agent, thread))
    say(desk, "What is 15% of 80?")
    expect(last(phone)).to_contain_text("12")


def test_one_comes_back_to_where_one_was(page: Page, agent: Server) -> None:
    page.set_viewport_size({"width": 1280, "height": 500})
    odd(page)
    other = begin(page, "elsewhere")
    long = httpx.post(f"{agent.url}/threads", json={"metadata": {"graph_id": "odd"}}, timeout=30).json()["thread_id"]
    messages = [{"type": "ai" if n % 2 else "human", "id": f"m{n}", "content": f"{n} turns"} for n in range(40)]
    update = {"values": {"messages": messages}, "as_node": "second"}
    httpx.post(f"{agent.url}/threads/{long}/state", json=update, timeout=30).raise_for_status()
    page.goto(f"/t/{long}")
    expect(log(page)).to_contain_text("39 turns")
    page.get_by_role("button", name="Show the timeline").click()
    box(page).fill("a draft")
    log(page).evaluate("(one) => { one.scrollTop = 700 }")
    expect(page.get_by_role("button", name="Jump to the latest")).to_be_visible()
    page.wait_for_function("(id) => sessionStorage.getItem('threadmill.turns')?.includes(id)", arg=long)
    was = log(page).evaluate(TOP)
    assert "7 turns" in was[0]
    item(page, other).get_by_role("link").click()
    expect(log(page)).to_contain_text("elsewhere")
    expect(box(page)).to_have_value("")
    item(page, long).get_by_role("link").click()
    for way in ("back", "reload"):
        page.wait_for_function(f"(was) => String(({TOP})(document.querySelector('.log'))) === String(was)", arg=was)
        expect(box(page)).to_have_value("a draft")
        expect(page.get_by_role("complementary", name="Timeline")).to_have_count(1 if way == "back" else 0)
        page.reload()


def test_much_text_is_shown_whole_and_smoothly(page: Page, agent: Server) -> None:
    odd(page)
    other = begin(page, "elsewhere")
    done(page)
    browser = page.context.browser
    assert browser is not None
    browser.start_tracing(page=page, categories=["toplevel"])
    page.get_by_role("button", name="New chat").click()
    say(page, f"flood {WORDS}")
    expect(page).to_have_url(re.compile(r"/t/[0-9a-f-]{36}$"))
    thread = page.url.rpartition("/")[2]
    for _ in range(5):
        item(page, other).get_by_role("link").click()
        expect(log(page)).to_contain_text("elsewhere")
        item(page, thread).get_by_role("link").click()
        expect(last(page)).to_contain_text("w1 ")
    done(page)
    whole = squeezed(answer_of(agent, thread))
    assert hashlib.sha256(grows(page, "").encode()).digest() == hashlib.sha256(whole.encode()).digest()
    assert len(whole.split()) == WORDS
    trace = json.loads(browser.stop_tracing())["traceEvents"]
    pages = {(one["pid"], one["tid"]) for one in trace if one["args"].get("name") == "CrRendererMain"}
    tasks = [
        one["tdur"] / 1000
        for one in trace
        if (one["pid"], one["tid"]) in pages and "RunTask" in one["name"] and "tdur" in one
    ]
    assert max(tasks) <= 200, "ms in which nothing is painted"
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    assert found["JSHeapUsedSize"] <= 60e6
