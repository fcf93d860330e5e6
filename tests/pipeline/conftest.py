from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.pipeline.fakes import Pipeline, open_pipeline


@pytest.fixture
async def pipeline(tmp_path: Path, autojump_clock: MockClock) -> AsyncIterator[Pipeline]:
    """A pipeline with default settings, on a clock that jumps."""
    async with open_pipeline(tmp_path) as opened:
        yield opened
