"""What one begins to write at a desk is taken up on a phone, and nothing that is typed anywhere is lost."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Dialog, Locator, Page, Route, expect
from serving import Server

from tests.web.talking import box, done, item, kept, last, say, titled, until
from tests.web.test_pictures import file, png

Person = Callable[..., BrowserContext]
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True}


@pytest.fixture
def phone(person: Person) -> Iterator[Page]:
    return person(**PHONE).new_page()


def pictures(page: Page) -> Locator:
    return page.get_by_role("list", name="Pictures to send").get_by_role("img")


def attach(page: Page, *files: Any) -> None:
    page.locator(".pictures-file").set_input_files([*files])


def focus(page: Page) -> None:
    """Somebody looks at this window again."""
    page.evaluate("dispatchEvent(new Event('focus'))")


def keeps(page: Page, thread: str, *what: str) -> None:
    """The server has this in the draft, or (nothing) no draft."""
    until(
        page,
        """async ([thread, what]) => {
          const { content } = await (await fetch(new URL(`../threads/${thread}/draft`, location))).json()
          return what.length ? what.every((one) => JSON.stringify(content).includes(one)) : content === null
        }""",
        [thread, [*what]],
    )


def test_a_draft_is_taken_up_on_the_phone_and_sent_there(page: Page, phone: Page, agent: Server) -> None:
    thread, other = titled(agent, "desk and phone", "something else")
    phone.goto(f"/t/{thread}")
    page.goto(f"/t/{thread}")
    box(page).fill("What is on this?")
    attach(page, file("cat.png", png()))
    expect(pictures(page)).to_have_count(1)
    keeps(page, thread, "What is on this?", "image/png")
    focus(phone)
    expect(box(phone)).to_have_value("What is on this?")
    expect(pictures(phone)).to_have_count(1)
    box(phone).fill("What is on this? Be short.")
    keeps(phone, thread, "Be short.", "image/png")
    focus(page)
    expect(box(page)).to_have_value("What is on this? Be short.")
    phone.get_by_role("button", name="Send").click()
    done(phone)
    keeps(phone, thread)
    expect(last(page)).to_be_visible()
    focus(page)
    expect(box(page)).to_have_value("")
    expect(pictures(page)).to_have_count(0)
    for one in (page, phone):  # nor after a reload
        one.reload()
        done(one)
        expect(box(one)).to_have_value("")
    box(page).fill("half a sentence")
    item(page, other).get_by_role("link").click()  # who leaves does not wait for a pause
    expect(page.get_by_role("heading", name="something else", level=1)).to_be_visible()
    phone.goto(f"/t/{other}")
    keeps(phone, thread, "half a sentence")
    phone.goto(f"/t/{thread}")
    expect(box(phone)).to_have_value("half a sentence")
    box(phone).fill("")
    keeps(phone, thread)
    item(page, thread).get_by_role("link").click()
    expect(box(page)).to_have_value("")


def test_what_is_written_without_a_connection_follows_later(
    page: Page, phone: Page, person: Person, agent: Server
) -> None:
    (thread,) = titled(agent, "on a train")
    page.goto(f"/t/{thread}")
    phone.goto(f"/t/{thread}")
    box(page).fill("at the station")
    keeps(page, thread, "at the station")
    page.context.set_offline(True)
    box(page).fill("in the tunnel")
    kept(page, f"draft:{thread}")
    page.context.set_offline(False)
    keeps(page, thread, "in the tunnel")
    focus(phone)
    expect(box(phone)).to_have_value("in the tunnel")
    page.context.set_offline(True)
    box(page).fill("in the next tunnel")
    kept(page, f"base:{thread}")
    page.context.set_offline(False)
    page.goto("/")  # it need not be opened again
    keeps(page, thread, "in the next tunnel")
    other = person().new_page()  # a browser that has nothing
    other.goto(f"/t/{thread}")
    expect(box(other)).to_have_value("in the next tunnel")


def test_what_this_browser_wrote_is_its_own_also_if_the_answer_was_not_heard(page: Page, agent: Server) -> None:
    (thread,) = titled(agent, "a tunnel")
    unheard: list[str] = []
    heard = "What is 15% of 80?"

    def meet(route: Route) -> None:
        if route.request.method != "PUT" or heard in (said := route.request.post_data or ""):
            route.continue_()
            return
        route.fetch()
        route.abort()
        unheard.append(said)

    page.route(f"**/threads/{thread}/draft*", meet)
    with page.expect_response("**/draft"):
        page.goto(f"/t/{thread}")
    for before, after in (("What is 15%", heard), ("What is 15% of 60?", "")):
        box(page).fill(before)
        with page.expect_event("requestfailed"):
            keeps(page, thread, before)
        if after:
            box(page).fill(after)
            keeps(page, thread, after)
        else:
            box(page).press("Enter")
            expect(last(page)).to_contain_text("9")
            keeps(page, thread)
        expect(box(page)).to_have_value(after)
        expect(page.get_by_text("On another device you wrote:")).to_have_count(0)
    assert len(unheard) == 2


def test_what_is_typed_on_two_devices_is_not_lost(page: Page, phone: Page, agent: Server) -> None:
    (thread,) = titled(agent, "both")
    for one in (page, phone):
        with one.expect_response("**/draft"):  # there is none yet
            one.goto(f"/t/{thread}")
    box(page).fill("from the desk")
    keeps(page, thread, "from the desk")
    box(phone).fill("from the phone")
    told = phone.get_by_text("On another device you wrote: “from the desk”")
    expect(told).to_be_visible()
    expect(box(phone)).to_have_value("from the phone")
    keeps(phone, thread, "from the desk")
    phone.get_by_role("button", name="Add it here").click()
    expect(told).to_have_count(0)
    expect(box(phone)).to_have_value("from the phone\n\nfrom the desk")
    keeps(phone, thread, "from the phone", "from the desk")
    box(page).fill("from the desk again")
    expect(page.get_by_text("On another device you wrote:")).to_be_visible()
    page.get_by_role("button", name="Keep only what is here").click()
    keeps(page, thread, "from the desk again")
    focus(phone)
    expect(box(phone)).to_have_value("from the desk again")
    box(phone).fill("and on")
    keeps(phone, thread, "and on")
    box(page).fill("to be sent")
    expect(page.get_by_text("On another device you wrote: “and on”")).to_be_visible()
    say(page, "to be sent")  # which leaves the other one
    expect(box(page)).to_have_value("and on")
    done(page)
    keeps(page, thread, "and on")


def noise(width: int, height: int) -> bytes:
    """As PNG, which cannot make it smaller."""
    picture = png(width, height)
    at = picture.index(b"IDAT") - 4
    rows = zlib.compress(b"".join(b"\0" + os.urandom(width * 3) for _ in range(height)), 0)
    data = struct.pack(">I", len(rows)) + b"IDAT" + rows + struct.pack(">I", zlib.crc32(b"IDAT" + rows))
    return picture[:at] + data + picture[-12:]


def test_pictures_that_are_too_large_stay_here(page: Page, phone: Page, agent: Server) -> None:
    (thread,) = titled(agent, "large")
    page.goto(f"/t/{thread}")
    note = page.get_by_text("they stay in this browser")
    attach(page, *(file(f"{n}.png", noise(700, 650)) for n in range(6)))
    expect(pictures(page)).to_have_count(6)
    expect(note).to_be_visible()
    box(page).fill("Look at these")
    keeps(page, thread, '"Look at these"')
    phone.goto(f"/t/{thread}")
    expect(box(phone)).to_have_value("Look at these")
    expect(pictures(phone)).to_have_count(0)
    box(phone).fill("Look at these six")
    keeps(phone, thread, "six")
    focus(page)
    expect(box(page)).to_have_value("Look at these six")
    expect(pictures(page)).to_have_count(6)
    page.get_by_role("button", name="Remove 0.png").click()
    expect(note).to_have_count(0)
    page.get_by_role("button", name="New chat").click()  # who leaves does not wait for the pause
    keeps(page, thread, "six", "image/png")
    focus(phone)
    expect(pictures(phone)).to_have_count(5)


def leave(page: Page, *, warned: bool) -> None:
    """And come back; a browser warns nobody who has not touched the page."""
    box(page).click()
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    with page.expect_navigation():
        page.evaluate("setTimeout(() => location.reload())")
    page.remove_listener("dialog", answer)
    assert asked == ["beforeunload"] * warned


def test_who_leaves_pictures_half_way_is_warned(page: Page, agent: Server) -> None:
    (thread,) = titled(agent, "leaving")
    page.goto(f"/t/{thread}")
    box(page).fill("a text alone is kept")
    leave(page, warned=False)
    page.evaluate("() => { window.createImageBitmap = () => new Promise(() => {}) }")
    attach(page, file("slow.png", png()))
    leave(page, warned=True)
    attach(page, file("quick.png", png()))
    expect(pictures(page)).to_have_count(1)
    kept(page, "picture:")
    leave(page, warned=False)
    expect(pictures(page)).to_have_count(1)
    hold = f"**/threads/{thread}/runs"
    page.route(hold, lambda route: None)
    box(page).press("Enter")
    expect(pictures(page)).to_have_count(0)
    leave(page, warned=True)
    page.unroute(hold)
    page.reload()
    done(page)
    expect(last(page)).to_be_visible()
    leave(page, warned=False)
