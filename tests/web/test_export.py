"""A conversation as a file, from the page."""

import json
from pathlib import Path

from playwright.sync_api import Page
from web.test_branches import answered, say


def test_a_conversation_is_saved_in_each_form(page: Page) -> None:
    page.goto("/")
    say(page, "hello: again?")
    answered(page, 2)
    saved = {}
    for form in ("Markdown", "JSON", "bundle"):
        page.get_by_role("button", name="Export the conversation").click()
        with page.expect_download() as coming:
            page.get_by_role("button", name=form).click()
        name = coming.value.suggested_filename
        saved[name] = Path(coming.value.path()).read_text("utf-8")
    assert list(saved) == ["hello again.md", "hello again.json", "hello again.ndjson"]
    text, said, bundle = saved.values()
    assert "hello: again?" in text
    assert "hello: again?" in json.dumps(json.loads(said))
    assert all(json.loads(line) for line in bundle.splitlines())
