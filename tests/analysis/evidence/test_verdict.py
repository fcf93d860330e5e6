"""Tests of the verdict: which claims which evidence allows, and that no evidence allows none."""

from __future__ import annotations

import dataclasses

import pytest

from pinactors.analysis.evidence import advice, likelihood, verdict
from pinactors.analysis.evidence.likelihood import Bounds, Measurement
from pinactors.analysis.evidence.photographs import Photographs
from pinactors.analysis.model import Match, PreparedView, StampReading
from pinactors.protocol import BASIC_NOTE, PACKET_LIMIT, AuthenticationResult, Verdict, View
from tests import drawing
from tests.analysis import prepared

SHIPPED = likelihood.calibration()
SEED = 4
READ = prepared.reading(*drawing.STAMP, code="FAC-060122-15240")
AVOIDED = ("unable to provide an authenticity verification", "no pin visible")


@pytest.fixture(scope="module")
def front() -> PreparedView:
    return prepared.photo(drawing.pin_front(SEED), View.FRONT, angle=6)


@pytest.fixture(scope="module")
def back() -> PreparedView:
    return prepared.photo(drawing.pin_back(SEED), View.BACK, angle=-5)


@pytest.fixture(scope="module")
def angled() -> PreparedView:
    return prepared.photo(drawing.pin_front(SEED), View.ANGLED, tilt=35)


@pytest.fixture(scope="module")
def known() -> Match:
    return prepared.match(
        {
            View.FRONT: prepared.reference(drawing.pin_front(SEED), View.FRONT),
            View.BACK: prepared.reference(drawing.pin_back(SEED), View.BACK),
        }
    )


UNKNOWN = Match(reason="No pin of the catalogue fits this photograph.")


def spoken(result: AuthenticationResult) -> str:
    advice = result.advice if isinstance(result.advice, list) else []
    return " ".join([*advice, *(row.finding for row in result.evidence)])


def check(result: AuthenticationResult) -> None:
    """Asserts what holds for every result."""
    assert 3 <= result.authenticity_rating <= 97
    assert 0 <= result.confidence <= 0.95
    assert result.authentic == (result.verdict is Verdict.AUTHENTIC)
    assert result.calibration == SHIPPED.version
    names = [row.name for row in result.evidence]
    assert len(names) == len(set(names))
    for row in result.evidence:
        bounds = SHIPPED.rows[row.name]
        assert -bounds.against <= row.weight <= bounds.favour
        assert row.assessed or row.weight == 0
        assert row.finding
        assert not row.assessed or row.region, row.name
    assert not any(words in spoken(result).lower() for words in AVOIDED)
    assert len(result.encode()) <= PACKET_LIMIT


def test_a_pin_like_the_catalogues_is_authentic(
    front: PreparedView, back: PreparedView, angled: PreparedView, known: Match
) -> None:
    result = verdict.assess(front, back, angled, READ, known)
    check(result)
    assert result.verdict is Verdict.AUTHENTIC
    assert result.authenticity_rating >= 80
    assert result.confidence > 0.5
    assert {row.name for row in result.evidence} == set(SHIPPED.rows)


def test_another_back_is_no_authentic_pin(front: PreparedView, angled: PreparedView, known: Match) -> None:
    fake = prepared.photo(drawing.pin_back(SEED, (), rim=True), View.BACK, angle=-5)
    result = verdict.assess(front, fake, angled, StampReading(), known)
    check(result)
    assert result.verdict is not Verdict.AUTHENTIC
    assert result.authenticity_rating < 50
    assert result.evidence[0].weight < -0.5
    assert result.evidence[0].region


def test_the_front_alone_is_undetermined(front: PreparedView, known: Match) -> None:
    for match in (known, UNKNOWN):
        result = verdict.assess(front, None, None, None, match)
        check(result)
        assert result.verdict is Verdict.UNDETERMINED
        assert result.confidence <= 0.40
        assert "back" in spoken(result)


def test_without_a_back_confidence_is_capped(front: PreparedView, angled: PreparedView, known: Match) -> None:
    result = verdict.assess(front, None, angled, None, known)
    check(result)
    assert result.verdict is Verdict.UNDETERMINED
    assert result.confidence <= 0.65


def test_without_the_catalogue_confidence_is_capped_and_little_is_said(
    front: PreparedView, back: PreparedView, angled: PreparedView
) -> None:
    result = verdict.assess(front, back, angled, READ, UNKNOWN)
    check(result)
    assert result.confidence <= 0.75
    assert UNKNOWN.reason in spoken(result)
    judged = {row.name for row in result.evidence if row.assessed}
    assert judged <= {
        "waffle_edge_runoff",
        "stamp_wording",
        "stamp_consistency",
        "edition_number",
        "edge_roughness",
    }


def test_a_stamp_is_called_unread_only_if_it_was_not_read(front: PreparedView, back: PreparedView) -> None:
    small = dataclasses.replace(back, quality=dataclasses.replace(back.quality, short_side=400.0))
    words = "OFFICIAL PIN TRADING"
    coded = prepared.reading(words, code="FAC-060122-15240")
    for stamp, unread in ((coded, False), (StampReading(), True), (prepared.reading(words), True)):
        result = verdict.assess(front, small, None, stamp, UNKNOWN)
        assert ("The stamp could not be read" in spoken(result)) is unread


def test_nothing_is_found_where_nothing_can_be_assessed() -> None:
    bare = prepared.empty(View.FRONT, score=0.3)
    result = verdict.assess(bare, None, None, None, UNKNOWN)
    check(result)
    assert not any(row.assessed for row in result.evidence)
    assert result.authenticity_rating == pytest.approx(50, abs=2)
    assert result.confidence == 0
    assert result.verdict is Verdict.UNDETERMINED


def test_an_edge_counts_little_without_a_catalogue_pin(front: PreparedView, known: Match) -> None:
    """Fur and leaves have rough edges by design, and there is no catalogue picture to compare them with."""

    def edge(match: Match) -> float:
        rows = verdict.measurements(Photographs(front, None, None, None, None), None, match)
        [score] = [row.score for row in rows if row.name == "edge_roughness"]
        assert score is not None
        return score

    assert edge(UNKNOWN) == pytest.approx(verdict.UNCLAIMED_ROUGHNESS_FACTOR * edge(known))
    assert edge(known) != 0


def test_a_blank_table_is_not_a_pin() -> None:
    tables = [dataclasses.replace(prepared.empty(view), sha256=str(view)) for view in View]
    tables[1] = dataclasses.replace(tables[1], rgb=tables[1].rgb // 2)
    tables[2] = dataclasses.replace(tables[2], rgb=tables[2].rgb // 3)
    result = verdict.assess(tables[0], tables[1], tables[2], StampReading(), UNKNOWN)
    check(result)
    assert result.verdict is Verdict.NOT_A_PIN
    assert result.authenticity_rating == likelihood.LOWEST_RATING
    assert result.confidence > 0.5


def test_a_pin_missed_in_one_photograph_is_still_a_pin(back: PreparedView, angled: PreparedView) -> None:
    result = verdict.assess(prepared.empty(View.FRONT), back, angled, READ, UNKNOWN)
    check(result)
    assert result.verdict is not Verdict.NOT_A_PIN
    assert "Nothing stands out from the background." in spoken(result)


def test_the_same_photograph_twice_is_no_back(front: PreparedView, known: Match) -> None:
    again = dataclasses.replace(front, view=View.BACK)
    result = verdict.assess(front, again, None, StampReading(), known)
    check(result)
    assert result.verdict is Verdict.UNDETERMINED
    assert result.confidence <= 0.40
    assert "sent as front and back" in spoken(result)


@pytest.mark.parametrize("seed", [0, 3, SEED])
def test_a_second_photograph_of_the_front_is_no_back(seed: int) -> None:
    """Outlines that are their own mirror image fit as well as the back's."""
    photographed = drawing.pin_front(seed)
    first = prepared.photo(photographed, View.FRONT, angle=6)
    second = prepared.photo(photographed, View.BACK, angle=-15, tilt=6, seed=2)
    tilted = prepared.photo(photographed, View.ANGLED, tilt=35)
    catalogued = prepared.match(
        {
            View.FRONT: prepared.reference(photographed, View.FRONT),
            View.BACK: prepared.reference(drawing.pin_back(seed), View.BACK),
        }
    )
    for match in (catalogued, UNKNOWN):
        result = verdict.assess(first, second, tilted, StampReading(), match)
        check(result)
        assert result.verdict is Verdict.UNDETERMINED
        assert result.confidence <= verdict.CAP_NO_BACK
        assert "The photograph sent as back shows the front" in spoken(result)
        assert not any(row.assessed for row in result.evidence if row.name in verdict.BACK_ROWS)


def test_the_back_of_another_pin_is_not_counted(front: PreparedView) -> None:
    other = prepared.photo(drawing.pin_back(1), View.BACK)  # a rectangle behind a bear
    result = verdict.assess(front, other, None, READ, UNKNOWN)
    check(result)
    assert result.verdict is Verdict.UNDETERMINED
    assert "different pins" in spoken(result)
    assert not any(row.assessed for row in result.evidence if row.name.startswith(("waffle", "stamp")))


def test_only_colours_are_judged_in_the_tilted_photograph_where_the_front_was_not_cut_out(
    back: PreparedView, angled: PreparedView, known: Match
) -> None:
    result = verdict.assess(prepared.empty(View.FRONT), back, angled, READ, known)
    check(result)
    rows = {row.name: row for row in result.evidence}
    assert rows["colour_regions"].assessed
    assert not any(
        rows[name].assessed for name in ("front_geometry", "front_lines", "front_proportions", "enamel_fill")
    )


def conclude(rows: list[Measurement], photographs: Photographs, match: Match) -> AuthenticationResult:
    return verdict.conclude(rows, photographs, match, SHIPPED)


def good() -> list[Measurement]:
    return [Measurement(name, "Good.", 1.0) for name in SHIPPED.rows]


def with_score(name: str, score: float) -> list[Measurement]:
    return [Measurement(name, "Bad.", score) if row.name == name else row for row in good()]


@pytest.mark.parametrize("name", sorted(verdict.DECIDING_ROWS))
@pytest.mark.parametrize("weight", [0.05, 0.9])
def test_one_strong_measurement_bars_authentic_whatever_it_weighs(
    name: str, weight: float, front: PreparedView, back: PreparedView, known: Match
) -> None:
    """The weights change with each calibration; what was measured on the pin does not."""
    bounds = Bounds(0.0, weight)
    weights = dataclasses.replace(SHIPPED, rows=SHIPPED.rows | {name: bounds}, authentic_from=0.01)
    photographs = Photographs(front, back, None, None, None)
    for score, barred in ((verdict.BARRING_SCORE, True), (verdict.BARRING_SCORE + 0.05, False)):
        result = verdict.conclude(with_score(name, score), photographs, known, weights)
        assert (result.verdict is Verdict.UNDETERMINED) is barred
        assert ("keeps it from being called genuine: bad." in result.summary) is barred


def test_a_slight_one_does_not(front: PreparedView, back: PreparedView, known: Match) -> None:
    photographs = Photographs(front, back, None, None, None)
    assert conclude(with_score("enamel_fill", -0.2), photographs, known).verdict is Verdict.AUTHENTIC


def test_much_against_a_pin_is_a_counterfeit_and_needs_back_and_catalogue(
    front: PreparedView, back: PreparedView, known: Match
) -> None:
    bad = [Measurement(name, "Bad.", -1.0) for name in SHIPPED.rows]
    assert conclude(bad, Photographs(front, back, None, None, None), known).verdict is Verdict.COUNTERFEIT
    assert conclude(bad, Photographs(front, None, None, None, None), known).verdict is Verdict.UNDETERMINED
    assert conclude(bad, Photographs(front, back, None, None, None), UNKNOWN).verdict is Verdict.UNDETERMINED
    assert conclude(good(), Photographs(front, None, None, None, None), known).verdict is Verdict.UNDETERMINED


@pytest.mark.parametrize("score", [0.0, 0.3])
def test_what_also_occurs_by_wear_makes_no_counterfeit_by_itself(
    score: float, front: PreparedView, back: PreparedView, known: Match
) -> None:
    worn = [
        Measurement(name, "Seen.", score if name in verdict.DECIDING_ROWS else -1.0) for name in SHIPPED.rows
    ]
    photographs = Photographs(front, back, None, None, None)
    assert SHIPPED.probability(SHIPPED.weigh(worn)) < SHIPPED.counterfeit_below
    result = conclude(worn, photographs, known)
    assert result.verdict is Verdict.UNDETERMINED
    assert result.authenticity_rating == round(100 * SHIPPED.counterfeit_below)
    assert advice.ONLY_WEAR_SENTENCE in result.summary
    copied = [dataclasses.replace(row, score=-0.6) if row.name == "front_line_width" else row for row in worn]
    result = conclude(copied, photographs, known)
    assert result.verdict is Verdict.COUNTERFEIT
    assert advice.ONLY_WEAR_SENTENCE not in result.summary


def test_little_seen_decides_nothing(front: PreparedView, back: PreparedView, known: Match) -> None:
    few = [Measurement(name, "Bad.", -1.0) for name in ("edge_roughness", "enamel_fill")]
    result = conclude(few, Photographs(front, back, None, None, None), known)
    assert result.confidence < verdict.MIN_DECIDING_CONFIDENCE
    assert result.verdict is Verdict.UNDETERMINED


def test_bad_photographs_lower_confidence(front: PreparedView, back: PreparedView, known: Match) -> None:
    poor = dataclasses.replace(back, quality=dataclasses.replace(back.quality, score=0.2))
    clear = conclude(good(), Photographs(front, back, None, None, None), known)
    blurred = conclude(good(), Photographs(front, poor, None, None, None), known)
    assert clear.confidence == pytest.approx(0.9)
    assert blurred.confidence == pytest.approx(0.55)
    assert clear.authenticity_rating == blurred.authenticity_rating


def test_what_stays_open_says_what_would_settle_it(front: PreparedView, back: PreparedView) -> None:
    result = conclude([], Photographs(front, back, None, None, None), UNKNOWN)
    text = spoken(result)
    assert result.verdict is Verdict.UNDETERMINED
    assert "tilted" in text
    assert "weigh it" in text
    assert UNKNOWN.reason in text


def test_the_fallback_decides_nothing_and_says_so(front: PreparedView, back: PreparedView) -> None:
    result = verdict.assess_basic(front, back)
    check(result)
    assert result.note == BASIC_NOTE
    assert result.verdict is Verdict.UNDETERMINED
    assert not result.authentic
    assert result.authenticity_rating == max(3, round(100 * result.confidence))


def test_a_demonstration_is_marked(front: PreparedView, known: Match) -> None:
    result = verdict.assess(front, None, None, None, dataclasses.replace(known, demonstration=True))
    assert result.demonstration is True


def test_the_calibration_given_is_the_one_that_decides(
    front: PreparedView, back: PreparedView, known: Match
) -> None:
    strict = dataclasses.replace(SHIPPED, version="strict", authentic_from=0.999)
    assert verdict.assess(front, back, None, READ, known).verdict is Verdict.AUTHENTIC
    result = verdict.assess(front, back, None, READ, known, strict)
    assert result.verdict is Verdict.UNDETERMINED
    assert result.calibration == "strict"


def test_nothing_is_authentic_whose_front_was_not_compared(
    front: PreparedView, back: PreparedView, known: Match
) -> None:
    """The back's evidence and an identified match do not replace the comparison of the front."""
    unseen = [
        dataclasses.replace(row, score=None) if row.name in verdict.FRONT_ROWS else row for row in good()
    ]
    weights = dataclasses.replace(SHIPPED, authentic_from=0.01)
    photographs = Photographs(front, back, None, None, None)
    assert verdict.conclude(unseen, photographs, known, weights).verdict is Verdict.UNDETERMINED
    assert verdict.conclude(good(), photographs, known, weights).verdict is Verdict.AUTHENTIC
    assert verdict.conclude(good(), photographs, UNKNOWN, weights).verdict is Verdict.UNDETERMINED


def test_a_catalogue_picture_taken_whole_is_not_compared(
    front: PreparedView, back: PreparedView, known: Match
) -> None:
    """Its mask is the whole picture, so outline, proportions and rim cannot be compared with it."""
    whole = {view: dataclasses.replace(seen, outlined=False) for view, seen in known.references.items()}
    result = verdict.assess(front, back, None, READ, dataclasses.replace(known, references=whole))
    check(result)
    assert result.verdict is Verdict.UNDETERMINED
    assert not any(row.assessed for row in result.evidence if row.name in verdict.FRONT_ROWS)
    assert "does not stand out from its background" in spoken(result)


def test_a_catalogue_picture_that_could_not_be_registered_is_not_said_to_be_missing(
    front: PreparedView, known: Match, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of the catalogue's back then, which may have a rim as well."""
    monkeypatch.setattr("pinactors.analysis.evidence.photographs.compare", lambda *_: None)
    rimmed = prepared.photo(drawing.pin_back(SEED, rim=True), View.BACK, angle=-5)
    result = verdict.assess(front, rimmed, None, READ, known)
    check(result)
    rows = {row.name: row for row in result.evidence}
    assert not rows["waffle_edge_runoff"].assessed
    assert "no catalogue picture" not in spoken(result)
    for side in ("front", "back"):
        assert f"The photograph of the {side} could not be registered on the catalogue's picture" in spoken(
            result
        )
    unseen = {view: picture for view, picture in known.references.items() if view is not View.BACK}
    result = verdict.assess(front, rimmed, None, READ, dataclasses.replace(known, references=unseen))
    assert {row.name: row.assessed for row in result.evidence}["waffle_edge_runoff"]


def test_a_front_stretched_as_no_casting_is_was_not_the_pin(
    front: PreparedView, back: PreparedView, known: Match, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registration is then wrong, so lines and colours were compared with the wrong places."""
    monkeypatch.setattr(verdict.proportions, "stretch", lambda *_: 0.2)
    result = verdict.assess(front, back, None, READ, known)
    check(result)
    assert result.verdict is Verdict.UNDETERMINED
    assert not any(row.assessed for row in result.evidence if row.name in verdict.FRONT_ROWS)


def test_what_cannot_be_decided_is_not_rated_as_if_it_were(
    front: PreparedView, back: PreparedView, known: Match
) -> None:
    bad = [Measurement(name, "Bad.", -1.0) for name in SHIPPED.rows]
    below, above = 100 * SHIPPED.counterfeit_below, 100 * SHIPPED.authentic_from
    for photographs, match in (
        (Photographs(front, None, None, None, None), known),
        (Photographs(front, back, None, None, None), UNKNOWN),
    ):
        assert conclude(bad, photographs, match).authenticity_rating == round(below)
        assert conclude(good(), photographs, match).authenticity_rating == round(above) - 1
    both = Photographs(front, back, None, None, None)
    assert conclude(bad, both, known).authenticity_rating < below
    assert conclude(good(), both, known).authenticity_rating >= above
    few = [row for row in bad if row.name in ("waffle_absent", "waffle_edge_runoff")]
    lightest = min(verdict.DECIDING_ROWS, key=lambda name: SHIPPED.rows[name].against)
    for rows, rating in (
        (few, round(below)),  # too little was assessed
        ([row for row in good() if row.name not in verdict.FRONT_ROWS], round(above) - 1),
        (with_score(lightest, verdict.BARRING_SCORE), round(above) - 1),
    ):
        result = conclude(rows, both, known)
        assert result.verdict is Verdict.UNDETERMINED
        assert result.authenticity_rating == rating


def test_a_rating_is_not_rounded_up_to_that_of_a_verdict(
    front: PreparedView, back: PreparedView, known: Match
) -> None:
    photographs = Photographs(front, back, None, None, None)
    probability = SHIPPED.probability(SHIPPED.weigh(good()))
    strict = dataclasses.replace(SHIPPED, authentic_from=round(probability + 0.001, 3))
    result = verdict.conclude(good(), photographs, known, strict)
    assert result.verdict is Verdict.UNDETERMINED
    assert result.authenticity_rating < 100 * strict.authentic_from - 0.5
