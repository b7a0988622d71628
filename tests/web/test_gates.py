"""What the page may cost, and that everybody can use it."""

import os
import re
import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, CDPSession, Page, expect
from serving import Server

from tests.web.talking import box, item, start_run

SLACK = 5  # the machine that tests may be busy with something else
LONG = os.environ.get("THREADMILL_CHAOS") == "long"
EVERY = list(product(["en", "zh-CN"], ["light", "dark"], ["desktop", "phone"]))
SOME = [("en", "light", "desktop"), ("zh-CN", "dark", "phone")]  # each language, scheme and size
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def metrics(session: CDPSession) -> dict[str, float]:
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}


def test_ten_thousand_messages(page: Page, agent: Server) -> None:
    thread = httpx.post(f"{agent.url}/threads", json={"metadata": {"graph_id": "odd"}}, timeout=30).json()["thread_id"]
    paragraph = "The mill **turns** and `turns`, and nobody asks why. " * 4
    messages = [
        {"type": "human" if n % 2 else "ai", "id": f"m{n}", "content": f"{n}: {paragraph}"} for n in range(10_000)
    ]
    update = {"values": {"messages": messages}, "as_node": "second"}
    httpx.post(f"{agent.url}/threads/{thread}/state", json=update, timeout=60).raise_for_status()
    page.goto("/")
    expect(box(page)).to_be_visible()
    began = time.monotonic()
    page.goto(f"/t/{thread}")
    expect(page.locator("article").last).to_contain_text("9999: The mill")
    assert time.monotonic() - began < 1 * SLACK
    log = page.get_by_role("log")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # what it computes, not what it waits for
    jumping = """async (one, jumps) => {
        for (let jump = 0; jump < jumps; jump++) {
          one.scrollTop = (one.scrollHeight * ((jump * 7919) % jumps)) / jumps
          await new Promise(requestAnimationFrame)
        }
      }"""
    log.evaluate(jumping, 20)  # until the engine has compiled what it runs
    before = metrics(session)["TaskDuration"]
    log.evaluate(jumping, 60)
    jump = (metrics(session)["TaskDuration"] - before) / 60
    assert jump <= 1 / 50, f"{jump * 1000:.1f} ms"
    assert page.locator("article").count() <= 300
    session.send("HeapProfiler.collectGarbage")
    used = metrics(session)["JSHeapUsedSize"]
    assert used <= 60e6, f"{used / 1e6:.0f} MB"
    log.evaluate("(one) => { one.scrollTop = one.scrollHeight }")
    expect(page.locator("article").last).to_contain_text("9999: The mill")


def test_five_thousand_threads(page: Page, agent: Server) -> None:
    with closing(sqlite3.connect(agent.data_dir / "threadmill.sqlite", timeout=30)) as database:
        then = "2026-01-01T00:00:00.000000+00:00"
        database.executemany(
            "INSERT INTO threads (thread_id, created_at, updated_at, state_updated_at, last_activity_at, metadata, "
            "config, title) VALUES (:id, :then, :then, :then, :then, '{}', '{}', :title)",
            [{"id": str(uuid.uuid4()), "then": then, "title": f"Topic {n}"} for n in range(5_000)],
        )
        database.commit()
    page.goto("/")
    expect(page.locator(".side-list")).to_have_attribute("data-count", re.compile(r"^5\d{3}$"))
    assert page.locator(".side-item").count() <= 100
    page.locator(".side-list").evaluate("(one) => { one.scrollTop = one.scrollHeight }")
    expect(page.locator(".side-item").last).to_contain_text("Topic")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    field = page.get_by_role("searchbox", name="Search conversations")
    field.press_sequentially("Top")
    before = metrics(session)["TaskDuration"]
    field.press_sequentially("ic 49")
    key = (metrics(session)["TaskDuration"] - before) / 5
    assert key <= 0.05, f"{key * 1000:.0f} ms"
    expect(page.locator(".side-list")).to_have_attribute("data-count", "199")
    field.press("Escape")
    page.locator(".side-item a").first.focus()
    page.keyboard.press("Shift+ArrowDown")
    before = metrics(session)["TaskDuration"]
    page.keyboard.press("Control+a")
    expect(page.get_by_role("toolbar")).to_contain_text(re.compile(r"5\d{3} selected"))
    took = metrics(session)["TaskDuration"] - before
    assert took <= 0.5, f"{took * 1000:.0f} ms"


@pytest.fixture(scope="module")
def axe(tools: Path) -> str:
    return (tools / "axe-core" / "axe.min.js").read_text("utf-8")


def broken(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    options = {"runOnly": {"type": "tag", "values": STANDARDS}, "resultTypes": ["violations"]}
    found: dict[str, Any] = page.evaluate("(options) => axe.run(document, options)", options)
    return [f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


@pytest.mark.parametrize("state", ["empty", "running", "interrupted", "failed"])
def test_everybody_can_use_it(person: Callable[..., BrowserContext], agent: Server, axe: str, state: str) -> None:
    thread = str(uuid.uuid4())
    if state != "empty":
        asked = {
            "running": "Tell me a story of 5000 words",
            "interrupted": "Refund order 4655",
            "failed": "please fail",
        }
        start_run(agent, thread, asked[state], "odd" if state == "failed" else "agent")
    sizes = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 780}}
    for language, scheme, size in EVERY if LONG else SOME:
        page = person(locale=language, color_scheme=scheme, viewport=sizes[size], reduced_motion="reduce").new_page()
        page.goto("/" if state == "empty" else f"/t/{thread}")
        expect(box(page)).to_be_visible()
        if state == "running":
            expect(page.locator("article.ai")).to_be_visible()
        elif state == "interrupted":
            expect(page.locator(".question button").first).to_be_visible()
        elif state == "failed":
            expect(page.locator(".failure")).to_be_visible()
        assert broken(page, axe) == [], f"{language} {scheme} {size}"
        page.close()
    if state == "running":
        httpx.post(f"{agent.url}/threads/{thread}/stop", timeout=30)


@pytest.mark.parametrize(("language", "scheme", "width"), [("en-US", "light", 1280), ("zh-CN", "dark", 390)])
def test_everybody_can_use_what_opens(
    person: Callable[..., BrowserContext], agent: Server, axe: str, language: str, scheme: str, width: int
) -> None:
    thread = str(uuid.uuid4())
    start_run(agent, thread, "Where is order 4711?")
    size = {"width": width, "height": 800}
    page = person(locale=language, color_scheme=scheme, viewport=size, reduced_motion="reduce").new_page()
    page.goto(f"/t/{thread}")
    expect(page.locator("[data-turns='3'][data-busy=false]")).to_be_visible(timeout=30_000)
    page.locator("article.human .icon-edit").click()
    expect(page.locator(".rewrite textarea")).to_be_focused()
    page.locator("header .icon-download").click()
    assert broken(page, axe) == [], "an edit, and the menu of files"
    page.keyboard.press("Escape")
    page.locator("header .icon-branch").click()
    expect(page.locator(".piece").first).to_be_visible()
    assert broken(page, axe) == [], "the branch map"
    page.locator("header .icon-clock").click()
    page.locator("[data-checkpoint]").nth(1).click()
    expect(page.locator(".change").first).to_be_visible()
    assert broken(page, axe) == [], "the timeline"
    page.keyboard.press("Control+Shift+F")
    page.locator("#search").fill("order")
    expect(page.locator(".hit").first).to_be_visible()
    assert broken(page, axe) == [], "the search"
    page.keyboard.press("Control+K")
    expect(page.locator("dialog.palette")).to_be_visible()
    assert broken(page, axe) == [], "the palette"
    page.keyboard.press("Escape")
    page.locator("#search").blur()
    page.keyboard.press("?")
    expect(page.locator("dialog.keys")).to_be_visible()
    assert broken(page, axe) == [], "the keys"
    page.keyboard.press("Escape")
    item(page, thread).hover()
    item(page, thread).locator(".icon-more").click()
    assert broken(page, axe) == [], "the menu of a conversation"
    item(page, thread).locator(".menu .icon-check").click()
    expect(page.locator(".side-bar")).to_be_visible()
    assert broken(page, axe) == [], "some are selected"
