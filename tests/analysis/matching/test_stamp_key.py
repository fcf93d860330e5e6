"""Tests of what a stamp's reading says for a catalogue pin."""

from __future__ import annotations

import pytest

from pinactors.analysis.matching import stamp_key
from pinactors.analysis.model import CatalogPin, StampReading

PIN = CatalogPin("T", "T", (), None, 2015, 300, None, "FAC-060122-15240")


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (StampReading(), 0.0),
        (StampReading(factory_code="fac 060122 15240"), stamp_key.EXACT_CODE_LOG_ODDS),
        (StampReading(factory_code="FAC-060123-15240"), 0),
        (StampReading(factory_code="FAC-999888-01001"), stamp_key.OTHER_CODE_LOG_ODDS),
        (StampReading(likely={"factory_code": "FAC-999888-01001"}), stamp_key.OTHER_CODE_LOG_ODDS / 2),
        (StampReading(likely={"factory_code": "FAC-060122-15240"}), stamp_key.EXACT_CODE_LOG_ODDS),
        (StampReading(factory_code="FAC-060122-00240"), 0),
        (StampReading(factory_code="FAC-060777-15240", factory_code_confidence=0.9), 0.0),
        (
            StampReading(year=2015, edition_size=300),
            stamp_key.SAME_YEAR_LOG_ODDS + stamp_key.SAME_EDITION_LOG_ODDS,
        ),
        (StampReading(year=2014), stamp_key.OTHER_YEAR_LOG_ODDS),
    ],
)
def test_what_a_stamp_says_for_a_pin(reading: StampReading, expected: float) -> None:
    assert stamp_key.log_odds(reading, PIN) == pytest.approx(expected)
