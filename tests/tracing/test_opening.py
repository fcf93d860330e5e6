"""Tests of opening the tracing."""

from __future__ import annotations

import sys

import pytest

from pinactors.settings import Settings, SettingUnusable
from pinactors.tracing import NO_TRACING, open_tracing


async def test_without_the_extra_the_setting_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pinactors.tracing.recording", None)
    with pytest.raises(SettingUnusable, match=r"pinactors\[tracing\]"):
        async with open_tracing(Settings(tracing_url="http://127.0.0.1:4318"), "pinactors"):
            pass
    async with open_tracing(Settings(), "pinactors") as none:
        assert none is NO_TRACING
