"""The verdict: rows of evidence, probability, and advice on what is missing for a decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import UNSET

from pinactors.analysis.evidence import (
    advice,
    colours,
    linework,
    proportions,
    stamp_picture,
    stamp_text,
    surface,
    waffle,
)
from pinactors.analysis.evidence.comparison import (
    Comparison,
    Target,
    placed,
    register_again,
)
from pinactors.analysis.evidence.likelihood import (
    LOWEST_RATING,
    Calibration,
    Measurement,
    calibration,
    rating,
    scaled_by_quality,
)
from pinactors.analysis.evidence.linework import Drawing
from pinactors.analysis.evidence.photographs import Photographs, arrange
from pinactors.analysis.model import CatalogPin, Match, PreparedView, StampReading
from pinactors.protocol import BASIC_NOTE, AuthenticationResult, Evidence, Verdict, View

CAP_FRONT_ONLY, CAP_NO_BACK, CAP_NO_MATCH, CAP_EVERYTHING = 0.40, 0.65, 0.75, 0.95
"""Upper bounds of the confidence, by which photographs and catalogue pictures there are."""

FRONT_ROWS = (
    "front_geometry",
    "front_lines",
    "front_line_width",
    "front_proportions",
    "front_border",
    "colour_regions",
)
"""The rows that compare the front with the catalogue's; at least one is required to call a pin authentic."""

BACK_ROWS = (
    "waffle_edge_runoff",
    "waffle_regularity",
    "waffle_absent",
    "stamp_match",
    "stamp_wording",
    "stamp_consistency",
    "edition_number",
)

BARRING_SCORE = -0.6
"""A score this low bars the verdict `authentic` by itself, whatever its weight in the calibration: of 80
genuine simulated pins four had one in their back's pattern, one in its lines, none elsewhere."""

DECIDING_ROWS = frozenset((*FRONT_ROWS, *BACK_ROWS))
"""The rows that by themselves can bar `authentic` or lead to `counterfeit`: they measure another mould,
another stamp or another paint. Rough edges, uneven enamel and similar faults also occur on a factory's
rejects and by wear."""

MAX_PROBABILITY_BY_DECIDING_ROWS = 1 / 3
"""Probability by `DECIDING_ROWS` alone from which no pin is called counterfeit. Of 552 genuine simulated pins
12 were called counterfeit without this rule and 6 with it, of 600 counterfeits 335 and 296; it was chosen on
these. Limits of .15 to .6 gave 5 to 11 and 268 to 314."""

MIN_DECIDING_CONFIDENCE = 0.25
"""Confidence below which the verdict is `undetermined`, whatever the probability."""

UNCLAIMED_ROUGHNESS_FACTOR = 0.2
"""Factor for a rough edge if no catalogue pin is identified: hair, fur and leaves have rough edges by design
(of 51 real pins that a catalogue lacks, three)."""

GOOD_QUALITY = 0.5
"""Quality of a photograph from which finding no pin in it is evidence that there is none."""


def assess(
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
    match: Match,
    weights: Calibration | None = None,
) -> AuthenticationResult:
    """The verdict by all photographs and the catalogue. If `weights` is None, the shipped ones are used."""
    photographs = arrange(front, back, angled, match)
    return conclude(measurements(photographs, stamp, match), photographs, match, weights or calibration())


def assess_basic(front: PreparedView, back: PreparedView | None) -> AuthenticationResult:
    """The result without reading text and without the catalogue. The rating is 100 x confidence, as the
    protocol defines for this fallback, and the verdict is `undetermined` unless no pin was photographed."""
    result = assess(front, back, None, None, Match(reason="The catalogue was not searched."))
    result.note = BASIC_NOTE
    if result.verdict is not Verdict.NOT_A_PIN:
        result.verdict = Verdict.UNDETERMINED
        result.authentic = False
        result.authenticity_rating = rating(result.confidence)
    return result


def measurements(photographs: Photographs, stamp: StampReading | None, match: Match) -> list[Measurement]:
    """Every row, in the table's order, assessed or not, each multiplied by its photograph's quality and with
    its place."""
    front = _of_front(photographs, match)
    views = [view for view in (photographs.front, photographs.back) if view is not None]
    references = match.references if match.pin is not None else {}
    pictures = {view: Target(reference) for view, reference in references.items()}
    edge = surface.edge_roughness(
        photographs.front, photographs.back, photographs.angled, references.get(View.FRONT)
    )
    best = max(view.quality.score for view in views) * (
        UNCLAIMED_ROUGHNESS_FACTOR if match.pin is None else 1.0
    )
    rows = [
        *_of_back(photographs.back, photographs.back_comparison, stamp, match.pin, pictures.get(View.BACK)),
        *(scaled_by_quality(row, photographs.front.quality.score) for row in front),
        scaled_by_quality(edge, best),
    ]
    compared = {
        View.FRONT: (photographs.front, photographs.front_comparison, pictures.get(View.FRONT)),
        View.BACK: (photographs.back, photographs.back_comparison, pictures.get(View.BACK)),
        View.ANGLED: (photographs.angled, photographs.angled_comparison, None),
    }
    return [placed(row, *compared[_view_of(row)]) for row in rows]


def _view_of(row: Measurement) -> View:
    if row.region is not None:
        return row.region.view
    return View.BACK if row.name in BACK_ROWS else View.FRONT


def _of_back(
    back: PreparedView | None,
    comparison: Comparison | None,
    stamp: StampReading | None,
    pin: CatalogPin | None,
    picture: Target | None,
) -> list[Measurement]:
    if back is None or back.pin is None:
        return [Measurement(name, "there is no usable photograph of the back") for name in BACK_ROWS]
    reading = stamp or StampReading(reason="the text was not read")
    stamped = stamp_picture.measure(comparison)
    legible = stamp_text.is_legible(reading)
    pattern = waffle.measure(
        back, comparison, stamped.quads if stamped else (), picture=picture, legible=legible
    )
    rows = [
        *waffle.rows(pattern),
        stamp_picture.unread(picture, stamp)
        if comparison is None and picture is not None and picture.reference.outlined
        else stamp_picture.row(comparison, stamped, reading, pin),
        stamp_text.wording(back, reading, pin),
        stamp_text.consistency(back, reading, pin),
        stamp_text.edition_number(back, reading),
    ]
    return [scaled_by_quality(row, back.quality.score) for row in rows]


def _of_front(photographs: Photographs, match: Match) -> list[Measurement]:
    comparison, drawing = _traced(photographs.front_comparison)
    tilted, tilted_drawing = _traced(photographs.angled_comparison)
    metals = colours.metal_tones(match.references)
    rows = [
        *linework.rows(comparison, drawing),
        linework.width([(comparison, drawing), (tilted, tilted_drawing)], metals),
        proportions.row(comparison, drawing),
    ]
    comparison, tilted = _by_drawing(comparison, drawing), _by_drawing(tilted, tilted_drawing)
    return [
        *rows,
        proportions.border(comparison, drawing),
        colours.regions(comparison, tilted, metals),
        surface.enamel_fill(comparison, tilted, metals),
    ]


def _traced(comparison: Comparison | None) -> tuple[Comparison | None, Drawing | None]:
    """The comparison with its drawing, if that could be traced. Both are None if the drawing is stretched
    more than any casting is: then another object's outline and lines were taken for the pin's."""
    drawing = linework.trace(comparison) if comparison is not None else None
    if (
        comparison is not None
        and drawing is not None
        and proportions.stretch(comparison, drawing) > proportions.IMPOSSIBLE_STRETCH
    ):
        return None, None
    return comparison, drawing


def _by_drawing(comparison: Comparison | None, drawing: Drawing | None) -> Comparison | None:
    """The comparison registered again by its drawing, if that could be traced."""
    if comparison is None or drawing is None:
        return comparison
    return register_again(comparison, drawing.correction)


def bars(measurement: Measurement) -> bool:
    """Whether a measurement by itself prevents the verdict `authentic`."""
    return (
        measurement.name in DECIDING_ROWS
        and measurement.score is not None
        and measurement.score <= BARRING_SCORE
    )


def _barring(rows: Sequence[Measurement]) -> str:
    """The text of the row that by itself prevents the verdict `authentic`, the worst if several do; empty if
    none does."""
    barring = sorted(filter(bars, rows), key=lambda row: row.score or 0.0)
    return barring[0].text if barring else ""


def _only_wear(evidence: Sequence[Evidence], weights: Calibration) -> bool:
    """Whether a pin is not called counterfeit because what speaks against it also occurs by wear."""
    deciding = [row for row in evidence if row.name in DECIDING_ROWS]
    return weights.probability(deciding) >= MAX_PROBABILITY_BY_DECIDING_ROWS


def conclude(
    rows: Sequence[Measurement], photographs: Photographs, match: Match, weights: Calibration
) -> AuthenticationResult:
    """Weighs the rows and computes rating, confidence, verdict and advice."""
    evidence = weights.weigh(rows)
    probability = weights.probability(evidence)
    confidence = _confidence(evidence, photographs, match, weights)
    verdict = _verdict(evidence, probability, confidence, photographs, match, weights)
    barring = _barring(rows) if verdict is Verdict.AUTHENTIC else ""
    only_wear = verdict is Verdict.COUNTERFEIT and _only_wear(evidence, weights)
    if barring or only_wear:
        verdict = Verdict.UNDETERMINED
    rated = probability
    if verdict is Verdict.UNDETERMINED:
        # The rating must not suggest a decision, above all if a photograph or a catalogue picture is missing:
        # the weights were fitted to pins that have both sides and all pictures.
        rated = min(max(probability, weights.counterfeit_below), weights.authentic_from - 0.01)
    if verdict is Verdict.NOT_A_PIN:
        confidence = min(
            _emptiness(photographs),
            CAP_EVERYTHING if photographs.back or photographs.angled else CAP_FRONT_ONLY,
        )
    return AuthenticationResult(
        authentic=verdict is Verdict.AUTHENTIC,
        authenticity_rating=LOWEST_RATING if verdict is Verdict.NOT_A_PIN else rating(rated),
        confidence=round(confidence, 2),
        verdict=verdict,
        evidence=evidence,
        summary=advice.summary(evidence, verdict, photographs, match, barring=barring, only_wear=only_wear),
        advice=advice.recommendations(evidence, verdict, photographs, match),
        calibration=weights.version,
        demonstration=match.demonstration or UNSET,
    )


def _views(photographs: Photographs) -> list[PreparedView]:
    return [view for view in (photographs.front, photographs.back, photographs.angled) if view is not None]


def _emptiness(photographs: Photographs) -> float:
    """The confidence that no pin was photographed: mean quality of the views without any pin-like region; 0
    unless the front and most views are so. A pin whose outline was not found is a pin-like region."""
    without = [view for view in _views(photographs) if view.empty]
    if not photographs.front.empty or 2 * len(without) <= len(_views(photographs)):
        return 0.0
    return float(np.mean([view.quality.score for view in without]))


def _confidence(
    evidence: Sequence[Evidence], photographs: Photographs, match: Match, weights: Calibration
) -> float:
    """The share of the weight that could be assessed, times the photographs' mean quality, bounded."""
    quality = float(np.mean([view.quality.score for view in _views(photographs)]))
    cap = CAP_EVERYTHING
    if match.pin is None:
        cap = CAP_NO_MATCH
    if photographs.back is None or photographs.back.pin is None:
        cap = CAP_NO_BACK if photographs.angled is not None else CAP_FRONT_ONLY
    return min(weights.assessed_share(evidence) * quality, cap)


def _decidable(photographs: Photographs, match: Match) -> bool:
    """Whether a pin may be called genuine or counterfeit: its back was photographed, and a catalogue pin is
    identified. Rough edges alone may also come from wear or from a bad cut-out."""
    return photographs.back is not None and photographs.back.pin is not None and match.pin is not None


def _verdict(
    evidence: Sequence[Evidence],
    probability: float,
    confidence: float,
    photographs: Photographs,
    match: Match,
    weights: Calibration,
) -> Verdict:
    if match.pin is None and _emptiness(photographs) >= GOOD_QUALITY:
        return Verdict.NOT_A_PIN
    if not _decidable(photographs, match) or confidence < MIN_DECIDING_CONFIDENCE:
        return Verdict.UNDETERMINED
    if probability < weights.counterfeit_below:
        return Verdict.COUNTERFEIT
    compared = any(row.assessed and row.name in FRONT_ROWS for row in evidence)
    if probability >= weights.authentic_from and compared:
        return Verdict.AUTHENTIC
    return Verdict.UNDETERMINED
