"""One server for all tests here, and what they do with threads."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client
from serving import Server


class Threads:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.sdk = get_sync_client(url=server.url)
        self.http = httpx.Client(base_url=server.url, timeout=30)

    def new(self, graph: str = "echo", *said: str) -> str:
        thread = self.sdk.threads.create(graph_id=graph)["thread_id"]
        for text in said:
            self.say(thread, text, graph)
        return thread

    def say(self, thread: str, text: str, graph: str = "echo", **options: Any) -> Any:
        return self.sdk.runs.wait(thread, graph, input={"messages": [{"role": "user", "content": text}]}, **options)

    def ask(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        answer = self.http.request(method, path, json=None if method == "GET" else body)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def fork(self, thread: str, **body: Any) -> Any:
        return self.ask("POST", f"/threads/{thread}/fork", **body)

    def tree(self, thread: str) -> list[dict[str, Any]]:
        found = self.ask("GET", f"/threads/{thread}/branches")
        rows = [dict(zip(found["columns"], row, strict=True)) for row in found["checkpoints"]]
        for at, row in enumerate(rows):
            if isinstance(row["parent"], int):
                row["parent"] = rows[at + row["parent"]]["id"]
            row["run"] = None if row["run"] is None else found["runs"][row["run"]]
        return rows

    def shown(self, thread: str, at: str | None = None) -> list[dict[str, Any]]:
        query = f"?at={at}" if at else ""
        return self.ask("GET", f"/threads/{thread}/branches/messages{query}")["messages"]

    def texts(self, thread: str) -> list[str]:
        return [one["content"] for one in self.sdk.threads.get_state(thread)["values"]["messages"]]

    def head(self, thread: str, checkpoint_id: str) -> str:
        return self.ask("PUT", f"/threads/{thread}/head", checkpoint_id=checkpoint_id)["head"]


@pytest.fixture(scope="module")
def threads(server: Server) -> Iterator[Threads]:
    found = Threads(server)
    yield found
    found.http.close()
