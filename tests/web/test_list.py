"""Many conversations in order: pinned, put away, and several at once, by mouse, keys and touch, on every device."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import BrowserContext, Locator, Page, expect
from serving import Server

from tests.web.talking import item, start_run, titled


def do(page: Page, thread: str, what: str) -> None:
    item(page, thread).hover()
    item(page, thread).get_by_role("button", name="More about").click()
    item(page, thread).get_by_role("button", name=what, exact=True).click()


def palette(page: Page, what: str) -> None:
    page.keyboard.press("Control+K")
    over = page.get_by_role("dialog", name="Go to or do")
    over.get_by_role("combobox").fill(what)
    expect(over.get_by_role("option", selected=True)).to_contain_text(what)
    page.keyboard.press("Enter")


def rows(page: Page) -> Locator:
    return page.locator(".side-list [data-thread] .side-title")


def above(page: Page, upper: str, lower: str) -> None:
    """That is how the two stand now, or soon."""
    page.wait_for_function(
        """(ids) => {
          const shown = [...document.querySelectorAll('[data-thread]')].map((one) => one.dataset.thread)
          return shown.indexOf(ids[0]) < shown.indexOf(ids[1])
        }""",
        arg=[upper, lower],
    )


def test_what_is_being_clicked_does_not_move_away(
    page: Page, person: Callable[..., BrowserContext], agent: Server
) -> None:
    moves, clicked = titled(agent, "what moves", "what is clicked")
    other = person().new_page()
    for one in (other, page):
        one.goto("/")
        above(one, clicked, moves)
    item(page, moves).hover()
    spot = item(page, clicked).bounding_box()
    assert spot is not None
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(spot["x"] + 40, spot["y"] + 15)
    page.mouse.down()  # while the list still waits for the first one's click
    start_run(agent, moves, "hello")
    above(other, moves, clicked)
    page.wait_for_timeout(300)  # by then this page knows it, too
    above(page, clicked, moves)
    page.mouse.up()
    expect(page).to_have_url(re.compile(clicked))
    above(page, moves, clicked)


def test_what_is_pinned_or_put_away_is_so_on_every_device(
    page: Page, person: Callable[..., BrowserContext], agent: Server
) -> None:
    for one in httpx.post(f"{agent.url}/threads/search", json={"limit": 1000}, timeout=30).json():  # of other tests
        httpx.delete(f"{agent.url}/threads/{one['thread_id']}", timeout=30).raise_for_status()
    first, second, third = titled(agent, "first", "second", "third")
    other = person().new_page()
    for one in (page, other):
        one.goto("/")
    do(page, first, "Pin")
    for one in (page, other):
        expect(one.get_by_role("heading", name="Pinned")).to_be_visible()
        expect(rows(one)).to_have_text(["first", "third", "second"])
    do(other, second, "Archive")
    expect(rows(page)).to_have_text(["first", "third"])
    other.get_by_role("button", name="Undo").click()
    expect(rows(page)).to_have_text(["first", "third", "second"])
    item(page, third).get_by_role("link").click()  # and now by keys
    palette(page, "Archive this")
    expect(rows(other)).to_have_text(["first", "second"])
    palette(page, "Show the archive")
    expect(rows(page)).to_have_text(["third"])
    page.reload()
    expect(rows(page)).to_have_text(["first", "second"])
    page.get_by_role("searchbox").fill("thi")  # what is looked for is found wherever it is
    expect(rows(page)).to_have_text(["third"])
    page.get_by_role("searchbox").press("Escape")
    palette(page, "Take this conversation out")
    expect(rows(other)).to_have_text(["first", "third", "second"])
    expect(other.get_by_role("button", name="Archive")).to_have_count(0)
    do(page, first, "Unpin")
    expect(rows(other)).to_have_text(["third", "second", "first"])
    kept = httpx.get(f"{agent.url}/threads/{second}", timeout=30).json()["metadata"]
    assert kept == {"archived": None, "pinned": None}


def test_several_are_selected_by_keys(page: Page, agent: Server) -> None:
    ids = titled(agent, "alpha", "beta", "gamma", "delta")
    page.goto("/")
    item(page, ids[3]).get_by_role("link").focus()
    page.keyboard.press("ArrowDown")
    expect(item(page, ids[2]).get_by_role("link")).to_be_focused()
    page.keyboard.press("F2")
    item(page, ids[2]).get_by_role("textbox").fill("Gamma")
    page.keyboard.press("Enter")
    expect(item(page, ids[2])).to_contain_text("Gamma")
    item(page, ids[2]).get_by_role("link").focus()
    page.keyboard.press("Shift+ArrowDown")
    bar = page.get_by_role("toolbar", name="Selected conversations")
    expect(bar).to_contain_text("2 selected")
    page.keyboard.press("ArrowDown")
    expect(item(page, ids[0]).get_by_role("checkbox")).to_be_focused()
    page.keyboard.press("Space")
    expect(bar).to_contain_text("3 selected")
    page.keyboard.press("Space")
    page.keyboard.press("Delete")
    expect(page.get_by_text("2 conversations were deleted.")).to_be_visible()
    for gone in ids[1:3]:
        expect(item(page, gone)).to_have_count(0)
    expect(item(page, ids[0]).get_by_role("link")).to_be_focused()
    page.get_by_role("button", name="Undo").click()
    expect(item(page, ids[1])).to_be_visible()
    palette(page, "Select conversations")
    expect(bar).to_contain_text("0 selected")
    bar.get_by_role("checkbox").press("Space")
    expect(bar).not_to_contain_text("0 selected")
    page.keyboard.press("Escape")
    expect(bar).to_have_count(0)
    item(page, ids[2]).get_by_role("link").focus()
    page.keyboard.press("Delete")
    page.get_by_role("status").get_by_role("button", name="Close").click()
    expect(item(page, ids[2])).to_have_count(0)
    page.reload()
    expect(item(page, ids[1])).to_be_visible()
    expect(item(page, ids[2])).to_have_count(0)


def test_many_are_exported_and_deleted_at_once(page: Page, agent: Server) -> None:
    ids = titled(agent, *(f"crowd {n}" for n in range(25)))
    page.goto("/")
    page.get_by_role("searchbox").fill("crowd")
    do(page, ids[24], "Select")
    item(page, ids[20]).get_by_role("checkbox").click(modifiers=["Shift"])
    bar = page.get_by_role("toolbar")
    expect(bar).to_contain_text("5 selected")
    bar.get_by_role("checkbox").check()
    expect(bar).to_contain_text("25 selected")
    with page.expect_download() as coming:
        bar.get_by_role("button", name="Export").click()
    lines = [json.loads(line) for line in Path(coming.value.path()).read_text("utf-8").splitlines()]
    assert coming.value.suggested_filename == "conversations.ndjson"
    assert {one["thread_id"] for one in lines if "fingerprint" in str(one)} >= set(ids), lines[0]
    do(page, ids[24], "Select")
    bar.get_by_role("checkbox").check()
    bar.get_by_role("button", name="Delete").click()
    with page.expect_response("**/threads/prune"):
        page.get_by_role("status").get_by_role("button", name="Close").click()
    other = page.context.new_page()
    other.goto("/")
    expect(other.locator(".side-list, .side-empty")).to_be_visible()
    for one in (ids[0], ids[24]):
        expect(item(other, one)).to_have_count(0)
    other.close()
    left = httpx.post(f"{agent.url}/threads/search", json={"ids": ids}, timeout=30).json()
    assert left == []


def test_several_are_selected_by_touch(person: Callable[..., BrowserContext], agent: Server) -> None:
    first, second = titled(agent, "tap", "tip")
    page = person(
        viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    ).new_page()
    page.goto("/")
    page.get_by_role("button", name="Show conversations").tap()
    place = item(page, second).bounding_box()
    assert place
    session = page.context.new_cdp_session(page)
    points = [{"x": place["x"] + 40, "y": place["y"] + 20}]
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
    bar = page.get_by_role("toolbar", name="Selected conversations")
    expect(bar).to_contain_text("1 selected")
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    item(page, first).tap()
    expect(bar).to_contain_text("2 selected")
    bar.get_by_role("button", name="Archive").tap()
    expect(page.get_by_text("2 conversations are in the archive.")).to_be_visible()
    expect(item(page, first)).to_have_count(0)
    page.get_by_role("button", name="Archive").tap()
    expect(item(page, first)).to_be_visible()
    expect(page).to_have_url(f"{agent.url}/")  # the long press opened nothing
    item(page, first).get_by_role("button", name="More about").tap()
    item(page, first).get_by_role("button", name="Take out of the archive").tap()
    expect(item(page, first)).to_have_count(0)
    page.get_by_role("button", name="All conversations").tap()
    expect(item(page, first)).to_be_visible()
    expect(item(page, second)).to_have_count(0)
