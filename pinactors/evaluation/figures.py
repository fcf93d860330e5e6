"""Every figure of an evaluation, worked out from answers and truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pinactors.analysis.model import CatalogPin
from pinactors.evaluation import metrics
from pinactors.evaluation.answers import Answer
from pinactors.evaluation.dataset import Dataset, Kind
from pinactors.evaluation.metrics import interval

KNOWN = (Kind.GENUINE, Kind.COUNTERFEIT)
PRECISION = 0.98
FALSE_ALARMS = 0.05
SUREST = 0.5

Figures = dict[str, Any]


def figures(dataset: Dataset, answers: Sequence[Answer], pin: Callable[[str], CatalogPin | None]) -> Figures:
    """All figures of one run as plain data; `pin` looks a pin up in the catalogue that was used."""
    return {
        "sets": {kind: sum(answer.photo.kind is kind for answer in answers) for kind in Kind},
        "errors": sum(answer.error is not None for answer in answers),
        "identification": identification(answers),
        "authenticity": authenticity(answers),
        "reads": reads(answers, pin),
        "prices": prices(dataset, answers),
        "milliseconds": _spread([answer.milliseconds for answer in answers if answer.milliseconds]),
    }


def identification(answers: Sequence[Answer]) -> Figures:
    """Recall over pins the catalogue holds; false claims over what it does not hold."""
    known = [answer for answer in answers if answer.photo.kind in KNOWN]
    unknown = [answer for answer in answers if answer.photo.kind is Kind.NOT_IN_CATALOG]
    others = [answer for answer in answers if answer.photo.kind is Kind.NOT_A_PIN]
    ranks = [_rank(answer) for answer in known]
    pins = known + unknown + others
    right = np.array([_rank(answer) == 0 for answer in pins], dtype=bool)
    scores = np.array([answer.score for answer in pins])
    return {
        "recall@1": interval(_mean, [rank == 0 for rank in ranks]),
        "recall@5": interval(_mean, [rank < 5 for rank in ranks]),
        "claimed and right": interval(_mean, [answer.claimed == answer.photo.pin_id for answer in known]),
        "claimed and wrong": interval(
            _mean, [answer.claimed not in (None, answer.photo.pin_id) for answer in known]
        ),
        "unknown pins claimed": interval(_mean, [answer.claimed is not None for answer in unknown]),
        "non-pins claimed": interval(_mean, [answer.claimed is not None for answer in others]),
        f"coverage at {PRECISION:.0%} precision": interval(
            lambda score, good: metrics.coverage_at_precision(score, good, PRECISION), scores, right
        ),
    }


def authenticity(answers: Sequence[Answer]) -> Figures:
    """Over genuine and counterfeit pins. The rating over 100 is the probability of being genuine."""
    judged = [answer for answer in answers if answer.photo.kind in KNOWN and answer.authenticity]
    genuine = np.array([answer.photo.kind is Kind.GENUINE for answer in judged], dtype=bool)
    probability = np.array([_probability(answer) for answer in judged])
    sureness = np.abs(probability - 0.5)
    wrong = (probability >= 0.5) != genuine
    result: Figures = {
        "ROC AUC": interval(metrics.auc, probability, genuine),
        "Brier": interval(metrics.brier, probability, genuine),
        f"fakes found at {FALSE_ALARMS:.0%} false alarms": interval(
            lambda fake, kind: metrics.found_at(fake, kind, FALSE_ALARMS), 1 - probability, ~genuine
        ),
        f"wrong among the surest {SUREST:.0%}": interval(
            lambda sure, bad: metrics.risk_at(sure, bad, SUREST), sureness, wrong
        ),
        "verdicts": _verdicts(answers),
    }
    defects = sorted({defect for answer in judged for defect in answer.photo.defects})
    result["AUC by defect"] = {defect: _auc_of(judged, probability, genuine, defect) for defect in defects}
    result["reliability"] = metrics.reliability(probability, genuine) if len(judged) else []
    risks = metrics.risk_curve(sureness, wrong) if len(judged) else np.array([])
    result["risk against coverage"] = [
        {"coverage": round((at + 1) / len(risks), 4), "risk": round(float(risks[at]), 4)}
        for at in range(len(risks))
    ]
    return result


def _auc_of(judged: Sequence[Answer], probability: Any, genuine: Any, defect: str) -> Figures:
    having = np.array([defect in answer.photo.defects for answer in judged], dtype=bool)
    rows = having | genuine
    return interval(metrics.auc, probability[rows], genuine[rows])


def _verdicts(answers: Sequence[Answer]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for answer in answers:
        verdict = answer.authenticity.verdict if answer.authenticity else "none"
        row = table.setdefault(str(answer.photo.kind), {})
        row[str(verdict)] = row.get(str(verdict), 0) + 1
    return table


def reads(answers: Sequence[Answer], pin: Callable[[str], CatalogPin | None]) -> Figures:
    """Exact and wrong reads on genuine backs that carry the mark, by the catalogue."""
    backs = [
        (answer, truth)
        for answer in answers
        if answer.photo.kind is Kind.GENUINE
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
        rows = [(answer.details.get(field), of(truth)) for answer, truth in backs if of(truth) is not None]
        result[field] = {
            "exact": interval(_mean, [read == true for read, true in rows]),
            "wrong": interval(_mean, [read is not None and read != true for read, true in rows]),
        }
    return result


def prices(dataset: Dataset, answers: Sequence[Answer]) -> Figures:
    """Absolute log error of the median against known values, where the pin was identified right."""
    errors, priced = [], []
    for answer in answers:
        value = dataset.values.get(answer.photo.pin_id or "")
        if value is None or answer.claimed != answer.photo.pin_id:
            continue
        estimate = answer.pricing.estimate if answer.pricing else None
        rate = dataset.rates.get(estimate.currency) if estimate else None
        priced.append(rate is not None)
        if estimate and rate:
            errors.append(abs(math.log(estimate.median * rate / value)))
    return {
        "median error": interval(lambda error: math.expm1(float(np.median(error))), errors),
        "90th percentile": interval(lambda error: math.expm1(float(np.percentile(error, 90))), errors),
        "estimated": interval(_mean, priced),
    }


def _rank(answer: Answer) -> float:
    ranking = answer.ranking
    pin_id = answer.photo.pin_id
    return ranking.index(pin_id) if pin_id is not None and pin_id in ranking else math.inf


def _probability(answer: Answer) -> float:
    assert answer.authenticity is not None
    return answer.authenticity.authenticity_rating / 100


def _mean(values: Any) -> float:
    return float(np.mean(values))


def _spread(values: Sequence[int]) -> Figures:
    if not values:
        return {}
    return {f"p{q}": round(float(np.percentile(values, q))) for q in (50, 90, 99)}
