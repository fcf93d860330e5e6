"""Tests of voting: a text counts as read only if several readings agree on it."""

from __future__ import annotations

import pytest

from pinactors.analysis.stamp import grammar, ocr, voting
from tests.analysis.stamp.lattice import lattice


def pooled_code(readings: list[ocr.Reading]) -> voting.Pooled[str] | None:
    return voting.pool(
        [number_reading for each in readings if (number_reading := voting.code_reading(each)) is not None]
    )


def test_no_code_is_made_of_other_words() -> None:
    assert pooled_code([lattice("OFFICIAL-PIN-TRADING")] * 3) is None
    assert pooled_code([]) is None


def test_only_what_readings_agree_on_counts_as_read() -> None:
    true = lattice("FAC-060122-15240")
    assert pooled_code([true]) is None
    both = pooled_code([true, true, true])
    assert both is not None
    assert both.value == "FAC-060122-15240"
    assert both.agreement > voting.CODE_AGREEMENT
    other = lattice("FAC-080122-15240")
    torn = pooled_code([true, true, true, other, other])
    assert torn is not None
    assert torn.value == "FAC-060122-15240"
    assert voting.LIKELY_AGREEMENT <= torn.agreement < voting.CODE_AGREEMENT


def test_each_digit_is_judged_by_itself() -> None:
    """Readings with errors at different digits combine to the right code."""
    readings = [lattice(f"FAC-{day}-152{last}") for day, last in (("060122", "90"), ("080122", "40"))]
    readings += [lattice("FAC-060127-15240")] * 2 + [lattice("FAC-060122-15240", {15: {"0": 0.9}})]
    found = pooled_code(readings)
    assert found is not None
    assert found.value == "FAC-060122-15240"
    assert found.agreement == pytest.approx(3 / 5, abs=0.01)


def test_of_a_group_with_a_digit_missing_nothing_is_told() -> None:
    """The grammar spreads the digits of a short group over all its places, so the missing place is unknown.
    The code's other, complete group counts like that of any reading."""
    whole, short = lattice("FAC-060122-15240"), lattice("FAC-06122-15240")
    found = pooled_code([whole, whole, short])
    assert found is not None
    assert (found.value, found.agreement > 0.95) == ("FAC-060122-15240", True)
    torn = pooled_code([whole, whole, lattice("FAC-06122-15290")])
    assert torn is not None
    assert torn.agreement == pytest.approx(2 / 3, abs=0.01)
    assert pooled_code([whole, short, short]) is None


def test_a_reading_of_another_shape_stands_against_every_digit() -> None:
    long, short = lattice("LE1500"), lattice("LE150")
    agreed = [voting.edition(readings) for readings in ([long] * 4, [long] * 3 + [short])]
    assert [found.value.size for found in agreed if found is not None] == [1500, 1500]
    assert [round(found.agreement, 2) for found in agreed if found is not None] == [1.0, 0.75]
    assert voting.edition([long, short]) is None


def test_numbered_editions_are_pooled_with_their_number() -> None:
    found = voting.edition([lattice("12/300"), lattice("17/300"), lattice("12/300")])
    assert found is not None
    assert found.value == grammar.Edition(12, 300)
    assert found.agreement == pytest.approx(2 / 3, abs=0.01)
    for text in ("LE25/300", "LE25OF300"):
        both = voting.edition([lattice(text)] * 2)
        assert both is not None
        assert both.value == grammar.Edition(25, 300)
    blank = voting.edition([lattice("/300")] * 2)
    assert blank is not None
    assert blank.value == grammar.Edition(None, 300, blank=True)


def test_a_brand_is_what_most_readings_show() -> None:
    shown = [lattice(text) for text in ("©ACME", "©ACME", "©ACNE")]
    found = voting.brand(shown)
    assert found is not None
    assert (found.value, round(found.agreement, 2)) == ("ACME", 0.6)
    assert voting.brand(shown[1:]) is None


def test_an_unsure_digit_weighs_little() -> None:
    unsure = lattice("FAC-060122-15240", {5: {"6": 0.6, "8": 0.2, "0": 0.2}})
    found = pooled_code([unsure] * 3)
    assert found is not None
    assert found.agreement < voting.CODE_AGREEMENT


def test_a_letter_for_a_digit_is_no_sure_year() -> None:
    sure, repaired = (voting.year([lattice(text)] * 5) for text in ("2018", "201S"))
    assert sure is not None
    assert sure.agreement > voting.READ_AGREEMENT
    assert repaired is not None
    assert (repaired.value, repaired.agreement < voting.READ_AGREEMENT) == (2015, True)
