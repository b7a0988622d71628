"""Threads that are open, as tabs above the conversation: by mouse and keys, kept over a reload."""

import re
from collections.abc import Callable

import httpx
from playwright.sync_api import BrowserContext, Locator, Page, expect
from serving import Server

from tests.web.talking import box, item, start_run, titled
from tests.web.test_list import do, palette


def tabs(page: Page) -> Locator:
    return page.get_by_role("tablist", name="Open conversations").get_by_role("tab")


def tab(page: Page, title: str) -> Locator:
    return tabs(page).filter(has_text=title)


def shown(page: Page, title: str) -> None:
    expect(page.get_by_role("tab", selected=True)).to_have_accessible_name(re.compile(f"^{title}"))
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


def open_all(page: Page, server: Server, *titles: str) -> list[str]:
    ids = titled(server, *titles)
    page.goto("/")
    for one in ids:
        item(page, one).get_by_role("link").click()
        expect(page).to_have_url(re.compile(one))
    return ids


def test_tabs_by_mouse(page: Page, agent: Server) -> None:
    ids = open_all(page, agent, "ash", "birch")
    expect(tabs(page)).to_have_text(["ash", "birch"])
    shown(page, "birch")
    tab(page, "ash").click()
    shown(page, "ash")
    expect(page).to_have_url(re.compile(ids[0]))
    expect(box(page)).to_be_focused()
    (cedar,) = titled(agent, "cedar")
    item(page, cedar).get_by_role("link").click()  # behind the one that is shown
    expect(tabs(page)).to_have_text(["ash", "cedar", "birch"])
    tab(page, "birch").drag_to(tab(page, "ash"), target_position={"x": 5, "y": 10})
    expect(tabs(page)).to_have_text(["birch", "ash", "cedar"])
    page.reload()
    expect(tabs(page)).to_have_text(["birch", "ash", "cedar"])
    shown(page, "cedar")
    other = page.context.new_page()  # each tab of the browser has tabs of its own
    other.goto(f"/t/{cedar}")
    expect(other.get_by_role("heading", name="cedar", level=1)).to_be_visible()
    expect(tabs(other)).to_have_count(0)
    other.close()
    tab(page, "birch").click(button="middle")
    expect(tabs(page)).to_have_text(["ash", "cedar"])
    shown(page, "cedar")
    page.get_by_role("button", name="New chat").click()
    expect(tabs(page)).to_have_text(["ash", "cedar", "New conversation"])
    tab(page, "ash").click()  # which leaves nothing of the one that was not begun
    expect(tabs(page)).to_have_text(["ash", "cedar"])
    tab(page, "ash").locator(".tab-close").click()
    expect(page.get_by_role("heading", name="cedar", level=1)).to_be_visible()
    expect(tabs(page)).to_have_count(0)  # one alone needs no tab
    for one in (*ids, cedar):
        assert httpx.get(f"{agent.url}/threads/{one}", timeout=30).status_code == 200


def test_tabs_by_keys(page: Page, agent: Server) -> None:
    open_all(page, agent, "one", "two", "three")
    page.keyboard.press("Alt+PageDown")  # from the last to the first, while one writes
    shown(page, "one")
    page.keyboard.press("Alt+PageUp")
    shown(page, "three")
    palette(page, "Next tab")
    shown(page, "one")
    expect(box(page)).to_be_focused()
    tab(page, "one").focus()
    page.keyboard.press("ArrowRight")
    expect(tab(page, "two")).to_be_focused()
    shown(page, "one")
    page.keyboard.press("Enter")
    shown(page, "two")
    expect(box(page)).to_be_focused()
    for _ in range(40):  # the one that is shown is the one to reach
        page.keyboard.press("Shift+Tab")
        if page.get_by_role("tab").evaluate_all("(all) => all.includes(document.activeElement)"):
            break
    expect(tab(page, "two")).to_be_focused()
    page.keyboard.press("Home")
    expect(tab(page, "one")).to_be_focused()
    page.keyboard.press("Shift+ArrowRight")
    expect(tabs(page)).to_have_text(["two", "one", "three"])
    expect(tab(page, "one")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    expect(tab(page, "two")).to_be_focused()
    page.keyboard.press("Delete")  # the next one is shown, and the keys are still there
    expect(tabs(page)).to_have_text(["one", "three"])
    shown(page, "one")
    expect(tab(page, "one")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Delete")
    expect(tabs(page)).to_have_count(0)
    expect(box(page)).to_be_focused()
    page.keyboard.press("Escape")
    box(page).blur()
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(sheet.get_by_role("row").filter(has_text="Next tab")).to_contain_text("Alt+Page Down")
    expect(sheet.get_by_role("row").filter(has_text="In the tabs: close")).to_contain_text("Delete")


def test_a_tab_says_what_its_thread_is_at(page: Page, agent: Server) -> None:
    slow, asks, fails, quick = open_all(page, agent, "slow", "asks", "fails", "quick")
    page.get_by_role("button", name="New chat").click()
    start_run(agent, slow, "Tell me a story of 3000 words")
    start_run(agent, asks, "Refund order 4655")
    start_run(agent, fails, "please fail", "odd")
    start_run(agent, quick, "What is 15% of 80?")
    for name in ("slow Running", "asks Needs you", "fails Failed", "quick New answer"):
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_visible()
    httpx.post(f"{agent.url}/threads/{slow}/stop", timeout=30)
    expect(tab(page, "slow")).not_to_contain_text("Running")
    tab(page, "quick").click()
    expect(tab(page, "quick").locator(".state")).to_have_count(0)


def test_what_is_deleted_or_put_away_has_no_tab(page: Page, agent: Server) -> None:
    ids = open_all(page, agent, "ada", "bob", "cyd", "dot")
    do(page, ids[3], "Delete")  # the one that is shown
    expect(tabs(page)).to_have_text(["ada", "bob", "cyd", "New conversation"])
    page.get_by_role("button", name="Undo").click()
    expect(tabs(page)).to_have_text(["ada", "bob", "cyd", "dot", "New conversation"])
    tab(page, "ada").click()
    do(page, ids[1], "Delete")
    expect(tabs(page)).to_have_text(["ada", "cyd", "dot"])
    page.get_by_role("status").get_by_role("button", name="Close").click()
    do(page, ids[2], "Archive")
    expect(tabs(page)).to_have_text(["ada", "dot"])
    httpx.delete(f"{agent.url}/threads/{ids[3]}", timeout=30)  # by somebody else
    expect(tabs(page)).to_have_count(0)
    page.reload()
    expect(page.get_by_role("heading", name="ada", level=1)).to_be_visible()
    expect(item(page, ids[0])).to_be_visible()
    expect(tabs(page)).to_have_count(0)


def test_a_narrow_window_has_no_tabs(person: Callable[..., BrowserContext], agent: Server) -> None:
    page = person().new_page()
    open_all(page, agent, "wide", "narrow")
    expect(tabs(page)).to_have_count(2)
    page.set_viewport_size({"width": 390, "height": 780})
    expect(tabs(page)).to_have_count(0)
    expect(page.get_by_role("tabpanel")).to_have_count(0)
    page.set_viewport_size({"width": 900, "height": 780})
    expect(page.get_by_role("tabpanel", name="narrow")).to_be_visible()


def test_many_tabs_scroll(page: Page, agent: Server) -> None:
    open_all(page, agent, *(f"heap {n}" for n in range(14)))
    expect(tab(page, "heap 13")).to_be_in_viewport(ratio=0.9)
    expect(tab(page, "heap 0")).not_to_be_in_viewport()
    page.keyboard.press("Alt+PageDown")
    expect(tab(page, "heap 0")).to_be_in_viewport(ratio=0.9)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
