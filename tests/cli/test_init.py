"""`threadmill init`: a project that serves as it is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cli.command import Threadmill
from langgraph_sdk import get_client

Start = Callable[..., Threadmill]


@pytest.mark.anyio
async def test_what_it_makes_serves_as_it_is(threadmill: Start, tmp_path: Path) -> None:
    made = threadmill("init", tmp_path / "new" / "shop")
    assert made.ends() == 0
    assert f"threadmill dev --config {tmp_path}/new/shop" in made.out
    assert not list(tmp_path.rglob("__pycache__"))
    server = threadmill("serve", "-c", tmp_path / "new" / "shop", "--port", "0", THREADMILL_DEMO_DELAY_MS="0")
    client = get_client(url=server.url)
    thread = await client.threads.create()
    question = {"messages": [{"role": "user", "content": "What is 6 * 7?"}]}
    answer = await client.runs.wait(thread["thread_id"], "agent", input=question)
    assert "42" in answer["messages"][-1]["content"]


def test_what_is_there_is_left_alone(threadmill: Start, tmp_path: Path) -> None:
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "mine.py").write_text("mine")
    file.write_text("mine")
    for place in (full, file):
        command = threadmill("init", place)
        assert command.ends() == 1
        assert command.log == f"{place} is there and not an empty folder: name a new one.\n"
    assert [one.name for one in full.iterdir()] == ["mine.py"]
    assert file.read_text() == "mine"


def test_an_empty_folder_will_do(threadmill: Start, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert threadmill("init", "empty", cwd=tmp_path).ends() == 0
    assert (tmp_path / "empty" / "langgraph.json").is_file()
    (tmp_path / "here").mkdir()
    made = threadmill("init", ".", cwd=tmp_path / "here")
    assert made.ends() == 0
    assert made.out.strip() == "Made it here. Next: threadmill dev"
