"""Tests of the segmentation: drawn scenes whose true mask is known, and surfaces without a pin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.segmentation import proposals
from pinactors.analysis.segmentation.outline import MIN_CONFIDENCE, rank, segment
from tests import drawing
from tests.analysis.segmentation.drawn import back, front, overlap, table


def printed(seed: int) -> drawing.Picture:
    """A card with discs and blocks of many colours, some of which the pin covers in part."""
    rng = np.random.default_rng([seed, 4])
    rgb = np.tile(rng.uniform(60, 230, 3), (480, 640, 1))
    for _ in range(30):
        x, y = (int(part) for part in rng.uniform(0, 1, 2) * (640, 480))
        colour, size = rng.uniform(20, 240, 3).tolist(), int(rng.uniform(10, 70))
        if rng.random() < 0.5:
            cv2.circle(rgb, (x, y), size, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(rgb, (x, y), (x + 2 * size, y + size), colour, -1)
    return np.clip(cv2.GaussianBlur(rgb, (0, 0), 1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", drawing.BACKGROUNDS)
@pytest.mark.parametrize("side", ["front", "back"])
def test_pins_are_cut_out_of_every_surface(kind: str, side: str) -> None:
    overlaps = []
    for seed in range(3):
        pin = front(seed) if side == "front" else back(seed)
        scene = drawing.photograph(
            pin, table(kind, seed), share=0.5 + 0.15 * seed, angle=25 * seed, seed=seed
        )
        overlaps.append(overlap(segment(scene.rgb), scene.mask))
    assert min(overlaps) > 0.9
    assert float(np.median(overlaps)) > 0.95


def test_pins_are_cut_out_of_a_printed_card() -> None:
    for seed in (11, 12, 13):
        pose = {"share": 0.55 + 0.05 * (seed % 6), "at": (0.5 + 0.05 * (seed % 3 - 1), 0.5)}
        scene = drawing.photograph(back(seed), printed(seed), angle=25 * seed, seed=seed, **pose)
        assert overlap(segment(scene.rgb), scene.mask) > 0.85


def test_an_outline_is_cut_anew_only_where_the_cues_disagree() -> None:
    busy = drawing.photograph(back(13), printed(13), share=0.6)
    plain = drawing.photograph(back(13), table("grey"), share=0.6)
    assert "recut" in sources(busy.rgb)
    assert "recut" not in sources(plain.rgb)


def sources(rgb: drawing.Picture) -> set[str]:
    scene = proposals.make_scene(cv2.resize(rgb, (224, 168), interpolation=cv2.INTER_AREA))
    return {candidate.proposal.source for candidate in rank(scene)}


def test_a_silver_rim_on_white() -> None:
    for seed in (0, 1, 4):
        for pin in (front(seed, metal="silver"), back(seed, metal="silver")):
            scene = drawing.photograph(pin, table("white", seed), share=0.8, angle=10)
            assert overlap(segment(scene.rgb), scene.mask) > 0.92


@pytest.mark.parametrize("tilt", [30, 50])
def test_tilted_pins_with_a_highlight(tilt: float) -> None:
    scene = drawing.photograph(front(4), table("cloth", 3), share=0.8, tilt=tilt, glare=0.7)
    assert overlap(segment(scene.rgb), scene.mask) > 0.9


def test_blurred_noisy_and_dark_photographs() -> None:
    pin = front(5)
    for poor in ({"blur": 4.0}, {"noise": 12.0}, {"light": 0.35}):
        scene = drawing.photograph(pin, table("wood", 2), share=0.75, **poor)
        assert overlap(segment(scene.rgb), scene.mask) > 0.88, poor


@pytest.mark.parametrize("kind", drawing.BACKGROUNDS)
def test_a_blank_table_has_no_pin_and_says_so(kind: str) -> None:
    for seed in range(3):
        noisy = table(kind, seed) + np.random.default_rng(seed).normal(0, 3, (480, 640, 3))
        found = segment(np.clip(noisy, 0, 255).astype(np.uint8))
        assert found.mask is None
        assert found.confidence < MIN_CONFIDENCE
        assert len(found.problem) > 20
        assert len(found.outline) == 0


def test_a_chequered_surface_is_not_taken_for_pins() -> None:
    taken = 0
    for seed in (0, 3, 5, 7, 9, 13):  # each square is as sharp, plain and closed as a pin, but all are alike
        rng = np.random.default_rng([seed, 5])
        rgb = np.tile(rng.uniform(60, 230, 3), (480, 640, 1))
        ys, xs = np.mgrid[:480, :640]
        side = int(rng.integers(40, 120))
        rgb[(xs // side + ys // side) % 2 == 0] = rng.uniform(30, 230, 3)
        taken += segment(cv2.GaussianBlur(rgb, (0, 0), 1).astype(np.uint8)).mask is not None
    assert taken <= 1


def test_uniform_noise_and_tiny_pictures_have_no_pin() -> None:
    rng = np.random.default_rng(0)
    for rgb in (
        rng.integers(0, 256, (300, 400, 3)).astype(np.uint8),
        np.zeros((500, 500, 3), np.uint8),
        np.full((1, 1600, 3), 90, np.uint8),
        np.full((1, 1, 3), 90, np.uint8),
        np.full((20, 20, 3), 90, np.uint8),
    ):
        found = segment(rgb)
        assert found.mask is None
        assert found.problem


def test_of_several_pins_the_main_one_is_chosen_and_the_others_are_counted() -> None:
    surface = table("wood", 4)
    main = drawing.photograph(front(0), surface, share=0.62, at=(0.33, 0.5), noise=0, blur=0)
    both = drawing.photograph(front(2), main.rgb, share=0.42, at=(0.78, 0.5))
    found = segment(both.rgb)
    assert overlap(found, main.mask) > 0.9
    assert found.others == 1
    assert segment(main.rgb).others == 0


def test_a_pin_half_outside_is_marked() -> None:
    surface = table("cloth", 1)
    inside = drawing.photograph(front(0), surface, share=0.8)
    outside = drawing.photograph(front(0), surface, share=0.8, at=(0.5, 0.14))
    assert not segment(inside.rgb).cut_off
    found = segment(outside.rgb)
    assert found.cut_off
    assert overlap(found, outside.mask) > 0.85


def test_mask_and_outline_agree_and_have_no_holes() -> None:
    scene = drawing.photograph(front(2), table("gradient", 5), share=0.7)
    found = segment(scene.rgb)
    assert found.mask is not None
    assert set(np.unique(found.mask)) == {0, 255}
    assert found.mask.shape == scene.rgb.shape[:2]
    contours, _ = cv2.findContours(found.mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    assert len(contours) == 1
    again = cv2.fillPoly(np.zeros_like(found.mask), [found.outline.astype(np.int32)], 255)
    assert np.array_equal(again, found.mask)


def test_the_same_picture_is_cut_the_same_way_each_time() -> None:
    scene = drawing.photograph(front(3), table("speckle", 2), share=0.6)
    first, second = segment(scene.rgb), segment(scene.rgb)
    assert np.array_equal(first.outline, second.outline)
    assert first.confidence == second.confidence
