"""Everything by key: the sheet says which, the palette goes to any conversation and does any action."""

import re

from playwright.sync_api import Page, expect
from web.test_branches import answered, say


def test_the_palette_and_the_sheet_of_keys(page: Page) -> None:
    page.goto("/")
    say(page, "hello")
    answered(page, 2)
    first = page.url
    page.keyboard.press("Control+K")
    palette = page.get_by_role("dialog", name="Go to or do …")
    field = palette.get_by_role("combobox")
    expect(field).to_be_focused()
    field.fill("new chat")
    expect(palette.get_by_role("option", selected=True)).to_contain_text("New chat")
    page.keyboard.press("Enter")
    expect(palette).to_have_count(0)
    expect(page).not_to_have_url(first)
    expect(page.locator("#composer")).to_be_focused()
    page.keyboard.press("Control+K")
    options = palette.get_by_role("group", name="Conversations").get_by_role("option")
    expect(options).to_have_text("hello")
    page.keyboard.press("ArrowUp")  # from the first to the last
    expect(options).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page).to_have_url(first)
    page.keyboard.press("Control+K")
    field.fill("nothing is called this")
    expect(palette.get_by_role("status")).to_have_text("Nothing is called that.")
    page.keyboard.press("Escape")
    expect(palette).to_have_count(0)

    page.locator("#composer").fill("Why")
    page.keyboard.press("?")  # is a letter while one types
    expect(page.locator("#composer")).to_have_value("Why?")
    page.locator("#composer").blur()
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(sheet.get_by_role("row").filter(has_text="Go to or do")).to_contain_text(re.compile("Ctrl.K"))
    sheet.get_by_role("button", name="Close").click()
    expect(sheet).to_have_count(0)
