"""Pictures in messages: attached, pasted, dropped, taken out again, sent and shown; of other sites none."""

import base64
import re
import struct
import uuid
import zlib

import httpx
from playwright.sync_api import Page, expect
from serving import Server

from tests.web.talking import box, done, last, log, snapshot, start_run


def png(width: int = 4, height: int = 4) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x30\x60\xf0" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def file(name: str, data: bytes, kind: str = "image/png") -> dict[str, object]:
    return {"name": name, "mimeType": kind, "buffer": data}


BRING = """(place, [event, data]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0))
  const carried = new DataTransfer()
  carried.items.add(new File([bytes], `${event}.png`, { type: 'image/png' }))
  const how = { bubbles: true, cancelable: true }
  place.dispatchEvent(
    event === 'paste'
      ? new ClipboardEvent(event, { ...how, clipboardData: carried })
      : new DragEvent(event, { ...how, dataTransfer: carried }),
  )
}"""


def test_pictures_go_with_a_message(page: Page, agent: Server) -> None:
    thread = httpx.post(f"{agent.url}/threads", json={}, timeout=30).json()["thread_id"]
    page.goto(f"/t/{thread}")
    shown = page.get_by_role("list", name="Pictures to send").get_by_role("img")
    page.locator(".pictures-file").set_input_files([file("small.png", png()), file("wide.png", png(3000, 30))])  # type: ignore[arg-type]
    expect(shown).to_have_count(2)
    for event in ("paste", "drop"):
        box(page).evaluate(BRING, [event, base64.b64encode(png()).decode()])
        expect(page.get_by_role("img", name=f"{event}.png")).to_be_visible()
    page.get_by_role("button", name="Remove paste.png").click()
    expect(shown).to_have_count(3)
    for unfit in (file("notes.txt", b"words", "text/plain"), file("broken.png", b"no picture")):
        page.locator(".pictures-file").set_input_files(unfit)  # type: ignore[arg-type]
        expect(page.locator(".toast", has_text=f"“{unfit['name']}” cannot be attached: pictures are")).to_be_visible()
    page.reload()
    expect(shown).to_have_count(3)
    box(page).fill("What is on these?")
    page.keyboard.press("Enter")
    expect(shown).to_have_count(0)
    sent = page.locator("article.human").last
    expect(sent.get_by_role("img")).to_have_count(3)
    expect(last(page)).to_contain_text("THREADMILL_MODEL")
    done(page)
    content = next(one["content"] for one in snapshot(agent, thread)["messages"][::-1] if one["type"] == "human")
    assert content[0] == {"type": "text", "text": "What is on these?"}
    assert [one["mime_type"] for one in content[1:]] == ["image/png", "image/jpeg", "image/png"]
    assert base64.b64decode(content[1]["base64"]) == png()
    page.reload()
    picture = page.locator("article.human").last.get_by_role("button", name="Picture 2")
    width = picture.locator("img").evaluate("async (one) => (await one.decode(), one.naturalWidth)")
    assert width == 2000, "no larger than a model sees it"
    picture.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Picture 2").get_by_role("img")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(picture).to_be_focused()


def test_a_picture_alone_is_a_message(page: Page, agent: Server) -> None:
    page.goto("/")
    page.locator(".pictures-file").set_input_files(file("alone.png", png()))  # type: ignore[arg-type]
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page).to_have_url(re.compile(r"/t/[0-9a-f-]{36}$"))
    expect(last(page)).to_contain_text("THREADMILL_MODEL")
    done(page)
    expect(log(page).get_by_role("img", name="Picture 1")).to_be_visible()


def test_those_of_an_answer_are_shown_and_nothing_is_fetched_from_elsewhere(page: Page, agent: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    thread = str(uuid.uuid4())
    start_run(agent, thread, "pictures please", "odd")
    page.goto(f"/t/{thread}")
    done(page)
    for name in ("a dot", "an icon", "Picture 1"):
        image = last(page).get_by_role("img", name=name)
        assert image.evaluate("async (one) => (await one.decode(), one.naturalWidth)") > 0, name
    link = last(page).get_by_role("link", name="Picture 2")
    expect(link).to_have_attribute("href", "https://example.com/cat.png")
    last(page).get_by_role("button", name="a dot").click()
    expect(page.get_by_role("dialog", name="a dot")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert [one for one in asked if not one.startswith((agent.url, "data:", "blob:"))] == []
