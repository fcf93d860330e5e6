"""Tests of the inverted index on the features of drawn pins."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from pinactors.analysis.matching import inverted_index, keypoints
from pinactors.analysis.matching.inverted_index import InvertedIndex
from tests.analysis.matching.poses import features, features_of, rotated, seen


def test_what_pins_share_counts_less() -> None:
    """The index holds two pins on the same card: each of the card's features occurs twice, each of a pin's
    own features once."""
    card, one, other = (features_of(seed) for seed in (1, 2, 4))
    index = inverted_index.empty().replaced(
        [(1, keypoints.concatenated(card, one)), (2, keypoints.concatenated(card, other))]
    )
    for number, own in ((1, one), (2, other)):
        weights = index.weights(number)
        assert weights[: len(card)].mean() < 0.6
        assert weights[len(card) :].mean() > 0.8
        votes = index.votes(own)
        assert votes.numbers[0] == number
        assert votes.votes[votes.numbers.tolist().index(number)] > len(own) / 2


def test_lists_of_any_length_are_compared_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index compares long lists one by one and short lists together; both must give the same votes."""
    one, other = features_of(2), features_of(4)
    index = inverted_index.empty().replaced(
        [(1, one), (2, other), *((number, one) for number in range(3, 9))]
    )
    query = features(seen(2, rotated(30)))
    assert np.diff(index.starts).max() > 6, "the copies share their lists"
    found = []
    for longest in (1, 3, 1000):
        monkeypatch.setattr(inverted_index, "LONG_LIST_FEATURES", longest)
        found.append(index.votes(query))
    assert found[0].numbers.tolist() == found[1].numbers.tolist() == found[2].numbers.tolist()
    assert found[0].votes == pytest.approx(found[2].votes)
    assert found[1].votes == pytest.approx(found[2].votes)
    assert found[0].numbers[-1] == 2


def test_a_photographed_pin_is_found_among_others_also_in_mapped_files(tmp_path: Path) -> None:
    index = inverted_index.empty().replaced((seed, features_of(seed)) for seed in range(1, 9))
    for field in fields(index):
        np.save(tmp_path / field.name, getattr(index, field.name))
    mapped = InvertedIndex(
        **{field.name: np.load(tmp_path / f"{field.name}.npy", mmap_mode="r") for field in fields(index)}
    )
    for seed, degrees in ((2, 30), (4, 100), (7, -45)):
        query = features(seen(seed, rotated(degrees)))
        votes = index.votes(query)
        assert votes.numbers[0] == seed
        assert votes.votes[0] > 3 * votes.votes[1]
        again = mapped.votes(query)
        assert again.numbers.tolist() == votes.numbers.tolist()
        assert again.votes.tolist() == votes.votes.tolist()


def test_new_features_of_a_pin_replace_the_old_ones() -> None:
    index = inverted_index.empty().replaced([(1, features_of(1)), (2, features_of(2))])
    later = index.replaced([(1, features_of(4))])
    assert len(later.pins) == len(features_of(2)) + len(features_of(4))
    assert later.votes(features_of(4)).numbers[0] == 1
    assert later.votes(features_of(2)).numbers[0] == 2
    assert index.votes(features_of(1)).numbers[0] == 1, "the index before is as it was"
    assert later.replaced([]) is later
