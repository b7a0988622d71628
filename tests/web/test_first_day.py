"""The whole of what a new user would try, one after the other, with the agent that comes with it."""

import re
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect
from serving import Server

from tests.web.talking import answer_of, begin, done, grows, item, last, say, snapshot, spoke, squeezed

STORIES = ("Tell me a story of 60 words", "Tell me a story of 70 words", "Tell me a story of 300 words")


def go(page: Page, thread: str) -> None:
    item(page, thread).get_by_role("link").click()
    expect(page).to_have_url(re.compile(thread))


def asked(server: Server, thread: str) -> list[str]:
    return [one["content"] for one in snapshot(server, thread)["messages"] if one["type"] == "human"]


def test_a_first_day(person: Callable[..., BrowserContext], agent: Server) -> None:
    page = person().new_page()

    # Three topics are written at once, while one goes from each to the next.
    topics = {begin(page, story): "" for story in STORIES}
    first, second, long = topics
    for _ in range(2):
        for thread, before in topics.items():
            go(page, thread)
            spoke(page)
            topics[thread] = grows(page, before)

    # One is stopped, and keeps what it said.
    page.get_by_role("button", name="Stop").click()
    expect(last(page)).to_contain_text("Stopped here.")
    done(page)
    topics[long] = grows(page, topics[long])
    assert topics[long] == squeezed(answer_of(agent, long))
    for thread in (first, second):
        go(page, thread)
        done(page)
        assert grows(page, topics[thread]) == squeezed(answer_of(agent, thread))

    # A refund waits for a person, also over a reload, and is approved.
    say(page, "Refund order 4712")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    go(page, first)
    expect(item(page, second)).to_contain_text("Needs you")
    go(page, second)
    page.reload()
    page.get_by_role("button", name="Approve").click()
    expect(last(page)).to_contain_text("Refunded")
    done(page)

    # A question is asked in other words; what it was before is still there.
    go(page, first)
    say(page, "What is 15% of 80?")
    expect(last(page)).to_contain_text("12")
    done(page)
    page.locator("article.human").last.get_by_role("button", name="Edit and send again").click()
    page.get_by_role("textbox", name="Edit the message").fill("What is 20% of 80?")
    page.keyboard.press("Enter")
    expect(last(page)).to_contain_text("16")
    done(page)
    before = page.locator("article.human").last.get_by_role("button", name="Version before: What is 15% of 80?")
    before.click()
    expect(last(page)).to_contain_text("12")

    # From the checkpoint of the first answer it goes on in a conversation of its own.
    page.locator("article.ai").first.get_by_role("button", name="Continue in a new conversation").click()
    expect(page).not_to_have_url(re.compile(first))
    expect(page).to_have_url(re.compile(r"/t/[0-9a-f-]{36}$"))
    fork = page.url.rpartition("/")[2]
    expect(page.locator("article")).to_have_count(2)

    # The server dies in the middle of an answer that two tabs show, and both have all of it in the end.
    say(page, "Tell me a story of 100 words")
    other = page.context.new_page()
    other.goto(page.url)
    for tab in (page, other):
        expect(tab.locator("article.human")).to_have_count(2)
        spoke(tab)
    agent.kill()
    agent.start()
    for tab in (page, other):
        done(tab, 60_000)
        expect(tab.locator("article")).to_have_count(4)
        assert grows(tab, "") == squeezed(answer_of(agent, fork))
    assert asked(agent, fork) == [STORIES[0], "Tell me a story of 100 words"]
    assert asked(agent, first) == [STORIES[0], "What is 15% of 80?"]
    assert asked(agent, second) == [STORIES[1], "Refund order 4712"]
