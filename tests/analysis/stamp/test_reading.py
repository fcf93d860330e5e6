"""Stamps are read in whatever direction they run, and what is read is only what the grammar allows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pinactors.analysis.stamp import grammar, lines, ocr, reading, voting
from pinactors.analysis.stamp.ocr import ALPHABET
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared

LINES = ("OFFICIAL PIN TRADING", "2015 LE 300", "MADE IN CHINA", "FAC-060122-15240")


@pytest.mark.parametrize("angle", [0, 8, 90, 180, 270])
def test_a_stamp_is_read_in_whatever_direction_it_runs(angle: float) -> None:
    read = reading.read(prepared.photo(drawing.pin_back(4, LINES), View.BACK, angle=angle))
    assert read.factory_code == "FAC-060122-15240"
    assert read.factory_code_confidence > 0.8
    assert (read.year, read.edition_size, read.origin) == (2015, 300, "CHINA")
    assert read.text_height > 10


def test_lines_are_told_where_they_are_and_in_reading_order() -> None:
    back = prepared.photo(drawing.pin_back(4, LINES), View.BACK)
    read = reading.read(back)
    heights = [float(line.quad[:, 1].mean()) for line in read.lines]
    assert heights == sorted(heights)
    assert read.lines[0].text.replace(" ", "") == "OFFICIALPINTRADING"
    assert back.pin is not None
    for line in read.lines:
        x, y = line.quad.mean(axis=0).astype(int)
        assert back.pin.mask[y, x] == 255


def test_a_plain_back_reads_nothing() -> None:
    read = reading.read(prepared.photo(drawing.pin_back(4, (), waffle=False), View.BACK))
    assert (read.lines, read.factory_code, read.year, read.brand) == ((), None, None, None)
    assert read.reason


def test_without_a_pin_nothing_is_read() -> None:
    read = reading.read(prepared.empty(View.BACK))
    assert read.lines == ()
    assert read.reason == "Nothing stands out from the background."


@pytest.mark.parametrize(
    ("code", "made"),
    [
        ("FAC-060122-15240", (2015, 240)),
        ("FAC-012185-99139", (1999, 139)),
        ("FAC-012185-69001", (2069, 1)),
        ("FAC-012185-70366", (1970, 366)),
        ("FAC-012000-03876", (2003, None)),
        ("FAC-012000-03000", (2003, None)),
    ],
)
def test_a_code_names_year_and_day(code: str, made: tuple[int, int | None]) -> None:
    assert grammar.manufacture(code) == made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LE 750", grammar.Edition(None, 750)),
        ("2015LE300", grammar.Edition(None, 300)),
        ("LE 7SO", grammar.Edition(None, 750)),
        ("LIMITED EDITION OF 1500", grammar.Edition(None, 1500)),
        ("12/300", grammar.Edition(12, 300)),
        ("/300", grammar.Edition(None, 300, blank=True)),
        ("301 / 300", grammar.Edition(301, 300)),
        ("24/12/2015", None),
        ("LE SOO", None),
        ("OFFICIAL", None),
    ],
)
def test_editions(text: str, expected: grammar.Edition | None) -> None:
    assert grammar.edition(text) == expected


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("© ACME 2015", 2015),
        ("© ACME 2O15", 2015),
        ("2015LE300", 2015),
        ("FAC-012000-20150", None),
        ("1215", None),
        ("12015", None),
        ("ACME", None),
    ],
)
def test_years_stand_by_themselves(text: str, year: int | None) -> None:
    assert grammar.year(text) == year


@pytest.mark.parametrize(
    ("text", "brand"),
    [
        ("© ACME 2015", "ACME"),
        ("(c) KITE & CO 2005", "KITE & CO"),
        ("O NORTHSTAR 2003", "NORTHSTAR"),
        ("@NORTHSTAR 2003", "NORTHSTAR"),
        ("ORBIT 2003", None),
        ("CACME 2003", None),
        ("©LUMEN PARKS", "LUMEN PARKS"),
        ("OFFICIAL PIN TRADING", None),
        ("2015", None),
    ],
)
def test_brands_stand_behind_the_sign(text: str, brand: str | None) -> None:
    assert grammar.brand(text) == brand


def test_origin() -> None:
    assert grammar.origin("MADE IN CHINA") == "CHINA"
    assert grammar.origin("MADEIN TAIWAN") == "TAIWAN"
    assert grammar.origin("MADE BY HAND") is None


def test_distance() -> None:
    assert grammar.distance("TRADING", "TRADING") == 0
    assert grammar.distance("TRADING", "TRIDCNI") == 3
    assert grammar.distance("", "ABC") == 3


def lattice(text: str, doubts: dict[int, dict[str, float]] | None = None) -> ocr.Reading:
    """A reader's answer: each sign for one step, a blank after it; `doubts` shares a sign's step out."""
    rows = np.full((2 * len(text) + 1, 2 + len(ALPHABET)), 1e-4, np.float32)
    rows[::2, 0] = 1.0
    for index, sign in enumerate(text):
        shares = (doubts or {}).get(index, {sign: 1.0})
        for letter, share in shares.items():
            rows[2 * index + 1, 1 + ALPHABET.index(letter)] = share
    return ocr.Reading(text, 0.9, rows, np.arange(1, 2 * len(text), 2))


def test_the_grammar_takes_the_likelier_digit_over_a_letter() -> None:
    text = "FAC-O60122-15240"
    fit = grammar.fit_code(lattice(text, {4: {"O": 0.7, "0": 0.2, "6": 0.1}}).probabilities)
    assert fit is not None
    assert fit.code == "FAC-060122-15240"
    assert 0.8 < fit.confidence < 1


def test_equal_digits_in_a_row_are_not_merged() -> None:
    fit = grammar.fit_code(lattice("FAC-000000-11111").probabilities)
    assert fit is not None
    assert fit.code == "FAC-000000-11111"


def test_what_stands_around_a_code_is_free() -> None:
    fit = grammar.fit_code(lattice("NO: FAC-060122-15240 A".replace(" ", "-")).probabilities)
    assert fit is not None
    assert fit.code == "FAC-060122-15240"
    assert grammar.fit_code(lattice("FAC-06").probabilities) is None


def pooled_code(readings: list[ocr.Reading]) -> voting.Agreed[str] | None:
    return voting.pooled([sight for each in readings if (sight := voting.code_sight(each)) is not None])


def test_no_code_is_made_of_other_words() -> None:
    assert pooled_code([lattice("OFFICIAL-PIN-TRADING")] * 3) is None
    assert pooled_code([]) is None


def test_only_what_readings_agree_on_counts_as_read() -> None:
    true = lattice("FAC-060122-15240")
    assert pooled_code([true]) is None
    both = pooled_code([true, true, true])
    assert both is not None
    assert both.value == "FAC-060122-15240"
    assert both.agreement > voting.CODE_READ
    other = lattice("FAC-080122-15240")
    torn = pooled_code([true, true, true, other, other])
    assert torn is not None
    assert torn.value == "FAC-060122-15240"
    assert voting.LIKELY <= torn.agreement < voting.CODE_READ


def test_each_digit_is_judged_by_itself() -> None:
    """Readings that err in different places make a number that none of them shows."""
    readings = [lattice(f"FAC-{day}-152{last}") for day, last in (("060122", "90"), ("080122", "40"))]
    readings += [lattice("FAC-060127-15240")] * 2 + [lattice("FAC-060122-15240", {15: {"0": 0.9}})]
    found = pooled_code(readings)
    assert found is not None
    assert found.value == "FAC-060122-15240"
    assert found.agreement == pytest.approx(3 / 5, abs=0.01)


def test_of_a_group_with_a_digit_missing_nothing_is_told() -> None:
    """The grammar spreads the digits there are over all places: which is missing cannot be known. The group
    beside it is as good as any."""
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
    blank = voting.edition([lattice("/300")] * 2)
    assert blank is not None
    assert blank.value == grammar.Edition(None, 300, blank=True)


def test_a_brand_is_what_most_readings_show() -> None:
    shown = [lattice(text) for text in ("©ACME", "©ACME", "©ACNE")]
    found = voting.brand(shown)
    assert found is not None
    assert (found.value, round(found.agreement, 2)) == ("ACME", 0.6)
    assert voting.brand(shown[1:]) is None


def test_a_clean_line_is_not_read_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """What readings agree on is settled: there are four other ways to see the two lines with numbers."""
    recognised = []
    recognise = ocr.recognise

    def counted(line: npt.NDArray[np.uint8]) -> ocr.Reading:
        recognised.append(line.shape)
        return recognise(line)

    monkeypatch.setattr(ocr, "recognise", counted)
    read = reading.read(prepared.photo(drawing.pin_back(4, LINES), View.BACK))
    assert read.factory_code == "FAC-060122-15240"
    assert len(recognised) < len(LINES) + 2 * 4


@pytest.mark.parametrize("on_its_head", [False, True])
def test_a_code_whose_end_the_detector_missed_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, on_its_head: bool
) -> None:
    find = lines.Source.find

    def cut(source: lines.Source, side: int, *, quarter: bool) -> list[npt.NDArray[np.float32]]:
        """The code's line without its last third."""
        quads = find(source, side, quarter=quarter)
        places = [float(quad[:, 1].mean()) for quad in quads]
        code = quads[places.index(min(places) if on_its_head else max(places))]
        kept, lost = ([1, 2], [0, 3]) if on_its_head else ([0, 3], [1, 2])
        code[lost] += 0.35 * (code[kept] - code[lost])
        return quads

    monkeypatch.setattr(lines.Source, "find", cut)
    back = prepared.photo(drawing.pin_back(4, LINES), View.BACK, angle=180 if on_its_head else 0)
    assert reading.read(back).factory_code == "FAC-060122-15240"


@pytest.mark.parametrize("angle", [0, 90])
def test_a_code_found_in_two_pieces_is_read_as_one(monkeypatch: pytest.MonkeyPatch, angle: float) -> None:
    """What a detector splits at a hyphen: the digits of each piece by themselves look like numbers."""
    find = lines.Source.find

    def split(source: lines.Source, side: int, *, quarter: bool) -> list[npt.NDArray[np.float32]]:
        quads = find(source, side, quarter=quarter)
        whole = [quad for quad in quads if "FAC-060122" in source.read([quad], turned=False)[0].best.text]
        pieces = []
        for quad in whole:
            for start, end in ((0.0, -0.66), (-0.38, 0.0)):
                pieces.append(lines.grown(quad, across=0.0, start=start, end=end))
        return [quad for quad in quads if all(quad is not one for one in whole)] + pieces

    monkeypatch.setattr(lines.Source, "find", split)
    read = reading.read(prepared.photo(drawing.pin_back(4, LINES), View.BACK, angle=angle))
    assert read.factory_code == "FAC-060122-15240"
    assert "FAC-060122-15240" in [line.text for line in read.lines]


def test_small_turned_letters_are_read_enlarged() -> None:
    """Lines that run upwards on a pin of 490 pixels: the second look finds them."""
    read = reading.read(prepared.photo(drawing.pin_back(4, LINES), View.BACK, angle=90, side=520))
    assert read.factory_code == "FAC-060122-15240"


def test_an_unsure_digit_weighs_little() -> None:
    unsure = lattice("FAC-060122-15240", {5: {"6": 0.6, "8": 0.2, "0": 0.2}})
    found = pooled_code([unsure] * 3)
    assert found is not None
    assert found.agreement < voting.CODE_READ


def test_a_letter_for_a_digit_is_no_sure_year() -> None:
    sure, repaired = (voting.year([lattice(text)] * 5) for text in ("2018", "201S"))
    assert sure is not None
    assert sure.agreement > voting.READ
    assert repaired is not None
    assert (repaired.value, repaired.agreement < voting.READ) == (2015, True)


def test_the_size_of_an_edition_is_no_year() -> None:
    assert grammar.year("LE 2000") is None
    assert grammar.find_edition("2000 LE 2000") == (grammar.Edition(None, 2000), slice(8, 12))
    assert grammar.year("2000 LE 2000") == 2000


@pytest.mark.parametrize(
    ("text", "wrong"), [("OFRICIAL PIN", True), ("MADE IN CHINA", False), ("NORTHSTAR 2011", False)]
)
def test_misspelt_words_show_a_poor_picture(text: str, wrong: bool) -> None:
    assert grammar.misspelt(text) == wrong
