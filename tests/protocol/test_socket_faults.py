"""A socket that fails at any of its awaits leaves nothing behind, and its run unharmed."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_fault_at_every_await(tmp_path: Path) -> None:
    program = Path(__file__).with_name("faults.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "data")], capture_output=True, text=True, timeout=85, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["whole"]["problems"] == []
    assert found.get("problems", []) == []
    assert min(found[fault] for fault in ("gone", "closed", "cancelled", "hangs")) >= 20
    assert "Traceback" not in done.stderr, done.stderr[-4000:]
