"""Questions to a person, and what to do after a failure."""

import re
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, Route, WebSocketRoute, expect
from serving import Server
from versions.test_changed_graphs import AFTER, Project

from tests.web.talking import begin, box, done, item, kept, last, log, lose, say, snapshot, start_run, until


def question(page: Page) -> Locator:
    return page.get_by_role("group", name="The assistant asks")


def odd(page: Page, agent: Server, text: str, **more: Any) -> str:
    """A conversation with the odd graph, opened on the page."""
    thread: str = httpx.post(f"{agent.url}/threads", json={}, timeout=30).json()["thread_id"]
    start_run(agent, thread, text, "odd", **more)
    page.goto(f"/t/{thread}")
    return thread


def test_a_refund_is_approved_after_a_reload(page: Page, agent: Server) -> None:
    thread = begin(page, "Refund 64 EUR of order 4655")
    expect(question(page)).to_contain_text("Refund 64.00 EUR for order 4655?")
    expect(item(page, thread)).to_contain_text("Needs you")
    expect(page.get_by_text("A question waits for your answer above.")).to_be_visible()
    asked = question(page).get_attribute("data-interrupt")
    page.reload()
    question(page).get_by_role("button", name="Approve").evaluate("(one) => { one.click(); one.click() }")
    expect(last(page)).to_contain_text("Refunded 64.00 EUR")
    assert len(httpx.get(f"{agent.url}/threads/{thread}/runs", timeout=30).json()) == 2
    expect(question(page)).to_have_count(0)
    expect(log(page).locator("[data-tool=issue_refund]")).to_have_attribute("data-status", "finished")
    again = {"assistant_id": "agent", "command": {"resume": {asked: {}}}, "strict_resume": True}  # on another device
    httpx.post(f"{agent.url}/threads/{thread}/runs", json=again, timeout=30).raise_for_status()
    expect(page.get_by_text("What was answered first stands.")).to_be_visible()
    expect(page.locator(".failure")).to_have_count(0)


def test_a_refund_is_changed_and_another_is_rejected(page: Page) -> None:
    begin(page, "Refund order 4711")
    question(page).get_by_role("button", name="Change").click()
    amount = question(page).get_by_label("amount")
    expect(amount).to_have_value("59.9")
    expect(question(page).get_by_label("reason")).to_have_count(0)
    page.set_viewport_size({"width": 640, "height": 400})  # 1280 x 800 at 200 %
    assert log(page).evaluate("(one) => one.clientHeight") > 100
    box(page).focus()
    expect(page.locator("#composer-hint")).to_be_in_viewport(ratio=1)
    amount.fill("10")
    question(page).get_by_role("button", name="Send the answer").click()
    expect(last(page)).to_contain_text("10.00 EUR")
    begin(page, "Refund order 4712")
    question(page).get_by_role("button", name="Reject").click()
    question(page).get_by_label("reason").fill("Too late.")
    question(page).get_by_role("button", name="Send the answer").click()
    expect(last(page)).to_contain_text("Too late.")


def test_the_box_says_what_typing_does_to_a_question(page: Page, agent: Server) -> None:
    thread = begin(page, "Refund order 4712")
    expect(question(page)).to_be_visible()
    expect(box(page)).to_have_accessible_description(re.compile("goes on without it, and the question is dropped"))
    say(page, "What is 15% of 80?")
    expect(last(page)).to_contain_text("12")
    expect(question(page)).to_have_count(0)
    expect(box(page)).to_have_accessible_description(re.compile("Enter sends"))
    expect(log(page).locator("[data-tool=issue_refund]")).not_to_have_attribute("data-status", "running")
    assert snapshot(agent, thread)["thread"]["status"] == "idle"


def test_several_questions_are_answered_one_after_the_other(page: Page, agent: Server) -> None:
    thread = odd(page, agent, "colours")
    for number, (what, colour) in enumerate((("the gate", "red"), ("the wheel", "blue")), 1):
        expect(question(page)).to_contain_text(f"Which colour for {what}?")
        expect(question(page)).to_contain_text(f"{number} of 2")
        question(page).get_by_label("Your answer").fill(colour)
        question(page).get_by_role("button", name="Send the answer").click()
    expect(log(page)).to_contain_text("the gate: red")
    expect(log(page)).to_contain_text("the wheel: blue")
    assert len(httpx.get(f"{agent.url}/threads/{thread}/runs", timeout=30).json()) == 2


def test_answers_that_are_not_sent_yet_are_kept(page: Page, agent: Server) -> None:
    other = begin(page, "What is 15% of 80?")
    expect(last(page)).to_contain_text("12")  # else the page is left before it was sent
    thread = odd(page, agent, "colours")
    answer, send = page.get_by_label("Your answer"), page.get_by_role("button", name="Send the answer")
    answer.fill("red")
    send.click()
    expect(question(page)).to_contain_text("2 of 2")
    answer.fill("blue")
    item(page, other).get_by_role("link").click()
    expect(question(page)).to_have_count(0)
    item(page, thread).get_by_role("link").click()
    expect(answer).to_have_value("blue")
    page.reload()
    expect(answer).to_have_value("blue")
    page.route("**/runs", lambda route: route.abort())
    send.click()
    expect(page.get_by_text("The server cannot be reached just now.")).to_be_visible()
    expect(answer).to_have_value("blue")
    page.unroute("**/runs")
    send.click()
    expect(log(page)).to_contain_text("the gate: red")
    expect(log(page)).to_contain_text("the wheel: blue")


def test_a_step_that_waits_without_a_question_can_go_on(page: Page, agent: Server) -> None:
    waits = page.get_by_role("group", name="The next step waits")
    thread = odd(page, agent, "turn", interrupt_before=["second"])
    expect(waits).to_contain_text("second")
    expect(item(page, thread)).to_contain_text("Needs you")
    expect(box(page)).to_have_accessible_description(re.compile("goes on without it, and the step is dropped"))
    expect(log(page).get_by_role("button", name="Continue in a new conversation")).to_be_visible()
    expect(log(page).get_by_role("button", name="Answer again")).to_have_count(0)
    waits.get_by_role("button", name="Go on").click()
    expect(last(page)).to_contain_text("It turns again.")
    expect(waits).to_have_count(0)
    page.locator("article.human").get_by_role("button", name="Continue in a new conversation").click()
    expect(waits).to_contain_text("first")
    say(page, "and again")
    expect(last(page)).to_contain_text("It turns again.")
    expect(waits).to_have_count(0)
    cut = odd(page, agent, "steps")
    expect(page.get_by_role("button", name="Pause after this step")).to_be_visible()
    (run,) = httpx.get(f"{agent.url}/threads/{cut}/runs", timeout=30).json()
    httpx.post(f"{agent.url}/threads/{cut}/runs/{run['run_id']}/cancel?wait=1", timeout=30).raise_for_status()
    expect(waits).to_contain_text("step")


def test_a_failure_has_ways_on(page: Page, agent: Server) -> None:
    thread = odd(page, agent, "please fail")
    failure = page.get_by_role("alert").filter(has_text="The answer failed.")
    expect(failure).to_contain_text("the mill stands still")
    expect(item(page, thread)).to_contain_text("Failed")
    page.reload()
    expect(failure.get_by_role("button")).to_have_count(2)
    failure.get_by_role("button", name="Try again from the last good step").click()
    expect(last(page)).to_contain_text("It turns again.")
    expect(failure).to_have_count(0)
    said = [one["content"] for one in snapshot(agent, thread)["messages"]]
    assert len(said) == 3 and said[1][0]["text"] == "One step is done."  # the step before was not done again


def test_who_goes_on_before_the_server_has_answered_does_so_with_the_right_assistant(page: Page, agent: Server) -> None:
    page.add_init_script("delete window.SharedWorker")  # whose sockets Playwright does not see
    thread = odd(page, agent, "please fail")
    retry = page.get_by_role("alert").get_by_role("button", name="Try again from the last good step")
    expect(retry).to_be_visible()
    kept(page, f"thread:{thread}")
    kept(page, "list")
    lose(page, "list")
    held: list[Route] = []
    sockets: list[WebSocketRoute] = []
    answers = False
    page.route("**/snapshot?*", lambda route: route.continue_() if answers else held.append(route))
    page.route_web_socket(re.compile("/ws$"), lambda socket: sockets.append(socket))  # nobody answers, so no list comes
    page.reload()
    retry.click()  # of what the browser had kept
    answers = True
    for one in held:
        one.continue_()
    sockets[-1].close()  # the next connection tells of the run
    expect(last(page)).to_contain_text("It turns again.")


def test_a_tool_that_failed_is_skipped(page: Page, agent: Server) -> None:
    thread = odd(page, agent, "turn both wheels")
    failure = page.get_by_role("alert").filter(has_text="the wheel is stuck")
    expect(failure.get_by_role("button")).to_have_count(3)
    failure.get_by_role("button", name="Go on without the tool (turn)").click()
    expect(last(page)).to_contain_text("It turns again.")
    expect(failure).to_have_count(0)
    answers = [one for one in snapshot(agent, thread)["messages"] if one["type"] == "tool"]
    assert [one["tool_call_id"].rpartition("-")[2] for one in answers] == ["big", "stuck"]
    assert answers[0]["content"] == "big turns", "what the other tool did is kept"
    expect(log(page).locator("[data-tool=turn]").nth(1)).to_have_attribute("data-status", "error")


def test_a_thread_whose_graph_was_changed_has_ways_on(page: Page, tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.server.start()
    try:
        thread = project.waiting("graph")
        project.deploy(AFTER)
        page.goto(f"{project.server.url}/t/{thread}")
        question(page).get_by_label("Your answer").fill("yes")
        question(page).get_by_role("button", name="Send the answer").click()
        failure = page.get_by_role("alert").filter(has_text="The assistant was changed")
        expect(failure).to_contain_text("'approve'")
        expect(failure.get_by_role("button")).to_have_count(3)
        failure.get_by_role("combobox", name="Step to go on at").select_option("consent")
        failure.get_by_role("button", name="Go on at this step").click()
        expect(failure).to_have_count(0)
        expect(question(page)).to_contain_text("sure?")
    finally:
        project.server.kill()


def test_a_failed_turn_is_discarded_or_written_over(page: Page, agent: Server) -> None:
    thread = odd(page, agent, "please fail")
    failure = page.get_by_role("alert").filter(has_text="The answer failed.")
    failure.get_by_role("button", name="Discard the turn").click()
    expect(failure).to_have_count(0)
    assert snapshot(agent, thread)["messages"] == []
    again = odd(page, agent, "please fail")
    expect(failure).to_be_visible()
    say(page, "go on")
    expect(last(page)).to_contain_text("It turns again.")
    expect(failure).to_have_count(0)
    expect(box(page)).to_be_enabled()
    assert snapshot(agent, again)["thread"]["status"] == "idle"


def test_what_a_model_writes_is_shown_and_cannot_hurt(page: Page, agent: Server) -> None:
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    odd(page, agent, "something hard")
    done(page)
    answer = last(page)
    expect(answer.locator("math")).to_have_count(1)
    expect(answer.locator("table td")).to_have_count(2)
    expect(answer.locator("code .hljs-keyword")).to_have_count(2)
    expect(answer.get_by_role("link", name="cat")).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(answer.locator("img, script")).to_have_count(0)
    assert page.evaluate("window.hurt") is None
    assert [url for url in asked if not url.startswith(agent.url)] == []
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    answer.locator(".code-copy").click()
    expect(answer.locator(".code-copy")).to_have_text("Copied")
    assert 'return "thread"' in page.evaluate("navigator.clipboard.readText()")


def test_what_is_too_wide_scrolls_by_itself(page: Page, agent: Server) -> None:
    long = "x+" * 80
    wide = [
        f"$${long}y$$",
        f"Inline ${long}y$ it is.",
        "W" * 200,
        f"```\n{'z' * 200}\n```",
        f"{'| c ' * 40}|\n{'|---' * 40}|",
    ]
    text = "\n\n".join(wide)
    messages = [{"type": "human", "content": "W" * 200}, {"type": "ai", "content": text}]
    update = {"values": {"messages": messages}, "as_node": "model"}
    body = {"supersteps": [{"updates": [update]}], "metadata": {"graph_id": "agent"}}
    made = httpx.post(f"{agent.url}/threads", json=body, timeout=30).raise_for_status()
    page.set_viewport_size({"width": 390, "height": 780})
    page.goto(f"/t/{made.json()['thread_id']}")
    expect(last(page).locator("math")).to_have_count(2)
    expect(last(page).locator("table th")).to_have_count(40)
    until(page, "() => { const log = document.querySelector('.log'); return log.scrollWidth <= log.clientWidth }", None)
