"""How the page is served: below a prefix, with a login, left out, or not built."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect
from serving import Server
from starlette.testclient import TestClient

from tests.web.talking import done, last, log, say
from threadmill.api import page as served

ROOT = Path(__file__).parents[2]
GUARD = """
from langgraph_sdk import Auth
auth = Auth()

@auth.authenticate
async def who(authorization: str | None) -> str:
    if authorization != "Bearer open sesame":
        raise Auth.exceptions.HTTPException(status_code=401, detail="Who are you?")
    return "ann"
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Below `/desk/chat`, and only for those who know the word."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "guard.py").write_text(GUARD)
    graph = {"path": f"{ROOT}/graph/agent.py:agent", "description": "Knows of orders."}
    config: dict[str, Any] = {"dependencies": [str(ROOT)], "graphs": {"agent": graph}}
    config |= {"auth": {"path": "./guard.py:auth"}, "http": {"mount_prefix": "/desk/chat"}}
    (folder / "langgraph.json").write_text(json.dumps(config))
    server = Server(folder / "data", folder / "langgraph.json").start()
    yield server
    server.kill()


def test_who_has_to_log_in_is_asked_and_stays_logged_in(browser: Browser, guarded: Server) -> None:
    context = browser.new_context(base_url=guarded.url, locale="en-US")
    page: Page = context.new_page()
    page.goto("/desk/chat")  # leads to /desk/chat/
    expect(page.get_by_text("This server wants to know who you are.")).to_be_visible()
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("The server does not know this token.")).to_be_visible()
    page.get_by_label("Access token").fill("open sesame")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    expect(page.get_by_text("Knows of orders.")).to_be_visible()
    expect(page.get_by_text("No conversations yet.")).to_be_visible()
    say(page, "What is 15% of 80?")
    expect(page).to_have_url(re.compile(r"/desk/chat/t/[0-9a-f-]{36}$"))
    expect(last(page)).to_contain_text("12")
    done(page)
    page.reload()
    expect(log(page)).to_contain_text("What is 15% of 80?")
    expect(page.locator(".side-item")).to_have_count(1)
    other = context.new_page()
    other.goto("/desk/chat/")
    expect(other.locator(".side-item")).to_have_count(1)
    page.get_by_role("button", name="Log out").click()
    for tab in (page, other):
        expect(tab.get_by_text("This server wants to know who you are.")).to_be_visible()
        expect(tab.locator(".side-item")).to_have_count(0)
    context.close()


def test_the_page_itself_is_open_and_the_api_is_not(guarded: Server) -> None:
    assert httpx.get(f"{guarded.url}/desk/chat/").status_code == 200
    assert httpx.post(f"{guarded.url}/desk/chat/threads/search", json={}).status_code == 401
    assert httpx.get(guarded.url).status_code == 404


def client() -> TestClient:
    app = FastAPI()
    app.include_router(served.router)
    return TestClient(app)


def test_without_the_page_it_says_why_and_how_to_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "page.log").write_text("npm said <no>")
    monkeypatch.setattr(served, "FOLDER", tmp_path / "page")
    monkeypatch.setattr(served, "LOG", tmp_path / "page.log")
    answer = client().get("/")
    assert answer.status_code == 503
    assert "<pre>threadmill ui build</pre>" in answer.text and "npm said &lt;no&gt;" in answer.text
    assert client().get("/assets/index.js").status_code == 404


def test_a_page_that_is_built_anew_is_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(served.FOLDER, tmp_path / "page")
    monkeypatch.setattr(served, "FOLDER", tmp_path / "page")
    here = client()
    assert 'base href="./"' in here.get("/").text
    assert 'base href="../"' in here.get("/t/x").text
    index = tmp_path / "page" / "index.html"
    index.write_text(index.read_text().replace("<title>", "<title>New "))
    (tmp_path / "page" / "manifest.json").touch()
    assert "<title>New " in here.get("/").text


def test_it_can_be_left_out(tmp_path: Path) -> None:
    config = {
        "dependencies": ["."],
        "graphs": {"echo": f"{ROOT}/tests/kit/graphs.py:echo"},
        "http": {"disable_ui": True},
    }
    (tmp_path / "langgraph.json").write_text(json.dumps(config))
    server = Server(tmp_path / "data", tmp_path / "langgraph.json").start()
    try:
        assert httpx.get(server.url).status_code == 404
        assert httpx.get(f"{server.url}/t/x").status_code == 404
    finally:
        server.kill()


# The build


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The sources of the page, without what npm brings."""
    leave = shutil.ignore_patterns("node_modules")
    shutil.copytree(ROOT / "web", tmp_path / "web", ignore=leave)
    (tmp_path / "server" / "threadmill").mkdir(parents=True)
    return tmp_path


def build(checkout: Path, how: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(checkout / "web" / "build.py"), how]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("how", "code"), [("auto", 0), ("require", 1), ("skip", 0)])
def test_a_build_that_fails_leaves_the_page_and_its_reason(checkout: Path, how: str, code: int) -> None:
    package = checkout / "server" / "threadmill"
    (package / "page").mkdir()
    (package / "page" / "manifest.json").write_text('{"stamp": "old", "files": []}')
    (checkout / "web" / "package-lock.json").write_text("broken")  # npm refuses at once, and asks nobody
    assert build(checkout, how, PATH="/nowhere").returncode == code
    assert (package / "page" / "manifest.json").exists()
    assert (package / "page.log").exists() == (how != "skip")
    assert [one.name for one in package.iterdir() if one.name.startswith(".page-")] == []


def test_a_page_of_these_sources_needs_no_node(checkout: Path) -> None:
    package = checkout / "server" / "threadmill"
    shutil.copytree(served.FOLDER, package / "page")
    assert build(checkout, "require", PATH="/nowhere").returncode == 0
    (checkout / "web" / "src" / "main.tsx").write_text("broken")
    (checkout / "web" / "package-lock.json").write_text("broken")
    assert build(checkout, "require", PATH="/nowhere").returncode == 1
