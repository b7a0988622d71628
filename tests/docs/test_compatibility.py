"""docs/compatibility.md says what the clients' tests have shown, no more and no less.

`make compatibility` runs those tests anew and writes it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from clients import methods, record

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
CLIENTS = (
    *("Python", "Python, sync", "Python 0.3", "RemoteGraph"),
    *("JavaScript 1.12", "JavaScript 1.11", "JavaScript 2.0", "useStream", "MCP"),
)
SAVERS = tuple(f"SqliteSaver(wait={wait}){sealed}" for sealed in ("", ", sealed") for wait in (True, False))
CHECKPOINTER = "checkpointer: "
ELSEWHERE = re.compile(
    # ours: no client knows of them
    r"/threads/\{thread_id\}/(queue|stop|read|digest|snapshot|timings|fork|head|branches|branches/(messages|map)|export)$"
    r"|PATCH /threads/\{thread_id\}/runs/\{run_id\}$|/recover$|/webhooks/|GET /feed$|POST /events$|POST /search$"
    r"|POST /threads/import$|POST /threads/retention$|/forget$|/branches/\{name\}$"
    r"|/threads/\{thread_id\}/(diff|compare|promote|merge|draft)$|/threads/\{thread_id\}/shares|/shared/"
)
PAINS = (
    *("H1", "H2", "H3", "H4", "H5", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8"),
    *("P3", "P4", "P5", "P10", "P11", "P12", "P13", "P14", "P15"),
    *("S6", "S7", "S8", "S9", "S10", "Z1", "Z2", "Z3", "Z4", "Z8", "D1", "D3", "D4"),
)


def routes() -> list[str]:
    """In the order of http.md, which another test compares with the schema of the API."""
    text = (ROOT / "docs" / "http.md").read_text("utf-8")
    found = re.findall(r"^### `([A-Z]+ /[^`]*)`$", text, re.MULTILINE)
    return [route for route in found if not ELSEWHERE.search(route)]


def table(first: str, rows: list[str], columns: tuple[str, ...], key: str) -> str:
    shown = {(entry["client"], row) for entry in record.entries().values() for row in entry[key]}
    lines = [f"| {first} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = ["✓" if (column, row) in shown else "" for column in columns]
        if key == "routes":
            able = [methods.can_ask(column, row) for column in columns]
            cells = [cell if can else "–" for cell, can in zip(cells, able, strict=True)]
        name = f"`{row}`" if key == "routes" else row.removeprefix(CHECKPOINTER)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    shown = sorted({row for entry in record.entries().values() for row in entry["shows"]}, key=str.casefold)
    features = [row for row in shown if not row.startswith(CHECKPOINTER)]
    capabilities = [row for row in shown if row.startswith(CHECKPOINTER)]
    return {
        "endpoints": table("Endpoint", routes(), CLIENTS, "routes"),
        "features": table("Feature", features, CLIENTS, "shows"),
        "checkpointers": table("Capability", capabilities, SAVERS, "shows"),
    }


def between(name: str, text: str) -> tuple[str, str, str]:
    before, begin, rest = text.partition(f"<!-- {name}: begin -->")
    there, end, after = rest.partition(f"<!-- {name}: end -->")
    assert begin and end, name
    return before + begin, there, end + after


def test_the_page_is_the_record() -> None:
    text = PAGE.read_text("utf-8")
    for name, wanted in tables().items():
        assert between(name, text)[1].strip() == wanted, "run make compatibility"


def test_the_record_is_of_tests_that_exist() -> None:
    """Each of them compares itself with its entry; one that is gone cannot."""
    pytest = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider"]
    alone = {**os.environ, "PYTEST_ADDOPTS": ""}
    found = subprocess.run(
        [*pytest, "tests/clients"], cwd=ROOT, env=alone, capture_output=True, text=True, timeout=110, check=True
    )
    collected = {line.rpartition("/")[2] for line in found.stdout.splitlines() if "::" in line}
    assert record.entries().keys() <= collected, "run make compatibility"


def test_every_client_has_a_column_that_is_not_empty() -> None:
    assert {entry["client"] for entry in record.entries().values()} == {*CLIENTS, *SAVERS}


def test_every_endpoint_works_with_a_client() -> None:
    asked = {route for entry in record.entries().values() for route in entry["routes"]}
    assert set(routes()) - asked == set()


def test_every_client_is_shown_with_every_endpoint_that_it_has_a_method_for() -> None:
    asked = {(entry["client"], route) for entry in record.entries().values() for route in entry["routes"]}
    able = {(client, route) for client in CLIENTS for route in routes() if methods.can_ask(client, route)}
    assert able - asked == set()


def test_no_method_is_denied_that_a_client_has() -> None:
    asked = {(entry["client"], route) for entry in record.entries().values() for route in entry["routes"]}
    assert {(client, route) for client, without in methods.WITHOUT.items() for route in without} & asked == set()
    named = set().union(*methods.WITHOUT.values(), *methods.ONLY.values())
    assert named <= set(routes())


def test_every_pain_is_there_with_a_test() -> None:
    rows = re.findall(r"^\| ([A-Z]\d+) \| [^|]+ \| ([^|]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert tuple(name for name, _ in rows) == PAINS
    assert [name for name, tests in rows if "`tests/" not in tests] == []


def _write() -> None:
    text = PAGE.read_text("utf-8")
    for name, wanted in tables().items():
        before, _, after = between(name, text)
        text = f"{before}\n\n{wanted}\n\n{after}"
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    _write()
