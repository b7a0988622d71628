"""The chat page in a real browser, against a real server with the default agent."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright
from serving import Server

from tests.web.talking import PATIENCE

HERE = Path(__file__).parent
WEB = HERE.parents[1] / "web"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
# The shell is the same browser without its windows; the tests of the page take a quarter less time with it.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, PROGRAMS)), None)
NONE = f"there is no browser: install one of {', '.join(PROGRAMS[:2])} to run the tests of the chat page"


@pytest.fixture(scope="session")
def playwright_() -> Iterator[Playwright]:
    if PROGRAM is None:
        if os.environ.get("CI"):
            pytest.fail(NONE)
        pytest.skip(NONE)
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def tools() -> Path:
    """`web/node_modules` with what only the tests need: the compiler and axe."""
    script = WEB / "build.py"
    spec = importlib.util.spec_from_file_location("page_build", script)
    assert spec is not None and spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    with script.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist: several workers come here at once
        if not (build.MODULES / "axe-core").exists() or not (build.MODULES / "typescript").exists():
            found = build.node()
            assert found is not None, "there is no Node"
            command = [*found[1], *(one for one in build.NPM_CI if one != "--omit=dev")]
            subprocess.run(command, cwd=WEB, check=True, capture_output=True, timeout=110)
            build.mark()
    modules: Path = build.MODULES
    return modules


@pytest.fixture(scope="session")
def axe(tools: Path) -> str:
    return (tools / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="session")
def browser(playwright_: Playwright) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    found = playwright_.chromium.launch(executable_path=PROGRAM, args=FLAGS)
    yield found
    found.close()


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The default agent and an odd one, slow enough to be looked at while it speaks."""
    folder = tmp_path_factory.mktemp("web")
    server = Server(folder / "data", HERE / "project" / "langgraph.json", {"THREADMILL_DEMO_DELAY_MS": "15"}).start()
    yield server
    server.kill()


@pytest.fixture
def person(browser: Browser, agent: Server) -> Iterator[Callable[..., BrowserContext]]:
    """A fresh profile each: `person()`, or with the options of a context, such as `locale`."""
    made: list[BrowserContext] = []

    def come(**options: object) -> BrowserContext:
        context = browser.new_context(base_url=agent.url, **{"locale": "en-US", **options})  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        made.append(context)
        return context

    yield come
    for one in made:
        one.close()


@pytest.fixture
def page(person: Callable[..., BrowserContext]) -> Iterator[Page]:
    """One page, which says nothing on its console that it should not."""
    found = person().new_page()
    said: list[str] = []
    found.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    found.on("pageerror", lambda error: said.append(str(error)))
    yield found
    assert [one for one in said if "Failed to load resource" not in one and "WebSocket" not in one] == []
