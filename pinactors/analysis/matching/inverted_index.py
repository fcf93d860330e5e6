"""An inverted index of catalogue features: the pins that have features like a photograph's, by votes.

The features lie sorted by axis and cell of the vocabulary, so that a photograph's feature is compared only
with those of its own cells, by signature. All arrays may be memory-mapped files: a search touches the lists
of its cells and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinactors.analysis.matching import vocabulary
from pinactors.analysis.matching.keypoints import AXES, Features
from pinactors.analysis.matching.vocabulary import Words

Integers = npt.NDArray[np.integer]

LISTS = vocabulary.CELLS * AXES

PROBES = 4
"""Cells in which a photograph's feature is looked for."""
ALIKE = 38
"""Most differing bits of 128 of features that may be the same."""
SPREAD = 26.0
"""Differing bits at which a vote has fallen to 1/e."""
COPY = 26
"""Most differing bits of features that are near copies of each other."""
COMPARED = 64
"""Features of a list that each is compared with when near copies are counted."""
BATCH = 1 << 20
"""Comparisons made at a time: bounds memory."""


_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Votes:
    """`numbers` of the pins voted for, most votes first, and their `votes`; `pins` and `features`, a row a
    vote, in no order: the pin and the index of the query's feature."""

    numbers: Integers
    votes: npt.NDArray[np.float64]
    pins: Integers
    features: Integers

    def voters(self, number: int) -> npt.NDArray[np.intp]:
        """Indices of the query's features that voted for a pin."""
        return np.unique(self.features[self.pins == number]).astype(np.intp)


@dataclass(frozen=True, slots=True)
class InvertedIndex:
    """`starts` (LISTS + 1) is where each list begins in `pins`, `places` and `signatures` (n, 2), which hold
    a row a feature: the pin's number, the feature's place among that pin's, its signature. `shared` holds,
    pin after pin from `offsets` on (by pin number), how many near copies of a feature other pins have."""

    starts: Integers
    pins: Integers
    places: Integers
    signatures: Words
    offsets: Integers
    shared: Integers

    def votes(self, query: Features) -> Votes:
        """A feature votes once for each pin it is found in, by how alike the two are and by how few pins have
        it."""
        votes = np.zeros(len(self.offsets), np.float64)
        pins_in_all = max(2, int((np.diff(self.offsets) > 0).sum()))
        rarest = np.log(1 + pins_in_all)
        voters: list[tuple[Integers, Integers]] = []
        for feature, pin, differing in self._alike(query):
            order = np.lexsort((differing, pin, feature))
            feature, pin, differing = feature[order], pin[order], differing[order]
            first = np.ones(len(pin), bool)
            first[1:] = (pin[1:] != pin[:-1]) | (feature[1:] != feature[:-1])
            feature, pin, differing = feature[first], pin[first], differing[first]
            found_in = np.bincount(feature, minlength=len(query))[feature]
            weight = np.exp(-np.square(differing / SPREAD)) * np.log(1 + pins_in_all / found_in) / rarest
            votes += np.bincount(pin, weight, len(votes))
            voters.append((pin, feature))
        numbers = np.flatnonzero(votes)
        order = np.argsort(-votes[numbers], kind="stable")
        pins, features = (
            (np.concatenate(column) for column in zip(*voters, strict=True)) if voters else (_NONE,) * 2
        )
        return Votes(numbers[order], votes[numbers[order]], pins, features)

    def _alike(self, query: Features) -> Iterator[tuple[Integers, Integers, Integers]]:
        """(feature of the query, pin, differing bits) of all that are alike, some features at a time."""
        if not len(query):
            return
        words = vocabulary.shipped()
        cells = words.cells(query.descriptors, PROBES)
        signatures = words.signatures(query.descriptors, cells).reshape(-1, 2)
        lists = (cells * AXES + query.axes[:, None]).ravel()
        begin = np.asarray(self.starts[lists], np.int64)
        count = np.asarray(self.starts[lists + 1], np.int64) - begin
        total = np.cumsum(count)
        low = 0
        while low < len(lists):
            done = total[low - 1] if low else 0
            high = max(low + 1, int(np.searchsorted(total, done + BATCH)))
            high = min(len(lists), -(-high // PROBES) * PROBES)  # a feature's lists stay together
            each = count[low:high]
            probe = np.repeat(np.arange(low, high), each)
            row = (
                np.arange(int(each.sum()))
                - np.repeat(np.cumsum(each) - each, each)
                + np.repeat(begin[low:high], each)
            )
            differing = np.bitwise_count(self.signatures[row] ^ signatures[probe]).sum(1)
            alike = differing <= ALIKE
            yield probe[alike] // PROBES, np.asarray(self.pins[row[alike]], np.int64), differing[alike]
            low = high

    def weights(self, pin: int) -> npt.NDArray[np.float32]:
        """How distinctive each feature of a pin is within the catalogue, 0 to 1."""
        copies = np.asarray(self.shared[self.offsets[pin] : self.offsets[pin + 1]], np.float32)
        return np.asarray(1 / (1 + copies), np.float32)

    def replaced(self, changed: Iterable[tuple[int, Features]]) -> InvertedIndex:
        """The index with the features of these pins (by number) in place of what it had of them."""
        words = vocabulary.shipped()
        lists, pins, places, signatures = [], [], [], []
        for pin, features in changed:
            cells = words.cells(features.descriptors, 1)
            lists.append(cells[:, 0] * AXES + features.axes)
            pins.append(np.full(len(features), pin, np.uint32))
            places.append(np.arange(len(features), dtype=np.uint16))
            signatures.append(words.signatures(features.descriptors, cells)[:, 0])
        if not lists:
            return self
        new_lists = np.concatenate(lists)
        order = np.argsort(new_lists, kind="stable")
        old = ~np.isin(self.pins, np.unique(np.concatenate(pins)))
        old_lists = np.repeat(np.arange(LISTS), np.diff(self.starts))[old]
        old_counts = np.bincount(old_lists, minlength=LISTS)
        new_counts = np.bincount(new_lists, minlength=LISTS)
        starts = np.concatenate([[0], np.cumsum(old_counts + new_counts)])
        new_lists = new_lists[order]
        to_old = np.arange(len(old_lists)) + np.concatenate([[0], np.cumsum(new_counts)])[old_lists]
        to_new = np.arange(len(new_lists)) + np.cumsum(old_counts)[new_lists]

        def merged(before: npt.NDArray[Any], after: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
            joined = np.empty((len(to_old) + len(to_new), *before.shape[1:]), before.dtype)
            joined[to_old] = before[old]
            joined[to_new] = np.concatenate(after)[order]
            return joined

        all_pins = merged(self.pins, [*pins])
        all_places = merged(self.places, [*places])
        all_signatures = merged(self.signatures, [*signatures])
        copies = near_copies(starts, all_pins, all_signatures)
        sizes = np.bincount(all_pins, minlength=len(self.offsets) - 1)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        shared = np.zeros(len(all_pins), np.uint8)
        shared[offsets[all_pins] + all_places] = copies
        return InvertedIndex(
            starts.astype(np.int64), all_pins, all_places, all_signatures, offsets.astype(np.int64), shared
        )


def empty() -> InvertedIndex:
    return InvertedIndex(
        np.zeros(LISTS + 1, np.int64),
        np.zeros(0, np.uint32),
        np.zeros(0, np.uint16),
        np.zeros((0, 2), np.uint64),
        np.zeros(1, np.int64),
        np.zeros(0, np.uint8),
    )


def near_copies(starts: Integers, pins: Integers, signatures: Words) -> npt.NDArray[np.uint8]:
    """For each feature (a row) how many near copies other pins have in its list. In lists longer than
    COMPARED each is compared with its neighbours only, and the count extrapolated."""
    lengths = np.diff(starts)
    lists = np.repeat(np.arange(len(lengths)), lengths)
    found = np.zeros(len(pins), np.float32)
    for lag in range(1, min(COMPARED // 2, int(lengths.max(initial=0)) - 1) + 1):
        one, other = slice(None, -lag), slice(lag, None)
        same = lists[one] == lists[other]
        same &= pins[one] != pins[other]
        same[same] = np.bitwise_count(signatures[one][same] ^ signatures[other][same]).sum(1) <= COPY
        found[one] += same
        found[other] += same
    grown = np.maximum(1.0, lengths / COMPARED)[lists]
    return np.minimum(found * grown, 255).astype(np.uint8)
