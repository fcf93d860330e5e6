from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio.testing

from tests.pipeline.fakes import Pipeline, open_pipeline


@pytest.fixture
async def pipeline(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> AsyncIterator[Pipeline]:
    """A registry with default settings on a clock that jumps; anything longer than a day hangs."""
    with trio.fail_after(86_400):
        async with open_pipeline(tmp_path) as opened:
            yield opened
