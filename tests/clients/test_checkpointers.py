"""The official conformance tests, on checkpointers built as the server builds them."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import SqliteSaver
from threadmill_checkpoints.serde import Serializer
from threadmill_checkpoints.sqlite import SqliteDatabase


@pytest.mark.anyio
@pytest.mark.parametrize(
    "wait",
    [
        pytest.param(wait, marks=pytest.mark.client(f"SqliteSaver(wait={wait})"), id=f"wait={wait}")
        for wait in (True, False)
    ],
)
@pytest.mark.parametrize(
    "capability", [pytest.param(one.value, marks=pytest.mark.shows(f"checkpointer: {one.value}")) for one in Capability]
)
async def test_capability(capability: str, wait: bool, tmp_path: Path) -> None:
    @checkpointer_test(name="SqliteSaver")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver, None]:
        database = SqliteDatabase(tmp_path / "data.sqlite", synchronous="FULL", readers=2, prepare=migrate_sqlite)
        try:
            yield SqliteSaver(database, serde=Serializer(), wait=wait)
        finally:
            await database.close()

    result = (await validate(saver, capabilities={capability})).results[capability]
    assert result.detected and result.passed, "\n".join(result.failures)
    assert result.tests_passed and not result.tests_failed and not result.tests_skipped
