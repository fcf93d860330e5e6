"""Tests of reading formats: which are recognised, and what a decoder receives of a file."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from pinactors.analysis.imaging import formats
from pinactors.analysis.imaging.decode import decode, sniff
from pinactors.protocol import PinactorsError, View
from tests import drawing
from tests.analysis.imaging.quartered import LIMIT, RED, close, corner, quartered, saved
from tests.drawing import chunk


def test_content_decides_not_the_name() -> None:
    assert sniff(drawing.encoded(quartered(), "PNG")) == ("image/png", "PNG")
    assert sniff(drawing.encoded(quartered(), "HEIF")) == ("image/heic", "HEIF")
    assert sniff(drawing.encoded(quartered(), "AVIF")) == ("image/avif", "AVIF")
    assert sniff(b"\x00\x00\x00\x18ftypmp42" + bytes(16)) is None
    assert sniff(b"") is None


BYSTANDERS = {
    "2 MB of packed text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20))),
    "2 MB of packed international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(2 << 20))),
    "2 MB of text": chunk(b"tEXt", b"Comment\0" + b"x" * (2 << 20)),
    "a wrong checksum in a text": chunk(b"tEXt", b"Comment\0hello", 1),
    "a wrong checksum in a time": chunk(b"tIME", bytes(7), 1),
    "text that does not unpack": chunk(b"zTXt", b"Comment\0\0" + bytes(20)),
    "120 MB of text in pieces of 60 kB": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(60_000))) * 2000,
    "a profile of 50 MB": chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50 << 20))),
    "a profile that does not unpack": chunk(b"iCCP", b"x\0\0garbage"),
    "a profile without a name's end": chunk(b"iCCP", b"x"),
    "a profile of nothing": chunk(b"iCCP", b""),
    "a profile that ends behind its name": chunk(b"iCCP", b"x\0"),
    "a profile packed by an unknown method": chunk(b"iCCP", b"x\0\7" + zlib.compress(b"x")),
    "EXIF packed by an unknown method": chunk(b"zTXt", formats.PNG_EXIF + b"\7" + zlib.compress(b"x")),
    "a transparent colour of one byte": chunk(b"tRNS", b"x"),
    "an animation's control of one byte": chunk(b"acTL", b"x"),
    "a frame's control of nonsense": chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", b"x" * 26),
    "parts that are too short": b"".join(
        chunk(kind, b"") for kind in (b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"sBIT", b"bKGD", b"eXIf", b"iTXt")
    ),
}


@pytest.mark.parametrize("after", [33, -12], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize("name", BYSTANDERS)
def test_what_stands_beside_a_pngs_pixels_costs_nobody_the_picture(name: str, after: int) -> None:
    plain = saved(Pillow.fromarray(quartered()), "PNG")
    data = plain[:after] + BYSTANDERS[name] + plain[after:]
    assert np.array_equal(decode(data, View.FRONT, LIMIT).rgb, quartered())


def test_of_many_chunks_with_the_orientation_a_decoder_gets_a_few() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 3
    plain = saved(Pillow.fromarray(quartered()), "PNG")
    many = plain[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) * 1000 + plain[-12:]
    assert len(formats.pixels_of_png(many)) < len(plain) + 1000
    assert np.array_equal(decode(many, View.FRONT, LIMIT).rgb, quartered()[::-1, ::-1])


def test_a_pngs_transparent_colour_is_heeded() -> None:
    plain = saved(Pillow.fromarray(quartered()), "PNG")
    data = plain[:33] + chunk(b"tRNS", struct.pack(">HHH", *RED)) + plain[33:]
    assert close(corner(decode(data, View.FRONT, LIMIT).rgb, "TL"), (255, 255, 255))


@pytest.mark.parametrize("large", [False, True])
def test_how_a_png_was_held_may_follow_its_pixels(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr("pinactors.analysis.imaging.decode.WHOLE_PIXELS", 1000)
    plain = saved(Pillow.fromarray(quartered()), "PNG")
    exif = Pillow.Exif()
    exif[0x0112] = 3
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<rdf:Description tiff:Orientation="3"/>'
    for text in (chunk(b"eXIf", exif.tobytes()[6:]), chunk(b"iTXt", xmp)):
        data = plain[:-12] + text + plain[-12:]
        assert np.array_equal(decode(data, View.FRONT, LIMIT).rgb, quartered()[::-1, ::-1])


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("brand", [b"mif1", b"miaf", b"MA1B"])
def test_avif_in_a_file_that_names_itself_by_a_general_brand(brand: bytes, named: bool) -> None:
    """`MA1B` is a profile of AVIF. `named`: whether AVIF is among the other brands."""
    data = drawing.encoded(quartered(), "AVIF")
    assert data[8:12] == b"avif"
    end = int.from_bytes(data[:4], "big")
    brands = data[12:end] if named else data[12:end].replace(b"avif", b"miaf")
    photograph = decode(data[:8] + brand + brands + data[end:], View.FRONT, LIMIT)
    assert photograph.media_type == "image/avif"
    assert close(corner(photograph.rgb, "TL"), RED)


def test_a_jpeg_that_lost_restart_markers_is_damaged() -> None:
    for picture in (quartered(), quartered()[:, :, 0]):
        data = saved(Pillow.fromarray(picture), "JPEG", restart_marker_rows=1)
        first = data.index(b"\xff\xd0")
        assert decode(data, View.FRONT, LIMIT).width == 96
        with pytest.raises(PinactorsError, match="damaged"):
            decode(data[:first] + data[first + 2 :], View.FRONT, LIMIT)


def test_a_jpeg_of_ever_more_scans_is_refused_by_their_number() -> None:
    """A JPEG with a megabyte of scans would keep a worker busy for minutes."""
    data = drawing.encoded(quartered(), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    scan, comment = data[start:-2], b"\xff\xfe\x00\x04\xff\xd9"  # the end marker in a comment is ignored
    few, many = (data[:-2] + (comment + scan) * count + b"\xff\xd9" for count in (40, 60))
    assert decode(few, View.FRONT, LIMIT).rgb.shape == decode(data, View.FRONT, LIMIT).rgb.shape
    with pytest.raises(PinactorsError) as caught:
        decode(many + data * 9, View.FRONT, LIMIT)
    assert "a JPEG with more than 64 scans" in caught.value.detail
    assert decode(few + data * 9, View.FRONT, LIMIT), "what stands behind the picture is none of it"


HEIF_ITEM = b"\0\0\0\x15infe\x02\0\0\0\0\1\0\0%b\0"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"GIF89a" + bytes(64), "a GIF picture"),
        (b"II*\0" + bytes(64), "a TIFF or raw picture"),
        (b"\0\0\0\x18ftypcrx " + bytes(64), "a raw picture"),
        (b"IIU\0" + bytes(64), "a raw picture"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (b"\0\0\0\x0cJXL " + bytes(64), "a JPEG XL picture"),
        (b"\0\0\0\x20ftypmp42" + bytes(64), "a video"),
        (b"%PDF-1.7" + bytes(64), "a PDF document"),
        (b"  <!DOCTYPE html><p>", "a web page"),
        (b'<?xml version="1.0"?><svg>', "an SVG drawing"),
        (b"plain words", "not a photograph we can read"),
        (b"II+\0\x08\0\0\0" + bytes(64), "a TIFF or raw picture"),
        (b"FOVb" + bytes(64), "a raw picture"),
        (b"\0\0\0\x08wide\0\0\x10\0mdat" + bytes(64), "a video"),
        (b"\x1f\x8b\x08" + bytes(64), "a compressed file"),
        (b"/9j/4AAQSkZJRgABAQ", "base64 text"),
        (b"data:image/png;base64,iVBORw0KGgo", "base64 text"),
        ("\xff\xd8\xff\xe0".encode(), "a picture that a program has changed as if it were text"),
        (b"\xff\xd8\xff".decode(errors="replace").encode(), "a picture that a program has changed as if"),
        (b"\x89PNG\n\x1a\n" + bytes(64), "a picture that a program has changed as if it were text"),
        (b"\0\0\0\x18ftypvvic\0\0\0\0vvicmif1" + HEIF_ITEM % b"vvc1", "a HEIF picture whose coding"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf" + HEIF_ITEM % b"jpeg", "a HEIF picture whose coding"),
        (formats.PNG_SIGNATURE + chunk(b"CgBI", bytes(4)) + bytes(64), "a PNG in Apple's own format"),
        (b"\xff\xd8\xff\xf7\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00", "a near-lossless JPEG"),
    ],
)
def test_other_files_are_refused_by_their_name(data: bytes, name: str) -> None:
    with pytest.raises(PinactorsError, match=f"this is {name}"):
        decode(data, View.FRONT, LIMIT)


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"\xff\xd8\xff\xe1", ("image/jpeg", "JPEG")),
        (b"\x89PNG\r\n\x1a\n", ("image/png", "PNG")),
        (b"RIFF\0\0\0\0WEBPVP8X", ("image/webp", "WEBP")),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", ("image/heic", "HEIF")),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", ("image/heic", "HEIF")),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", ("image/avif", "AVIF")),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1" + b"...av01", ("image/avif", "AVIF")),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1" + b"...hvc1av01", ("image/heif", "HEIF")),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp41", None),
        (b"\xff\xd8", None),
    ],
)
def test_a_format_is_known_by_its_first_bytes(start: bytes, found: tuple[str, str] | None) -> None:
    assert formats.sniff(start + bytes(64)) == found


@pytest.mark.parametrize(("options", "chunk_type"), [({}, b"VP8 "), ({"lossless": True}, b"VP8L")])
def test_the_size_of_a_webp(options: dict[str, object], chunk_type: bytes) -> None:
    data = drawing.encoded(quartered(90, 60), "WEBP", **options)
    assert data[12:16] == chunk_type
    assert formats.webp_size(data) == (90, 60)
    extended = drawing.encoded(quartered(90, 60), "WEBP", 6, **options)
    assert extended[12:16] == b"VP8X"
    assert formats.webp_size(extended) == (90, 60)
    assert [kind for kind, _, _ in formats.webp_chunks(extended)] == [b"VP8X", chunk_type, b"EXIF"]
    assert formats.webp_size(data[:25]) == (0, 0)


def test_the_chunks_of_a_png_up_to_its_end() -> None:
    data = saved(Pillow.fromarray(quartered()), "PNG")
    chunks = list(formats.png_chunks(data + b"something else"))
    assert [kind for kind, _, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    assert (chunks[0][1], chunks[-1][2]) == (8, len(data))
    assert [kind for kind, _, _ in formats.png_chunks(data[:-1])] == [b"IHDR", b"IDAT"]
