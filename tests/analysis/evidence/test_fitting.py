"""Tests of registering two crops by their edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.evidence import fitting
from pinactors.analysis.evidence.fitting import FINE_SIDE, NEAR_ROUNDS, Edges
from pinactors.analysis.model import CROP_SIDE
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared

REFERENCE = prepared.reference(drawing.pin_front(4), View.FRONT)


def test_correlation_is_pearsons_over_the_mask() -> None:
    random = np.random.default_rng(1)
    first = random.normal(size=(40, 40)).astype(np.float32)
    second = (0.5 * first + random.normal(size=(40, 40))).astype(np.float32)
    where = np.zeros((40, 40), bool)
    where[5:30, 8:35] = True
    expected = np.corrcoef(first[where], second[where])[0, 1]
    assert fitting.correlation(first, second, where) == pytest.approx(expected, abs=1e-5)
    assert fitting.correlation(first, second, np.zeros((40, 40), bool)) == 0.0


def test_edges_are_where_they_are_in_any_light() -> None:
    bright = fitting.edge_map(REFERENCE.rgb, REFERENCE.mask, FINE_SIDE)
    dim = fitting.edge_map(REFERENCE.rgb // 2, REFERENCE.mask, FINE_SIDE)
    inside = bright > 0
    assert fitting.correlation(bright, dim, inside) > 0.95


def test_a_start_that_is_off_is_refined() -> None:
    edges = Edges(REFERENCE.rgb, REFERENCE.mask, FINE_SIDE)
    off = np.array([[1.01, 0.01, 4.0], [-0.01, 1.0, -5.0], [0, 0, 1]])
    before, after = edges.fit(edges, off), edges.refine(edges, off, NEAR_ROUNDS)
    assert fitting.mean_displacement(off, np.eye(3)) > 3
    assert fitting.mean_displacement(after.matrix, np.eye(3)) < 1
    assert after.score > before.score + 0.1


def test_the_turn_of_the_same_picture_is_found() -> None:
    middle = (CROP_SIDE - 1) / 2
    angle = np.radians(130)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    there = np.array([[1, 0, middle], [0, 1, middle], [0, 0, 1.0]])
    turned = there @ rotation @ np.linalg.inv(there)
    size = (CROP_SIDE, CROP_SIDE)
    rgb = np.asarray(cv2.warpPerspective(REFERENCE.rgb, turned, size), np.uint8)
    mask = np.asarray(cv2.warpPerspective(REFERENCE.mask, turned, size), np.uint8)
    found = fitting.rotation_of(rgb, mask, REFERENCE)
    assert found is not None
    assert fitting.mean_displacement(found @ turned, np.eye(3)) < 8
