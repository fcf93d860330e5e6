"""Tests of fitting the probability of a catalogue match, on drawn pins."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pytest

from pinactors.analysis.matching import probability
from pinactors.catalog.importing.importer import import_catalog
from pinactors.evaluation import matching
from pinactors.evaluation.dataset import LabelledPhotoSet, PinKind
from pinactors.protocol import View
from tests import drawing
from tests.catalog import folders

PINS = range(3)
UNKNOWN = 11


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> list[matching.ComparedPhoto]:
    """The measurements of photographs of two pins in the catalogue and of one that it lacks."""
    folder = tmp_path_factory.mktemp("pins")
    import_catalog(folders.write_folder(folder / "in", PINS, back=False), folder / "catalog", workers=1)
    shown = [*((seed, PinKind.GENUINE) for seed in (0, 2)), (UNKNOWN, PinKind.NOT_IN_CATALOG)]
    photos = []
    for seed, kind in shown:
        front = {View.FRONT: folders.photographed(seed, folder / f"{seed}.png")}
        photos.append(
            LabelledPhotoSet(chosen(seed), kind, None if seed == UNKNOWN else f"T{seed:03d}", (), front)
        )
    return [matching.compare(folder / "catalog", photo) for photo in photos]


def chosen(seed: int) -> str:
    """A photo id for which the photograph is also compared with its pin in other hues."""
    names = (f"{seed}-{number}" for number in range(100))
    return next(name for name in names if zlib.crc32(name.encode()) % matching.RECOLOURED_EVERY == 0)


def test_a_photograph_has_its_pin_and_the_pin_in_other_hues(compared: list[matching.ComparedPhoto]) -> None:
    *known, unknown = compared
    chroma = probability.NAMES.index("chroma")
    for one in known:
        assert one.kind is PinKind.GENUINE
        rights = [values for values, right in one.candidates if right]
        assert len(rights) == 1
        assert one.recoloured is not None
        assert one.recoloured[chroma] < rights[0][chroma] - 0.3
    assert not any(right for _, right in unknown.candidates)
    assert unknown.recoloured is None


def test_what_is_fitted_tells_the_pin_from_the_others_and_from_its_recoloured_picture(
    compared: list[matching.ComparedPhoto],
) -> None:
    fitted = matching.fit(compared)["front"]
    assert tuple(fitted["coefficients"]) == probability.NAMES
    assert fitted["coefficients"]["chroma"] > 0

    def odds(values: list[float]) -> float:
        return float(fitted["intercept"] + np.dot(list(fitted["coefficients"].values()), values))

    for one in compared[:2]:
        right = max(odds(values) for values, known in one.candidates if known)
        assert one.recoloured is not None
        assert right > odds(one.recoloured)


def test_figures_are_of_pins_the_coefficients_were_not_fitted_to() -> None:
    """Made-up measurements: eight genuine pins, each with a right candidate of larger values and a wrong one,
    and two unknown pins."""
    chance = np.random.default_rng(1)

    def measured(middle: float) -> list[float]:
        return list(chance.normal(middle, 0.3, len(probability.NAMES)))

    given = [
        matching.ComparedPhoto(
            PinKind.GENUINE, f"P{pin}", ((measured(2.0), True), (measured(0.0), False)), measured(0.0)
        )
        for pin in range(8)
    ]
    given.append(matching.ComparedPhoto(PinKind.NOT_IN_CATALOG, "X", ((measured(0.0), False),)))
    given.append(matching.ComparedPhoto(PinKind.NOT_IN_CATALOG, "Y", ()))
    figures = matching.out_of_fold(given, 3)["front"]
    assert figures["recall@1"]["value"] == figures["claimed and right"]["value"] == 1
    assert figures["its picture in other hues, claimed"] == figures["claimed and wrong"]
    assert figures["its picture in other hues, claimed"]["n"] == 8
    assert figures["not in the catalogue, claimed"]["n"] == 2
    assert figures["not in the catalogue, claimed"]["value"] == 0


def test_hues_are_turned_and_lightness_stays() -> None:
    rgb = drawing.pin_front(2).rgb
    turned = matching.with_rotated_hues(rgb, np.pi)
    assert (
        np.abs(matching.with_rotated_hues(turned, np.pi).astype(int) - rgb).mean() < 12
    )  # colours outside sRGB are clipped
    grey = np.full((4, 4, 3), 90, np.uint8)
    assert np.abs(matching.with_rotated_hues(grey, 1.0).astype(int) - 90).max() <= 1


def test_the_shipped_coefficients_say_what_they_were_fitted_to() -> None:
    shipped = probability.shipped()
    assert tuple(shipped["front"]["coefficients"]) == probability.NAMES
    assert tuple(shipped["back"]["coefficients"]) == probability.BACK_NAMES
    assert shipped["front"]["fitted"]
    assert shipped["back"]["fitted"]


def test_photographs_without_a_candidate_of_their_own_fit_nothing() -> None:
    alone = matching.ComparedPhoto(PinKind.GENUINE, "A", ())
    other = matching.ComparedPhoto(PinKind.NOT_IN_CATALOG, "B", (([0.0] * len(probability.NAMES), False),))
    for given in ([alone], [alone, other]):
        with pytest.raises(ValueError, match="nothing to fit"):
            matching.fit(given)
        with pytest.raises(ValueError, match="nothing to fit"):
            matching.out_of_fold(given, 2)


def test_the_fit_finds_the_column_that_tells() -> None:
    chance = np.random.default_rng(3)
    rows = chance.normal(size=(400, 3))
    right = rows[:, 1] + 0.3 * chance.normal(size=400) > 0.5
    fitted = matching.logistic_fit(rows, right)
    assert fitted[2] > 5 * max(abs(fitted[1]), abs(fitted[3]))
    assert (((rows @ fitted[1:] + fitted[0]) > 0) == right).mean() > 0.9


def test_backs_are_fitted_and_judged_on_other_pins() -> None:
    """Made-up measurements: a pin's own back agrees in its lines, other candidates' backs do not."""
    chance = np.random.default_rng(2)

    def measured(lines: float) -> list[float]:
        return [lines + float(chance.normal(0, 0.1)), 0.1, 0.2, 1.0]

    given = [
        matching.ComparedPhoto(
            PinKind.GENUINE,
            f"P{pin}",
            (([1.0] * len(probability.NAMES), True), ([0.0] * len(probability.NAMES), False)),
            backs=((measured(0.8), True), (measured(0.2), False)),
        )
        for pin in range(12)
    ]
    fitted = matching.fit(given)["back"]
    assert tuple(fitted["coefficients"]) == probability.BACK_NAMES
    assert fitted["coefficients"]["inner_lines"] > 0
    (figure,) = matching.out_of_fold(given, 3)["back"].values()
    assert figure["value"] == 1.0
    fronts = [dataclasses.replace(photo, backs=()) for photo in given]
    assert set(matching.fit(fronts)) == set(matching.out_of_fold(fronts, 3)) == {"front"}
