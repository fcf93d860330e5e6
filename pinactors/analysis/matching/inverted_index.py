"""An inverted index of catalogue features: finds, by votes, the pins with features similar to a photograph's.

The features are grouped by axis and cell of the vocabulary. A photograph's feature is compared, by signature,
only with the features in its own cells. All arrays may be memory-mapped files: a search reads only the lists
of its cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import as_floats
from pinactors.analysis.matching import vocabulary
from pinactors.analysis.matching.keypoints import AXES, Features
from pinactors.analysis.matching.vocabulary import Words
from pinactors.analysis.model import Doubles, Floats

Integers = npt.NDArray[np.integer]

LISTS = vocabulary.CELLS * AXES

CELLS_PROBED = 4
"""Number of cells in which a photograph's feature is searched."""
MAX_SIMILAR_BITS = 38
"""Largest number of differing bits, of 128, at which two features count as similar."""
VOTE_SPREAD_BITS = 26.0
"""Differing bits at which the weight of a vote has fallen to 1/e."""
MAX_COPY_BITS = 26
"""Largest number of differing bits at which two features count as near copies."""
FEATURES_COMPARED = 64
"""Number of features in a list with which each feature is compared when near copies are counted."""
BATCH_COMPARISONS = 1 << 20
"""Largest number of comparisons in one batch, which bounds memory."""
LONG_LIST_FEATURES = 256
"""Lists of more features are compared one by one: copying them into a batch would cost more."""


_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Votes:
    """The result of voting: `numbers` of the pins with votes, most votes first, and their `votes`."""

    numbers: Integers
    votes: Doubles


@dataclass(frozen=True, slots=True)
class InvertedIndex:
    """The lists of features by axis and cell. `starts` (LISTS + 1) holds where each list begins in `pins`,
    `places` and `signatures` (n, 2), which have one row per feature: the pin's number, the feature's index
    among that pin's features, its signature. `shared` holds the number of near copies that other pins have of
    each feature, ordered by pin; the features of a pin begin at `offsets[pin]`."""

    starts: Integers
    pins: Integers
    places: Integers
    signatures: Words
    offsets: Integers
    shared: Integers

    def votes(self, query: Features) -> Votes:
        """The votes of the features `query`. Each feature votes once for each pin in which a similar one is
        found; its weight grows with their similarity and falls with the number of such pins."""
        pins = len(self.offsets)
        pins_in_all = max(2, int((np.diff(self.offsets) > 0).sum()))
        alike = [(feature * pins + pin) << 8 | bits for feature, pin, bits in self._similar_features(query)]
        rows = np.sort(np.concatenate([_NONE, *alike]))
        rows = rows[np.diff(rows >> 8, prepend=-1) != 0]  # keeps the most similar of a pin's features
        feature, pin = np.divmod(rows >> 8, pins)
        found_in = np.bincount(feature, minlength=len(query))[feature]
        weight = np.exp(-np.square((rows & 255) / VOTE_SPREAD_BITS)) * np.log(1 + pins_in_all / found_in)
        votes = np.asarray(np.bincount(pin, weight / np.log(1 + pins_in_all), pins), np.float64)
        numbers = np.flatnonzero(votes)
        numbers = numbers[np.argsort(-votes[numbers], kind="stable")]
        return Votes(numbers, votes[numbers])

    def _similar_features(self, query: Features) -> Iterator[tuple[Integers, Integers, Integers]]:
        """(features of the query, pins, differing bits) of all similar pairs, in batches."""
        if not len(query):
            return
        words = vocabulary.shipped()
        cells = words.cells(query.descriptors, CELLS_PROBED)
        signatures = words.signatures(query.descriptors, cells).reshape(-1, 2)
        lists = (cells * AXES + query.axes[:, None]).ravel()
        begin = np.asarray(self.starts[lists], np.int64)
        count = np.asarray(self.starts[lists + 1], np.int64) - begin
        for at in np.flatnonzero(count > LONG_LIST_FEATURES).tolist():
            rows = slice(begin[at], begin[at] + count[at])
            differing = _differing_bits(self.signatures[rows], signatures[at])
            alike = np.flatnonzero(differing <= MAX_SIMILAR_BITS)
            feature = np.full(len(alike), at // CELLS_PROBED)
            yield feature, np.asarray(self.pins[rows][alike], np.int64), differing[alike]
        short = np.flatnonzero(count <= LONG_LIST_FEATURES)
        for low in range(0, len(short), BATCH_COMPARISONS // LONG_LIST_FEATURES):
            part = short[low : low + BATCH_COMPARISONS // LONG_LIST_FEATURES]
            probe = np.repeat(part, count[part])
            within = np.arange(len(probe)) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
            row = begin[probe] + within
            differing = _differing_bits(self.signatures[row], signatures[probe])
            alike = np.flatnonzero(differing <= MAX_SIMILAR_BITS)
            yield probe[alike] // CELLS_PROBED, np.asarray(self.pins[row[alike]], np.int64), differing[alike]

    def weights(self, pin: int) -> Floats:
        """How distinctive each feature of a pin is within the catalogue: 1 over 1 plus its near copies."""
        copies = as_floats(self.shared[self.offsets[pin] : self.offsets[pin + 1]])
        return as_floats(1 / (1 + copies))

    def replaced(self, changed: Iterable[tuple[int, Features]]) -> InvertedIndex:
        """A copy of the index in which `changed` (pin number, features) replaces the features of these
        pins."""
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
        kept = ~np.isin(self.pins, np.unique(np.concatenate(pins)))
        old_lists = np.repeat(np.arange(LISTS), np.diff(self.starts))[kept]
        return of(
            np.concatenate([old_lists, *lists]),
            np.concatenate([self.pins[kept], *pins]),
            np.concatenate([self.places[kept], *places]),
            np.concatenate([self.signatures[kept], *signatures]),
        )


def of(lists: Integers, pins: Integers, places: Integers, signatures: Words) -> InvertedIndex:
    """The index of features given as rows: the list of each (0 to LISTS - 1), its pin, its index among that
    pin's features, its signature (n, 2)."""
    order = np.argsort(lists, kind="stable")
    pins, places, signatures = pins[order], places[order], signatures[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=LISTS))])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pins))])
    shared = np.zeros(len(pins), np.uint8)
    shared[offsets[pins] + places] = near_copies(starts, pins, signatures)
    return InvertedIndex(starts.astype(np.int64), pins, places, signatures, offsets.astype(np.int64), shared)


def empty() -> InvertedIndex:
    return InvertedIndex(
        np.zeros(LISTS + 1, np.int64),
        np.zeros(0, np.uint32),
        np.zeros(0, np.uint16),
        np.zeros((0, 2), np.uint64),
        np.zeros(1, np.int64),
        np.zeros(0, np.uint8),
    )


def _differing_bits(first: Words, second: Words) -> npt.NDArray[np.uint8]:
    """The number of bits (0 to 128) in which two rows of signatures (n, 2) differ."""
    bits = np.bitwise_count(first ^ second)
    return np.asarray(bits[:, 0] + bits[:, 1])  # costs less than a sum over an axis


def near_copies(starts: Integers, pins: Integers, signatures: Words) -> npt.NDArray[np.uint8]:
    """For each feature (row), how many near copies other pins have in its list. In lists longer than
    FEATURES_COMPARED each feature is compared only with its neighbours, and the count is extrapolated."""
    lengths = np.diff(starts)
    lists = np.repeat(np.arange(len(lengths)), lengths)
    found = np.zeros(len(pins), np.float32)
    for lag in range(1, min(FEATURES_COMPARED // 2, int(lengths.max(initial=0)) - 1) + 1):
        one, other = slice(None, -lag), slice(lag, None)
        same = lists[one] == lists[other]
        same &= pins[one] != pins[other]
        same[same] = _differing_bits(signatures[one][same], signatures[other][same]) <= MAX_COPY_BITS
        found[one] += same
        found[other] += same
    grown = np.maximum(1.0, lengths / FEATURES_COMPARED)[lists]
    return np.minimum(found * grown, 255).astype(np.uint8)
