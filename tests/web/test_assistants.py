"""Who answers, and with what settings: chosen on the page, kept by the server, the same on every device."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from serving import Server

from tests.web.talking import begin, box, done, last, say, snapshot


@pytest.fixture(scope="module")
def terse(agent: Server) -> Iterator[str]:
    """An assistant of its own, with defaults of its own."""
    body = {"graph_id": "tuned", "name": "Terse", "context": {"words": 1}, "description": "Says little."}
    body |= {"metadata": {"starters": ["Why?", "How so?", 3, "When?", "Where?", "By whom?"]}}
    made: str = httpx.post(f"{agent.url}/assistants", json=body, timeout=30).json()["assistant_id"]
    yield made
    httpx.delete(f"{agent.url}/assistants/{made}", timeout=30)


def told(page: Page, words: Any) -> dict[str, Any]:
    """What the graph had, when it had so many words."""
    done(page)
    expect(last(page)).to_contain_text(f'"words": {json.dumps(words)}')
    found: dict[str, Any] = json.loads(last(page).locator(".markdown").inner_text())
    return found


def settings(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Assistant and its settings")


def test_settings_belong_to_a_conversation_and_go_with_each_run(
    page: Page, person: Callable[..., BrowserContext], agent: Server
) -> None:
    page.goto("/")
    who = page.get_by_label("Assistant", exact=True)
    who.select_option("tuned")
    page.get_by_label("Tone").select_option("long")
    page.get_by_label("Words").fill("7")
    page.get_by_label("Shout").check()
    page.get_by_label("Tags").fill('["a",')
    page.locator("#composer").focus()
    expect(page.get_by_role("alert")).to_have_text("This is no JSON.")
    page.get_by_label("Tags").fill('["a", "b"]')
    say(page, "hello")
    done(page)
    had = {"tone": "long", "words": 7, "shout": True, "name": None, "tags": ["a", "b"]}
    assert told(page, 7) == had
    thread = page.url.rpartition("/")[2]
    kept = snapshot(agent, thread)["thread"]["metadata"]["context"]
    assert kept == {key: value for key, value in had.items() if key != "name"}  # what is as usual is not said

    other = person().new_page()
    other.goto(f"/t/{thread}")
    other.get_by_role("button", name="Assistant: tuned").click()
    expect(settings(other).get_by_label("Words")).to_have_value("7")
    settings(other).get_by_label("Words").fill("8")
    settings(other).get_by_label("Name").fill("Ann")
    other.locator("#composer").focus()
    page.reload()
    page.get_by_role("button", name="Assistant: tuned").click()
    expect(settings(page).get_by_label("Name")).to_have_value("Ann")
    settings(other).get_by_label("Words").fill("9")  # live, too
    other.locator("#composer").focus()
    expect(settings(page).get_by_label("Words")).to_have_value("9")
    page.get_by_role("button", name="Answer again").click()
    assert told(page, 9) == had | {"words": 9, "name": "Ann"}
    settings(page).get_by_role("button", name="Use the defaults").click()
    expect(settings(other).get_by_label("Words")).to_have_value("3")
    say(page, "hello again")
    expect(page.locator("article.ai")).to_have_count(2)
    assert told(page, 3)["tone"] == "short"


def test_each_conversation_has_its_assistant(page: Page, agent: Server, terse: str) -> None:
    page.goto("/")
    page.get_by_label("Assistant", exact=True).select_option("Terse (tuned)")
    expect(page.get_by_text("Says little.")).to_be_visible()
    expect(page.get_by_label("Words")).to_have_value("1")
    starters = page.get_by_role("group", name="What one may ask").get_by_role("button")
    expect(starters).to_have_text(["Why?", "How so?", "When?", "Where?"])
    starters.nth(1).click()
    expect(box(page)).to_be_focused()
    expect(box(page)).to_have_value("How so?")
    expect(starters).to_have_count(0)
    say(page, "hello")
    told(page, 1)
    thread = page.url.rpartition("/")[2]
    begin(page, "hello")  # the one that was chosen last
    told(page, 1)
    page.goto(f"/t/{thread}")
    page.get_by_role("button", name="Assistant: Terse").click()
    who = settings(page).get_by_label("Assistant", exact=True)
    expect(who.get_by_role("option")).to_have_text(["Terse (tuned)", "tuned"])  # others would not know its state
    who.select_option("tuned")
    say(page, "hello again")
    told(page, 3)
    assert snapshot(agent, thread)["thread"]["metadata"]["context"] == {}


def test_a_graph_without_a_schema_has_no_form(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Assistant", exact=True).select_option("agent")
    expect(page.get_by_label("Assistant", exact=True)).to_have_value(re.compile(".+"))
    expect(page.locator(".settings-form")).to_have_count(0)
    begin(page, "What is 15% of 80?")
    done(page)
    page.get_by_role("button", name="Assistant: agent").click()
    expect(settings(page).get_by_label("Assistant", exact=True)).to_be_visible()
    expect(page.locator(".settings-form")).to_have_count(0)
