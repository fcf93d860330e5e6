"""What the statements cost the database."""

from __future__ import annotations

from typing import Any

import pytest

from pinactors.storage.logs import statements
from tests.storage.logs.masters import ONE, STREAM, THREE, TWO, masters


async def test_nothing_waits_for_the_disk_and_notifies(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL commits transactions that notify under one lock: one that waits for the disk would delay all
    others."""
    commits: list[tuple[str, bool]] = []
    append = statements.append

    def noted(connection: Any, *arguments: Any, notify: bool, **named: Any) -> bool:
        commits.append((connection.execute("SHOW synchronous_commit").fetchone()[0], notify))
        return append(connection, *arguments, notify=notify, **named)

    monkeypatch.setattr(statements, "append", noted)
    async with masters(url, 1) as (one,):
        stored = one.create(STREAM, "")
        await stored.append([ONE])
        await stored.append([TWO])
        await stored.seal(THREE)
        assert await one.load(STREAM) == [ONE, TWO, THREE]
    assert commits == [("off", True), ("off", True), ("on", False)]
