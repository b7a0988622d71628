"""/openapi.json tells of every route what it takes, what it answers and how it refuses."""

import re
from collections.abc import Iterator
from typing import Any

STREAMS = {
    "threads_stream", "thread_runs_create_and_stream", "thread_runs_join_stream", "stateless_runs_stream_stateless",
    "stateless_runs_join_stateless", "event_protocol_stream",
}  # fmt: skip
OPEN = {"shares_read", "system_ok", "system_info", "system_metrics"}


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def schemas(response: dict[str, Any]) -> dict[str, Any]:
    return {kind: content["schema"] for kind, content in response.get("content", {}).items()}


def test_every_operation_says_what_it_answers(spec: dict[str, Any]) -> None:
    for name, operation in operations(spec):
        done = {status: schemas(answer) for status, answer in operation["responses"].items() if status[0] == "2"}
        assert done, name
        for status, content in done.items():
            if status in ("202", "204"):
                assert not content, name
            else:
                assert content and all(content.values()), (name, status)
    assert spec["openapi"].startswith("3.")


def test_every_operation_has_a_name_that_is_its_own_and_a_place(spec: dict[str, Any]) -> None:
    named = [operation["operationId"] for _, operation in operations(spec)]
    assert len(named) == len(set(named)) > 60
    assert {"threads_create", "assistants_search", "thread_runs_create_and_stream", "store_put"} <= set(named)
    for name, operation in operations(spec):
        assert operation["tags"] and operation["summary"], name


def test_refusals_are_one_sentence_and_are_told_of_wherever_they_occur(spec: dict[str, Any]) -> None:
    refusal = spec["components"]["schemas"]["Refusal"]
    assert (refusal["properties"], refusal["required"]) == (
        {"detail": {"title": "Detail", "type": "string"}},
        ["detail"],
    )
    assert "HTTPValidationError" not in spec["components"]["schemas"]
    for name, operation in operations(spec):
        refused = {status: schemas(answer) for status, answer in operation["responses"].items() if status[0] == "4"}
        if operation["operationId"] not in OPEN:
            assert {"401", "403", "413", "422"} <= refused.keys(), name
        for status, content in refused.items():
            assert "/Refusal" in str(content), (name, status)


def test_streams_are_described_as_events_by_name(spec: dict[str, Any]) -> None:
    told = {
        operation["operationId"]: schemas(operation["responses"]["200"])["text/event-stream"]["properties"]["event"]
        for _, operation in operations(spec)
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
    }
    assert told.keys() >= STREAMS
    for name in STREAMS - {"event_protocol_stream"}:
        for event in ("metadata", "values", "messages/partial", "updates|child:1", "error"):
            assert re.search(told[name]["pattern"], event), name
    assert re.search(told["event_protocol_stream"]["pattern"], "input.requested")
    assert re.search(told["threads_follow"]["pattern"], "deleted")


def test_every_parameter_has_a_type(spec: dict[str, Any]) -> None:
    for name, operation in operations(spec):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            assert {"type", "anyOf", "enum", "$ref"} & schema.keys(), (name, parameter["name"])
            if parameter["name"] in ("limit", "offset"):
                assert "minimum" in schema and "maximum" in schema, (name, parameter["name"])
