"""Nothing is lost and nothing shown twice: switching, reloading, several tabs, a stop from elsewhere, cuts, a crash."""

import re
import uuid
from collections.abc import Callable

import httpx
from playwright.sync_api import BrowserContext, Page, Route, expect
from serving import Server

from tests.web.talking import (
    answer_of,
    begin,
    box,
    done,
    grows,
    item,
    kept,
    last,
    log,
    lose,
    say,
    snapshot,
    spoke,
    squeezed,
    start_run,
)

STORY = "Tell me a story of 150 words"
LONG = "Tell me a story of 300 words"


def now(page: Page) -> None:
    """The server is back: what a browser tells when the network is, so that nobody has to wait for the next try."""
    page.evaluate("dispatchEvent(new Event('online'))")


def test_a_thread_that_one_leaves_and_comes_back_to_goes_on(page: Page, agent: Server) -> None:
    other = begin(page, "What is 15% of 80?")
    done(page)
    expect(page.locator(".figures")).to_contain_text("took")  # what is told last
    calm = log(page).inner_text()
    story = begin(page, LONG)
    spoke(page)
    text = grows(page, "")
    for _ in range(4):
        item(page, other).get_by_role("link").click()
        expect(log(page)).to_have_text(calm, use_inner_text=True)
        item(page, story).get_by_role("link").click()
        spoke(page)
        text = grows(page, text)
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        expect(box(page)).to_have_accessible_description(re.compile("background when you leave"))
    done(page)
    assert grows(page, text) == squeezed(answer_of(agent, story))
    assert page.locator("article.ai").count() == 1


def test_a_reload_and_a_second_tab_show_the_same_live(person: Callable[..., BrowserContext], agent: Server) -> None:
    context = person()
    page = context.new_page()
    story = begin(page, STORY)
    spoke(page)
    text = grows(page, "")
    page.reload()
    spoke(page)
    text = grows(page, text)
    second = context.new_page()
    second.goto(page.url)
    spoke(second)
    done(page)
    done(second)
    whole = squeezed(answer_of(agent, story))
    assert grows(page, text) == whole == grows(second, "")


def test_after_a_reload_there_is_no_less_even_before_the_server_answers(page: Page, agent: Server) -> None:
    begin(page, STORY)
    spoke(page)
    expect(last(page).locator(".markdown")).to_contain_text(re.compile(r"(\w+\W+){30}"))
    text = grows(page, "")
    page.route("**/snapshot*", lambda route: None)  # the answer never comes
    page.reload()
    expect(last(page).locator(".markdown")).to_be_visible()
    assert grows(page, text)


def test_an_idle_device_sees_what_another_starts_and_can_stop_it(
    person: Callable[..., BrowserContext], agent: Server
) -> None:
    here = person().new_page()
    thread = begin(here, "What is 15% of 80?")
    done(here)
    there = person().new_page()
    there.goto(f"/t/{thread}")
    done(there)
    start_run(agent, thread, "Tell me a story of 3000 words")
    for page in (here, there):
        expect(page.locator("article.human")).to_have_count(2)
        expect(page.locator("article.ai")).to_have_count(3)  # two before
        spoke(page)
    text = grows(there, "")
    there.get_by_role("button", name="Stop").click()
    for page in (here, there):
        done(page)
        expect(last(page)).to_contain_text("Stopped here.")
        assert grows(page, text) == squeezed(answer_of(agent, thread))
    assert snapshot(agent, thread)["thread"]["status"] == "idle"
    say(there, "What is 15% of 80?")
    expect(last(here)).to_contain_text("12")


def test_the_list_tells_how_each_thread_is_getting_on(page: Page, agent: Server) -> None:
    page.goto("/")
    expect(box(page)).to_be_visible()
    threads = {name: str(uuid.uuid4()) for name in ("running", "queued", "waiting", "failed", "unread")}
    start_run(agent, threads["running"], "Tell me a story of 2000 words")
    start_run(agent, threads["waiting"], "Refund order 4655")
    start_run(agent, threads["unread"], "What is 15% of 80?")
    start_run(agent, threads["failed"], "please fail", "odd")
    start_run(agent, threads["queued"], "later", after_seconds=3600)
    words = {
        "running": "Running",
        "queued": "Queued",
        "waiting": "Needs you",
        "failed": "Failed",
        "unread": "New answer",
    }
    for name, thread in threads.items():
        expect(item(page, thread)).to_have_attribute("data-state", name)
        expect(item(page, thread)).to_contain_text(words[name])
    page.reload()
    for name, thread in threads.items():
        expect(item(page, thread)).to_have_attribute("data-state", name)
    item(page, threads["unread"]).get_by_role("link").click()
    expect(item(page, threads["unread"])).to_have_attribute("data-state", "idle")
    httpx.post(f"{agent.url}/threads/{threads['running']}/stop", timeout=30)
    expect(item(page, threads["running"])).not_to_have_attribute("data-state", "running")


def test_what_is_sent_during_an_answer_joins_it_if_one_wants(page: Page, agent: Server) -> None:
    thread = str(uuid.uuid4())
    start_run(agent, thread, "take many steps", "odd")
    page.goto(f"/t/{thread}")
    page.get_by_role("combobox", name="What is sent during an answer").select_option("joins the answer")
    expect(page.locator("#composer-hint")).to_contain_text("joins it at its next step")
    say(page, "enough")
    expect(last(page)).to_contain_text("It turns again.")
    done(page)
    assert [one["type"] for one in snapshot(agent, thread)["messages"]] == ["human", "human", "ai"]
    assert len(httpx.get(f"{agent.url}/threads/{thread}/runs", timeout=30).json()) == 1, "the same run has heard it"
    page.reload()
    start_run(agent, thread, "take many steps", "odd")
    expect(page.get_by_role("combobox", name="What is sent during an answer")).to_have_value("true")
    say(page, "enough")
    done(page)


def test_an_answer_is_paused_and_goes_on(page: Page, agent: Server) -> None:
    thread = str(uuid.uuid4())
    start_run(agent, thread, "take many steps", "odd")
    page.goto(f"/t/{thread}")
    page.get_by_role("button", name="Pause after this step").click()
    held = page.get_by_role("region", name="Paused")
    expect(held).to_contain_text("Paused between two steps")
    expect(item(page, thread)).to_have_attribute("data-state", "paused")
    say(page, "afterwards")
    expect(page.get_by_role("region", name="Waiting in the queue").get_by_role("listitem")).to_have_text(["afterwards"])
    expect(page.locator("article.human")).to_have_count(1)
    page.reload()
    held.get_by_role("button", name="Go on").click()
    expect(held).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("article.human")).to_have_text([re.compile("many steps"), re.compile("afterwards")])
    done(page)


def test_what_is_sent_during_an_answer_waits_in_a_queue_one_can_see(page: Page, agent: Server) -> None:
    thread = begin(page, "Tell me a story of 3000 words")
    spoke(page)
    for text in ("first question", "second question", "third question"):
        say(page, text)
    queue = page.get_by_role("region", name="Waiting in the queue").get_by_role("listitem")
    expect(queue).to_have_text(["first question", "second question", "third question"])
    queue.nth(2).get_by_role("button", name="Earlier").press("Enter")
    expect(queue).to_have_text(["first question", "third question", "second question"])
    expect(queue.nth(1).get_by_role("button", name="Earlier")).to_be_focused()
    page.route("**/cancel?wait=1", lambda route: route.fetch())  # its answer never comes
    queue.nth(0).get_by_role("button", name="Take out").click()
    expect(queue).to_have_text(["third question", "second question"])
    page.reload()
    expect(queue).to_have_text(["third question", "second question"])
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("article.human")).to_have_text([re.compile("story"), re.compile("third"), re.compile("second")])
    done(page)
    said = [one["content"] for one in snapshot(agent, thread)["messages"] if one["type"] == "human"]
    assert said == ["Tell me a story of 3000 words", "third question", "second question"]


def test_a_crash_of_the_server_in_the_middle_of_an_answer(person: Callable[..., BrowserContext], agent: Server) -> None:
    page = person().new_page()
    thread = begin(page, STORY)
    spoke(page)
    agent.kill()
    box(page).fill("a draft")
    agent.start()
    now(page)
    spoke(page)
    done(page, 60_000)
    assert grows(page, "") == squeezed(answer_of(agent, thread))
    expect(box(page)).to_have_value("a draft")


def test_without_a_server_one_reads_and_writes_on(person: Callable[..., BrowserContext], agent: Server) -> None:
    page = person().new_page()
    thread = begin(page, "What is 15% of 80?")
    done(page)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.reload()
    done(page)
    agent.kill()
    try:
        page.reload()
        expect(last(page)).to_contain_text("12")
        expect(log(page)).to_contain_text("As this browser saw it")
        tries = r"No connection. Try \d+ (in \d+ s|is under way)\. Nothing is lost"
        expect(page.locator(".banner.cut")).to_contain_text(re.compile(tries))
        page.goto("/")
        item(page, thread).get_by_role("link").click()
        expect(last(page)).to_contain_text("12")
        say(page, "What is 20% of 80?")
        expect(page.get_by_text("Waiting to be sent")).to_be_visible()
        kept(page, there="outbox:", gone="draft:")
        lose(page, "list")
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("What is 15% of 80?")
        expect(page.get_by_text("Waiting to be sent")).to_be_visible()
        expect(box(page)).to_have_value("")
    finally:
        agent.start()
    now(page)
    expect(last(page)).to_contain_text("16")
    done(page)
    expect(log(page)).not_to_contain_text("As this browser saw it")
    said = [one["content"] for one in snapshot(agent, thread)["messages"] if one["type"] == "human"]
    assert said == ["What is 15% of 80?", "What is 20% of 80?"]


def test_what_a_closed_tab_could_not_send_is_sent_by_another(
    person: Callable[..., BrowserContext], agent: Server
) -> None:
    context = person()
    page, other, third = context.new_page(), context.new_page(), context.new_page()
    thread = begin(page, "What is 15% of 80?")
    done(page)
    for one in (other, third):
        one.goto("/")
        expect(item(one, thread)).to_be_visible()
    agent.kill()
    try:
        say(page, "What is 20% of 80?")
        expect(page.get_by_text("Waiting to be sent")).to_be_visible()
        kept(page, there="outbox:")
        page.close()
    finally:
        agent.start()
    for one in (other, third):  # both send it, and it is one message
        now(one)
    item(other, thread).get_by_role("link").click()
    expect(last(other)).to_contain_text("16")
    done(other)
    said = [one["content"] for one in snapshot(agent, thread)["messages"] if one["type"] == "human"]
    assert said == ["What is 15% of 80?", "What is 20% of 80?"]
    assert len(httpx.get(f"{agent.url}/threads/{thread}/runs", timeout=30).json()) == 2


def test_where_no_websocket_gets_through_the_page_is_live_all_the_same(
    person: Callable[..., BrowserContext], agent: Server
) -> None:
    context = person()
    context.add_init_script("delete window.SharedWorker")  # whose sockets Playwright does not see
    context.route_web_socket(re.compile("/ws$"), lambda socket: socket.close())
    page, other = context.new_page(), context.new_page()
    story = begin(page, LONG)
    spoke(page)
    text = grows(page, "")
    calm = begin(other, "What is 15% of 80?")
    done(other)
    item(other, story).get_by_role("link").click()
    spoke(other)
    seen = grows(other, text)
    item(page, calm).get_by_role("link").click()
    expect(last(page)).to_contain_text("12")
    item(page, story).get_by_role("link").click()
    for one in (page, other):
        done(one)
        assert grows(one, seen) == squeezed(answer_of(agent, story))
        expect(one.locator(".banner.cut")).to_have_count(0)
    start_run(agent, calm, "What is 20% of 80?")
    expect(item(page, calm)).to_contain_text("New answer")
    page.close()
    context.set_offline(True)
    context.set_offline(False)
    start_run(agent, story, "What is 30% of 80?")
    expect(last(other)).to_contain_text("24")


def test_a_request_that_nobody_answers_is_made_again(page: Page, agent: Server) -> None:
    """Where packets vanish, a browser itself gives up after minutes."""
    asked: list[str] = []

    def vanish(route: Route) -> None:
        asked.append(route.request.headers["idempotency-key"])
        if len(asked) > 1:
            route.continue_()

    page.clock.install()
    page.route(re.compile(r"/threads/[^/]+/runs$"), vanish)
    thread = begin(page, "What is 15% of 80?")
    expect(page.locator("article.human")).to_be_visible()
    for _ in range(10):
        if len(asked) > 1:
            break
        page.clock.run_for(5_000)
    expect(last(page)).to_contain_text("12")
    done(page)
    assert len(asked) == 2
    assert len(set(asked)) == 1
    assert [one["type"] for one in snapshot(agent, thread)["messages"]].count("human") == 1


UNWRITTEN = """() => {  // what is put down from now on is not there yet when the page is left
  const { put } = IDBObjectStore.prototype
  IDBObjectStore.prototype.put = function (...what) {
    const again = () => (this.get('').onsuccess = again)
    again()
    return put.apply(this, what)
  }
}"""


def test_who_leaves_in_the_moment_of_sending_loses_nothing(
    person: Callable[..., BrowserContext], agent: Server
) -> None:
    context = person()
    page = context.new_page()
    threads = {}
    for question, answer in (("What is 15% of 80?", "12"), ("What is 20% of 80?", "16")):
        page.goto("/")
        box(page).fill(question)
        kept(page, there="draft:")
        page.evaluate(UNWRITTEN)
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/t/[0-9a-f-]{36}$"))
        threads[page.url] = question, answer
        page.close()
        page = context.new_page()
    page.goto("/")
    for url, (question, answer) in threads.items():
        expect(item(page, url.rpartition("/")[2])).to_be_visible()
        expect(box(page)).to_have_value("")
        page.goto(url)
        expect(last(page)).to_contain_text(answer)
        done(page)
        messages = snapshot(agent, url.rpartition("/")[2])["messages"]
        assert [one["content"] for one in messages if one["type"] == "human"] == [question]
        page.goto("/")


def test_drafts_belong_to_their_threads_and_outlive_a_reload(page: Page) -> None:
    first = begin(page, "What is 15% of 80?")
    done(page)
    box(page).fill("of the first")
    begin(page, "What is 20% of 80?")
    done(page)
    expect(box(page)).to_have_value("")
    box(page).fill("of the second")
    item(page, first).get_by_role("link").click()
    expect(box(page)).to_have_value("of the first")
    page.go_back()
    expect(box(page)).to_have_value("of the second")
    page.reload()
    expect(box(page)).to_have_value("of the second")
    item(page, first).get_by_role("link").click()
    expect(box(page)).to_have_value("of the first")


def test_what_is_begun_for_a_new_conversation_is_no_less_a_draft(page: Page) -> None:
    first = begin(page, "What is 15% of 80?")
    page.get_by_role("button", name="New chat").click()
    box(page).fill("not yet")
    kept(page, there="draft:")
    page.reload()
    expect(box(page)).to_have_value("not yet")
    item(page, first).get_by_role("link").click()
    expect(box(page)).to_have_value("")
    page.get_by_role("button", name="New chat").click()
    expect(box(page)).to_have_value("not yet")
    other = page.context.new_page()  # begins another conversation: it has the draft, too, and both can be sent
    other.goto("/")
    expect(box(other)).to_have_value("not yet")
    box(other).fill("What is 10% of 80?")
    expect(box(page)).to_have_value("not yet")
    say(other, "What is 10% of 80?")
    done(other)
    say(page, "What is 20% of 80?")
    done(page)
    assert other.url != page.url
    kept(page, gone="draft:")
    other.close()
    page.goto("/")
    expect(box(page)).to_have_value("")


def test_all_tabs_of_a_browser_share_one_socket(person: Callable[..., BrowserContext], agent: Server) -> None:
    def sockets() -> int:
        text = httpx.get(f"{agent.url}/metrics", timeout=30).text
        found = re.search(r'^threadmill_open_streams\{[^}]*kind="socket"[^}]*\} (\d+)', text, re.MULTILINE)
        assert found, text
        return int(found[1])

    context = person()
    first = context.new_page()
    thread = begin(first, "What is 15% of 80?")
    done(first)
    before = sockets()
    tabs = [context.new_page() for _ in range(5)]
    for tab in tabs:
        tab.goto(f"/t/{thread}")
        done(tab)
    assert sockets() == before
    for tab in tabs[1:]:
        tab.close()
    say(first, "What is 20% of 80?")
    expect(last(tabs[0])).to_contain_text("16")
