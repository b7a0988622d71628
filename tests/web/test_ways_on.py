"""Whatever stopped a conversation, it goes on: after Stop, after a refusal, after a crash, and after a cut."""

import asyncio
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from chaos.proxy import Proxy
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
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
    start_run,
    until,
)

# The machine that runs the suite may be busy with something else.
SLACK = 1 if os.environ.get("THREADMILL_CHAOS") == "long" else 5


def test_stop_ends_a_tool_and_its_card(page: Page, agent: Server) -> None:
    page.add_init_script("""
      window.ticking = new Set()
      const [begin, end] = [setInterval, clearInterval]
      window.setInterval = (...given) => { const one = begin(...given); ticking.add(one); return one }
      window.clearInterval = (one) => { ticking.delete(one); end(one) }
    """)
    page.goto("/")
    expect(page.locator("#composer")).to_be_visible()
    before = page.evaluate("ticking.size")
    page.get_by_label("Assistant", exact=True).select_option("odd")
    thread = begin(page, "turn the slow wheels")
    cards = log(page).locator("[data-tool=turn]")
    expect(cards.nth(0)).to_have_attribute("data-status", "finished")
    expect(cards.nth(1)).to_have_attribute("data-status", "running")
    page.get_by_role("button", name="Stop").click()
    done(page)
    expect(cards.nth(1)).to_have_attribute("data-status", "stopped")
    expect(log(page).locator(".icon-running")).to_have_count(0)
    until(page, "(before) => ticking.size === before", before)
    page.reload()
    expect(cards.nth(0)).to_have_attribute("data-status", "finished")
    expect(cards.nth(1)).to_have_attribute("data-status", "stopped")
    cards.nth(0).locator("summary").press("Enter")
    expect(cards.nth(0)).to_contain_text(re.compile(r'"wheel": "big".*big turns', re.DOTALL))
    expect(cards.nth(0)).to_contain_text('"password": "•••"')
    expect(log(page)).not_to_contain_text("sesame")
    say(page, "go on")
    expect(last(page)).to_contain_text("It turns again.")
    said = snapshot(agent, thread)["messages"]
    assert [one["type"] for one in said] == ["human", "ai", "tool", "tool", "human", "ai"]


def test_nothing_is_said_any_more_after_stop(page: Page, agent: Server) -> None:
    thread = begin(page, "Tell me a story of 3000 words")
    spoke(page)
    page.evaluate("""() => {
      window.late = 0
      addEventListener('click', () => {
        const at = performance.now()
        new MutationObserver(() => (window.late = performance.now() - at)).observe(
          document.querySelector('article.ai .markdown'), { subtree: true, childList: true, characterData: true })
      }, { capture: true, once: true })
    }""")
    page.get_by_role("button", name="Stop").click()
    done(page)
    expect(last(page)).to_contain_text("Stopped here.")
    assert page.evaluate("window.late") <= 300 * SLACK, "ms"
    assert grows(page, "") == squeezed(answer_of(agent, thread))


def test_what_was_stopped_before_its_first_word_keeps_the_question(page: Page, agent: Server) -> None:
    page.goto("/")
    page.get_by_label("Assistant", exact=True).select_option("odd")
    begin(page, "steps")
    page.get_by_role("button", name="Stop").click()
    done(page)
    page.reload()
    expect(page.locator("article.human")).to_have_text(re.compile("steps"))
    page.get_by_role("button", name="Edit and send again").click()
    page.get_by_role("textbox", name="Edit the message").fill("a turn")
    page.keyboard.press("Enter")
    expect(last(page)).to_contain_text("It turns again.")


def test_what_the_server_refuses_is_sent_again_or_taken_back(page: Page, agent: Server) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=429, json={"detail": "Too many runs today."}, headers={"Retry-After": "60"})

    page.route("**/runs", refuse)
    page.goto("/")
    for text in ("What is 15% of 80?", "What is 20% of 80?"):
        say(page, text)
    refused = page.get_by_role("alert").filter(has_text="Too many runs today.")
    expect(refused).to_have_count(2)
    expect(refused.first.get_by_role("button")).to_have_count(2)
    refused.nth(1).get_by_role("button").nth(1).click()
    expect(box(page)).to_have_value("What is 20% of 80?")
    page.unroute("**/runs", refuse)
    refused.get_by_role("button").first.click()
    expect(last(page)).to_contain_text("12")
    done(page)
    expect(refused).to_have_count(0)
    expect(page.locator("article.human")).to_have_count(1)


CHOICES = {
    "Keep what was said": ["human", "ai"],
    "Let it go on": ["human", "ai", "ai"],
    "Answer again": ["human", "ai"],
    "Discard the turn": [],
}


def test_after_a_crash_a_person_chooses(page: Page, agent: Server) -> None:
    threads = {choice: str(uuid.uuid4()) for choice in CHOICES}
    page.goto("/")
    for thread in threads.values():
        start_run(agent, thread, "Tell me a story of 3000 words", on_crash="wait")
    for thread in threads.values():
        item(page, thread).get_by_role("link").click()
        spoke(page)
    agent.kill()
    agent.start()
    page.evaluate("dispatchEvent(new Event('online'))")
    failure = page.get_by_role("alert").filter(has_text="The server stopped while it answered.")
    for _ in range(2):
        for thread in threads.values():
            expect(item(page, thread)).to_have_attribute("data-state", "waiting")
            expect(item(page, thread)).to_contain_text("Needs you")
        page.reload()
    for choice, thread in threads.items():
        item(page, thread).get_by_role("link").click()
        expect(failure.get_by_role("button")).to_have_text([*CHOICES])
        expect(page.get_by_text("The next step waits")).to_have_count(0)
        failure.get_by_role("button", name=choice).click()
        expect(failure).to_have_count(0)
        expect(item(page, thread)).not_to_have_attribute("data-state", "waiting", timeout=1000 * SLACK)
        stop = page.get_by_role("button", name="Stop")
        if choice in ("Let it go on", "Answer again"):
            expect(stop).to_be_visible()
            expect(page.locator("article.ai")).to_have_count(CHOICES[choice].count("ai"))
            spoke(page)
            stop.click()
        expect(page.locator("article")).to_have_count(len(CHOICES[choice]))
        expect(stop).to_have_count(0)
        assert [one["type"] for one in snapshot(agent, thread)["messages"]] == CHOICES[choice], choice
    say(page, "What is 15% of 80?")
    expect(last(page)).to_contain_text("12")


@contextmanager
def cut_off(url: str) -> Iterator[tuple[Proxy, Callable[[], None]]]:
    """A network between the page and the server, and what cuts it."""
    loop, proxy = asyncio.new_event_loop(), Proxy(url)
    running = threading.Thread(target=loop.run_forever, daemon=True)
    running.start()
    asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(10)
    try:
        yield proxy, lambda: asyncio.run_coroutine_threadsafe(_cut(proxy), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        running.join(10)


async def _cut(proxy: Proxy) -> None:
    proxy.cut()


def test_cuts_leave_no_gap_and_nothing_twice(browser: Browser, agent: Server) -> None:
    with cut_off(agent.url) as (proxy, cut):
        context = browser.new_context(base_url=proxy.url, locale="en-US")
        page = context.new_page()
        thread = begin(page, "Tell me a story of 120 words")
        text = ""
        for _ in range(4):
            spoke(page)
            cut()
            text = grows(page, text)
        done(page)
        assert grows(page, text) == squeezed(answer_of(agent, thread))
        expect(page.locator("article")).to_have_count(2)
        context.close()


def test_a_browser_that_keeps_nothing_says_so(person: Callable[..., BrowserContext]) -> None:
    page = person().new_page()
    full = "() => { throw new DOMException('full', 'QuotaExceededError') }"
    page.add_init_script(f"IDBObjectStore.prototype.put = {full}")
    begin(page, "What is 15% of 80?")
    expect(page.get_by_text("This browser keeps nothing between visits")).to_be_visible()
    expect(last(page)).to_contain_text("12")


def test_a_browser_that_blocks_cookies_has_a_page_that_works(person: Callable[..., BrowserContext]) -> None:
    page = person().new_page()
    raised: list[str] = []
    page.on("pageerror", lambda error: raised.append(str(error)))
    page.add_init_script("""
      const denied = () => { throw new DOMException('denied', 'SecurityError') }
      for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get: denied })
      indexedDB.open = denied
      navigator.locks.request = async () => denied()
    """)
    begin(page, "What is 15% of 80?")
    expect(last(page)).to_contain_text("12")
    done(page)
    expect(page.locator(".banner")).to_have_text(re.compile("This browser keeps nothing"))  # and it is connected
    page.get_by_label("Colours").select_option("dark")
    page.get_by_label("Language").select_option("zh-CN")
    expect(page.get_by_role("button", name="发送", exact=True)).to_be_visible()
    assert raised == []


def test_what_a_server_cannot_answer_just_now_is_asked_again(page: Page, agent: Server) -> None:
    """As a proxy does while the server starts anew; the socket may still be there."""
    thread = begin(page, "What is 15% of 80?")
    done(page)
    state = httpx.get(f"{agent.url}/threads/{thread}/state", timeout=30).json()
    checkpoint = state["checkpoint"]["checkpoint_id"]
    begin(page, "What is 20% of 80?")
    done(page)
    page.reload()
    done(page)
    asked: list[str] = []

    def first_refused(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=503, json={"detail": "It starts."})
        else:
            route.continue_()

    page.route(f"**/threads/{thread}/snapshot*", first_refused)
    item(page, thread).get_by_role("link").click()
    expect(page.locator("article.human")).to_have_text(re.compile("15%"))
    expect(log(page)).not_to_contain_text("As this browser saw it")  # it is live now
    assert len(asked) == 2
    asked.clear()
    page.unroute_all()
    page.route(f"**/threads/{thread}/state/{checkpoint}*", first_refused)
    page.goto(f"/t/{thread}?at={checkpoint}")
    expect(page.locator(".earlier")).to_contain_text("You see an earlier step")
    assert len(asked) == 2
