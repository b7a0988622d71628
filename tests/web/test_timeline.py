"""The checkpoints of a conversation as steps: each can be looked at, has an address, and can be gone on from."""

import re

import httpx
from playwright.sync_api import Page, expect
from serving import Server
from web.test_branches import LONG, answered, say


def test_an_earlier_step_is_seen_and_gone_on_from(page: Page, agent: Server) -> None:
    page.goto("/")
    say(page, "Where is order 4711?")
    answered(page, 3)
    say(page, "thanks")
    answered(page, 5)
    now = page.url
    page.get_by_role("button", name="Show the timeline").click()
    timeline = page.get_by_role("complementary", name="Timeline")
    steps = timeline.locator("[data-checkpoint]")
    expect(timeline.locator("[aria-current=step]")).to_contain_text("now")
    expect(steps.filter(has_text="Where is order 4711?")).to_have_count(1)
    tool = steps.filter(has_text="then tools").first
    tool.click()
    expect(page).to_have_url(re.compile(r"\?at=[0-9a-f-]+$"))
    expect(page.locator("article")).to_have_count(2)
    state = timeline.get_by_role("region", name="State")
    expect(state).to_contain_text("lookup_order")
    page.reload()
    expect(page.locator("article")).to_have_count(2)
    expect(page.get_by_text("You see an earlier step")).to_be_visible()
    page.get_by_role("button", name="Back to now").click()
    expect(page).to_have_url(now)
    expect(page.locator("article")).to_have_count(5)
    page.get_by_role("button", name="Show the timeline").click()
    question = steps.filter(has_text="then model").last  # before anything was answered
    question.click()
    expect(page.locator("article")).to_have_count(1)
    page.get_by_role("button", name="Continue from here").click()
    expect(page).to_have_url(now)
    expect(page.locator("article")).to_have_count(1)
    say(page, "hello")
    expect(page.locator("article.ai").last).to_contain_text("THREADMILL_MODEL", **LONG)  # type: ignore[arg-type]
    thread = now.rpartition("/")[2]
    held = httpx.get(f"{agent.url}/threads/{thread}/state").json()["values"]["messages"]
    assert [one["content"] for one in held if one["type"] == "human"] == ["Where is order 4711?", "hello"]
    timeline.get_by_role("checkbox", name="Show other branches").check()
    expect(steps.filter(has_text="other branch").first).to_be_visible()
    page.goto(f"{now}?at=1ef00000-0000-6000-8000-000000000000")
    expect(page.get_by_text("There is no such step")).to_be_visible()
    page.get_by_role("button", name="Back to now").click()
    expect(page.locator("article.human")).to_have_count(2)
    page.go_back()
    expect(page.get_by_text("There is no such step")).to_be_visible()
    say(page, "thanks")  # goes on from what is shown
    expect(page).to_have_url(now)
    answered(page, 5)
    held = httpx.get(f"{agent.url}/threads/{thread}/state").json()["values"]["messages"]
    assert [one["content"] for one in held if one["type"] == "human"] == ["Where is order 4711?", "hello", "thanks"]
