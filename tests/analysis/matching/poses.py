"""Features of drawn pins whose pose in a picture is known."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from pinactors.analysis.matching import keypoints
from pinactors.analysis.matching.keypoints import Features
from pinactors.analysis.model import Image, Matrix
from tests import drawing

SIDES = 480, 400


def picture(seed: int) -> Image:
    return np.asarray(cv2.resize(drawing.pin_front(seed).rgb, (512, 512), interpolation=cv2.INTER_AREA))


def seen(seed: int, pose: Matrix) -> Image:
    return np.asarray(cv2.warpPerspective(picture(seed), pose, (900, 800), borderValue=(90, 120, 100)))


def features(rgb: Image) -> Features:
    return keypoints.extract(rgb, None, SIDES, 560)


@cache
def features_of(seed: int) -> Features:
    return features(picture(seed))


def rotated(degrees: float, tilt: float = 0.0) -> Matrix:
    angle = np.deg2rad(degrees)
    cosine, sine = 0.9 * np.cos(angle), 0.9 * np.sin(angle)
    middle = np.array([[1, 0, -256], [0, 1, -256], [0, 0, 1.0]])
    there = np.array([[1, 0, 450], [0, 1, 400], [0, 0, 1.0]])
    return there @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [tilt, 0, 1]]) @ middle
