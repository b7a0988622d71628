"""The README's stream that survives `kill -9`, as it stands, against a server that is killed under it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from serving import Server

README = Path(__file__).parents[2] / "README.md"
AGENT = Path(__file__).parents[2] / "langgraph.json"
KILLS = 4


@pytest.mark.timeout(120)
def test_the_stream_of_the_readme_survives_kills(tmp_path: Path) -> None:
    found = re.search(r"```python kill\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert found is not None
    server = Server(tmp_path / "data", config=AGENT, env={"THREADMILL_DEMO_DELAY_MS": "10"}).start()
    code = found[1].replace("http://127.0.0.1:2024", server.url)
    reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    assert reader.stdout is not None
    try:
        printed = ""
        for kill in range(1, KILLS + 1):
            while f"[attempt {kill}] " not in printed or len(printed.rpartition("] ")[2]) < 100 * kill:
                printed += reader.stdout.read(20)
                assert reader.poll() is None, printed
            server.restart()
        printed += reader.stdout.read()
        assert reader.wait(10) == 0
    finally:
        reader.kill()
        server.kill()
    attempts = re.split(r"\n\[attempt \d\] ", printed)[1:]
    assert len(attempts) == KILLS + 1, "nothing was told twice, and every attempt was told"
    assert len(attempts[-1].split()) >= 250, "the last attempt is whole"
    for cut in attempts[:-1]:
        assert attempts[-1].startswith(cut[:50]), "the story is the same: what was streamed before stays as it was"
