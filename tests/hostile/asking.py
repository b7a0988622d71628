"""What /openapi.json says can be asked of a server, asked with one part replaced by something hostile."""

from collections.abc import Iterator
from typing import Any

import httpx

LEAKS = ("Traceback", "site-packages", "sqlite", "UUID(", 'File "')

OWN_WORDS = ("/store/", "/mcp", "/a2a", "/.well-known", "/commands")  # refuse as their protocols have it


class Api:
    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.spec = http.get("/openapi.json").json()
        self.asked = 0
        place = f"/threads/{http.post('/threads', json={'metadata': {'graph_id': 'careless'}}).json()['thread_id']}"
        ran = http.post(f"{place}/runs/wait", json={"assistant_id": "careless", "input": {}})
        (assistant,) = http.post("/assistants/search", json={"graph_id": "careless"}).json()
        cron = http.post("/runs/crons", json={"assistant_id": "careless", "schedule": "0 0 1 1 *"}).json()
        link = http.post(f"{place}/shares", json={}).json()
        self.ids = {
            "thread_id": place.split("/")[-1],
            "run_id": ran.headers["content-location"].split("/")[-1],
            "assistant_id": assistant["assistant_id"],
            "checkpoint_id": http.get(f"{place}/state").json()["checkpoint_id"],
            "cron_id": cron["cron_id"],
            "namespace": "child",
            "name": "Branch",
            "message_id": "none",
            "share_id": link["share_id"],
            "token": link["token"],
        }

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, methods in self.spec["paths"].items():
            for method, operation in methods.items():
                if method != "delete":  # what is asked for must stay there for the next one
                    yield method.upper(), path, operation

    def body(self, operation: dict[str, Any]) -> dict[str, Any]:
        """The JSON schema of an operation's body; of one item, if it is a list of such. Empty if it takes none."""
        content = operation.get("requestBody", {}).get("content", {})
        schema: dict[str, Any] = self._followed(content.get("application/json", {}).get("schema", {}))
        return self._followed(schema["items"]) if schema.get("type") == "array" else schema

    def _followed(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = self.spec["components"]["schemas"][name]
        return schema

    def ask(self, method: str, path: str, about: Any = "", **request: Any) -> None:
        """The answer must be one of ours, at once: what was asked for, or a refusal in one sentence."""
        self.asked += 1
        said = (method, path, str(about)[:80])
        with self.http.stream(method, path, **request) as answer:
            assert answer.status_code < 500, (*said, answer.status_code)
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return  # some never end
            text = answer.read().decode()
        if answer.status_code >= 400:
            assert len(text) < 5000, said
            assert not [leak for leak in LEAKS if leak in text], (*said, text)
            if not any(own in path for own in OWN_WORDS):
                assert [*answer.json()] == ["detail"] and isinstance(answer.json()["detail"], str), (*said, text)
