"""Tests of the probability that a candidate is the photographed pin."""

from __future__ import annotations

import dataclasses

import pytest

from pinactors.analysis.matching import probability
from pinactors.analysis.matching.likeness import Likeness
from pinactors.analysis.matching.reranking import CandidateAgreement
from tests.analysis.matching.crops import crop, likeness_of


def test_a_back_of_another_outline_is_evidence_against_a_pin() -> None:
    same = likeness_of(crop(1), crop(1))
    other = dataclasses.replace(same, outline=probability.MIN_OUTLINE_OVERLAP - 0.01)
    assert probability.back_log_odds(same) > 0 > probability.back_log_odds(other)


ALIKE = likeness_of(crop(1), crop(1))
AGREEMENT = CandidateAgreement(
    100.0, 0.5, 0.5, 0.6, dataclasses.replace(ALIKE, inner_lines=0.5, outline=0.7, chroma=0.5)
)


def alike(agreement: CandidateAgreement) -> Likeness:
    assert agreement.likeness is not None
    return agreement.likeness


@pytest.mark.parametrize(
    "better",
    [
        dataclasses.replace(AGREEMENT, weight=200.0),
        dataclasses.replace(AGREEMENT, covered=0.7),
        dataclasses.replace(AGREEMENT, patches=0.7),
        dataclasses.replace(AGREEMENT, patch_mean=0.8),
        *(
            dataclasses.replace(AGREEMENT, likeness=dataclasses.replace(alike(AGREEMENT), **{name: 0.9}))
            for name in ("inner_lines", "outline", "chroma")
        ),
    ],
)
def test_more_of_any_agreement_makes_a_pin_likelier(better: CandidateAgreement) -> None:
    for outlined in (True, False):
        assert probability.log_odds(better, outlined) > probability.log_odds(AGREEMENT, outlined)


def test_what_could_not_be_compared_counts_as_poor_agreement() -> None:
    uncompared = probability.log_odds(dataclasses.replace(AGREEMENT, likeness=None), True)
    assert uncompared < probability.log_odds(AGREEMENT, True)
    inner_lines, outline, chroma = probability.UNCOMPARED_VALUES
    poor = dataclasses.replace(alike(AGREEMENT), inner_lines=inner_lines, outline=outline, chroma=chroma)
    assert uncompared == probability.log_odds(dataclasses.replace(AGREEMENT, likeness=poor), True)


def test_a_back_says_no_more_than_its_bounds() -> None:
    best = dataclasses.replace(
        ALIKE, inner_lines=1.0, worst_lines=1.0, light_tint=0.0, rim_tint=0.0, outline=1.0
    )
    worst = dataclasses.replace(best, inner_lines=-1.0, worst_lines=-1.0, light_tint=9.0, rim_tint=9.0)
    assert probability.back_log_odds(best) == probability.MAX_BACK_LOG_ODDS
    assert probability.back_log_odds(worst) == probability.MIN_BACK_LOG_ODDS
