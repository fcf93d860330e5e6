"""Exports feedback as a set of labelled photographs, in the form that `evaluate` and `calibrate` read.

Agreement with a decided verdict on an identified pin is a label, and so is a corrected verdict on the pin
that the user named or did not dispute. A disagreement without a corrected verdict says only that the answer
was wrong: it is written to `truth/disagreed.csv`, for a person to label. All feedback with its corrections is
in `truth/said.csv`; a corrected price is an opinion and no true value.

Agreement is not truth, because users tend to agree with an answer: an evaluation on agreements alone compares
the engine with its own answers.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pinactors.analysis.imaging import formats
from pinactors.evaluation.dataset import PinKind
from pinactors.protocol import Verdict
from pinactors.records.feedback import Corrections, Opinion

LABELS = {
    Verdict.AUTHENTIC: PinKind.GENUINE,
    Verdict.COUNTERFEIT: PinKind.COUNTERFEIT,
    Verdict.NOT_A_PIN: PinKind.NOT_A_PIN,
}


ANSWER_COLUMNS = ("verdict", "pin_id")
CORRECTION_COLUMNS = ("comment", "corrected_verdict", "corrected_pin_id", "corrected_price")


@dataclass(frozen=True, slots=True)
class Exported:
    labelled: int
    disagreed: int
    without_photographs: int


def export(opinions: Iterable[Opinion], images_folder: Path, target: Path) -> Exported:
    """Writes the set to `target`. Raises `OSError`."""
    (target / "photos").mkdir(parents=True, exist_ok=True)
    (target / "truth").mkdir(exist_ok=True)
    labelled, disagreed, feedback, without_photographs = [], [], [], 0
    for opinion in opinions:
        photo_id = f"{opinion.record_number:06d}"
        label = _label(opinion)
        corrected = opinion.corrected
        if label is None and opinion.agreement == "agree" and corrected == Corrections():
            continue  # the user agreed that nothing could be decided
        sources = {view: images_folder / path for view, path in opinion.images.items()}
        if not sources or not all(source.is_file() for source in sources.values()):
            without_photographs += 1
            continue
        for view, source in sources.items():
            shutil.copyfile(source, target / "photos" / f"{photo_id}_{view}{_suffix(source)}")
        answer = (opinion.verdict, opinion.pin_id or "")
        price = "" if corrected.price is None else f"{corrected.price:g}"
        corrections = (opinion.comment, corrected.verdict or "", corrected.pin_id or "", price)
        feedback.append((photo_id, opinion.agreement, *answer, *corrections))
        if label is None:
            disagreed.append((photo_id, *answer, *corrections))
        else:
            pin_id = "" if label is PinKind.NOT_A_PIN else corrected.pin_id or opinion.pin_id or ""
            labelled.append((photo_id, str(label), pin_id, ""))
    _write(target / "truth" / "photos.csv", ("photo_id", "kind", "pin_id", "defects"), labelled)
    _write(target / "truth" / "disagreed.csv", ("photo_id", *ANSWER_COLUMNS, *CORRECTION_COLUMNS), disagreed)
    _write(
        target / "truth" / "said.csv", ("photo_id", "said", *ANSWER_COLUMNS, *CORRECTION_COLUMNS), feedback
    )
    return Exported(len(labelled), len(disagreed), without_photographs)


def _label(opinion: Opinion) -> PinKind | None:
    corrected = opinion.corrected
    verdict = corrected.verdict or (opinion.verdict if opinion.agreement == "agree" else "")
    if verdict not in LABELS:
        return None
    kind = LABELS[Verdict(verdict)]
    return kind if kind is PinKind.NOT_A_PIN or corrected.pin_id or opinion.pin_id else None


def _suffix(path: Path) -> str:
    """The file name suffix by content, because stored files have names without a type."""
    with path.open("rb") as file:
        media_type, _ = formats.sniff(file.read(formats.START_BYTES)) or ("image/jpeg", "")
    return f".{media_type.removeprefix('image/')}".replace("jpeg", "jpg")


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
