"""Tests of fitting the evidence weights: the bounds of a fit, and figures for pins it was not fitted to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinactors.analysis.evidence import likelihood
from pinactors.analysis.evidence.likelihood import Calibration, Measurement, parse_calibration
from pinactors.evaluation import calibration
from pinactors.evaluation.calibration import MAX_LOG10, Observation

SHIPPED = likelihood.calibration()


def test_a_calibration_survives_being_written() -> None:
    assert parse_calibration(calibration.dump(SHIPPED)) == SHIPPED


def _observations(row: str, count: int = 40, score: float = 0.8) -> list[Observation]:
    """Genuine pins have `score` in `row` and others its negative; a second row has random scores."""
    noise = np.random.default_rng(1).uniform(-1, 1, 2 * count)
    return [
        Observation(
            [
                Measurement(row, "", score if number % 2 else -score),
                Measurement("enamel_fill", "", float(noise[number])),
            ],
            genuine=bool(number % 2),
        )
        for number in range(2 * count)
    ]


def test_a_fit_trusts_the_row_that_separates_and_leaves_unseen_ones_alone() -> None:
    start = _starting_at(0.3)
    fitted = calibration.fit(_observations("edge_roughness"), start, "test")
    assert fitted.version == "test"
    assert fitted.rows["edge_roughness"].against > start.rows["edge_roughness"].against + 0.1
    assert fitted.rows["edge_roughness"].favour > start.rows["edge_roughness"].favour
    assert fitted.rows["stamp_match"] == start.rows["stamp_match"]
    assert fitted.groups == start.groups


def test_a_fit_never_turns_a_row_round() -> None:
    """If fakes have the good scores, the row loses its weight but does not count the other way."""
    contrary = [
        dataclasses.replace(seen, genuine=not seen.genuine) for seen in _observations("edge_roughness")
    ]
    fitted = calibration.fit(contrary, SHIPPED, "contrary")
    assert fitted.rows["edge_roughness"].favour == 0
    assert 0 <= fitted.rows["edge_roughness"].against < SHIPPED.rows["edge_roughness"].against


def test_no_row_comes_to_weigh_more_for_a_pin_than_against_it() -> None:
    """Good scores occur only for genuine pins; the fit may not raise `favour` above `against`."""
    observations = [
        Observation([Measurement("edge_roughness", "", score)], genuine=genuine)
        for genuine, score in [(True, 1.0), (True, 1.0), (False, 0.0), (True, -1.0)] * 50
    ]
    start = _starting_at(0.3)
    found = calibration.fit(observations, start, "for").rows["edge_roughness"]
    assert 0.1 < found.favour <= found.against


def test_no_row_can_be_fitted_beyond_the_heaviest() -> None:
    observations = _observations("edge_roughness", 2000, 0.5)  # a rating of 3 would need a heavier row
    fitted = calibration.fit(observations, _starting_at(MAX_LOG10), "heavy")
    assert fitted.rows["edge_roughness"].against == MAX_LOG10


def _starting_at(against: float) -> Calibration:
    """The shipped calibration with other bounds for `edge_roughness`."""
    rows = SHIPPED.rows | {"edge_roughness": likelihood.Bounds(0.1, against)}
    return dataclasses.replace(SHIPPED, rows=rows)


def test_a_fit_needs_both_kinds() -> None:
    genuine = [seen for seen in _observations("enamel_fill") if seen.genuine]
    with pytest.raises(ValueError, match="genuine pins and of others"):
        calibration.fit(genuine, SHIPPED, "one-sided")


def test_each_probability_comes_from_a_fit_that_saw_no_photograph_of_the_pin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[set[str]] = []
    fit = calibration.fit

    def watched(observations: list[Observation], start: Calibration, version: str) -> Calibration:
        seen.append({one.pin for one in observations})
        return fit(observations, start, version)

    monkeypatch.setattr(calibration, "fit", watched)
    observations = [
        dataclasses.replace(one, pin=str(number // 3))  # three photographs of a pin
        for number, one in enumerate(_observations("edge_roughness", 15))
    ]
    rated = calibration.out_of_fold(observations, likelihood.reasoned(), 5)
    assert [len(pins) for pins in seen] == [8] * 5
    assert all(sum(pin not in pins for pins in seen) == 1 for pin in {one.pin for one in observations})
    assert rated.figures()["ROC AUC"]["value"] == 1.0
    assert rated.pins == [one.pin for one in observations]


def test_folds_do_not_make_a_row_of_noise_look_good() -> None:
    """The scores are independent of the truth: a fit on all of them would seem to separate, folds do not."""
    random = np.random.default_rng(3)
    observations = [
        Observation(
            [Measurement(name, "", float(random.uniform(-1, 1))) for name in SHIPPED.rows],
            genuine=bool(random.random() < 0.5),
            pin=str(number),
        )
        for number in range(60)
    ]
    found = calibration.out_of_fold(observations, likelihood.reasoned(), 5).figures()["ROC AUC"]
    assert found["low"] < 0.5 < found["high"]


def test_more_folds_than_pins_are_refused() -> None:
    with pytest.raises(ValueError, match="3 folds need as many pins"):
        calibration.out_of_fold(_observations("enamel_fill")[:2], SHIPPED, 3)
