"""The official conformance tests, on checkpointers built as the server builds them."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from kit.toy import Toy
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import SqliteSaver
from threadmill_checkpoints.serde import SEALED, SealedSerializer, Serializer
from threadmill_checkpoints.sqlite import SqliteDatabase

SERIALIZERS = {"": Serializer(), ", sealed": SealedSerializer((), Toy())}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wait", "sealed"),
    [
        pytest.param(
            wait, sealed, marks=pytest.mark.client(f"SqliteSaver(wait={wait}){sealed}"), id=f"wait={wait}{sealed}"
        )
        for wait in (True, False)
        for sealed in SERIALIZERS
    ],
)
@pytest.mark.parametrize(
    "capability", [pytest.param(one.value, marks=pytest.mark.shows(f"checkpointer: {one.value}")) for one in Capability]
)
async def test_capability(capability: str, wait: bool, sealed: str, tmp_path: Path) -> None:
    @checkpointer_test(name="SqliteSaver")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver, None]:
        database = SqliteDatabase(tmp_path / "data.sqlite", synchronous="FULL", readers=2, prepare=migrate_sqlite)
        try:
            yield SqliteSaver(database, serde=SERIALIZERS[sealed], wait=wait)
            kinds = await database.read(lambda tx: tx.all("SELECT type FROM checkpoints UNION SELECT type FROM writes"))
            assert all(row["type"].endswith(SEALED) == bool(sealed) for row in kinds)
        finally:
            await database.close()

    result = (await validate(saver, capabilities={capability})).results[capability]
    assert result.detected and result.passed, "\n".join(result.failures)
    assert result.tests_passed and not result.tests_failed and not result.tests_skipped
