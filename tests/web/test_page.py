"""The page as it is served, and one conversation from the first word to the last."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import BrowserContext, Page, expect
from serving import Server

from tests.web.screenshots import IMAGES, PICTURES, ROOT

PAGE = Path(__file__).parents[2] / "server" / "threadmill" / "page"


def test_it_is_served_safely(agent: Server) -> None:
    answer = httpx.get(agent.url)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src=)|https?://|\bstyle=", answer.text)
    assert httpx.get(agent.url, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    script = re.search(r'src="\./(assets/[^"]+)"', answer.text)
    assert script
    for encoding in ("gzip", "identity"):
        found = httpx.get(f"{agent.url}/{script[1]}", headers={"accept-encoding": encoding})
        assert "immutable" in found.headers["cache-control"]
        assert found.headers.get("content-encoding", "identity") == encoding
        assert found.content == (PAGE / script[1]).read_bytes()
    for path in ("assets/..%2Fmanifest.json", "assets/../manifest.json", "manifest.json", "assets/none.js"):
        assert httpx.get(f"{agent.url}/{path}").status_code == 404, path


def test_the_first_load_is_small() -> None:
    index = (PAGE / "index.html").read_text("utf-8")
    names = re.findall(r'(?:src|href)="\./(assets/[^"]+)"', index)
    sizes = dict.fromkeys(("js", "css"), 0)
    for name in names:
        sizes[name.rpartition(".")[2]] += len(gzip.compress((PAGE / name).read_bytes(), 9))
    assert sizes["js"] <= 80_000 and sizes["css"] <= 10_000, sizes
    assert len(names) <= 4  # with the page itself: five requests
    for lazy, limit in (("highlight", 15_000), ("katex", 80_000)):
        (chunk,) = (PAGE / "assets").glob(f"{lazy}-*.js")
        assert len(gzip.compress(chunk.read_bytes(), 9)) <= limit, lazy
    files = json.loads((PAGE / "manifest.json").read_text("utf-8"))["files"]
    assert sum((PAGE / name).stat().st_size for name in files) <= 3_000_000


def test_the_pictures_of_the_documentation_are_small_and_shown() -> None:
    files = {file.name: file.stat().st_size for file in IMAGES.iterdir()}
    assert set(files) == {f"{name}.webp" for name, _, _ in PICTURES}
    assert max(files.values()) <= 120_000, files
    shown = re.findall(r"!\[[^]]+\]\(images/([^)]+)\)", (ROOT / "docs" / "web.md").read_text("utf-8"))
    assert sorted(shown) == sorted(files)


def test_a_conversation(page: Page) -> None:
    page.goto("/")
    page.get_by_role("textbox", name="Write a message").fill("Where is order 4711?")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/t/[0-9a-f-]{36}$"))
    log = page.get_by_role("log")
    tool = log.locator("[data-tool=lookup_order]")
    expect(tool).to_have_attribute("data-status", "running")
    expect(tool).to_have_attribute("data-status", "finished")
    expect(log).to_contain_text("Set THREADMILL_MODEL=provider:name to talk to a real model.")
    expect(log).to_have_attribute("data-busy", "false")
    item = page.get_by_role("navigation", name="Conversations").get_by_role("link")
    expect(item).to_have_text("Where is order 4711?")
    expect(tool).to_contain_text(re.compile(r"\d\.\d s"))  # also when it is over
    took = re.compile(r"Began after \d\.\d s, took \d+\.\d s\.\s*\d+ tokens in, \d+ out")
    expect(log.locator("article.ai").last).to_contain_text(took)
    shown = log.inner_text()
    page.reload()
    expect(log).to_have_text(shown, use_inner_text=True)
    tool.locator("summary").press("Enter")
    expect(tool.get_by_text("Arguments")).to_be_visible()
    expect(tool).to_contain_text(re.compile(r'"order_id": "4711".*"status"', re.DOTALL))


def test_a_part_that_is_gone_with_its_server_is_told(person: Callable[..., BrowserContext]) -> None:
    """The page is older than the server, and there is no service worker, as without https."""
    page = person(service_workers="block").new_page()
    page.goto("/")
    expect(page.locator("#composer")).to_be_visible()
    page.route("**/assets/*.js", lambda route: route.fulfill(status=404))
    page.keyboard.press("Control+k")
    expect(page.get_by_text("A part of the page could not be loaded.")).to_be_visible()
    page.unroute("**/assets/*.js")
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("button", name="Reload")).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog")).to_be_visible()
