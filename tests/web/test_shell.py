"""The list, the keyboard, the languages, the colours, a narrow window."""

import re
from collections.abc import Callable

import httpx
from playwright.sync_api import BrowserContext, Page, expect
from serving import Server

from tests.web.talking import begin, box, done, item, last, say, start_run, titled


def test_a_thread_is_renamed_in_place_by_keyboard(page: Page, agent: Server) -> None:
    thread = begin(page, "What is 15% of 80?")
    done(page)
    item(page, thread).get_by_role("button", name="More about").focus()
    page.keyboard.press("Enter")
    expect(item(page, thread).get_by_role("button", name="Rename")).to_be_focused()
    page.keyboard.press("Enter")
    name = item(page, thread).get_by_role("textbox")
    name.fill("Nothing")
    page.keyboard.press("Escape")
    expect(item(page, thread)).to_contain_text("What is 15% of 80?")
    item(page, thread).get_by_role("link").dblclick()
    name.fill("Percentages")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Percentages", level=1)).to_be_visible()
    say(page, "What is 20% of 80?")
    done(page)
    page.reload()
    expect(item(page, thread)).to_contain_text("Percentages")


def test_a_name_that_one_types_is_not_written_over(page: Page, agent: Server) -> None:
    (thread,) = titled(agent, "Before")
    page.goto("/")
    item(page, thread).get_by_role("link").focus()
    page.keyboard.press("F2")
    name = item(page, thread).get_by_role("textbox")
    name.fill("Mine")
    start_run(agent, thread, "What is 15% of 80?")
    expect(item(page, thread)).to_have_attribute("data-state", "unread")  # it ran, and its row was told again and again
    expect(name).to_have_value("Mine")
    page.keyboard.press("Enter")
    expect(item(page, thread).get_by_role("link")).to_contain_text("Mine")
    expect(item(page, thread).get_by_role("link")).to_be_focused()


def test_a_thread_is_deleted_unless_it_is_undone(page: Page, agent: Server) -> None:
    thread = begin(page, "What is 15% of 80?")
    done(page)

    def delete() -> None:
        item(page, thread).hover()
        item(page, thread).get_by_role("button", name="More about").click()
        item(page, thread).get_by_role("button", name="Delete").click()
        expect(item(page, thread)).to_have_count(0)

    delete()
    expect(page).to_have_url(re.compile(r"/$"))
    page.get_by_role("button", name="Undo").click()
    item(page, thread).get_by_role("link").click()
    expect(last(page)).to_contain_text("12")
    delete()
    start_run(agent, thread, "What is 20% of 80?")  # as another tab does, before the time to undo is over
    expect(page).to_have_title(re.compile(r"^\(1\)"))
    page.get_by_role("status").get_by_role("button", name="Close").click()
    expect(page.get_by_text("was not deleted: something was said in it meanwhile.")).to_be_visible()
    item(page, thread).get_by_role("link").click()
    expect(last(page)).to_contain_text("16")
    page.get_by_role("status").get_by_role("button", name="Close").click()
    delete()
    page.get_by_role("status").get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    page.reload()
    expect(box(page)).to_be_visible()
    expect(item(page, thread)).to_have_count(0)
    assert httpx.get(f"{agent.url}/threads/{thread}", timeout=30).status_code == 404


def test_enter_chooses_characters_while_they_are_composed(page: Page) -> None:
    page.goto("/")
    box(page).fill("ni hao")
    box(page).dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    box(page).dispatch_event("keydown", {"key": "Enter", "keyCode": 229})
    page.keyboard.press("Shift+Enter")
    expect(box(page)).to_have_value("ni hao\n")
    expect(page).to_have_url(re.compile(r"/$"))


def test_chinese_is_the_language_of_who_asks_for_it(person: Callable[..., BrowserContext]) -> None:
    page = person(locale="zh-CN").new_page()
    thread = begin(page, "请退款订单 4655")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(item(page, thread)).to_contain_text("等待你处理")
    page.get_by_role("button", name="批准").click()
    expect(last(page)).to_contain_text("退款")
    page.get_by_role("combobox", name="语言").select_option("en")
    expect(page.get_by_role("button", name="New chat")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="New chat")).to_be_visible()


def test_dark_is_as_the_system_or_as_one_likes(person: Callable[..., BrowserContext]) -> None:
    page = person(color_scheme="dark").new_page()
    page.goto("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    expect(box(page)).to_be_visible()
    assert page.evaluate(ground) == "rgb(23, 24, 28)"
    page.get_by_role("combobox", name="Colours").select_option("light")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.reload()
    expect(box(page)).to_be_visible()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_on_a_narrow_window_the_list_is_a_drawer(person: Callable[..., BrowserContext]) -> None:
    page = person(viewport={"width": 390, "height": 780}, has_touch=True).new_page()
    thread = begin(page, "What is 15% of 80?")
    done(page)
    expect(item(page, thread)).not_to_be_visible()
    page.get_by_role("button", name="Show conversations").click()
    page.get_by_role("button", name="New chat").click()
    expect(item(page, thread)).not_to_be_visible()
    page.get_by_role("button", name="Show conversations").click()
    item(page, thread).get_by_role("link").click()
    expect(last(page)).to_contain_text("12")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_it_follows_the_end_only_from_the_end(page: Page) -> None:
    page.set_viewport_size({"width": 900, "height": 420})
    begin(page, "Tell me a story of 900 words")
    log = page.get_by_role("log")
    expect(page.locator("article.ai")).to_contain_text(re.compile(r"(\w+\W+){150}"))
    at = "(one) => one.scrollHeight - one.scrollTop - one.clientHeight"
    assert log.evaluate(at) < 50
    log.evaluate("(one) => { one.scrollTop = 10 }")
    latest = page.get_by_role("button", name="Jump to the latest")
    expect(latest).to_be_visible()
    before = page.locator("article.ai").inner_text()
    expect(page.locator("article.ai")).not_to_have_text(before)
    assert log.evaluate("(one) => one.scrollTop") == 10
    latest.click()
    expect(latest).not_to_be_visible()
    assert log.evaluate(at) < 50
    page.get_by_role("button", name="Stop").click()
    done(page)
    log.evaluate("""(one) => {
        one.scrollTop = 10
        const language = document.querySelector('select[aria-label="Language"]')
        for (const drawn of ['zh', 'en']) { // anew in the same moment
            language.value = drawn
            language.dispatchEvent(new Event('change'))
        }
    }""")
    expect(latest).to_be_visible()
    say(page, "שלום")  # who says something sees it, and from right to left if it is written so
    expect(page.locator(".human .words", has_text="שלום")).to_be_in_viewport()
    expect(page.locator(".human .words", has_text="שלום")).to_have_css("direction", "rtl")
    done(page)
    expect(latest).not_to_be_visible()
    assert log.evaluate(at) < 50
