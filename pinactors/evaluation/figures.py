"""Computes every figure of an evaluation from answers and labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pinactors.analysis.model import CatalogPin, Doubles, Flags
from pinactors.evaluation import metrics
from pinactors.evaluation.answers import Answer
from pinactors.evaluation.dataset import CATALOGUED_KINDS, Dataset, PinKind
from pinactors.evaluation.metrics import interval, share
from pinactors.protocol import BASIC_NOTE, TIMEOUT_NOTE, Verdict, View

COVERAGE_PRECISION = 0.98
FALSE_ALARM_RATE = 0.05
SUREST_SHARE = 0.5

Figures = dict[str, Any]


def figures(dataset: Dataset, answers: Sequence[Answer], pin: Callable[[str], CatalogPin | None]) -> Figures:
    """All figures of one run as plain data; `pin` looks up a pin in the catalogue that was used."""
    return {
        "sets": {kind: sum(answer.photo.kind is kind for answer in answers) for kind in PinKind},
        "errors": sum(answer.error is not None for answer in answers),
        "identification": identification(answers),
        "missed": wrong_answers(answers),
        "by tag": by_tag(answers),
        "authenticity": authenticity(answers),
        "reads": reads(answers, pin),
        "prices": prices(dataset, answers),
        "milliseconds": _spread([answer.milliseconds for answer in answers if answer.milliseconds]),
    }


def identification(answers: Sequence[Answer]) -> Figures:
    """Recall over pins that the catalogue holds, and false claims over those that it does not hold. Pins
    whose drawing the catalogue holds in other colours or another plating are counted separately."""
    known = [answer for answer in answers if answer.photo.kind in CATALOGUED_KINDS]
    missing = [answer for answer in answers if answer.photo.kind is PinKind.NOT_IN_CATALOG]
    variants = [answer for answer in missing if answer.photo.variant]
    unknown = [answer for answer in missing if not answer.photo.variant]
    others = [answer for answer in answers if answer.photo.kind is PinKind.NOT_A_PIN]
    ranks = [_rank(answer) for answer in known]
    pins = known + missing + others
    right = np.array([_rank(answer) == 0 for answer in pins], dtype=bool)
    scores = np.array([answer.score for answer in pins])
    return {
        "recall@1": share([rank == 0 for rank in ranks], pins_of(known)),
        "recall@5": share([rank < 5 for rank in ranks], pins_of(known)),
        "claimed and right": share(
            [answer.claimed == answer.photo.pin_id for answer in known], pins_of(known)
        ),
        "claimed and wrong": share(
            [answer.claimed not in (None, answer.photo.pin_id) for answer in known], pins_of(known)
        ),
        "unknown pins claimed": share([answer.claimed is not None for answer in unknown], pins_of(unknown)),
        "variants of catalogued pins claimed": share(
            [answer.claimed is not None for answer in variants], pins_of(variants)
        ),
        "non-pins claimed": share([answer.claimed is not None for answer in others], pins_of(others)),
        f"coverage at {COVERAGE_PRECISION:.0%} precision": interval(
            lambda score, good: metrics.coverage_at_precision(score, good, COVERAGE_PRECISION),
            scores,
            right,
            pins=pins_of(pins),
        ),
    }


def wrong_answers(answers: Sequence[Answer]) -> dict[str, list[str]]:
    """The photo sets with a wrong answer by the kind of error: the path of the front, or of the first
    view."""
    wrong: dict[str, Callable[[Answer], bool]] = {
        "right pin not first": lambda answer: answer.photo.kind in CATALOGUED_KINDS and _rank(answer) > 0,
        "right pin first, not claimed": lambda answer: (
            answer.photo.kind in CATALOGUED_KINDS and _rank(answer) == 0 and answer.claimed is None
        ),
        "claimed as another pin": lambda answer: (
            answer.photo.kind in CATALOGUED_KINDS and answer.claimed not in (None, answer.photo.pin_id)
        ),
        "claimed, not in the catalogue": lambda answer: (
            answer.photo.kind not in CATALOGUED_KINDS and answer.claimed is not None
        ),
        "genuine, called no pin": lambda answer: (
            answer.photo.kind is PinKind.GENUINE and _verdict(answer) is Verdict.NOT_A_PIN
        ),
        "genuine, called counterfeit": lambda answer: (
            answer.photo.kind is PinKind.GENUINE and _verdict(answer) is Verdict.COUNTERFEIT
        ),
        "not genuine, called authentic": lambda answer: (
            answer.photo.kind is not PinKind.GENUINE and _verdict(answer) is Verdict.AUTHENTIC
        ),
    }
    return {how: [_picture(answer) for answer in answers if holds(answer)] for how, holds in wrong.items()}


def _verdict(answer: Answer) -> Verdict | None:
    return answer.authenticity.verdict if answer.authenticity is not None else None


def _picture(answer: Answer) -> str:
    images = answer.photo.images
    return str(images.get(View.FRONT) or next(iter(images.values())))


MIN_TAGGED = 3
"""Least number of photo sets with a tag for which figures are given."""


def by_tag(answers: Sequence[Answer]) -> dict[str, Figures]:
    """For each kind of photo set and tag: how many have the tag, how many have the right pin first, how many
    are claimed, rightly and wrongly, and how many are called no pin."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        for tag in answer.photo.tags:
            groups.setdefault(f"{answer.photo.kind}: {tag}", []).append(answer)
    return {
        tag: {
            "photographs": len(group),
            "first": sum(_rank(answer) == 0 for answer in group),
            "claimed and right": sum(
                answer.claimed is not None and answer.claimed == answer.photo.pin_id for answer in group
            ),
            "claimed and wrong": sum(answer.claimed not in (None, answer.photo.pin_id) for answer in group),
            "called no pin": sum(_verdict(answer) is Verdict.NOT_A_PIN for answer in group),
        }
        for tag, group in sorted(groups.items())
        if len(group) >= MIN_TAGGED
    }


def pins_of(answers: Sequence[Answer]) -> list[str]:
    """The pin on each answer's photographs; a pin without an id counts as different from all others."""
    return [answer.photo.pin_id or f"photo {answer.photo.photo_id}" for answer in answers]


def authenticity(answers: Sequence[Answer]) -> Figures:
    """Figures over genuine and counterfeit pins that the full analysis rated: the rating over 100 is the
    probability of being genuine. Basic and timed-out answers have no such rating and are only counted."""
    known = [answer for answer in answers if answer.photo.kind in CATALOGUED_KINDS]
    judged = [answer for answer in known if _answer_kind(answer) == "full"]
    rated = Rated(
        np.array([_probability(answer) for answer in judged]),
        np.array([answer.photo.kind is PinKind.GENUINE for answer in judged], dtype=bool),
        pins_of(judged),
    )
    answer_kinds = [_answer_kind(answer) for answer in known]
    defects = sorted({defect for answer in judged for defect in answer.photo.defects})
    wrong = (rated.probability >= 0.5) != rated.genuine
    risks = metrics.risk_curve(np.abs(rated.probability - 0.5), wrong) if judged else np.array([])
    return {
        "answers": {
            answer_kind: answer_kinds.count(answer_kind)
            for answer_kind in ("full", "basic", "timed out", "none")
        },
        **rated.figures(),
        **_call_rates(answers),
        "verdicts": _verdicts(answers),
        "AUC by defect": {
            defect: rated.having([defect in answer.photo.defects for answer in judged]).auc()
            for defect in defects
        },
        "reliability": metrics.reliability(rated.probability, rated.genuine) if judged else [],
        "risk against coverage": [
            {"coverage": round((at + 1) / len(risks), 4), "risk": round(float(risks[at]), 4)}
            for at in range(len(risks))
        ],
    }


@dataclass(frozen=True, slots=True)
class Rated:
    """Photographs with their probability of showing a genuine pin (n,), whether it is genuine (n,), and which
    pin it is (n names)."""

    probability: Doubles
    genuine: Flags
    pins: Sequence[str]

    def having(self, defect: Sequence[bool]) -> Rated:
        """The genuine photographs, and of the others those with the defect."""
        rows = np.array(defect, dtype=bool) | self.genuine
        return Rated(self.probability[rows], self.genuine[rows], list(np.array(self.pins, str)[rows]))

    def auc(self) -> Figures:
        return interval(metrics.auc, self.probability, self.genuine, pins=self.pins)

    def figures(self) -> Figures:
        wrong = (self.probability >= 0.5) != self.genuine
        return {
            "ROC AUC": self.auc(),
            "Brier": interval(metrics.brier, self.probability, self.genuine, pins=self.pins),
            f"counterfeits found at {FALSE_ALARM_RATE:.0%} false alarms": interval(
                lambda fake, kind: metrics.found_at(fake, kind, FALSE_ALARM_RATE),
                1 - self.probability,
                ~self.genuine,
                pins=self.pins,
            ),
            f"wrong among the surest {SUREST_SHARE:.0%}": interval(
                lambda sure, bad: metrics.risk_at(sure, bad, SUREST_SHARE),
                np.abs(self.probability - 0.5),
                wrong,
                pins=self.pins,
            ),
        }


def _answer_kind(answer: Answer) -> str:
    """The kind of analysis that gave an answer's rating: full, basic, timed out, or none."""
    packet = answer.authenticity
    if packet is None:
        return "none"
    return {BASIC_NOTE: "basic", TIMEOUT_NOTE: "timed out"}.get(packet.note or "", "full")


def _call_rates(answers: Sequence[Answer]) -> Figures:
    """Shares of the photographs of each kind that got a verdict, from whichever kind of analysis."""
    shares = {}
    for name, kind, verdict in (
        ("genuine called counterfeit", PinKind.GENUINE, Verdict.COUNTERFEIT),
        ("genuine called authentic", PinKind.GENUINE, Verdict.AUTHENTIC),
        ("counterfeits called authentic", PinKind.COUNTERFEIT, Verdict.AUTHENTIC),
        ("counterfeits called counterfeit", PinKind.COUNTERFEIT, Verdict.COUNTERFEIT),
        ("unknown pins called authentic", PinKind.NOT_IN_CATALOG, Verdict.AUTHENTIC),
        ("unknown pins called counterfeit", PinKind.NOT_IN_CATALOG, Verdict.COUNTERFEIT),
    ):
        of = [answer for answer in answers if answer.photo.kind is kind and answer.authenticity]
        shares[name] = share([a.authenticity.verdict is verdict for a in of if a.authenticity], pins_of(of))
    return shares


def _verdicts(answers: Sequence[Answer]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for answer in answers:
        verdict = answer.authenticity.verdict if answer.authenticity else "none"
        row = table.setdefault(str(answer.photo.kind), {})
        row[str(verdict)] = row.get(str(verdict), 0) + 1
    return table


def reads(answers: Sequence[Answer], pin: Callable[[str], CatalogPin | None]) -> Figures:
    """Shares of exact and wrong readings on genuine backs of pins for which the catalogue has the value."""
    backs = [
        (answer, truth)
        for answer in answers
        if answer.photo.kind is PinKind.GENUINE
        and "back" in answer.photo.images
        and (truth := pin(answer.photo.pin_id or "")) is not None
    ]
    fields: Mapping[str, Callable[[CatalogPin], Any]] = {
        "factoryCode": lambda truth: truth.factory_code,
        "year": lambda truth: truth.year,
        "editionSize": lambda truth: truth.edition_size,
    }
    result: Figures = {}
    for field, of in fields.items():
        marked = [(answer, of(truth)) for answer, truth in backs if of(truth) is not None]
        rows = [(answer.details.get(field), true) for answer, true in marked]
        pins = pins_of([answer for answer, _ in marked])
        result[field] = {
            "exact": share([read == true for read, true in rows], pins),
            "wrong": share([read is not None and read != true for read, true in rows], pins),
        }
    return result


def prices(dataset: Dataset, answers: Sequence[Answer]) -> Figures:
    """Relative error of the median price (from the absolute log error) against known values, over the pins
    that were identified correctly."""
    errors, error_pins, priced, priced_pins = [], [], [], []
    for answer in answers:
        value = dataset.values.get(answer.photo.pin_id or "")
        if value is None or answer.claimed != answer.photo.pin_id:
            continue
        estimate = answer.pricing.estimate if answer.pricing else None
        rate = dataset.rates.get(estimate.currency) if estimate else None
        priced.append(rate is not None)
        priced_pins.append(answer.claimed)
        if estimate and rate:
            errors.append(abs(math.log(estimate.median * rate / value)))
            error_pins.append(answer.claimed)
    return {
        "median error": interval(lambda error: math.expm1(float(np.median(error))), errors, pins=error_pins),
        "90th percentile": interval(
            lambda error: math.expm1(float(np.percentile(error, 90))), errors, pins=error_pins
        ),
        "estimated": share(priced, priced_pins),
    }


def _rank(answer: Answer) -> float:
    ranking = answer.ranking
    pin_id = answer.photo.pin_id
    return ranking.index(pin_id) if pin_id is not None and pin_id in ranking else math.inf


def _probability(answer: Answer) -> float:
    assert answer.authenticity is not None
    return answer.authenticity.authenticity_rating / 100


def _spread(values: Sequence[int]) -> Figures:
    if not values:
        return {}
    return {f"p{q}": round(float(np.percentile(values, q))) for q in (50, 90, 99)}
