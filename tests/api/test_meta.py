"""Is it up, what is it, and what can it do."""

import httpx
import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("query", ["", "?check_db=1", "?check_db=0"])
async def test_ok_says_ok(http: httpx.AsyncClient, query: str) -> None:
    response = await http.get(f"/ok{query}")
    assert (response.status_code, response.json()["ok"]) == (200, True)
    assert response.headers["content-type"] == "application/json"


async def test_ok_is_asked_for_its_head_by_health_checks(http: httpx.AsyncClient) -> None:
    response = await http.head("/ok")
    assert (response.status_code, response.content) == (200, b"")


async def test_info_tells_versions_and_abilities(http: httpx.AsyncClient) -> None:
    info = (await http.get("/info")).json()
    assert info["flags"]["assistants"] is True
    assert isinstance(info["version"], str)
    assert info["langgraph_py_version"].startswith("1.")
    assert info["host"]["kind"] == "self-hosted"


async def test_docs_are_a_page(http: httpx.AsyncClient) -> None:
    response = await http.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "<html" in response.text.lower()


async def test_openapi_describes_the_routes(http: httpx.AsyncClient) -> None:
    spec = (await http.get("/openapi.json")).json()
    assert spec["openapi"].startswith("3.")
    routes = {(path, method) for path, methods in spec["paths"].items() for method in methods}
    assert routes >= {
        ("/assistants/search", "post"),
        ("/threads", "post"),
        ("/threads/search", "post"),
        ("/threads/{thread_id}", "get"),
        ("/threads/{thread_id}/state", "get"),
        ("/threads/{thread_id}/history", "post"),
        ("/threads/{thread_id}/runs", "post"),
        ("/threads/{thread_id}/runs/stream", "post"),
        ("/threads/{thread_id}/runs/wait", "post"),
        ("/threads/{thread_id}/runs/{run_id}/cancel", "post"),
        ("/threads/{thread_id}/runs/{run_id}/stream", "get"),
        ("/runs/stream", "post"),
    }
