"""Tests of the probability that a candidate is the photographed pin."""

from __future__ import annotations

import dataclasses

from pinactors.analysis.matching import probability
from tests.analysis.matching.crops import crop, likeness_of


def test_a_back_of_another_outline_is_evidence_against_a_pin() -> None:
    same = likeness_of(crop(1), crop(1))
    other = dataclasses.replace(same, outline=probability.MIN_OUTLINE_OVERLAP - 0.01)
    assert probability.back_log_odds(same) > 0 > probability.back_log_odds(other)
