"""Titles and what was said are found from the side column, and a hit goes to where it was said."""

import re

import httpx
from playwright.sync_api import Page, expect
from serving import Server
from web.test_branches import LONG, answered, say, versions


def test_a_hit_opens_its_message_also_on_another_branch(page: Page, agent: Server) -> None:
    page.goto("/")
    say(page, "hello")
    answered(page, 2)
    first = page.url
    page.locator("article.human").get_by_role("button", name="Edit and send again").click()
    page.get_by_role("textbox", name="Edit the message").fill("thanks for the marmalade")
    page.keyboard.press("Enter")
    expect(versions(page.locator("article.human"))).to_contain_text("2/2", **LONG)  # type: ignore[arg-type]
    answered(page, 2)
    versions(page.locator("article.human")).get_by_role("button", name="Version before: hello").click()
    expect(page.locator("article.human")).to_have_text(re.compile("hello"))
    page.keyboard.press("Control+Shift+O")
    say(page, "help me with zeppelins")
    answered(page, 2)
    expect(page).not_to_have_url(first)

    titles = page.get_by_role("navigation", name="Conversations").get_by_role("link")
    expect(titles).to_have_count(2)
    page.keyboard.press("Control+Shift+F")
    box = page.get_by_role("searchbox", name="Search conversations")
    expect(box).to_be_focused()
    box.fill("zepp")
    expect(titles).to_have_count(1)
    hits = page.get_by_role("region", name="Found in conversations").get_by_role("link")
    expect(hits.first).to_contain_text("zeppelins")
    box.fill("marmalade")
    expect(page.get_by_text("No title has this.")).to_be_visible()
    hit = hits.filter(has_text="You")
    expect(hit.locator("mark")).to_have_text("marmalade")
    hit.click()
    expect(page).to_have_url(re.compile(re.escape(first) + r"\?at="))
    expect(page.locator("article.human")).to_have_text(re.compile("marmalade"))
    expect(page.locator("article.human")).to_be_focused()
    box.press("Escape")
    expect(hits).to_have_count(0)
    thread = first.rpartition("/")[2]
    held = httpx.get(f"{agent.url}/threads/{thread}/state").json()["values"]["messages"]
    assert held[0]["content"] == "hello"  # looking does not choose
