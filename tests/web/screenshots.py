"""The pictures of the documentation: the real page with the default agent. `make screenshots` writes them anew.

It needs a browser, and a font with Chinese characters (Debian: fonts-noto-cjk).
"""

import base64
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright
from serving import Server

from tests.web.conftest import FLAGS, PROGRAM
from tests.web.talking import begin, done, item, say, start_run

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
DESK = {"width": 1200, "height": 760}
PHONE = {"width": 390, "height": 760}
QUALITY = 80
SCALE = 1.5


def answered(page: Page, *questions: str) -> None:
    for number, question in enumerate(questions):
        if number:
            say(page, question)
        else:
            begin(page, question)
        expect(page.locator("article.human")).to_have_count(number + 1)
        done(page)


def light(page: Page, server: Server) -> None:
    """Several conversations at once, and a question to a person."""
    answered(page, "What is your return policy?")
    pinned = begin(page, "Remember that I am left-handed")
    item(page, pinned).hover()
    item(page, pinned).get_by_role("button", name="More about").click()
    item(page, pinned).get_by_role("button", name="Pin", exact=True).click()
    done(page)
    unread = begin(page, "What is 15% of 80?")
    page.goto("/")
    expect(item(page, unread)).to_have_attribute("data-state", "unread")
    begin(page, "Tell me a story of 3000 words")
    answered(page, "Where is order 4711?")
    say(page, "Please refund it")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()


def dark(page: Page, server: Server) -> None:
    """Versions, and the checkpoints they are made of."""
    answered(page, "Where is order 4711?", "What is 15% of 80?")
    page.locator("article.human").last.get_by_role("button", name="Edit and send again").click()
    page.get_by_role("textbox", name="Edit the message").fill("What is 20% of 80?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Version 2 of 2")).to_be_attached()
    done(page)
    page.get_by_role("button", name="Show the timeline").click()
    page.locator("[data-checkpoint]").nth(1).wait_for()


def chinese(page: Page, server: Server) -> None:
    answered(page, "你们的退货政策是什么？")
    begin(page, "80 的 15% 是多少？")
    done(page)
    begin(page, "请退款订单 4655")
    expect(page.get_by_role("button", name="批准")).to_be_visible()


def mobile(page: Page, server: Server) -> None:
    answered(page, "Where is order 4711?")


def drawer(page: Page, server: Server) -> None:
    start_run(server, "0ddba11c-0000-4000-8000-000000000001", "Tell me a story of 3000 words")
    start_run(server, "0ddba11c-0000-4000-8000-000000000002", "Refund order 4712")
    answered(page, "What is your return policy?")
    page.get_by_role("button", name="Show conversations").click()
    expect(page.get_by_text("Needs you")).to_be_visible()


# Name, what is on it, and with what kind of browser.
PICTURES: list[tuple[str, Callable[[Page, Server], None], dict[str, object]]] = [
    ("page-light", light, {"viewport": DESK}),
    ("page-dark", dark, {"viewport": DESK, "color_scheme": "dark"}),
    ("page-chinese", chinese, {"viewport": DESK, "locale": "zh-CN"}),
    ("page-mobile", mobile, {"viewport": PHONE}),
    ("page-mobile-list", drawer, {"viewport": PHONE, "color_scheme": "dark"}),
]


def take(browser: Browser, name: str, scene: Callable[[Page, Server], None], options: dict[str, object]) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data", ROOT / "langgraph.json").start()
        try:
            chosen = {"locale": "en-US", "reduced_motion": "reduce", **options}
            context = browser.new_context(base_url=server.url, **chosen)  # type: ignore[arg-type]
            page = context.new_page()
            scene(page, server)
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur()")
            clip = {"x": 0, "y": 0, "scale": SCALE, **(page.viewport_size or {})}
            how = {"format": "webp", "quality": QUALITY, "clip": clip}
            shot = context.new_cdp_session(page).send("Page.captureScreenshot", how)
            context.close()
        finally:
            server.kill()
    IMAGES.mkdir(exist_ok=True)
    file = IMAGES / f"{name}.webp"
    file.write_bytes(base64.b64decode(shot["data"]))
    return file


def main() -> None:
    if PROGRAM is None:
        sys.exit("There is no browser: install chromium.")
    fonts = subprocess.run(["fc-list", ":lang=zh-cn"], capture_output=True, text=True).stdout
    if not fonts:
        sys.exit("There is no font with Chinese characters: install fonts-noto-cjk.")
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        for name, scene, options in PICTURES:
            file = take(browser, name, scene, options)
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1000} kB")
        browser.close()


if __name__ == "__main__":
    main()
