"""Photographs whose metadata tell where they were taken and by whom."""

from __future__ import annotations

import contextlib
import io
import tempfile
import zlib
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageCms, PngImagePlugin
from pillow_heif import register_heif_opener

from pinactors.storage.metadata import clean_file
from tests import drawing

register_heif_opener()

FORMATS = ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"]
SECRETS = (b"SERIAL-4711", b"Anna Owner", b"52.5", b"GPSLatitude")
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description exif:GPSLatitude="52.5" aux:SerialNumber="SERIAL-4711"/></rdf:RDF></x:xmpmeta>'
)


def without_metadata(data: bytes) -> bytes:
    """The photograph `data` after `clean_file`."""
    with tempfile.NamedTemporaryFile() as file:
        path = Path(file.name)
        path.write_bytes(data)
        clean_file(path)
        return path.read_bytes()


def telling(orientation: int = 1) -> bytes:
    """EXIF with a position, an owner, a serial number and maker notes."""
    exif = Pillow.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0xA431] = "SERIAL-4711"
    exif.get_ifd(0x8769)[0xA430] = "Anna Owner"
    exif.get_ifd(0x8769)[0x927C] = b"maker notes SERIAL-4711"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 59.0), 3: "E", 4: (13.0, 24.0, 1.0)})
    return exif.tobytes()


def photograph(format_name: str, orientation: int = 1) -> bytes:
    scene = drawing.photograph(drawing.pin_front(1), drawing.background("cloth", 160, 120))
    options: dict[str, object] = {"exif": telling(orientation), "xmp": XMP}
    options["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    target = io.BytesIO()
    if format_name == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", "Anna Owner", zip=True)
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        del options["xmp"]
        options["pnginfo"] = text
    if format_name == "JPEG":
        options["comment"] = b"by Anna Owner"
    Pillow.fromarray(scene.rgb).save(target, format_name, **options)
    return target.getvalue()


def texts(data: bytes) -> bytes:
    """The file's bytes, followed by its compressed texts, decompressed."""
    unpacked = b""
    at = 0
    while (at := data.find(b"x\x9c", at)) >= 0:
        with contextlib.suppress(zlib.error):
            unpacked += zlib.decompressobj().decompress(data[at:])
        at += 2
    return data + unpacked
