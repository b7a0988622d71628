"""What a person does on the chat page, and what the server has of it."""

import re
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect
from serving import Remote

PATIENCE = 15_000  # ms; the machine may be busy
ANSWER = re.compile(r"Set THREADMILL_MODEL|设置 THREADMILL_MODEL|THREADMILL_MODEL")


def box(page: Page) -> Locator:
    return page.locator("#composer")


def log(page: Page) -> Locator:
    return page.get_by_role("log")


def say(page: Page, text: str) -> None:
    box(page).fill(text)
    page.keyboard.press("Enter")


def begin(page: Page, text: str) -> str:
    """A new conversation; the id of its thread."""
    page.goto("/")
    say(page, text)
    expect(page).to_have_url(re.compile(r"/t/[0-9a-f-]{36}$"))
    return page.url.rpartition("/")[2]


def until(page: Page, asks: str, arg: Any) -> None:
    """The page's answer, which may come later, is yes: `wait_for_function` takes every promise for one."""
    page.evaluate(
        f"""async (arg) => {{
          const asks = {asks}
          for (const end = Date.now() + {PATIENCE}; !(await asks(arg)); ) {{
            if (Date.now() > end) throw new Error(`${{asks}} is not so`)
            await new Promise((done) => setTimeout(done, 50))
          }}
        }}""",
        arg,
    )


def kept(page: Page, there: str = "", gone: str = "-") -> None:
    """The browser has written something down under a key that begins so, and nothing any more under the other."""
    until(
        page,
        """([there, gone]) => new Promise((resolve) => {
          indexedDB.open('threadmill/').onsuccess = ({ target: { result: database } }) => {
            const asked = database.transaction('kept').objectStore('kept').getAllKeys()
            asked.onsuccess = () => {
              const some = (prefix) => asked.result.some((key) => key.startsWith(prefix))
              resolve(some(there) && !some(gone))
              database.close()
            }
          }
        })""",
        [there, gone],
    )


def lose(page: Page, key: str) -> None:
    """The browser has it no longer."""
    page.evaluate(
        """(key) => new Promise((resolve) => {
          indexedDB.open('threadmill/').onsuccess = ({ target: { result: database } }) => {
            const change = database.transaction('kept', 'readwrite')
            change.objectStore('kept').delete(key)
            change.oncomplete = () => resolve(database.close())
          }
        })""",
        key,
    )


def done(page: Page, within: float = 30_000) -> None:
    expect(log(page)).to_have_attribute("data-busy", "false", timeout=within)


def last(page: Page) -> Locator:
    return page.locator("article.ai").last


def item(page: Page, thread: str) -> Locator:
    return page.locator(f"[data-thread='{thread}']")


def snapshot(server: Remote, thread: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{server.url}/threads/{thread}/snapshot", timeout=30).raise_for_status().json()
    return answer


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(one.get("text", "") for one in content)


def answer_of(server: Remote, thread: str) -> str:
    """The text of the last AI message that the state holds."""
    said = [one for one in snapshot(server, thread)["messages"] if one["type"] == "ai"]
    return text_of(said[-1])


def squeezed(text: str) -> str:
    """Markdown shows white space as it likes."""
    return " ".join(text.split())


def start_run(server: Remote, thread: str, text: str, assistant: str = "agent", **more: Any) -> dict[str, Any]:
    """By somebody else than the page."""
    body = {
        "assistant_id": assistant,
        "input": {"messages": [{"role": "user", "content": text}]},
        "if_not_exists": "create",
        "stream_mode": ["values", "messages-tuple", "custom"],
        **more,
    }
    made: dict[str, Any] = (
        httpx.post(f"{server.url}/threads/{thread}/runs", json=body, timeout=30).raise_for_status().json()
    )
    return made


def grows(page: Page, before: str) -> str:
    """What the answer says now: what it said before, and perhaps more."""
    now = squeezed(last(page).locator(".markdown").inner_text())
    assert now.startswith(before), f"{now!r} lost something of {before!r}"
    return now


def spoke(page: Page) -> None:
    """Some words of the story are there."""
    expect(last(page).locator(".markdown")).to_contain_text(re.compile(r"(\w+\W+){8}"))


def titled(server: Remote, *titles: str) -> list[str]:
    """Threads with a title and nothing else; the last is the newest."""
    made = [httpx.post(f"{server.url}/threads", json={"title": one}, timeout=30).raise_for_status() for one in titles]
    return [one.json()["thread_id"] for one in made]
