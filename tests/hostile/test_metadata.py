"""A key of metadata is data: whatever it is, a search by it finds what has it and nothing else."""

import uuid
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
odd = st.sampled_from(
    ["$eq", "a.b", "a'b", '"', "$.a", "$[0]", "%", "_", "]", "--", "\0", "", "__proto__", "json('", "NULL"]
)
keys = odd | text
scalars = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | keys
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=5
)
documents = st.dictionaries(keys, values, min_size=1, max_size=4)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=documents)
def test_a_search_by_any_metadata_finds_exactly_the_thread_that_has_it(
    http: httpx.Client, document: dict[str, Any]
) -> None:
    mark = {"mark": uuid.uuid4().hex}
    created = http.post("/threads", json={"metadata": document | mark}).json()
    other = http.post("/threads", json={"metadata": mark}).json()
    assert created["metadata"] == document | mark
    ids = {"ids": [created["thread_id"], other["thread_id"]]}
    found = http.post("/threads/search", json={"metadata": document | mark} | ids)
    assert [one["thread_id"] for one in found.json()] == [created["thread_id"]], found.text
    for key, value in document.items():
        alone = http.post("/threads/search", json={"metadata": {key: value}} | ids).json()
        assert [one["thread_id"] for one in alone] == [created["thread_id"]], key
