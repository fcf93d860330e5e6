"""Removal of metadata from photographs: the coded pixels, the colour profile and the orientation stay, and
nothing else."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from pinactors.analysis.imaging.decode import decode
from pinactors.protocol import PinactorsError, View
from pinactors.storage.images import ImageStore
from pinactors.storage.metadata import clean_file
from tests import drawing
from tests.drawing import chunk
from tests.storage.telling import FORMATS, SECRETS, XMP, photograph, telling, texts, without_metadata


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("format_name", FORMATS)
def test_position_owner_and_serial_number_go_and_the_picture_stays(
    format_name: str, orientation: int
) -> None:
    sent = photograph(format_name, orientation)
    assert b"SERIAL-4711" in texts(sent)
    kept = without_metadata(sent)
    for secret in SECRETS:
        assert secret not in texts(kept), secret
    before, after = (decode(data, View.FRONT, 10**8) for data in (sent, kept))
    assert np.array_equal(before.rgb, after.rgb)
    assert (before.width, before.height, before.media_type) == (after.width, after.height, after.media_type)
    with Pillow.open(io.BytesIO(kept)) as image:
        exif = image.getexif()
        assert set(exif) <= {0x0112}
        assert dict(exif.get_ifd(0x8825)) == {}
        assert image.info.get("icc_profile")
        assert "xmp" not in image.info or b"GPS" not in image.info["xmp"]
    assert without_metadata(kept) == kept


def test_the_coded_pixels_of_a_jpeg_are_the_same_bytes() -> None:
    sent = photograph("JPEG")
    kept = without_metadata(sent)
    assert kept[kept.index(b"\xff\xda") :] == sent[sent.rindex(b"\xff\xda") :]
    assert len(kept) < len(sent)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0, "restart_marker_rows": 1}])
def test_what_follows_a_jpegs_picture_goes(options: dict[str, object], tmp_path: Path) -> None:
    """That may be the video of a motion photograph, or a second picture with its own GPS position."""
    target = io.BytesIO()
    scene = drawing.photograph(drawing.pin_front(1), drawing.background("cloth", 160, 120))
    Pillow.fromarray(scene.rgb).save(target, "JPEG", **options)
    plain = target.getvalue()
    file = tmp_path / "plain"
    file.write_bytes(plain)
    before = file.stat().st_ino
    assert clean_file(file) == len(plain)
    assert file.stat().st_ino == before  # not written again
    assert file.read_bytes() == plain
    assert without_metadata(plain + photograph("JPEG") + b"ftypmp42 GPSLatitude") == plain


def test_a_turn_that_only_xmp_tells_is_kept() -> None:
    xmp = XMP.replace(b"<rdf:Description", b'<rdf:Description tiff:Orientation="6"')
    target = io.BytesIO()
    Pillow.fromarray(np.zeros((40, 60, 3), np.uint8)).save(target, "JPEG", xmp=xmp)
    kept = decode(without_metadata(target.getvalue()), View.FRONT, 10**8)
    assert (kept.width, kept.height) == (40, 60)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
def test_exifs_orientation_precedes_a_stale_one_in_xmp(format_name: str) -> None:
    """ImageMagick's `-auto-orient` turns the pixels and sets EXIF's orientation to 1, but not XMP's."""
    xmp = XMP.replace(b"<rdf:Description", b'<rdf:Description tiff:Orientation="6"')
    exif = Pillow.Exif()
    exif[0x0112] = 1
    target = io.BytesIO()
    Pillow.fromarray(np.zeros((40, 60, 3), np.uint8)).save(target, format_name, exif=exif, xmp=xmp)
    sent = target.getvalue()
    if format_name == "PNG":
        body = b"iTXtXML:com.adobe.xmp" + bytes(5) + xmp
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        sent = sent[:-12] + chunk + sent[-12:]
    for data in (sent, without_metadata(sent)):
        upright = decode(data, View.FRONT, 10**8)
        assert (upright.width, upright.height) == (60, 40)


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_written_as_a_long_number_is_kept(order: str) -> None:
    tiff = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIHHHIII", 42, 8, 1, 0x0112, 4, 1, 6, 0)
    target = io.BytesIO()
    Pillow.fromarray(np.zeros((40, 60, 3), np.uint8)).save(target, "JPEG", exif=b"Exif\0\0" + tiff)
    for data in (target.getvalue(), without_metadata(target.getvalue())):
        upright = decode(data, View.FRONT, 10**8)
        assert (upright.width, upright.height) == (40, 60)


@pytest.mark.parametrize("values", [0, 9])
def test_an_orientation_with_another_number_of_values_turns_nothing(values: int) -> None:
    """Decoders and viewers do not use it, so that the picture kept must not be turned either."""
    tiff = b"MM" + struct.pack(">HIHHHIHHI", 42, 8, 1, 0x0112, 3, values, 6, 0, 0)
    target = io.BytesIO()
    Pillow.fromarray(np.zeros((40, 60, 3), np.uint8)).save(target, "JPEG", exif=b"Exif\0\0" + tiff)
    for data in (target.getvalue(), without_metadata(target.getvalue())):
        upright = decode(data, View.FRONT, 10**8)
        assert (upright.width, upright.height) == (60, 40)


def test_an_orientation_that_a_webp_does_not_announce_turns_nothing() -> None:
    sent = bytearray(photograph("WEBP", 6))
    assert (
        decode(bytes(sent), View.FRONT, 10**8).width == decode(photograph("WEBP"), View.FRONT, 10**8).height
    )
    sent[20] &= ~0x08
    for data in (bytes(sent), without_metadata(bytes(sent))):
        assert decode(data, View.FRONT, 10**8).width == decode(photograph("WEBP"), View.FRONT, 10**8).width


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def riff(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) & 1)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


SECRET = b"GPSLatitude 52.5"
EXIF_SEGMENT = segment(0xE1, b"Exif\0\0" + telling().removeprefix(b"Exif\0\0") + SECRET)
TURNED = telling(6).removeprefix(b"Exif\0\0")
HEXADECIMAL = b"\nexif\n%8d\n" % len(TURNED) + TURNED.hex().encode() + b"\n"
TURNED_XMP = XMP.replace(b"<rdf:Description", b'<rdf:Description tiff:Orientation="6"')


def between_scans(data: bytes, more: bytes) -> bytes:
    second = data.index(b"\xff\xc4", data.index(b"\xff\xda"))
    return data[:second] + more + data[second:]


def with_riff(data: bytes, more: bytes) -> bytes:
    return data[:4] + struct.pack("<I", len(data) - 8 + len(more)) + data[8:] + more


@pytest.mark.parametrize(
    ("format_name", "change"),
    [
        ("JPEG", lambda d: d[:20] + b"\0\0" + EXIF_SEGMENT + d[20:]),
        ("JPEG", lambda d: d[:2] + EXIF_SEGMENT[:2] + b"\0\x10" + EXIF_SEGMENT[4:] + d[2:]),
        ("JPEG", lambda d: d[:2] + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\2\2" + SECRET) + d[20:]),
        ("JPEG", lambda d: between_scans(d, EXIF_SEGMENT)),
        ("JPEG", lambda d: between_scans(d, segment(0xFE, SECRET))),
        ("PNG", lambda d: d[:33] + chunk(b"tEXt", b"Author\0" + SECRET) + d[33:-12]),
        ("PNG", lambda d: d[:33] + chunk(b"tEXt", b"Author\0" + SECRET) + d[33:-2]),
        ("PNG", lambda d: d[:33] + chunk(b"GPSX", SECRET) + d[33:]),
        (
            "PNG",
            lambda d: (
                d[:33] + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(HEXADECIMAL)) + d[33:]
            ),
        ),
        ("PNG", lambda d: d[:33] + chunk(b"tEXt", b"Raw profile type exif\0" + HEXADECIMAL) + d[33:]),
        (
            "PNG",
            lambda d: (
                d[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(TURNED_XMP)) + d[33:]
            ),
        ),
        ("WEBP", lambda d: with_riff(d, riff(b"GPSX", SECRET))),
        ("WEBP", lambda d: with_riff(d, riff(b"Exif", SECRET))),
        ("WEBP", lambda d: with_riff(d, riff(b"XMP ", TURNED_XMP))),
        ("HEIF", lambda d: d + box(b"free", SECRET)),
        ("AVIF", lambda d: d + box(b"skip", SECRET)),
    ],
    ids=[
        "bytes that are no marker",
        "a segment that says it is shorter",
        "a preview",
        "EXIF between scans",
        "a comment between scans",
        "no IEND",
        "half an IEND",
        "an unknown critical chunk",
        "packed EXIF digits",
        "EXIF digits",
        "packed XMP",
        "an unknown chunk",
        "EXIF by another name",
        "XMP",
        "deleted box",
        "skipped box",
    ],
)
def test_metadata_in_unusual_places_goes_and_the_picture_stays(
    format_name: str, change: Callable[[bytes], bytes]
) -> None:
    """A decoder gives the same pixels, in the same orientation, before and afterwards."""
    options = {"progressive": True} if format_name == "JPEG" else {}
    scene = drawing.photograph(drawing.pin_front(1), drawing.background("cloth", 80, 60))
    target = io.BytesIO()
    Pillow.fromarray(scene.rgb).save(target, format_name, **options)
    sent = change(target.getvalue())
    kept = without_metadata(sent)
    assert not [secret for secret in (*SECRETS, TURNED[20:].hex().encode()) if secret in texts(kept)]
    before, after = (decode(data, View.FRONT, 10**8).rgb for data in (sent, kept))
    assert np.array_equal(before, after)


def test_a_png_in_apples_own_format_is_still_refused_by_its_name() -> None:
    """Its pixels cannot be decoded, and only its first chunk tells why."""
    plain = photograph("PNG")
    kept = without_metadata(plain[:8] + chunk(b"CgBI", bytes(4)) + plain[8:])
    with pytest.raises(PinactorsError, match="CgBI"):
        decode(kept, View.FRONT, 10**8)


def test_xmp_does_not_turn_an_avif_which_has_a_property_for_that() -> None:
    target = io.BytesIO()
    Pillow.fromarray(np.zeros((40, 60, 3), np.uint8)).save(target, "AVIF", xmp=TURNED_XMP)
    for data in (target.getvalue(), without_metadata(target.getvalue())):
        assert decode(data, View.FRONT, 10**8).rgb.shape == (40, 60, 3)


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_photograph_without_metadata_is_not_touched(format_name: str) -> None:
    data = drawing.encoded(np.full((40, 60, 3), 90, np.uint8), format_name)
    assert without_metadata(data) == data


@pytest.mark.parametrize("format_name", FORMATS)
def test_damage_never_raises(format_name: str) -> None:
    rng = np.random.default_rng(3)
    whole = photograph(format_name)
    for _ in range(80):
        data = bytearray(whole[: int(rng.integers(1, len(whole)))])
        for _ in range(6):
            data[int(rng.integers(0, len(data)))] = int(rng.integers(0, 256))
        assert isinstance(without_metadata(bytes(data)), bytes)
    assert without_metadata(b"") == b""


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 2_000_000,
        b"\xff\xd8" + b"\xff\x00" * 4_000_000,
        b"\xff\xd8\xff\xda\x00\x02" + b"\xff\xe0\x00\x00" * 2_000_000,
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(bytes(1 << 20))) * 20_000,
        b"\x89PNG\r\n\x1a\n" + (bytes(4) + b"teXt" + bytes(4)) * 1_000_000,
        b"RIFF\xff\xff\x00\x00WEBP" + b"XMP \0\0\0\0" * 1_000_000,
        b"\0\0\0\x18ftypheic" + bytes(12) + b"\0\0\0\x08free" * 1_000_000,
    ],
    ids=["segments", "no markers", "scans", "packed texts", "chunks", "riff", "boxes"],
)
def test_millions_of_parts_cost_no_time(data: bytes) -> None:
    begun = time.process_time()
    without_metadata(data)
    assert time.process_time() - begun < 2  # reading all parts takes ten


def test_the_store_keeps_it_without_and_knows_it_again_by_what_was_sent(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    store.prepare()
    sent = photograph("JPEG", 6)
    first, again = store.save(sent), store.save(sent)
    assert first == again
    assert Path(first.path).read_bytes() == without_metadata(sent)
    assert first.size == len(without_metadata(sent))
    assert first.sha256 != store.save(without_metadata(sent)).sha256
    assert list(store.spool.iterdir()) == []


def refusal(data: bytes) -> str:
    """Why `data` cannot be decoded."""
    with pytest.raises(PinactorsError) as refused:
        decode(data, View.FRONT, 10**8)
    return refused.value.detail


JPEG_START = b"\xff\xd8\xff\xe0"
OTHER_HEIF = box(b"ftyp", b"mif1" + bytes(4) + b"mif1") + box(b"meta", b"infe\2" + bytes(7) + b"jpeg")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"II*\0\x08\0\0\0" + telling()[6:] + SECRET, b"II*\0"),
        (b"MM\0*\0\0\0\x08" + SECRET, b"MM\0*"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"Exif", SECRET), b"\0\0\0\x0cJXL "),
        (b"GIF89a\1\0\1\0\0\0\0!\xfe" + SECRET, b"GIF8"),
        (box(b"ftyp", b"mp42") + box(b"moov", box(b"udta", SECRET)), b"\0\0\0\x0cftyp"),
        (OTHER_HEIF + box(b"idat", SECRET), OTHER_HEIF),
        (b"<!-- a drawing --><svg><metadata>" + SECRET, b"<!-- a drawing --><svg"),
        (b"no picture file " + SECRET, b"no picture file "),
        (JPEG_START + b" torn" + SECRET, JPEG_START[:3]),
        (JPEG_START + bytes(range(256)) + SECRET, JPEG_START[:3]),
        (b"\xff\xd8" + EXIF_SEGMENT, JPEG_START[:3]),
        (b"\xff\xd8" + EXIF_SEGMENT + segment(0xDA, b"") + b"\xff\xe0\0\2" * 60_000, JPEG_START[:3]),
        (photograph("WEBP")[:60], photograph("WEBP")[:8] + b"WEBP"),
        (box(b"ftyp", b"heic" + bytes(4) + b"mif1") + b"\0\0\0\2Exif" + SECRET, b"\0\0\0\x14ftypheic"),
    ],
    ids=[
        *("TIFF", "raw picture", "JPEG XL", "GIF", "video", "HEIF of another coding", "SVG", "unknown"),
        *("torn JPEG", "JPEG of noise", "JPEG cut in its EXIF", "JPEG of segments", "cut WebP", "torn HEIC"),
    ],
)
def test_of_a_file_that_cannot_be_cleaned_only_what_tells_its_format_is_kept(
    sent: bytes, kept: bytes
) -> None:
    """Its error is the one of the file that was sent, also if the analysis is repeated after a restart."""
    assert without_metadata(sent) == kept
    assert refusal(kept) == refusal(sent)
    assert without_metadata(kept) == kept


@pytest.mark.parametrize("named", [0, 7, -1, 1, 1 << 20])
def test_a_webp_whose_header_names_another_size_is_cleaned_and_read(named: int) -> None:
    """Viewers show it: they read one chunk after the other."""
    whole = photograph("WEBP")
    size = named if named in (0, 7) else len(whole) - 8 + named
    sent = whole[:4] + struct.pack("<I", size) + whole[8:]
    assert without_metadata(sent) == without_metadata(whole)
    for data in (sent, sent + b"behind it", whole + bytes(100)):
        assert np.array_equal(decode(data, View.FRONT, 10**8).rgb, decode(whole, View.FRONT, 10**8).rgb)


def test_a_picture_that_only_decoders_can_read_is_not_kept_either() -> None:
    """A decoder ignores the torn box behind the picture, which may hold a position."""
    sent = photograph("HEIF") + b"\0\0\0\2torn" + SECRET
    assert decode(sent, View.FRONT, 10**8)
    assert without_metadata(sent) == sent[:12]
    assert "damaged" in refusal(sent[:12])
