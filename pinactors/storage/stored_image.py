"""What the rest of the program knows of a photograph that is kept: where it lies and what it contains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A photograph, stored once by `sha256`, the hash of what was sent: `path` in the image store, `size` in
    bytes as kept, without metadata. `region` is where its sender says the pin is: x, y, width, height as
    shares of the upright picture."""

    path: str
    sha256: str
    size: int
    region: tuple[float, float, float, float] | None = None
