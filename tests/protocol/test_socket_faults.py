"""A socket that fails at any of its awaits leaves nothing behind, and its run unharmed."""

import json
import os
from pathlib import Path

import warm


def test_a_fault_at_every_await(tmp_path: Path) -> None:
    program = Path(__file__).with_name("faults.py")
    out, err = tmp_path / "out", tmp_path / "err"
    running = warm.Warm([str(program), str(tmp_path / "data")], os.environ, out, err)
    try:
        assert running.wait(85) == 0, err.read_text()[-4000:]
    finally:
        running.kill()
    found = json.loads(out.read_text().splitlines()[-1])
    assert found["whole"]["problems"] == []
    assert found.get("problems", []) == []
    assert min(found[fault] for fault in ("gone", "closed", "cancelled", "hangs")) >= 20
    assert "Traceback" not in err.read_text(), err.read_text()[-4000:]
