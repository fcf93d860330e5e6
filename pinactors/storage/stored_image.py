"""A reference to a stored photograph: its file, its hash and its size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A photograph, stored once under `sha256`, the hash of the bytes that were sent.

    `path` is its file in the image store, `size` the bytes of that file, which has no metadata. `region` is
    where the sender says the pin is: x, y, width, height as shares of the upright picture.
    """

    path: str
    sha256: str
    size: int
    region: tuple[float, float, float, float] | None = None
