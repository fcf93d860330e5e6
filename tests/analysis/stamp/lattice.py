"""Made-up outputs of the text recogniser."""

from __future__ import annotations

import numpy as np

from pinactors.analysis.stamp import ocr
from pinactors.analysis.stamp.ocr import ALPHABET


def lattice(text: str, doubts: dict[int, dict[str, float]] | None = None) -> ocr.Reading:
    """The reading of `text`: one step for each sign, each followed by a blank. `doubts` maps a sign's index
    to the probabilities of several signs at its step."""
    rows = np.full((2 * len(text) + 1, 2 + len(ALPHABET)), 1e-4, np.float32)
    rows[::2, 0] = 1.0
    for index, sign in enumerate(text):
        shares = (doubts or {}).get(index, {sign: 1.0})
        for letter, share in shares.items():
            rows[2 * index + 1, 1 + ALPHABET.index(letter)] = share
    return ocr.Reading(text, 0.9, rows, np.arange(1, 2 * len(text), 2))
