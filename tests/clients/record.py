"""What each client's tests have shown: record.json, from which docs/compatibility.md is made.

A test that passes compares itself with its entry, so neither the record nor the page can say more than the tests do.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("record.json")
Entry = dict[str, Any]


def entries() -> dict[str, Entry]:
    """By test: its `client`, the rows that it `shows`, and the `routes` that answered it with success."""
    found: dict[str, Entry] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    return found


def keep(test: str, client: str, shows: Sequence[str], routes: Sequence[str], *, write: bool) -> None:
    entry = {"client": client, "shows": sorted(shows), "routes": sorted(routes)}
    if write:
        FILE.write_text(json.dumps({**entries(), test: entry}, indent=1, sort_keys=True) + "\n", "utf-8")
    else:
        assert entries().get(test) == entry, f"{test} shows something else than record.json: run make compatibility"
