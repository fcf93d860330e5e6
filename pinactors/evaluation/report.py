"""Makes one HTML page of an evaluation: figures, plots, and the worst cases as pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment

from pinactors.evaluation.answers import Answer
from pinactors.evaluation.dataset import CATALOGUED_KINDS, PinKind

WORST_SHOWN = 8
THUMBNAIL_SIDE = 180


def page(result: dict[str, Any], answers: Sequence[Answer]) -> str:
    """The report as HTML."""
    source = resources.files(__package__).joinpath("report.html").read_text("utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    return template.render(
        result=result,
        reliability=_reliability(result["authenticity"]["reliability"]),
        risks=_line(result["authenticity"]["risk against coverage"], "coverage", "risk"),
        groups=[(title, [_case(answer) for answer in worst]) for title, worst in worst_cases(answers)],
    )


def worst_cases(answers: Sequence[Answer]) -> list[tuple[str, list[Answer]]]:
    """The worst cases, grouped by the kind of error."""
    known = [answer for answer in answers if answer.photo.kind in CATALOGUED_KINDS]
    judged = [answer for answer in known if answer.authenticity]

    def rating(answer: Answer) -> int:
        return answer.authenticity.authenticity_rating if answer.authenticity else 0

    fakes = [answer for answer in judged if answer.photo.kind is PinKind.COUNTERFEIT]
    real = [answer for answer in judged if answer.photo.kind is PinKind.GENUINE]
    groups = [
        (
            "Claimed, and wrong",
            [a for a in answers if a.claimed is not None and a.claimed != a.photo.pin_id],
        ),
        ("Not found among the candidates", [a for a in known if a.photo.pin_id not in a.ranking]),
        ("Counterfeits rated highest", sorted(fakes, key=rating, reverse=True)),
        ("Genuine pins rated lowest", sorted(real, key=rating)),
        ("Ended in an error", [a for a in answers if a.error is not None]),
    ]
    return [(title, cases[:WORST_SHOWN]) for title, cases in groups if cases]


def _case(answer: Answer) -> dict[str, Any]:
    evidence = answer.authenticity.evidence if answer.authenticity else []
    heaviest = sorted((row for row in evidence if row.assessed), key=lambda row: -abs(row.weight))[:4]
    return {
        "photo": answer.photo,
        "pictures": [(str(view), _thumbnail(path)) for view, path in answer.photo.images.items()],
        "rating": answer.authenticity.authenticity_rating if answer.authenticity else None,
        "ranking": answer.ranking[:3],
        "claimed": answer.claimed,
        "score": answer.score,
        "evidence": heaviest,
        "error": answer.error.error if answer.error else None,
    }


def _thumbnail(path: Path) -> str:
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_REDUCED_COLOR_4)
    if picture is None:
        return ""
    scale = THUMBNAIL_SIDE / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _reliability(bins: list[dict[str, float]]) -> list[dict[str, float]]:
    """The points of the reliability plot; a circle's area grows with its count."""
    most = max((one["count"] for one in bins), default=1)
    return [
        {"x": 300 * one["said"], "y": 300 * (1 - one["seen"]), "r": 3 + 9 * (one["count"] / most) ** 0.5}
        | one
        for one in bins
    ]


def _line(points: list[dict[str, float]], x: str, y: str) -> str:
    """The points of an SVG polyline, 300 by 300, both axes from 0 to 1."""
    return " ".join(f"{300 * point[x]:.1f},{300 * (1 - point[y]):.1f}" for point in points)
