"""Streams that are looked for in the stored logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.protocol import ErrorCode, PinactorsError
from tests.pipeline.registry.shared import masters
from tests.postgres_server import empty_database


async def test_a_stream_id_that_a_database_cannot_store_is_not_found(
    postgres: Path,
    tmp_path: Path,
) -> None:
    """The database fails for it, which must not be told as an outage."""
    async with masters(tmp_path, empty_database(postgres), 1) as [registry]:
        with pytest.raises(PinactorsError) as refused:
            await registry.find("a\0", "")
        assert refused.value.code is ErrorCode.STREAM_NOT_FOUND
