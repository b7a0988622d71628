"""Other ways that a conversation could go: they are the server's, and come back after a reload and on other devices."""

import re

import httpx
from playwright.sync_api import Locator, Page, Route, expect
from serving import Server

from tests.web.talking import begin, done, item

LONG = {"timeout": 60_000}


def say(page: Page, text: str) -> None:
    page.locator("#composer").fill(text)
    page.keyboard.press("Enter")


def answered(page: Page, turns: int) -> None:
    log = page.get_by_role("log")
    expect(log).to_have_attribute("data-turns", str(turns), **LONG)  # type: ignore[arg-type]
    expect(log).to_have_attribute("data-busy", "false", **LONG)  # type: ignore[arg-type]


def versions(turn: Locator) -> Locator:
    return turn.get_by_role("group", name="Versions")


def test_versions_of_a_question_and_of_an_answer(page: Page, agent: Server) -> None:
    page.goto("/")
    say(page, "hello")
    answered(page, 2)
    say(page, "thanks")
    answered(page, 4)
    asked, replies = page.locator("article.human"), page.locator("article.ai")
    old = replies.nth(0).locator(".markdown").inner_text()
    asked.nth(0).get_by_role("button", name="Edit and send again").click()
    box = page.get_by_role("textbox", name="Edit the message")
    expect(box).to_be_focused()
    box.fill("Where is order 4711?")
    page.keyboard.press("Enter")
    expect(versions(asked.nth(0))).to_contain_text("2/2", **LONG)  # type: ignore[arg-type]
    expect(asked).to_have_count(1)
    answer = replies.last
    answer.get_by_role("button", name="Answer again").dblclick()  # is one answer
    expect(versions(answer)).to_contain_text("Version 2 of 2", **LONG)  # type: ignore[arg-type]
    page.reload()
    expect(versions(answer)).to_contain_text("2/2")
    other = page.context.new_page()
    other.goto(page.url)
    expect(versions(other.locator("article.human"))).to_contain_text("2/2")
    versions(asked.nth(0)).get_by_role("button", name="Version before: hello").click()
    expect(versions(other.locator("article.human").nth(0))).to_contain_text("1/2")
    other.close()
    expect(asked).to_have_text([re.compile("hello"), re.compile("thanks")])
    expect(replies.nth(0).locator(".markdown")).to_have_text(old, use_inner_text=True)
    expect(versions(asked.nth(0)).get_by_role("button", name="Version after: Where is order 4711?")).to_be_focused()
    page.reload()
    expect(versions(asked.nth(0))).to_contain_text("1/2")
    say(page, "help")  # goes on from the old branch, not from what was said last
    answered(page, 6)
    thread = page.url.rpartition("/")[2]
    held = httpx.get(f"{agent.url}/threads/{thread}/state").json()["values"]["messages"]
    assert [one["content"] for one in held if one["type"] == "human"] == ["hello", "thanks", "help"]


def test_a_fork_knows_where_it_is_from(page: Page, agent: Server) -> None:
    page.goto("/")
    say(page, "hello")
    answered(page, 2)
    say(page, "thanks")
    answered(page, 4)
    first = page.url
    source = first.rpartition("/")[2]
    httpx.patch(f"{agent.url}/threads/{source}", json={"metadata": {"pinned": 1}}).raise_for_status()
    page.locator("article.ai").nth(0).get_by_role("button", name="Continue in a new conversation").click()
    expect(page).not_to_have_url(first)
    expect(page).to_have_url(re.compile(r"/t/[0-9a-f-]{36}$"))
    answered(page, 2)
    say(page, "help")
    answered(page, 4)
    pinned = page.get_by_role("navigation", name="Conversations").get_by_role("listitem").nth(1)
    expect(pinned).to_have_attribute("data-thread", source)
    fork = httpx.get(f"{agent.url}/threads/{page.url.rpartition('/')[2]}").json()
    assert fork["metadata"]["pinned"] is None
    page.reload()
    page.get_by_role("link", name="Forked from “hello”").click()
    expect(page).to_have_url(first)
    expect(page.locator("article.human")).to_have_text([re.compile("hello"), re.compile("thanks")])


def test_what_one_conversation_waits_for_holds_up_no_other(page: Page) -> None:
    held: list[Route] = []
    again = page.locator("article.ai").last.get_by_role("button", name="Answer again")
    other = begin(page, "What is 15% of 80?")
    done(page)
    thread = begin(page, "What is 20% of 80?")
    done(page)
    page.route(f"**/threads/{thread}/runs", lambda route: held.append(route))
    again.click()
    item(page, other).get_by_role("link").click()
    expect(page.locator("article.human")).to_have_text(re.compile("15%"))
    again.click()
    expect(versions(page.locator("article.ai").last)).to_contain_text("2/2")
    assert len(held) == 1


def test_a_fork_needs_no_pause(page: Page) -> None:
    page.goto("/")
    say(page, "hello")
    answered(page, 2)
    fork = page.locator("article.ai").first.get_by_role("button", name="Continue in a new conversation")
    expect(fork).to_be_visible()
    say(page, "Tell me a story of 3000 words")
    edit = page.get_by_role("button", name="Edit and send again").first
    expect(edit).to_be_disabled()
    expect(edit).to_have_attribute("title", "Wait for the answer, or stop it.")
    fork.click()
    expect(page.locator(".forked-from")).to_be_visible()
    answered(page, 2)
    page.locator(".forked-from").click()
    page.get_by_role("button", name="Stop").click()
    answered(page, 4)


def test_an_edit_is_of_its_conversation_and_stays_over_a_reload(page: Page) -> None:
    page.goto("/")
    say(page, "hello")
    answered(page, 2)
    source = page.url
    page.get_by_role("button", name="Edit and send again").click()
    edit = page.get_by_role("textbox", name="Edit the message")
    edit.fill("thanks")
    page.locator("article.ai").get_by_role("button", name="Continue in a new conversation").click()
    expect(page.locator(".forked-from")).to_be_visible()
    expect(page.locator("article.human").get_by_role("button", name="Edit and send again")).to_be_visible()
    expect(edit).to_have_count(0)
    page.goto(source)
    expect(edit).to_have_value("thanks")
    page.keyboard.press("Enter")
    expect(versions(page.locator("article.human"))).to_contain_text("2/2")
    page.reload()
    expect(versions(page.locator("article.human"))).to_contain_text("2/2")
    expect(edit).to_have_count(0)


def test_the_map_shows_all_branches_and_goes_to_each(page: Page, agent: Server) -> None:
    thread = httpx.post(f"{agent.url}/threads", json={"metadata": {"graph_id": "odd"}}, timeout=30).json()["thread_id"]
    path = f"{agent.url}/threads/{thread}"

    def told(*texts: str, at: str | None = None) -> str:
        said = [{"type": "ai" if n % 2 else "human", "content": text} for n, text in enumerate(texts)]
        update = {"values": {"messages": said}, "as_node": "second", "checkpoint_id": at}
        answer = httpx.post(f"{path}/state", json=update, timeout=30).raise_for_status()
        return str(answer.json()["checkpoint_id"])

    first = told("Where to?", "Up or down.")
    told("Up", "You see the sky.")
    told("Down", "You see the cellar.", at=first)
    page.goto(f"/t/{thread}")
    page.get_by_role("button", name="Show the branch map").click()
    shown = page.get_by_role("complementary", name="Branch map")
    pieces = shown.locator(".piece")
    expect(pieces).to_have_text([re.compile("Where to"), re.compile("^Up.*2 messages"), re.compile("^Down.*now")])
    expect(shown.locator("[aria-current=true]")).to_contain_text("Down")
    pieces.nth(0).focus()
    page.keyboard.press("ArrowRight")
    expect(pieces.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("article").last).to_contain_text("You see the sky.")
    expect(shown.locator("[aria-current=true]")).to_contain_text("Up")
    expect(pieces.nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(pieces.nth(2)).to_be_focused()
    shown.get_by_role("button", name="Name the branch “Down”").click()
    expect(shown.get_by_role("textbox", name="Name of the branch")).to_be_focused()
    page.keyboard.type("cellar")
    page.keyboard.press("Enter")
    expect(pieces.nth(2)).to_be_focused()
    shown.get_by_role("button", name="Pin “cellar”").click()
    expect(shown.get_by_role("button", name="Unpin “cellar”")).to_have_attribute("aria-pressed", "true")
    page.reload()
    page.get_by_role("button", name="Show the branch map").click()
    expect(shown.get_by_role("button", name="Rename the branch “cellar”")).to_be_visible()
    pieces.nth(2).focus()
    page.keyboard.press("Escape")
    expect(shown).to_have_count(0)
