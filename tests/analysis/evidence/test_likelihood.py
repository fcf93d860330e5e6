"""Tests of likelihoods: weights stay inside their bounds, groups are capped, ratings stay within 3 to 97."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

from pinactors.analysis.evidence import likelihood
from pinactors.analysis.evidence.likelihood import Measurement, parse_calibration, ramp, rating
from pinactors.evaluation.calibration import MAX_LOG10
from pinactors.protocol import Box, Evidence, View
from tests.analysis import prepared

SHIPPED = likelihood.calibration()


def test_the_shipped_calibration_holds_the_rows_and_caps_of_the_model() -> None:
    assert set(SHIPPED.rows) >= {
        "waffle_edge_runoff",
        "waffle_regularity",
        "waffle_absent",
        "stamp_wording",
        "stamp_consistency",
        "edition_number",
        "front_geometry",
        "colour_regions",
        "enamel_fill",
        "edge_roughness",
    }
    caps = {name: cap for name, (cap, _) in SHIPPED.groups.items()}
    assert caps == {"back pattern": 1.35, "stamp": 1.8, "front": 1.5}
    assert all(0 <= bounds.favour <= 0.4 for bounds in SHIPPED.rows.values())
    assert all(bounds.favour <= bounds.against <= MAX_LOG10 for bounds in SHIPPED.rows.values())
    assert SHIPPED.rows["waffle_absent"].favour == 0
    assert SHIPPED.version


def test_no_evidence_is_even_odds() -> None:
    assert SHIPPED.probability([]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", sorted(SHIPPED.rows))
def test_a_row_weighs_within_its_bounds_and_with_its_sign(name: str) -> None:
    bounds = SHIPPED.rows[name]
    for score, expected in (
        (1.0, bounds.favour),
        (7.0, bounds.favour),
        (0.5, bounds.favour / 2),
        (0.0, 0.0),
        (-0.5, -bounds.against / 2),
        (-1.0, -bounds.against),
        (-9.0, -bounds.against),
    ):
        (row,) = SHIPPED.weigh([Measurement(name, "Seen.", score)])
        assert row.weight == pytest.approx(expected, abs=5e-4)
        assert row.assessed


def test_what_was_not_assessed_weighs_nothing_and_comes_last() -> None:
    rows = SHIPPED.weigh(
        [
            Measurement("enamel_fill", "hidden"),
            Measurement("stamp_wording", "Right.", 1.0),
            Measurement("stamp_match", "Gone.", -1.0, Box(View.BACK, 0.1, 0.2, 0.3, 0.4)),
        ]
    )
    assert [row.name for row in rows] == ["stamp_match", "stamp_wording", "enamel_fill"]
    assert (rows[2].weight, rows[2].assessed, rows[2].finding) == (0.0, False, "hidden")
    assert rows[0].region == Box(View.BACK, 0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize(("group", "cap"), [("back pattern", 1.35), ("stamp", 1.8), ("front", 1.5)])
@pytest.mark.parametrize("sign", [1, -1])
def test_groups_of_rows_that_see_the_same_are_capped(group: str, cap: float, sign: int) -> None:
    names = SHIPPED.groups[group][1]
    bound = cap if sign < 0 else likelihood.FAVOUR_SHARE * cap
    assert SHIPPED.total([Evidence(name, "", sign * 2.0) for name in names]) == pytest.approx(sign * bound)
    assert SHIPPED.total([Evidence(names[0], "", sign * 0.1)]) == pytest.approx(sign * 0.1)


def test_a_fault_stands_whatever_else_was_copied_well() -> None:
    fault = Evidence("colour_regions", "", -0.6)
    copied = [Evidence("front_geometry", "", 0.4), Evidence("front_lines", "", 0.4)]
    assert SHIPPED.total([fault, *copied]) == pytest.approx(-0.6 + likelihood.FAVOUR_SHARE * 1.5)
    assert SHIPPED.total([fault]) == pytest.approx(-0.6)


def test_groups_add_to_each_other_and_to_rows_in_none() -> None:
    rows = [
        Evidence("stamp_match", "", -5.0),
        Evidence("front_geometry", "", -5.0),
        Evidence("edge_roughness", "", -0.4),
    ]
    assert SHIPPED.total(rows) == pytest.approx(-1.8 - 1.5 - 0.4)


@pytest.mark.parametrize(
    ("probability", "expected"), [(0.0, 3), (0.004, 3), (0.034, 3), (0.5, 50), (0.966, 97), (1.0, 97)]
)
def test_ratings_keep_clear_of_both_ends(probability: float, expected: int) -> None:
    assert rating(probability) == expected


def test_worst_and_best_evidence_stay_inside_the_ends() -> None:
    worst = SHIPPED.weigh([Measurement(name, "", -1.0) for name in SHIPPED.rows])
    best = SHIPPED.weigh([Measurement(name, "", 1.0) for name in SHIPPED.rows])
    assert rating(SHIPPED.probability(worst)) == 3
    assert 85 <= rating(SHIPPED.probability(best)) <= 97
    assert SHIPPED.assessed_share(worst) == pytest.approx(1.0)
    assert SHIPPED.assessed_share([]) == 0


@pytest.mark.parametrize(
    ("value", "score"),
    [(0.0, -1.0), (1.0, -1.0), (1.5, -0.5), (2.0, 0.0), (5.0, 0.5), (8.0, 1.0), (99.0, 1.0)],
)
def test_a_ramp_runs_from_bad_over_neutral_to_good(value: float, score: float) -> None:
    assert ramp(value, 1.0, 2.0, 8.0) == pytest.approx(score)
    assert ramp(-value, -1.0, -2.0, -8.0) == pytest.approx(score)


def test_a_box_is_a_share_of_the_photograph_and_cut_at_its_border() -> None:
    view = prepared.empty(View.BACK)  # 400 x 300
    box = likelihood.box_of(view, np.array([[-40, 30], [200, 150]], np.float32))
    assert box == Box(View.BACK, 0.0, 0.1, 0.5, 0.4)
    assert likelihood.box_of(view, np.array([[500, 30], [600, 150]], np.float32)) is None
    assert likelihood.box_of(view, np.zeros((0, 2), np.float32)) is None


def _edited(**changes: object) -> str:
    text = resources.files("pinactors.analysis.evidence").joinpath("weights.json").read_text("utf-8")
    return json.dumps(json.loads(text) | changes)


def test_a_calibration_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        parse_calibration(_edited(rows={"enamel_fill": {"favour": 0.1, "against": -0.5}}, groups={}))
    with pytest.raises(ValueError, match="unknown"):
        parse_calibration(_edited(groups={"front": {"cap": 1.0, "rows": ["smell"]}}))
    assert parse_calibration(_edited(scale=1.0)) == likelihood.calibration()  # as in the first release
    with pytest.raises(ValueError, match="scale"):
        parse_calibration(_edited(scale=0.5))


def test_a_poor_photograph_says_little_either_way() -> None:
    for score in (-0.8, 0.6):
        measured = Measurement("colour_regions", "Seen.", score)
        assert likelihood.scaled_by_quality(measured, 1.0) == measured
        assert likelihood.scaled_by_quality(measured, 0.25).score == pytest.approx(score / 4)
    unseen = Measurement("colour_regions", "hidden")
    assert likelihood.scaled_by_quality(unseen, 0.1) is unseen
