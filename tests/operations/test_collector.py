"""Python's garbage collector stops everything while it looks: at what comes and goes, not at all that was loaded."""

from pathlib import Path

import pytest
from cli.command import GRAPH, HEADER, project
from serving import Server


@pytest.mark.anyio
async def test_what_was_loaded_at_the_start_is_not_looked_at_again(tmp_path: Path) -> None:
    source = HEADER + (
        "import gc\n\nclass Loaded:\n    pass\n\nloaded = Loaded()\n\n"
        "async def say(state):\n"
        "    return {'log': [str(any(one is loaded for one in gc.get_objects())), str(gc.isenabled())]}\n"
    )
    server = Server(tmp_path / "data", project(tmp_path / "p", agent=source + GRAPH)).start()
    try:
        assert (await server.client().runs.wait(None, "agent", input={}))["log"] == ["False", "True"]
    finally:
        server.kill()
