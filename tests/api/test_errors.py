"""Every refusal has the same shape and tells nothing internal."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from serving import Server

pytestmark = pytest.mark.anyio

LEAKS = ("Traceback", "site-packages", "sqlite", "UUID(", 'File "')


def refused(response: httpx.Response, status: int) -> str:
    """The detail of a refusal, which must be a JSON object with one readable string."""
    assert response.status_code == status, response.text
    body = response.json()
    assert list(body) == ["detail"]
    assert isinstance(body["detail"], str) and body["detail"]
    assert not [leak for leak in LEAKS if leak in body["detail"]]
    return str(body["detail"])


@pytest.mark.parametrize("content", [b"", b"{", b"nope", b"\xff\xfe", b'{"a":}'])
@pytest.mark.parametrize("path", ["/threads", "/threads/search", "/assistants/search", "/runs/wait", "/runs/stream"])
async def test_a_body_that_is_not_json_is_422(http: httpx.AsyncClient, path: str, content: bytes) -> None:
    assert refused(await http.post(path, content=content), 422) == "Invalid JSON in request body"


@pytest.mark.parametrize("path", ["", "/wait", "/stream"])
async def test_a_run_body_that_is_not_json_is_422(http: httpx.AsyncClient, thread: str, path: str) -> None:
    response = await http.post(f"/threads/{thread}/runs{path}", content=b"{")
    assert refused(response, 422) == "Invalid JSON in request body"


@pytest.mark.parametrize("body", [[1], "text", 5, None])
async def test_a_body_of_the_wrong_type_is_422(http: httpx.AsyncClient, body: Any) -> None:
    refused(await http.post("/threads", content=json.dumps(body)), 422)


async def test_the_content_type_of_a_request_does_not_matter(http: httpx.AsyncClient) -> None:
    response = await http.post("/threads", content=b"{}", headers={"content-type": "text/plain"})
    assert response.status_code == 200


async def test_a_malformed_thread_id_is_422(http: httpx.AsyncClient) -> None:
    asked: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"metadata": {}}),
        ("DELETE", "", None),
        ("GET", "/state", None),
        ("GET", "/history", None),
        ("GET", "/runs", None),
        ("POST", "/runs", {"assistant_id": "counter"}),
    ]
    for method, rest, body in asked:
        detail = refused(await http.request(method, f"/threads/bad{rest}", json=body), 422)
        assert detail.startswith("Invalid thread ID"), (method, rest)
    assert refused(await http.post("/threads", json={"thread_id": "bad"}), 422).startswith("Invalid thread ID")


async def test_a_malformed_run_id_is_422(http: httpx.AsyncClient, thread: str) -> None:
    for method, rest in (("GET", ""), ("GET", "/join"), ("GET", "/stream"), ("DELETE", ""), ("POST", "/cancel")):
        response = await http.request(method, f"/threads/{thread}/runs/bad{rest}")
        assert refused(response, 422).startswith("Invalid run ID"), rest


async def test_an_unknown_path_is_404(http: httpx.AsyncClient) -> None:
    for path in ("/nope", "/threads/x/y/z", "/assistants/a/b/c", "/%00"):
        assert refused(await http.get(path), 404) == "Not Found"


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
async def test_a_wrong_method_is_405_and_names_the_right_one(http: httpx.AsyncClient, method: str) -> None:
    response = await http.request(method, "/threads")
    assert refused(response, 405) == "Method Not Allowed"
    assert response.headers["allow"] == "POST"


async def test_every_method_of_a_path_is_named(http: httpx.AsyncClient, thread: str) -> None:
    allowed = {
        f"/threads/{thread}": "DELETE, GET, PATCH",
        "/store/items": "DELETE, GET, PUT",
        "/threads/search": "POST",
    }
    for path, methods in allowed.items():
        assert (await http.request("OPTIONS", path)).headers["allow"] == methods


async def test_a_conflict_is_409(http: httpx.AsyncClient, thread: str) -> None:
    assert thread in refused(await http.post("/threads", json={"thread_id": thread}), 409)


async def test_an_unknown_thing_is_404(http: httpx.AsyncClient, thread: str) -> None:
    unknown = uuid.uuid4()
    assert str(unknown) in refused(await http.get(f"/threads/{unknown}"), 404)
    refused(await http.get(f"/threads/{thread}/runs/{unknown}"), 404)
    refused(await http.get(f"/assistants/{unknown}"), 404)


@pytest.mark.beyond_reference
async def test_a_busy_thread_refuses_an_update_without_leaking_the_run(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "counter", "input": {"limit": 1}, "after_seconds": 60}
    await http.post(f"/threads/{thread}/runs", json=body)
    refused(await http.post(f"/threads/{thread}/state", json={"values": {"n": 1}}), 409)


@pytest.mark.beyond_reference
async def test_a_body_over_the_limit_is_413(start_server: Callable[..., Server]) -> None:
    async with start_server(THREADMILL_MAX_BODY_BYTES="2048").http as http:
        refused(await http.post("/threads", json={"metadata": {"x": "y" * 4096}}), 413)

        async def unannounced() -> AsyncIterator[bytes]:
            for _ in range(8):
                yield b" " * 1024

        refused(await http.post("/threads", content=unannounced()), 413)
        assert (await http.post("/threads", json={"metadata": {"x": "y" * 1024}})).status_code == 200
