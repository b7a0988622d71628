"""The chat page at `/`, `/t/{thread_id}` and `/s/{token}`.

Files of the package, by an exact manifest: no client's path is joined.
"""

import html
import json
import mimetypes
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

router = APIRouter(include_in_schema=False)

PACKAGE = Path(__file__).parents[1]
FOLDER = PACKAGE / "page"
LOG = PACKAGE / "page.log"
ENCODINGS = {"br": ".br", "gzip": ".gz"}  # the best first
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SAFE = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
METHODS = ["GET", "HEAD"]
WORKER = "sw.js"


@dataclass(frozen=True, slots=True)
class File:
    kind: str
    encoded: dict[str, bytes]  # by encoding; "" is the file itself

    def answer(self, request: Request, cache: str, etag: str | None = None) -> Response:
        headers = {**SAFE, "cache-control": cache, "vary": "accept-encoding"}
        if etag is not None:
            headers["etag"] = etag
            if request.headers.get("if-none-match") == etag:
                return Response(status_code=304, headers=headers)
        accepted = {one.split(";")[0].strip() for one in request.headers.get("accept-encoding", "").split(",")}
        encoding = next((one for one in ENCODINGS if one in accepted and one in self.encoded), "")
        if encoding:
            headers["content-encoding"] = encoding
        return Response(self.encoded[encoding], media_type=self.kind, headers=headers)


@lru_cache(maxsize=1)
def _files(folder: Path, changed: int) -> tuple[str, dict[str, File]]:
    """The page's stamp and its files by name, as they were built at `changed`."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    files = {}
    for name in manifest["files"]:
        if not name.endswith(tuple(ENCODINGS.values())):
            encoded = {"": (folder / name).read_bytes()}
            encoded |= {
                encoding: (folder / f"{name}{end}").read_bytes()
                for encoding, end in ENCODINGS.items()
                if f"{name}{end}" in manifest["files"]
            }
            files[name] = File(mimetypes.guess_type(name)[0] or "application/octet-stream", encoded)
    return str(manifest["stamp"]), files


def _page() -> tuple[str, dict[str, File]] | None:
    """None: it was not built. A page that is built anew is served from then on."""
    try:
        return _files(FOLDER, (FOLDER / "manifest.json").stat().st_mtime_ns)
    except OSError:
        return None


@router.api_route("/", methods=METHODS)
async def index(request: Request) -> Response:
    return _index(request, "./")


@router.api_route("/t/{thread_id}", methods=METHODS)
async def thread(thread_id: str, request: Request) -> Response:
    """The same page: it reads the thread from its address."""
    return _index(request, "../")


@router.api_route("/s/{token}", methods=METHODS)
async def shared(token: str, request: Request) -> Response:
    """The same page: whether there is such a link it finds out."""
    answer = _index(request, "../")
    answer.headers["x-robots-tag"] = "noindex"
    return answer


def _index(request: Request, base: str) -> Response:
    page = _page()
    if page is None:
        return Response(_missing(), 503, {**SAFE, "cache-control": "no-store"}, "text/html")
    stamp, files = page
    # Relative, so that any prefix that a proxy adds is right: what the page asks for begins where it was served.
    text = files["index.html"].encoded[""].replace(b'<base href="./"', b'<base href="%s"' % base.encode())
    return File("text/html", {"": text}).answer(request, "no-cache", f'"{stamp[:32]}{len(base)}"')


@router.api_route("/assets/{name}", methods=METHODS)
async def asset(name: str, request: Request) -> Response:
    return _file(request, f"assets/{name}", "public, max-age=31536000, immutable")


@router.api_route("/icon.svg", methods=METHODS)
async def icon(request: Request) -> Response:
    return _file(request, "icon.svg", "no-cache")


@router.api_route("/sw.js", methods=METHODS)
async def service_worker(request: Request) -> Response:
    return _file(request, WORKER, "no-cache")


def _file(request: Request, name: str, cache: str) -> Response:
    page = _page()
    file = page[1].get(name) if page is not None else None
    if file is None:
        return Response('{"detail":"Not Found"}', 404, media_type="application/json")
    return file.answer(request, cache)


def _missing() -> str:
    checkout = (PACKAGE.parents[1] / "web" / "build.py").exists()
    command = "threadmill ui build" if checkout else "THREADMILL_UI=require pip install --force-reinstall threadmill"
    why = LOG.read_text("utf-8", "replace").strip() if LOG.exists() else "It was left out when this was installed."
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Threadmill</title>
<h1>The chat page is not built</h1>
<p>The API is running: see <a href="docs">its reference</a>. Only the page is missing. Build it with</p>
<pre>{command}</pre>
<p>and load this page again. Why it is missing:</p>
<pre>{html.escape(why)}</pre>
"""
