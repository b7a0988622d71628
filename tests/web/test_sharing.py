"""A conversation that is shared: a link, whoever has it, and the end of it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from serving import Server

from tests.web.conftest import PATIENCE
from tests.web.talking import begin, box, done, last, say
from tests.web.test_gates import broken
from tests.web.test_hosting import GUARD, ROOT

ONCE = "Whoever has the link reads this conversation as it is now, without a login."
GONE = "This link is not valid, or no longer."
OWNER = {"authorization": "Bearer open sesame"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Below `/desk`, and only for those who know the word."""
    folder = tmp_path_factory.mktemp("sharing")
    (folder / "guard.py").write_text(GUARD)
    graphs = {"agent": f"{ROOT}/graph/agent.py:agent", "odd": f"{ROOT}/tests/web/project/odd.py:odd"}
    config: dict[str, Any] = {"dependencies": [str(ROOT)], "graphs": graphs}
    config |= {"auth": {"path": "./guard.py:auth"}, "http": {"mount_prefix": "/desk"}}
    (folder / "langgraph.json").write_text(json.dumps(config))
    env = {"THREADMILL_SHARING": "true", "THREADMILL_DEMO_DELAY_MS": "0"}
    server = Server(folder / "data", folder / "langgraph.json", env).start()
    yield server
    server.kill()


@pytest.fixture
def come(browser: Browser, guarded: Server) -> Iterator[Callable[..., Page]]:
    """A browser of one's own, with the word (`who="open sesame"`) or without; whatever its console says is an error."""
    made: list[tuple[BrowserContext, list[str]]] = []

    def come(who: str | None = None, **options: Any) -> Page:
        context = browser.new_context(base_url=f"{guarded.url}/desk/", **{"locale": "en-US", **options})
        context.set_default_timeout(PATIENCE)
        if who:
            context.add_init_script(f"localStorage.setItem('threadmill.token', {json.dumps(who)})")
        page, said = context.new_page(), list[str]()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        made.append((context, said))
        return page

    yield come
    for context, said in made:
        context.close()
        assert [one for one in said if "Failed to load resource" not in one and "WebSocket" not in one] == []


def thread_of(server: Server, text: str, assistant: str = "agent") -> str:
    with httpx.Client(base_url=f"{server.url}/desk", headers=OWNER, timeout=30) as http:
        thread: str = http.post("/threads", json={}).json()["thread_id"]
        asked = {"assistant_id": assistant, "input": {"messages": [{"role": "user", "content": text}]}}
        http.post(f"/threads/{thread}/runs/wait", json=asked).raise_for_status()
    return thread


def link_of(server: Server, thread: str) -> str:
    """Its address on the page."""
    made = httpx.post(f"{server.url}/desk/threads/{thread}/shares", headers=OWNER, json={}, timeout=30).json()
    return f"{server.url}{made['url']}"


def test_a_stranger_reads_what_was_shared_until_it_is_revoked(come: Callable[..., Page], guarded: Server) -> None:
    owner = come("open sesame", permissions=["clipboard-read", "clipboard-write"])
    owner.goto("./")
    say(owner, "Where is order 4711?")
    done(owner)
    owner.get_by_role("button", name="Share the conversation").click()
    dialog = owner.get_by_role("dialog", name="Share the conversation")
    expect(dialog).to_contain_text(ONCE)
    expect(dialog).to_contain_text("There is no link to this conversation.")
    dialog.get_by_role("button", name="Make a link and copy it").click()
    made = dialog.get_by_role("textbox", name="The link")
    expect(made).to_have_value(re.compile(r"/desk/s/[\w-]{43}$"))
    expect(dialog.get_by_role("status")).to_have_text("The link was copied. It is shown only now: keep it.")
    link = made.input_value()
    assert owner.evaluate("navigator.clipboard.readText()") == link
    expect(dialog.get_by_role("listitem")).to_have_count(1)

    stranger = come()
    asked: list[str] = []
    stranger.on("request", lambda request: asked.append(f"{request.method} {request.url.partition('/desk/')[2]}"))
    stranger.on("websocket", lambda socket: asked.append(socket.url))
    stranger.goto(link)
    token = link.rpartition("/")[2]
    expect(stranger.get_by_role("heading", level=1)).to_have_text("Where is order 4711?")
    expect(stranger).to_have_title("Where is order 4711?")
    expect(stranger.get_by_text(re.compile("Shared on .* read only"))).to_be_visible()
    tool = stranger.locator("[data-tool=lookup_order]")
    expect(tool).to_have_attribute("data-status", "finished")
    expect(stranger.locator("article.ai").last).to_contain_text("Set THREADMILL_MODEL=provider:name")
    tool.locator("summary").click()
    expect(tool).to_contain_text(re.compile(r'"order_id": "4711".*"status"', re.DOTALL))
    expect(
        stranger.locator("#composer, aside, [role=tablist], .turn-actions .icon-edit, .turn-actions .icon-retry")
    ).to_have_count(0)
    assert {one for one in asked if not re.match(r"GET (assets/|icon|sw\.js)", one)} == {
        f"GET s/{token}",
        f"GET shared/{token}",
    }

    owner.keyboard.press("Escape")
    say(owner, "What is 15% of 80?")
    done(owner)
    stranger.reload()
    expect(stranger.locator("article.human")).to_have_count(1)
    expect(stranger.get_by_text("Set THREADMILL_MODEL")).to_be_visible()
    expect(stranger.get_by_text("15% of 80")).to_have_count(0)

    owner.get_by_role("button", name="Share the conversation").click()
    expect(dialog.get_by_role("textbox", name="The link")).to_have_count(0)  # nobody has it any more
    dialog.get_by_role("listitem").get_by_role("button", name="Revoke").click()
    expect(dialog).to_contain_text("There is no link to this conversation.")
    stranger.reload()
    expect(stranger.get_by_text(GONE)).to_be_visible()
    expect(stranger.locator("article")).to_have_count(0)


def test_pictures_code_and_formulas_are_shown_and_nothing_is_asked_of_other_sites(
    come: Callable[..., Page], guarded: Server
) -> None:
    stranger = come()
    others: list[str] = []
    stranger.on("request", lambda one: None if one.url.startswith(guarded.url) else others.append(one.url))
    stranger.goto(link_of(guarded, thread_of(guarded, "pictures", "odd")))
    expect(stranger.locator("article.ai img")).to_have_count(3)
    for image in stranger.locator("article.ai img").all():
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("(image) => image.naturalWidth") > 0
    stranger.goto(link_of(guarded, thread_of(guarded, "hard", "odd")))
    expect(stranger.locator("article.ai math, article.ai .katex").first).to_be_visible()
    expect(stranger.locator("article.ai .hljs-keyword").first).to_be_visible()
    assert stranger.evaluate("window.hurt") is None
    assert [one for one in others if one.startswith("http")] == []


def test_what_is_seen_of_an_earlier_moment_is_what_is_shared(come: Callable[..., Page], guarded: Server) -> None:
    thread = thread_of(guarded, "Where is order 4711?")
    at = httpx.get(f"{guarded.url}/desk/threads/{thread}/state", headers=OWNER, timeout=30).json()
    with httpx.Client(base_url=f"{guarded.url}/desk", headers=OWNER, timeout=30) as http:
        asked = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "What is 15% of 80?"}]}}
        http.post(f"/threads/{thread}/runs/wait", json=asked).raise_for_status()
    owner = come("open sesame")
    owner.goto(f"./t/{thread}?at={at['checkpoint']['checkpoint_id']}")
    expect(owner.locator("article.human")).to_have_count(1)
    owner.keyboard.press("Control+k")
    owner.get_by_role("dialog").get_by_role("combobox").fill("share")
    owner.keyboard.press("Enter")
    dialog = owner.get_by_role("dialog", name="Share the conversation")
    dialog.get_by_role("combobox", name="It ends").select_option("in a week")
    dialog.get_by_role("checkbox", name="Leave out what tools answered").check()
    dialog.get_by_role("button", name="Make a link and copy it").click()
    link = dialog.get_by_role("textbox", name="The link").input_value()
    expect(dialog.get_by_role("listitem")).to_contain_text("without what tools answered")
    stranger = come()
    stranger.goto(link)
    expect(stranger.locator("article.human")).to_have_count(1)
    stranger.locator("[data-tool=lookup_order] summary").click()
    expect(stranger.locator("[data-tool=lookup_order]")).to_contain_text("[redacted]")


@pytest.mark.parametrize(
    ("language", "scheme", "width"), [("en-US", "light", 1280), ("zh-CN", "dark", 390), ("zh-CN", "light", 390)]
)
def test_everybody_can_use_it(
    come: Callable[..., Page], guarded: Server, axe: str, language: str, scheme: str, width: int
) -> None:
    thread = thread_of(guarded, "Where is order 4711?")
    looks: Any = {"locale": language, "color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    stranger = come(**looks, reduced_motion="reduce")
    for link, shown in ((link_of(guarded, thread), "article.ai"), (f"{guarded.url}/desk/s/none", "[role=alert]")):
        stranger.goto(link)
        expect(stranger.locator(shown).first).to_be_visible()
        note = "仅供阅读" if language == "zh-CN" else "read only"
        expect(stranger.get_by_text(note)).to_have_count(int(shown == "article.ai"))
        expect(stranger.locator("html")).to_have_attribute("lang", "zh-CN" if language == "zh-CN" else "en")
        assert broken(stranger, axe) == [], shown
    owner = come("open sesame", **looks, reduced_motion="reduce")
    owner.goto(f"./t/{thread}")
    owner.locator("header .icon-link").click()
    expect(owner.locator("dialog li")).to_have_count(1)
    owner.locator("dialog .button.main").click()
    expect(owner.locator("dialog li")).to_have_count(2)
    assert broken(owner, axe) == [], "the dialog"


def test_without_https_it_is_copied_all_the_same(come: Callable[..., Page], guarded: Server) -> None:
    owner = come("open sesame")
    owner.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })")
    owner.goto(f"./t/{thread_of(guarded, 'hello')}")
    owner.get_by_role("button", name="Share the conversation").click()
    owner.get_by_role("button", name="Make a link and copy it").click()
    expect(owner.get_by_role("status").filter(has_text="The link was copied.")).to_be_visible()
    link = owner.get_by_role("textbox", name="The link").input_value()
    owner.keyboard.press("Escape")
    box(owner).press("Control+v")
    expect(box(owner)).to_have_value(link)


def test_a_server_that_cannot_be_reached_is_asked_again(come: Callable[..., Page], guarded: Server) -> None:
    stranger = come()
    link = link_of(guarded, thread_of(guarded, "hello"))
    stranger.route("**/shared/*", lambda route: route.abort())
    stranger.goto(link)
    expect(stranger.get_by_role("alert")).to_contain_text("The conversation could not be loaded.")
    stranger.unroute("**/shared/*")
    stranger.get_by_role("button", name="Try again").click()
    expect(stranger.locator("article.human")).to_have_text(re.compile("hello"))


def test_without_sharing_there_is_no_button(page: Page) -> None:
    with page.expect_response("**/info"):
        begin(page, "hello")
    expect(last(page)).to_be_visible()
    expect(page.get_by_role("button", name="Share the conversation")).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option", name="Export as Markdown")).to_have_count(1)
    expect(page.get_by_role("option", name="Share the conversation")).to_have_count(0)


def test_a_long_conversation_is_scrolled(come: Callable[..., Page], guarded: Server) -> None:
    messages = [{"role": ("user", "assistant")[n % 2], "content": f"message {n}"} for n in range(2000)]
    told = {"format": "threadmill-transcript", "title": "Long", "messages": messages}
    made = httpx.post(f"{guarded.url}/desk/threads/import", headers=OWNER, json=told, timeout=60).json()
    stranger = come()
    stranger.goto(link_of(guarded, made["threads"][0]["thread_id"]))
    expect(stranger.get_by_text("message 0", exact=True)).to_be_visible()
    assert stranger.locator("article").count() < 100
    end = """() => {
      const log = document.querySelector('.log')
      log.scrollTop = log.scrollHeight
      return log.innerText.includes('message 1999')
    }"""
    stranger.wait_for_function(end)
    assert stranger.locator("article").count() < 100
