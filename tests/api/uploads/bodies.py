"""Bodies of uploads, and what a parser makes of them."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Callable
from pathlib import Path

from pinactors.api.uploads.json_body import JsonUpload
from pinactors.api.uploads.multipart import MultipartUpload
from pinactors.api.uploads.received import Event, OtherField, Parser, Photograph, RegionNamed, SessionNamed
from pinactors.protocol import PinactorsError, View
from pinactors.storage.images import ImageStore
from tests.api.wire import BOUNDARY, multipart, part

JPEG = b"\xff\xd8\xff\xdb\3\2" + bytes(range(256)) * 3 + b"\xff\xda\0\2\r\n\xff\xd9"
"""A table and a scan, which the store keeps byte for byte."""

TEXT = base64.b64encode(JPEG).decode()

Outcome = list[tuple[str, str, int]] | str


def outcome(parser: Parser, pieces: list[bytes]) -> Outcome:
    """The parsed events, or the code and field of the refusal."""
    events: list[Event] = []
    try:
        for piece in pieces:
            events += parser.feed(piece)
        parser.finish()
    except PinactorsError as error:
        return f"{error.code} {error.field}"
    finally:
        parser.discard()
    return [described(event) for event in events]


def described(event: Event) -> tuple[str, str, int]:
    match event:
        case Photograph(view, image, _):
            return view, image.sha256, image.size
        case SessionNamed(session_id):
            return "session", str(session_id), 0
        case RegionNamed(view, region):
            return f"{view} region", str(region), 0
        case OtherField():
            return "other", "", 0


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(borders)]


def as_json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def typed(sent: bytes, kind: str) -> bytes:
    """The multipart part `sent` with a Content-Type."""
    return with_header(sent, f"Content-Type: {kind}")


def coded(sent: bytes, coding: str) -> bytes:
    """The multipart part `sent`, whose content has this coding already, with the header that says so."""
    return with_header(sent, f"Content-Transfer-Encoding: {coding}")


def with_header(sent: bytes, line: str) -> bytes:
    return sent.replace(b"\r\n\r\n", f"\r\n{line}\r\n\r\n".encode(), 1)


BODIES: dict[str, tuple[Callable[[ImageStore], Parser], bytes]] = {
    name: (JsonUpload, body)
    for name, body in {
        "plain": as_json(sessionId="1", frontImageData=TEXT, backImageData=TEXT, angledImageData=None),
        "extra fields": as_json(
            prompts={"a": ["}", '"', "\\", 1.5e3, None]}, frontImageData=TEXT, requireApproval=True
        ),
        "spaced": json.dumps({"frontImageData": TEXT, "n": [1, {"b": []}]}, indent=4).encode(),
        "a data URL": as_json(frontImageData=f"data:image/jpeg;base64,{TEXT}"),
        "a data URL in capitals": as_json(frontImageData=f"DATA:IMAGE/JPEG;charset=x;BASE64,{TEXT}"),
        "escaped as Apple does": as_json(frontImageData=TEXT).replace(b"/", b"\\/"),
        "escaped as .NET does": as_json(frontImageData=TEXT).replace(b"+", b"\\u002B"),
        "escaped as Gson does": as_json(frontImageData="data:image/jpeg;base64," + TEXT).replace(
            b"=", b"\\u003d"
        ),
        "with line breaks": as_json(frontImageData=base64.encodebytes(JPEG).decode()),
        "escaped names": b'{"front\\u0049mageData": "%b"}' % TEXT.encode(),
        "escaped white space": as_json(frontImageData=TEXT).replace(
            TEXT[:9].encode(),
            b"".join(
                bytes([letter]) + escape
                for letter, escape in zip(
                    TEXT[:9].encode(), itertools.cycle([rb"\t", rb"\u000d\u000a", rb"\/"[:0]])
                )
            ),
        ),
        "words for nothing": as_json(frontImageData=TEXT, backImageData="null", angledImageData="undefined"),
        "false for nothing": as_json(frontImageData=TEXT, backImageData=False, angledImageData=None),
        "a number beyond all bounds": b'{"x": 1e400, "y": -0.5E+3, "frontImageData": "%b"}' % TEXT.encode(),
        "no numbers": b'{"x": NaN, "y": -Infinity, "backImageData": null, "sessionId": NaN}',
        "half a surrogate pair": b'{"x": "\\ud800", "\\udfff": {"y": "\\ud800"}, "frontImageData": "%b"}'
        % TEXT.encode(),
        "half a surrogate pair as session": b'{"sessionId": "\\ud800"}',
        "a byte order mark": b"\xef\xbb\xbf" + as_json(frontImageData=TEXT),
        "a long data URL": as_json(frontImageData=f'data:image/jpeg;name="{"é, ;" * 500}" ; BASE64 ,{TEXT}'),
        "a data URL in another": as_json(frontImageData="data:;base64,data:image/jpeg;base64," + TEXT),
        "too many data URLs": as_json(frontImageData="data:;base64," * 5000),
        "a data URL of nothing": as_json(frontImageData=TEXT, backImageData="data:;base64,undefined"),
        "bad base64": as_json(frontImageData=TEXT[:-3]),
        "without padding": as_json(frontImageData=base64.urlsafe_b64encode(JPEG[:-1]).decode().rstrip("=")),
        "padding in the middle": as_json(frontImageData="YQ==YQ=="),
        "a bad escape": as_json(frontImageData="YW\\"),
        "a bad value": b'{"frontImageData": "", "x": tru}',
        "no comma": b'{"a": 1 "b": 2}',
        "trailing comma": b'{"a": 1,}',
        "nested deeply": b'{"a": ' + b'{"a": ' * 100 + b"1" + b"}" * 101,
        "cut off": as_json(frontImageData=TEXT)[:-20],
        "twice": b'{"sessionId": "1", "sessionId": "2"}',
    }.items()
} | {
    f"multipart, {name}": (lambda store: MultipartUpload(store, BOUNDARY), body)
    for name, body in {
        "binary": multipart([part("sessionId", b"7"), part("front_image", JPEG, "a.jpg")]),
        "text": multipart([part("frontImageData", TEXT.encode()), part("backImageData", b"")]),
        "text as files": multipart([part("frontImageData", JPEG, "a.jpg")]),
        "what looks like a boundary": multipart(
            [part("front_image", b"\r\n--a-bound\r\n--a-boundaryX" + JPEG)]
        ),
        "bytes with a type": multipart([typed(part("frontImageData", JPEG), "image/jpeg")]),
        "few bytes with a type": multipart([typed(part("frontImageData", b"(null)"), "image/jpeg")]),
        "text with a type": multipart([typed(part("frontImageData", TEXT.encode()), "image/jpeg")]),
        "empty": multipart([]),
        "no front": multipart([part("x", b"1"), part("angled_image", JPEG)]),
        "bad base64": multipart([part("backImageData", b"!")]),
        "an epilogue": multipart([part("front_image", JPEG)]) + b"whatever follows" * 99,
        "cut off": multipart([part("front_image", JPEG)])[:-9],
        "file names in other encodings": multipart(
            part("front_image", JPEG, "x").replace(b'"x"', b'"' + name + b'"')
            if name is not None
            else part("back_image", JPEG, "x").replace(b'filename="x"', b"filename*=UTF-8''%E5%9B%BE.jpg")
            for name in ("图.jpg".encode("gbk"), None)
        ),
        "words for nothing": multipart(
            [
                part("front_image", JPEG, "a"),
                part("back_image", b"null"),
                part("angledImageData", b"undefined"),
            ]
        ),
        "a preamble": b"This is multipart.\r\n" + multipart([part("front_image", JPEG, "a")]),
        "white space behind a boundary": multipart([part("front_image", JPEG, "a"), part("x", b"")])
        .replace(b"--\r\n", b"--")
        .replace(f"--{BOUNDARY}\r\n".encode(), f"--{BOUNDARY} \t\r\n".encode()),
        "a name that is no text": multipart([part("?", b"")]).replace(b"?", b"\xff"),
        "coded as in mail": multipart(
            [
                coded(part("sessionId", b"MjUx\r\nMjMx\r\n"), "base64"),
                coded(part("frontRegion", b"0,0,=31,0.=\r\n5"), "quoted-printable"),
                coded(part("front_image", binascii.b2a_qp(JPEG, istext=False), "a.jpg"), "quoted-printable"),
                coded(part("backImageData", binascii.b2a_qp(TEXT.encode())), "quoted-printable"),
            ]
        ),
        "coded wrongly": multipart([coded(part("sessionId", b"MjUx!"), "base64")]),
    }.items()
}


def photographs(parser: Parser, body: bytes) -> dict[View, tuple[bytes, str]]:
    """The content and the field name of each parsed photograph, by view."""
    events = parser.feed(body)
    parser.finish()
    return {
        event.view: (Path(event.image.path).read_bytes(), event.field)
        for event in events
        if isinstance(event, Photograph)
    }
