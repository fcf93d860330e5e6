"""The verdict: gates, rows of evidence, probability, and what would settle what stays open."""

from __future__ import annotations

from collections.abc import Sequence

from pinactors.analysis import stampevidence
from pinactors.analysis.evidence import Calibration, Finding, calibration, rating
from pinactors.analysis.model import Match, PreparedView, StampReading
from pinactors.protocol import BASIC_NOTE, AuthenticationResult, Evidence, Verdict

CAP_FRONT_ONLY, CAP_NO_BACK, CAP_NO_MATCH, CAP_EVERYTHING = 0.40, 0.65, 0.75, 0.95
"""How sure an answer may be at most, by what there was to see."""

STRONG_FINDING = -0.7
"""A single finding this bad bars the verdict `authentic`."""

AT_HOME = "At home: weigh it and hold it beside one bought from a shop; a light pin or a dull ring speaks against it."


def assess(
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
    match: Match,
) -> AuthenticationResult:
    """Everything that the photographs and the catalogue can tell."""
    return conclude(findings(front, back, angled, stamp, match), front, back, angled, match, calibration())


def assess_basic(front: PreparedView, back: PreparedView | None) -> AuthenticationResult:
    """What can be told without reading text and without the catalogue; rating = 100 x confidence, as the protocol
    fixes it for this fallback."""
    result = assess(front, back, None, None, Match(reason="the catalogue was not searched"))
    confidence = result.confidence
    result.verdict = Verdict.UNDETERMINED if result.verdict is not Verdict.NOT_A_PIN else result.verdict
    result.authentic, result.note = False, BASIC_NOTE
    result.authenticity_rating = round(100 * confidence)
    return result


def findings(
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
    match: Match,
) -> list[Finding]:
    """Every row, in the table's order, assessed or not."""
    rows: list[Finding] = []
    if back is not None and back.pin is not None:
        reading = stamp or StampReading(reason="the text was not read")
        rows += [
            stampevidence.wording(back, reading, match.pin),
            stampevidence.consistency(back, reading, match.pin),
            stampevidence.edition_number(back, reading, match.pin),
        ]
    return rows


def conclude(
    rows: Sequence[Finding],
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    match: Match,
    weights: Calibration,
) -> AuthenticationResult:
    evidence = weights.weigh(rows)
    probability = weights.probability(evidence)
    confidence = _confidence(evidence, front, back, angled, match, weights)
    verdict = _verdict(evidence, probability, front, back, angled, weights)
    return AuthenticationResult(
        authentic=verdict is Verdict.AUTHENTIC,
        authenticity_rating=rating(probability),
        confidence=confidence,
        verdict=verdict,
        evidence=evidence,
        advice=_advice(evidence, verdict, front, back, angled, match),
        calibration=weights.version,
    )


def _confidence(
    evidence: Sequence[Evidence],
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    match: Match,
    weights: Calibration,
) -> float:
    views = [view for view in (front, back, angled) if view is not None]
    quality = sum(view.quality.score for view in views) / len(views)
    cap = CAP_EVERYTHING
    if match.pin is None:
        cap = CAP_NO_MATCH
    if back is None or back.pin is None:
        cap = CAP_NO_BACK if angled is not None else CAP_FRONT_ONLY
    return round(min(weights.assessed_share(evidence) * quality, cap), 2)


def _verdict(
    evidence: Sequence[Evidence],
    probability: float,
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    weights: Calibration,
) -> Verdict:
    if all(view is None or view.pin is None for view in (front, back, angled)):
        return Verdict.NOT_A_PIN
    if back is None or back.pin is None:
        return Verdict.UNDETERMINED
    if probability < weights.counterfeit_below:
        return Verdict.COUNTERFEIT
    if probability >= weights.authentic_from and all(row.weight > STRONG_FINDING for row in evidence):
        return Verdict.AUTHENTIC
    return Verdict.UNDETERMINED


def _advice(
    evidence: Sequence[Evidence],
    verdict: Verdict,
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    match: Match,
) -> list[str]:
    advice: list[str] = []
    if back is None:
        advice.append("Photograph the back straight on: its pattern and stamp tell most.")
    if angled is None:
        advice.append("Add a tilted photograph under a lamp: it shows how the enamel fills the metal.")
    if verdict is Verdict.UNDETERMINED:
        advice.append(AT_HOME)
    return advice
