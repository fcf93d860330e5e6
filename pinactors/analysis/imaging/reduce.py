"""Reduces decoded pixels, strip by strip, to an RGB array of the working size.

Each strip is converted, composited over white where it is transparent, and averaged, so that a picture of 64
megapixels is never held twice. Averages are over areas (OpenCV's INTER_AREA), first along the rows, then
across them: the result differs from reducing the whole picture at once only by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image as Pillow

from pinactors.analysis.imaging.geometry import resized
from pinactors.analysis.model import Image

WHOLE_PIXELS = 16_000_000
"""Largest number of pixels of a picture that is converted in one piece."""
STRIP_PIXELS = 2_000_000


class Pixels(Protocol):
    """Decoded pixels, not yet RGB."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        ...

    @property
    def sent_size(self) -> tuple[int, int]:
        """Width and height in the file, which are larger than `size` if the decoder reduced the picture."""
        ...

    @property
    def is_rgb(self) -> bool:
        """Whether the samples are red, green and blue, so that an RGB colour profile may apply."""
        ...

    def rows(self, top: int, bottom: int) -> Image:
        """RGB of the rows from `top` up to `bottom`: (bottom - top, width, 3)."""
        ...


def reduced(pixels: Pixels, target: tuple[int, int]) -> Image:
    """RGB at the size `target` (width, height), which must not exceed the picture's size."""
    width, height = pixels.size
    if width * height <= WHOLE_PIXELS:
        rgb = pixels.rows(0, height)
        return rgb if (width, height) == target else resized(rgb, target)
    step = max(1, STRIP_PIXELS // width)
    strips = [
        resized(pixels.rows(top, min(top + step, height)), (target[0], min(step, height - top)))
        for top in range(0, height, step)
    ]
    return resized(np.concatenate(strips), target)


@dataclass(frozen=True, slots=True)
class PillowPixels:
    """A picture loaded by Pillow; `sent_size` as in `Pixels`."""

    image: Pillow.Image
    sent_size: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        return self.image.size

    @property
    def is_rgb(self) -> bool:
        return self.image.mode in ("RGB", "RGBA", "P", "PA")

    def rows(self, top: int, bottom: int) -> Image:
        image = self.image
        if (top, bottom) != (0, image.height):
            image = image.crop((0, top, image.width, bottom))
        if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips instead of scaling
            grey = np.asarray(image).astype(np.uint32)
            eight = np.clip(grey >> 8 if int(grey.max(initial=0)) > 255 else grey, 0, 255).astype(np.uint8)
            return np.repeat(eight[:, :, None], 3, axis=2)
        if image.has_transparency_data:
            return on_white(image.convert("RGBA"))
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


@dataclass(frozen=True, slots=True)
class ArrayPixels:
    """A picture as an array (height, width) or (height, width, channels): grey, grey and alpha, RGB or RGBA;
    `sent_size` as in `Pixels`."""

    array: Image
    sent_size: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        return self.array.shape[1], self.array.shape[0]

    @property
    def is_rgb(self) -> bool:
        return self.array.ndim == 3 and self.array.shape[2] >= 3

    def rows(self, top: int, bottom: int) -> Image:
        strip = self.array[top:bottom]
        if strip.ndim == 2:
            strip = strip[:, :, None]
        if strip.shape[2] <= 2:
            strip = np.concatenate([strip[..., :1]] * 3 + [strip[..., 1:]], axis=2)
        strip = np.ascontiguousarray(strip)
        return strip if strip.shape[2] == 3 else on_white(Pillow.fromarray(strip))


def on_white(rgba: Pillow.Image) -> Image:
    """RGB of a picture with straight (not premultiplied) alpha, composited over white."""
    if rgba.getchannel("A").getextrema() == (255, 255):
        return np.array(rgba.convert("RGB"))
    canvas = Pillow.new("RGBA", rgba.size, "white")
    return np.array(Pillow.alpha_composite(canvas, rgba).convert("RGB"))
