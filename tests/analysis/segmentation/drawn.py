"""Drawn pins on drawn surfaces, at the sizes in which they are segmented."""

from __future__ import annotations

import cv2

from pinactors.analysis.segmentation import proposals
from pinactors.analysis.segmentation.outline import Segmentation
from tests import drawing


def overlap(found: Segmentation, truth: drawing.Picture) -> float:
    assert found.mask is not None, found.problem
    return float(((found.mask > 0) & (truth > 0)).sum() / ((found.mask > 0) | (truth > 0)).sum())


front, back = drawing.pin_front, drawing.pin_back


def table(kind: str, seed: int = 0) -> drawing.Picture:
    return drawing.background(kind, 640, 480, seed)


def small(taken: drawing.Scene) -> tuple[proposals.Scene, drawing.Picture]:
    """The scene and its true mask (0 or 1) at the size in which proposals are made."""
    size = (224, 168)
    truth = cv2.resize(taken.mask, size, interpolation=cv2.INTER_AREA) // 128
    return proposals.make_scene(cv2.resize(taken.rgb, size, interpolation=cv2.INTER_AREA)), truth


def shared(one: drawing.Picture, other: drawing.Picture) -> float:
    return float(((one > 0) & (other > 0)).sum() / ((one > 0) | (other > 0)).sum())


def proposal_of(mask: drawing.Picture) -> proposals.Proposal:
    """The proposal with this mask (0 or 1)."""
    return proposals.Proposal(mask, cv2.countNonZero(mask), "drawn")
