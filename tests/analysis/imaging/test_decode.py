"""Tests of decoding: which files are accepted or refused; the result is upright, RGB and of bounded size."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
import time
import zlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from pinactors.analysis.imaging.decode import decode
from pinactors.protocol import ErrorCode, PinactorsError, View
from tests import drawing
from tests.analysis.imaging.quartered import (
    BLUE,
    CORNERS,
    GREEN,
    LIMIT,
    RED,
    WHITE,
    close,
    corner,
    quartered,
    saved,
)
from tests.drawing import chunk


@pytest.mark.parametrize(
    ("format_name", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("HEIF", "image/heic"),
        ("AVIF", "image/avif"),
    ],
)
def test_each_accepted_format_comes_out_as_it_went_in(format_name: str, media_type: str) -> None:
    photograph = decode(drawing.encoded(quartered(), format_name), View.FRONT, LIMIT)
    assert photograph.media_type == media_type
    assert (photograph.width, photograph.height, photograph.scale) == (96, 64, 1.0)
    assert photograph.rgb.dtype == np.uint8
    assert photograph.rgb.flags.c_contiguous
    assert close(corner(photograph.rgb, "TL"), RED)
    assert close(corner(photograph.rgb, "BR"), WHITE)


def test_the_first_picture_of_a_camera_with_two_lenses_is_used() -> None:
    file = io.BytesIO()
    other = Pillow.fromarray(np.zeros_like(quartered()))
    Pillow.fromarray(quartered()).save(file, "MPO", save_all=True, append_images=[other], quality=95)
    photograph = decode(file.getvalue(), View.FRONT, LIMIT)
    assert photograph.media_type == "image/jpeg"
    assert close(corner(photograph.rgb, "TL"), RED)
    assert close(corner(photograph.rgb, "BR"), WHITE)


# For each orientation of EXIF 2.32 (tag 0x0112): where the stored picture's upper left and upper right
# corners are in the upright picture.
ORIENTATIONS = {
    1: "TL TR",
    2: "TR TL",
    3: "BR BL",
    4: "BL BR",
    5: "TL BL",
    6: "TR BR",
    7: "BR TR",
    8: "BL TL",
}


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_exif_orientation_is_undone(orientation: int, format_name: str) -> None:
    photograph = decode(drawing.encoded(quartered(), format_name, orientation), View.BACK, LIMIT)
    left, right = ORIENTATIONS[orientation].split()
    assert close(corner(photograph.rgb, left), RED)
    assert close(corner(photograph.rgb, right), GREEN)
    assert (photograph.width, photograph.height) == ((96, 64) if orientation < 5 else (64, 96))
    assert photograph.rgb.shape[:2] == (photograph.height, photograph.width)


def test_a_grey_heic_with_more_than_eight_bits_is_grey() -> None:
    grey = quartered()[..., 1]
    data = saved(Pillow.fromarray(grey.astype(np.uint16) * 257), "HEIF", quality=95)
    assert pillow_heif.open_heif(data).info["bit_depth"] > 8
    decoded = decode(data, View.FRONT, LIMIT).rgb[..., 1]
    assert np.abs(decoded.astype(int) - grey).mean() < 4


def test_of_an_animation_the_first_frame_is_taken() -> None:
    first, second = Pillow.fromarray(quartered()), Pillow.fromarray(quartered()[::-1, ::-1].copy())
    for format_name in ("WEBP", "PNG"):
        data = saved(first, format_name, save_all=True, append_images=[second])
        assert close(corner(decode(data, View.FRONT, LIMIT).rgb, "TL"), RED)


def test_a_wide_gamut_profile_is_converted_and_a_broken_one_ignored() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    plain = saved(Pillow.fromarray(quartered()), "PNG")
    for broken in (profile, b"no profile at all", b"\0" * 200):
        data = saved(Pillow.fromarray(quartered()), "PNG", icc_profile=broken)
        assert np.array_equal(decode(data, View.FRONT, LIMIT).rgb, decode(plain, View.FRONT, LIMIT).rgb)
    data = saved(Pillow.fromarray(quartered()), "PNG", icc_profile=display_p3())
    wide = corner(decode(data, View.FRONT, LIMIT).rgb, "TR")
    assert wide[1] - wide[0] > GREEN[1] - GREEN[0] + 10  # the same values mean a stronger green


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"GIF89a" + bytes(64), "JPEG, PNG, WebP, HEIC or AVIF"),
        (b"<html><img></html>", "JPEG, PNG, WebP, HEIC or AVIF"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "damaged"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "damaged"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(16), "damaged"),
    ],
)
@pytest.mark.parametrize("view", View)
def test_what_is_no_photograph_is_refused_by_view(view: View, data: bytes, expected: str) -> None:
    with pytest.raises(PinactorsError) as caught:
        decode(data, view, LIMIT)
    error = caught.value
    assert error.code is ErrorCode.INVALID_FORMAT
    assert error.view == view
    assert expected in error.detail
    assert view in error.message


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.9])
def test_a_truncated_photograph_is_refused(format_name: str, share: float) -> None:
    scene = drawing.photograph(drawing.pin_front(1), drawing.background("cloth", 240, 180))
    data = drawing.encoded(scene.rgb, format_name)
    with pytest.raises(PinactorsError) as caught:
        decode(data[: max(1, int(len(data) * share))], View.FRONT, LIMIT)
    assert caught.value.code is ErrorCode.INVALID_FORMAT


def declared(format_name: str, width: int, height: int) -> bytes:
    """64 kB whose header declares `width` x `height` pixels."""
    if format_name == "PNG":
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        start = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", bytes(1000))
    elif format_name == "WEBP":
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        start = b"RIFF" + struct.pack("<I", 65528) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size
    else:
        data = bytearray(drawing.jpeg(quartered()))
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
        start = bytes(data)
    return start.ljust(65536, b"\0")


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_too_many_pixels_are_refused_by_the_header_alone(format_name: str) -> None:
    data = declared(format_name, 30_000, 30_000)
    begun = time.process_time()
    with pytest.raises(PinactorsError) as caught:
        decode(data, View.ANGLED, LIMIT)
    assert time.process_time() - begun < 1.0  # 900 megapixels would take seconds
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert caught.value.view == "angled"
    assert "64 megapixels" in caught.value.detail


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
def test_the_limit_is_the_setting(format_name: str) -> None:
    data = drawing.encoded(quartered(), format_name)
    assert decode(data, View.FRONT, 96 * 64).width == 96
    with pytest.raises(PinactorsError) as caught:
        decode(data, View.FRONT, 96 * 64 - 1)
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert "96 × 64" in caught.value.detail


def test_a_wrong_checksum_of_the_header_is_damage() -> None:
    data = bytearray(saved(Pillow.fromarray(quartered()), "PNG"))
    data[29] ^= 1
    with pytest.raises(PinactorsError, match="damaged"):
        decode(bytes(data), View.FRONT, LIMIT)


def test_how_a_png_was_held_may_stand_in_a_text() -> None:
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="3"/></x:xmpmeta>'
    plain = saved(Pillow.fromarray(quartered()), "PNG")
    for text in (b"\0\0\0\0" + xmp.encode(), b"\1\0\0\0" + zlib.compress(xmp.encode())):
        data = plain[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0" + text) + plain[33:]
        assert np.array_equal(decode(data, View.FRONT, LIMIT).rgb, quartered()[::-1, ::-1])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_may_lack_its_end_marker_but_no_pixel(progressive: bool) -> None:
    picture = Pillow.effect_noise((320, 240), 60).convert("RGB")
    whole = saved(picture, "JPEG", progressive=progressive)
    expected = decode(whole, View.FRONT, LIMIT).rgb
    for missing in (1, 2):
        assert np.array_equal(decode(whole[:-missing], View.FRONT, LIMIT).rgb, expected)
    for missing in (12, 40, 400):
        with pytest.raises(PinactorsError, match="damaged"):
            decode(whole[:-missing], View.FRONT, LIMIT)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_an_end_marker_does_not_make_half_a_jpeg_whole(options: dict[str, object], mode: str) -> None:
    """As of a program that ends each file properly, whatever it has got of it."""
    noise = Pillow.effect_noise((320, 240), 60).convert(mode)
    framed = Pillow.new("RGB", (320, 240), "white").convert(mode)  # ends flat, as a cut one does
    framed.paste(noise.resize((200, 150)), (60, 45))
    for picture in (noise, framed):
        whole = saved(picture, "JPEG", **options)
        assert decode(whole + b"behind it", View.FRONT, LIMIT).width == 320
        for share in (0.2, 0.5):
            with pytest.raises(PinactorsError, match="damaged"):
                decode(whole[: int(len(whole) * share)] + b"\xff\xd9", View.FRONT, LIMIT)


@pytest.mark.parametrize(
    ("at", "value", "name"),
    [(4, 12, "12 bits per sample"), (1, 0xC3, "lossless JPEG"), (1, 0xC5, "hierarchical JPEG")],
)
def test_a_jpeg_that_no_browser_shows_is_refused_by_its_name(at: int, value: int, name: str) -> None:
    data = bytearray(drawing.jpeg(quartered()))
    data[data.index(b"\xff\xc0") + at] = value
    with pytest.raises(PinactorsError) as caught:
        decode(bytes(data), View.FRONT, LIMIT)
    assert caught.value.code is ErrorCode.INVALID_FORMAT
    assert name in caught.value.detail
    assert "damaged" not in caught.value.detail


ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxO"
    "UlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT0//yQARCAAgADADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AErZUIKgxf74Rg1Pb78RC4GoqLV+"
    "MhGGTpuvp5CnvcPhGtkyBMuqEmlsclGw/9k="
)
"""An arithmetic-coded JPEG of `quartered(48, 32)`."""


def test_an_arithmetic_coded_jpeg_of_any_length_is_read() -> None:
    """The decoder cannot wait in the middle of a scan for more bytes of the file."""
    scan = ARITHMETIC.index(b"\xff\xda")
    comment = b"\xff\xfe" + struct.pack(">H", 65_308) + bytes(65_306)
    data = ARITHMETIC[:scan] + comment + ARITHMETIC[scan:]  # bytes 65,536 and 65,537 are coded pixels
    assert scan + len(comment) + 14 < 65_536 < len(data) - 2
    photograph = decode(data, View.FRONT, LIMIT)
    for name, colour in zip(CORNERS, (RED, GREEN, BLUE, WHITE), strict=True):
        assert close(corner(photograph.rgb, name), colour, within=20)


def test_a_jpeg_without_its_height_is_refused_by_that() -> None:
    data = bytearray(drawing.jpeg(quartered()))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 7] = bytes(2)
    with pytest.raises(PinactorsError, match="height is not in its header"):
        decode(bytes(data), View.FRONT, LIMIT)


def test_jpegs_of_many_kinds() -> None:
    picture = Pillow.fromarray(quartered())
    two = io.BytesIO()
    picture.save(two, "MPO", save_all=True, append_images=[picture.rotate(180)])
    for data in (
        saved(picture, "JPEG", quality=90, progressive=True, subsampling=0),
        saved(picture, "JPEG", quality=90, subsampling=2, optimize=True),
        two.getvalue(),
    ):
        photograph = decode(data, View.FRONT, LIMIT)
        assert photograph.media_type == "image/jpeg"
        assert close(corner(photograph.rgb, "TL"), RED, within=20)


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "AVIF"])
def test_a_profile_is_heeded_in_every_format(format_name: str) -> None:
    options = {"icc_profile": display_p3(), "quality": 100}
    wide = corner(
        decode(saved(Pillow.fromarray(quartered()), format_name, **options), View.FRONT, LIMIT).rgb, "TR"
    )
    assert wide[1] - wide[0] > GREEN[1] - GREEN[0] + 10


def test_a_profile_is_heeded_in_cut_outs_and_palettes() -> None:
    plain = Pillow.fromarray(quartered())
    for picture in (plain.convert("RGBA"), plain.quantize(8)):
        data = saved(picture, "PNG", icc_profile=display_p3())
        wide = corner(decode(data, View.FRONT, LIMIT).rgb, "TR")
        assert wide[1] - wide[0] > GREEN[1] - GREEN[0] + 10


PEAK = """
import re, sys
from pathlib import Path
from pinactors.analysis.imaging.decode import decode
from pinactors.protocol import View
photograph = decode(Path(sys.argv[1]).read_bytes(), View.FRONT, 64_000_000)
assert (photograph.width, photograph.height) == (8000, 8000)
assert photograph.rgb.shape == (1600, 1600, 3)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def png_of(side: int, bits: int, kind: int, sample: bytes) -> bytes:
    """A PNG of one colour, written row by row so that its pixels are never all in memory."""
    packing = zlib.compressobj(1)
    row = b"\0" + sample * side
    body = b"".join(packing.compress(row) for _ in range(side)) + packing.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize(
    ("name", "most"), [("rgba8.png", 300), ("rgba16.png", 400), ("grey.jpg", 300), ("alpha.webp", 400)]
)
def test_sixty_four_megapixels_fit_into_a_worker(name: str, most: int, tmp_path: Path) -> None:
    """A process that only decodes the picture must have a peak resident memory below `most` MB."""
    path = tmp_path / name
    if name.startswith("rgba8"):
        path.write_bytes(png_of(8000, 8, 6, bytes((10, 20, 30, 200))))
    elif name.startswith("rgba16"):
        path.write_bytes(png_of(8000, 16, 6, bytes((10, 0, 20, 0, 30, 0, 200, 0))))
    elif name.endswith("jpg"):
        Pillow.new("L", (8000, 8000), 90).save(path)
    else:
        Pillow.new("RGBA", (8000, 8000), (9, 9, 9, 99)).save(path, lossless=True, quality=0, method=0)
    ended = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < most


@pytest.mark.parametrize(
    ("width", "height", "bits", "kind", "allowed"),
    [
        (8000, 8000, 16, 6, "for an interlaced PNG like this, at most 38 megapixels are accepted"),
        (8000, 8000, 16, 2, "for an interlaced PNG like this, at most 50 megapixels are accepted"),
        (66_000, 300, 8, 6, "a side may have at most 65535 pixels"),
        (300, 66_000, 8, 2, "a side may have at most 65535 pixels"),
    ],
)
def test_a_png_that_would_be_held_whole_is_refused_by_its_header(
    width: int, height: int, bits: int, kind: int, allowed: str
) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 1))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    png = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
    with pytest.raises(PinactorsError) as caught:
        decode(png, View.FRONT, 64_000_000)
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert f"it is {width} × {height} pixels; {allowed}" in caught.value.detail


@pytest.mark.parametrize(
    ("format_name", "options", "name"),
    [
        ("JPEG", {"progressive": True, "subsampling": 0}, "a progressive JPEG like this"),
        ("WEBP", {"lossless": True}, "a lossless WebP"),
        ("HEIF", {}, "a HEIC picture"),
        ("HEIF", {"chroma": 444}, "a HEIC picture like this"),
        ("AVIF", {}, "an AVIF picture like this"),
    ],
)
def test_a_format_that_needs_more_memory_is_refused_at_fewer_pixels_by_its_name(
    format_name: str, options: dict[str, object], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinactors.analysis.imaging.decode.DECODING_BYTES", 20_000)
    with pytest.raises(PinactorsError) as caught:
        decode(drawing.encoded(quartered(), format_name, **options), View.FRONT, LIMIT)
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert f"for {name}, at most" in caught.value.detail


@pytest.mark.parametrize(
    ("format_name", "mode", "options", "cost"),
    [
        ("HEIF", "RGB", {"chroma": 420}, 4.6),
        ("HEIF", "RGB", {"chroma": 444}, 9.2),
        ("HEIF", "RGBA", {"chroma": 420}, 7.1),
        ("AVIF", "RGB", {"subsampling": "4:2:0"}, 8.8),
        ("AVIF", "RGB", {"subsampling": "4:4:4"}, 10.3),
        ("AVIF", "RGBA", {"subsampling": "4:2:0"}, 11.2),
        ("AVIF", "RGBA", {"subsampling": "4:4:4"}, 12.7),
        ("AVIF", "RGBA", {"subsampling": "4:4:4", "icc_profile": bytes(20_000)}, 12.7),  # between two codings
    ],
)
def test_more_samples_count_as_more_memory(
    format_name: str, mode: str, options: dict[str, object], cost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The costs were measured: see `decode`."""
    data = saved(Pillow.new(mode, (64, 64), (9, 9, 9, 99)[: len(mode)]), format_name, **options)
    for allowed in (0.99, 1.01):
        monkeypatch.setattr("pinactors.analysis.imaging.decode.DECODING_BYTES", int(64 * 64 * cost * allowed))
        with nullcontext() if allowed > 1 else pytest.raises(PinactorsError, match="at most"):
            decode(data, View.FRONT, LIMIT)


def test_memory_that_a_worker_does_not_get_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pinactors.analysis.imaging.vips_decoder.open_webp", starved)
    with pytest.raises(PinactorsError) as caught:
        decode(drawing.encoded(quartered(), "WEBP"), View.FRONT, LIMIT)
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert "memory" in caught.value.detail


def test_damage_anywhere_never_escapes_as_another_error() -> None:
    rng = np.random.default_rng(7)
    scene = drawing.photograph(drawing.pin_front(2), drawing.background("wood", 120, 90))
    refused = 0
    for format_name in ("JPEG", "PNG", "WEBP", "HEIF", "AVIF"):
        whole = drawing.encoded(scene.rgb, format_name)
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(int(rng.integers(1, 12))):
                data[int(rng.integers(0, min(len(data), 400)))] = int(rng.integers(0, 256))
            try:
                decode(bytes(data), View.FRONT, LIMIT)
            except PinactorsError:
                refused += 1
    assert refused > 60


def display_p3() -> bytes:
    """A minimal ICC v2 profile: Display P3 primaries (adapted to D50) with a 2.2 gamma."""

    def xyz(*values: float) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    text = b"P3 test\0"
    gamma = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(2.2 * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.5151, 0.2412, -0.0011),
        b"gXYZ": xyz(0.2920, 0.6922, 0.0419),
        b"bXYZ": xyz(0.1571, 0.0666, 0.7841),
        b"rTRC": gamma,
        b"gTRC": gamma,
        b"bTRC": gamma,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content = content.ljust(-len(content) % 4 + len(content), b"\0")
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    total = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", total, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body
