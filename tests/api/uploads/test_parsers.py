"""Parsers of upload bodies: the result does not depend on where a body is cut, and the spool is empty at the
end."""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinactors.api.uploads.base64_stream import means_missing
from pinactors.api.uploads.json_body import JsonUpload
from pinactors.api.uploads.multipart import MultipartUpload, boundary_of, checked_boundary
from pinactors.api.uploads.received import (
    Event,
    OtherField,
    Parser,
    Photograph,
    RegionNamed,
    SessionNamed,
    WebhookNamed,
)
from pinactors.protocol import ErrorCode, PinactorsError, View
from pinactors.storage.images import STALE_SECONDS, ImageStore
from tests.api.wire import BOUNDARY, multipart, part

JPEG = b"\xff\xd8\xff\xdb\3\2" + bytes(range(256)) * 3 + b"\xff\xda\0\2\r\n\xff\xd9"
"""A table and a scan, which the store keeps byte for byte."""

TEXT = base64.b64encode(JPEG).decode()

Outcome = list[tuple[str, str, int]] | str


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    folder = tmp_path_factory.mktemp("store")
    store = ImageStore(folder / "images")
    store.prepare()
    return store


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


@pytest.mark.parametrize("name", BODIES)
def test_byte_by_byte_is_the_same_as_whole(store: ImageStore, name: str) -> None:
    make, body = BODIES[name]
    whole = outcome(make(store), [body])
    assert outcome(make(store), [body[index : index + 1] for index in range(len(body))]) == whole
    assert list(store.spool.iterdir()) == []


@given(name=st.sampled_from(sorted(BODIES)), places=st.lists(st.integers(0, 10_000), max_size=8))
def test_cut_anywhere_is_the_same_as_whole(store: ImageStore, name: str, places: list[int]) -> None:
    make, body = BODIES[name]
    assert outcome(make(store), cut(body, places)) == outcome(make(store), [body])


@given(
    noise=st.binary(max_size=200),
    at=st.integers(0, 2000),
    name=st.sampled_from(sorted(BODIES)),
    places=st.lists(st.integers(0, 10_000), max_size=3),
)
def test_whatever_is_sent_is_parsed_or_refused(
    store: ImageStore, noise: bytes, at: int, name: str, places: list[int]
) -> None:
    """No other exception is raised, and the same bytes give the same result."""
    make, body = BODIES[name]
    at %= len(body) + 1
    body = body[:at] + noise + body[at + len(noise) :]
    assert outcome(make(store), cut(body, places)) == outcome(make(store), [body])
    assert list(store.spool.iterdir()) == []


PHOTOGRAPHS = st.binary(min_size=1, max_size=3000).filter(lambda data: not means_missing(data))
"""Any bytes but white space and the words that mean no photograph, in a file too."""


@given(photograph=PHOTOGRAPHS, places=st.lists(st.integers(0, 10_000), max_size=5))
def test_a_photograph_survives_every_carrier(store: ImageStore, photograph: bytes, places: list[int]) -> None:
    text = base64.b64encode(photograph)
    carried = [
        (JsonUpload(store), b'{"frontImageData":"' + text + b'"}'),
        (MultipartUpload(store, BOUNDARY), multipart([part("front_image", photograph, "x")])),
        (MultipartUpload(store, BOUNDARY), multipart([part("frontImageData", text)])),
    ]
    for parser, body in carried:
        events = [event for piece in cut(body, places) for event in parser.feed(piece)]
        parser.finish()
        [image] = [event.image for event in events if isinstance(event, Photograph)]
        assert image.sha256 == hashlib.sha256(photograph).hexdigest()


def test_a_photograph_is_out_before_the_next_one_is_in(store: ImageStore) -> None:
    body = as_json(sessionId="1", frontImageData=TEXT, backImageData=TEXT)
    half = body.index(b"backImageData")
    events = JsonUpload(store).feed(body[:half])
    assert [event.view for event in events if isinstance(event, Photograph)] == [View.FRONT]
    parts = multipart([part("front_image", JPEG, "a"), part("back_image", JPEG, "b")])
    events = MultipartUpload(store, BOUNDARY).feed(parts[: parts.index(b"back_image") + 20])
    assert [event.view for event in events if isinstance(event, Photograph)] == [View.FRONT]


class TestStore:
    def test_the_same_content_is_kept_once(self, store: ImageStore) -> None:
        first, second = store.save(b"one"), store.save(b"one")
        assert first == second
        assert Path(first.path).read_bytes() == b"one"
        assert first.path.endswith(f"/{first.sha256[:2]}/{first.sha256}")

    def test_a_damaged_file_is_replaced(self, store: ImageStore) -> None:
        kept = store.save(b"another")
        Path(kept.path).write_bytes(b"")
        store.save(b"another")
        assert Path(kept.path).read_bytes() == b"another"

    def test_what_a_killed_process_left_is_removed(self, tmp_path: Path) -> None:
        store = ImageStore(tmp_path / "images")
        store.prepare()
        (store.spool / "new").touch()
        (store.spool / "old").touch()
        os.utime(store.spool / "old", (0, STALE_SECONDS))
        store.prepare()
        assert [file.name for file in store.spool.iterdir()] == ["new"]


def test_a_boundary_has_to_be_one() -> None:
    for boundary in (None, "", "x" * 201, "é"):
        with pytest.raises(PinactorsError) as refused:
            checked_boundary(boundary)
        assert refused.value.code is ErrorCode.INVALID_FORMAT


@pytest.mark.parametrize(
    ("parameters", "boundary"),
    [
        ("; boundary=----WebKitFormBoundaryA1", "----WebKitFormBoundaryA1"),
        (";charset=utf-8;Boundary = X ;a=b", "X"),
        ('; boundary="a b:/?="; charset=utf-8', "a b:/?="),
        (r'; boundary="a\"b"', 'a"b'),
        ("; boundary================7330845974216740156==", "===============7330845974216740156=="),
        ("; boundary=----=_Part_12_345.678; charset=utf-8", "----=_Part_12_345.678"),
        ("; boundary=a/b:c?d@e", "a/b:c?d@e"),
        ("; boundary=", ""),
        ("", None),
        ("; x-boundary=a", None),
    ],
)
def test_a_boundary_is_read_also_if_it_should_be_quoted_but_is_not(
    parameters: str, boundary: str | None
) -> None:
    """Such as the boundaries of Python's and Java's mail libraries, in programs that add them to a header."""
    assert boundary_of(f"multipart/form-data{parameters}") == boundary


def photographs(parser: Parser, body: bytes) -> dict[View, tuple[bytes, str]]:
    """The content and the field name of each parsed photograph, by view."""
    events = parser.feed(body)
    parser.finish()
    return {
        event.view: (Path(event.image.path).read_bytes(), event.field)
        for event in events
        if isinstance(event, Photograph)
    }


class TestLenient:
    """Deviations of real clients from the plain form."""

    @pytest.mark.parametrize("encoding", ["latin-1", "gbk", "shift-jis", "utf-16"])
    def test_a_file_name_may_be_in_any_encoding(self, store: ImageStore, encoding: str) -> None:
        name = ("é" if encoding == "latin-1" else "表示") + ".jpg"
        body = multipart([part("front_image", JPEG, "NAME")]).replace(b"NAME", name.encode(encoding))
        assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, "front_image")}

    def test_a_file_name_that_ends_in_a_backslash_is_still_a_files(self, store: ImageStore) -> None:
        """In Shift-JIS, the second byte of some characters is a backslash."""
        body = multipart([part("frontImageData", JPEG, "NAME")]).replace(b"NAME", "表".encode("shift-jis"))
        assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, "frontImageData")}

    @pytest.mark.parametrize(
        "word",
        [
            *("null", "undefined", "None", " NULL\n", "(null)", "nil", "NaN", "data:,", "data:"),
            *("data:image/jpeg;base64,undefined", "data:image/jpeg;base64,null", "data:image/png;base64,"),
        ],
    )
    def test_a_word_for_nothing_is_no_photograph(self, store: ImageStore, word: str) -> None:
        front = {View.FRONT: (JPEG, "frontImageData")}
        body = as_json(frontImageData=TEXT, backImageData=word, angledImageData=word)
        assert photographs(JsonUpload(store), body) == front
        body = multipart([part("frontImageData", TEXT.encode()), part("backImageData", word.encode())])
        assert photographs(MultipartUpload(store, BOUNDARY), body) == front

    @pytest.mark.parametrize("word", ["null", "undefined", "None", "data:,"])
    def test_nor_is_one_in_a_part_for_bytes(self, store: ImageStore, word: str) -> None:
        body = multipart([part("front_image", JPEG, "a"), part("back_image", word.encode())])
        assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, "front_image")}

    @pytest.mark.parametrize("word", ["null", "undefined", "(null)"])
    @pytest.mark.parametrize("name", ["back_image", "backImageData"])
    def test_nor_is_one_in_a_file(self, store: ImageStore, name: str, word: str) -> None:
        """`new Blob([null])` in JavaScript."""
        for blob in (part(name, word.encode(), "blob"), typed(part(name, word.encode()), "image/jpeg")):
            body = multipart([part("front_image", JPEG, "a"), blob])
            assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, "front_image")}

    def test_a_word_for_nothing_leaves_room_for_the_photograph(self, store: ImageStore) -> None:
        body = multipart([part("frontImageData", b"null"), part("front_image", JPEG, "a.jpg")])
        assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, "front_image")}

    def test_what_was_not_chosen_may_stand_behind_the_photograph(self, store: ImageStore) -> None:
        """A page may have an input for the camera and one for the album, with the same name."""
        body = multipart([part("front_image", JPEG, "a.jpg"), part("front_image", b"", "")])
        assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, "front_image")}
        body = as_json(frontImageData=TEXT)[:-1] + b', "frontImageData": null, "frontImageData": ""}'
        assert photographs(JsonUpload(store), body) == {View.FRONT: (JPEG, "frontImageData")}

    def test_a_word_for_nothing_names_no_session(self, store: ImageStore) -> None:
        upload = JsonUpload(store)
        assert upload.feed(b'{"sessionId": "undefined"}') == [SessionNamed(None)]
        parts = MultipartUpload(store, BOUNDARY)
        assert parts.feed(multipart([part("sessionId", b"null")])) == [SessionNamed(None)]

    def test_a_name_behind_a_file_name_that_ends_in_a_backslash(self, store: ImageStore) -> None:
        disposition = 'form-data; filename="表"; name="front_image"'.encode("shift-jis")
        body = multipart([part("front_image", JPEG)]).replace(b'form-data; name="front_image"', disposition)
        assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, "front_image")}

    def test_a_part_may_be_base64(self, store: ImageStore) -> None:
        """Mail libraries encode files like this, and declare it in a header."""
        encoded = coded(part("front_image", base64.encodebytes(JPEG), "a.jpg"), "BASE64")
        expected = {View.FRONT: (JPEG, "front_image")}
        assert photographs(MultipartUpload(store, BOUNDARY), multipart([encoded])) == expected

    @pytest.mark.parametrize("name", ["front_image", "frontImageData"])
    def test_a_part_may_be_quoted_printable(self, store: ImageStore, name: str) -> None:
        content = JPEG if name == "front_image" else TEXT.encode()
        encoded = binascii.b2a_qp(content, istext=False).replace(b"=\n", b"=\r\n")
        body = multipart([coded(part(name, encoded), "Quoted-Printable")])
        assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, name)}

    def test_a_text_may_have_a_coding_of_mail(self, store: ImageStore) -> None:
        """Python's `MIMEText` encodes texts in UTF-8 as base64."""
        session = "mobile_1764_" + "x" * 116
        for text, coding in (
            (base64.encodebytes(session.encode()), "base64"),
            (b"mobile=5F1764=\r\n=5f" + b"x" * 116, "QUOTED-PRINTABLE"),
            (session.encode(), "8bit"),
        ):
            parts = MultipartUpload(store, BOUNDARY)
            assert parts.feed(multipart([coded(part("sessionId", text), coding)])) == [SessionNamed(session)]

    def test_a_text_in_a_coding_is_refused_by_its_name(self, store: ImageStore) -> None:
        for name, text in (("sessionId", b"MjUx!"), ("frontRegion", base64.b64encode(b"0" * 201))):
            body = multipart([coded(part(name, text), "base64")])
            assert outcome(MultipartUpload(store, BOUNDARY), [body]) == f"invalid_format {name}"

    @pytest.mark.parametrize("kind", ["image/jpeg", "Application/Octet-Stream", "image/*; a=b"])
    @pytest.mark.parametrize("content", [JPEG, TEXT.encode(), f"data:image/jpeg;base64,{TEXT}".encode()])
    def test_a_part_with_a_pictures_type_and_no_file_name_is_bytes_or_base64(
        self, store: ImageStore, kind: str, content: bytes
    ) -> None:
        """OkHttp's `createFormData(name, null, body)`."""
        body = multipart([typed(part("frontImageData", content), kind)])
        assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, "frontImageData")}

    def test_a_part_with_a_texts_type_is_base64(self, store: ImageStore) -> None:
        for content, expected in ((TEXT.encode(), f"{View.FRONT}"), (JPEG, "invalid_format frontImageData")):
            body = multipart([typed(part("frontImageData", content), "text/plain; charset=utf-8")])
            assert expected in str(outcome(MultipartUpload(store, BOUNDARY), [body]))

    def test_white_space_may_stand_behind_each_boundary(self, store: ImageStore) -> None:
        body = multipart([part("front_image", JPEG, "a"), part("x", b"")])
        body = body.replace(f"--{BOUNDARY}\r\n".encode(), f"--{BOUNDARY} \t\r\n".encode())
        assert photographs(MultipartUpload(store, BOUNDARY), body) == {View.FRONT: (JPEG, "front_image")}

    def test_a_text_may_be_a_json_text(self, store: ImageStore) -> None:
        """Retrofit's converters write every part as JSON."""
        parts = MultipartUpload(store, BOUNDARY)
        body = multipart([part("sessionId", b'"251231120000"'), part("frontRegion", b'"0,0,1,0.5"')])
        assert parts.feed(body) == [
            SessionNamed("251231120000"),
            RegionNamed(View.FRONT, (0, 0, 1, 0.5)),
        ]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (json.dumps(TEXT), "front"),
            (
                json.dumps(f"data:image/jpeg;base64,{TEXT}").replace("=", "\\u003d").replace("/", "\\/"),
                "front",
            ),
            (f' "{base64.encodebytes(JPEG).decode()}"\r\n'.replace("\n", "\\n", 3), "front"),
            ('""', "nothing"),
            ('"null"', "nothing"),
            (f'"{TEXT}', "refused"),
            (f'"{TEXT}" x', "refused"),
            (f'"{TEXT}\\', "refused"),
            (f'"{TEXT}\\"', "refused"),
            (f'""{TEXT}""', "refused"),
        ],
    )
    def test_a_photograph_may_be_a_json_text(self, store: ImageStore, content: str, expected: str) -> None:
        """Retrofit with Gson, which also escapes the padding, and writes nothing as two quotation marks."""
        line = "Content-Transfer-Encoding: binary"
        sent = typed(with_header(part("frontImageData", content.encode()), line), "application/json")
        body = multipart([sent])
        want: dict[str, Outcome] = {
            "front": [("other", "", 0), (View.FRONT, hashlib.sha256(JPEG).hexdigest(), len(JPEG))],
            "nothing": [("other", "", 0)],
            "refused": "invalid_format frontImageData",
        }
        for places in ([], list(range(len(body)))):
            assert outcome(MultipartUpload(store, BOUNDARY), cut(body, places)) == want[expected]

    def test_a_json_text_may_have_escapes(self, store: ImageStore) -> None:
        """Gson escapes characters that have a meaning in HTML."""
        body = multipart([part("webhook", b'"https:\\/\\/a.example\\/?b\\u003dc\\u0026d"')])
        assert WebhookNamed("https://a.example/?b=c&d") in MultipartUpload(store, BOUNDARY).feed(body)

    def test_a_text_may_be_a_file(self, store: ImageStore) -> None:
        """`new Blob([id])` in JavaScript's `FormData` has a file name."""
        texts = ("sessionId", b"s"), ("frontRegion", b"0,0,1,0.5"), ("webhook", b"https://a.example")
        body = multipart([part(name, text, "blob") for name, text in texts])
        assert MultipartUpload(store, BOUNDARY).feed(body) == [
            SessionNamed("s"),
            RegionNamed(View.FRONT, (0, 0, 1, 0.5)),
            OtherField(),
            WebhookNamed("https://a.example"),
        ]

    @pytest.mark.parametrize(
        "extra",
        [
            b'"thumbnail": "%b"' % (b"A" * 300_000),
            b'"edgeImageData": "%b"' % (b"A" * 2_000_000),
            b'"x": "\\ud800"',
            b'"\\ud800": 1',
            b'"x": 1e400',
            b'"gps": NaN, "x": Infinity, "y": -Infinity, "z": [NaN]',
            b'"x": [1E+99999, {"y": "\\udc00\\ud800", "z": [[], {}, ""]}]',
        ],
    )
    def test_other_fields_are_passed_over(self, store: ImageStore, extra: bytes) -> None:
        body = b'{%b, "frontImageData": "%b", %b}' % (extra, TEXT.encode(), extra)
        assert photographs(JsonUpload(store), body) == {View.FRONT: (JPEG, "frontImageData")}

    def test_other_fields_are_not_held(self, store: ImageStore) -> None:
        upload = JsonUpload(store)
        upload.feed(b'{"thumbnail": "')
        for _ in range(20):
            upload.feed(b"A" * 64 * 1024)
            assert len(upload._buffer) == 0

    @pytest.mark.parametrize(
        "escape", [rb"\t", rb"\n", rb"\f", rb"\u000d\u000a", rb"\u0009", rb"\u0020", b" "]
    )
    def test_white_space_in_base64_may_be_escaped(self, store: ImageStore, escape: bytes) -> None:
        text = escape.join(TEXT[start : start + 76].encode() for start in range(0, len(TEXT), 76))
        body = b'{"frontImageData": "%b%b"}' % (text, escape)
        assert photographs(JsonUpload(store), body) == {View.FRONT: (JPEG, "frontImageData")}

    def test_any_character_may_be_escaped(self, store: ImageStore) -> None:
        body = b'{"frontImageData": "%b"}' % b"".join(b"\\u%04X" % ord(letter) for letter in TEXT)
        assert photographs(JsonUpload(store), body) == {View.FRONT: (JPEG, "frontImageData")}

    @pytest.mark.parametrize(
        "head",
        [
            "data:image/jpeg;base64,",
            "data:image/jpeg;name=" + "x" * 5000 + ".jpg;base64,",
            "data:image/jpeg; base64,",
            "data:image/jpeg;charset=utf-8 ; Base64 ,",
            'data:image/jpeg;name="a, b.jpg";base64,',
            "data:;base64,",
            "\n data:image/heic;base64,\n",
            "data:image/jpeg;base64, data:image/jpeg;base64,",
        ],
    )
    def test_a_data_url_has_many_forms(self, store: ImageStore, head: str) -> None:
        expected = {View.FRONT: (JPEG, "frontImageData")}
        assert photographs(JsonUpload(store), as_json(frontImageData=head + TEXT)) == expected
        body = multipart([part("frontImageData", (head + TEXT).encode())])
        assert photographs(MultipartUpload(store, BOUNDARY), body) == expected


def test_many_escaped_quotes_cost_no_more_than_their_number(store: ImageStore) -> None:
    """They are not valid in base64, but the time to detect that must not be quadratic."""
    begun = time.process_time()
    for piece in (b'\\"' * 30_000, b"\\" * 60_000):
        assert outcome(JsonUpload(store), [b'{"frontImageData": "', piece, b'"}']) == (
            "invalid_format frontImageData"
        )
    assert time.process_time() - begun < 5


REGIONS = {
    "0.1,0.2,0.5,0.6": (0.1, 0.2, 0.5, 0.6),
    "[0.1, 0.2, 0.5, 0.6]": (0.1, 0.2, 0.5, 0.6),
    "0,0,1,1": (0.0, 0.0, 1.0, 1.0),
    "null": None,
}
NONSENSE = (
    "here",
    "0.1,0.2,0.5",
    "0.5,0,0.6,1",
    "0,0,0,1",
    "-0.1,0,0.5,0.5",
    "nan,0,1,1",
    "0,0,1e9,1",
    "1" * 300,
)


@pytest.mark.parametrize("text", REGIONS)
def test_a_region_may_say_where_the_pin_is(store: ImageStore, text: str) -> None:
    expected = ("front region", str(REGIONS[text]), 0)
    bodies: list[tuple[Parser, bytes]] = [
        (JsonUpload(store), as_json(frontRegion=text)),
        (MultipartUpload(store, BOUNDARY), multipart([part("frontRegion", text.encode())])),
    ]
    if text.startswith("["):
        bodies.append((JsonUpload(store), b'{"frontRegion": ' + text.encode() + b"}"))
    for parser, body in bodies:
        assert expected in outcome(parser, [body[at : at + 1] for at in range(len(body))])


@pytest.mark.parametrize("text", NONSENSE)
def test_a_region_that_is_none_is_refused_by_name(store: ImageStore, text: str) -> None:
    refusal = "invalid_format angledRegion"
    assert outcome(JsonUpload(store), [as_json(angledRegion=text)]) == refusal
    assert (
        outcome(MultipartUpload(store, BOUNDARY), [multipart([part("angledRegion", text.encode())])])
        == refusal
    )
    for value in (b"7", b"true", b"{}", b"[[0,0,1,1]]", b'["a",0,1,1]'):
        assert outcome(JsonUpload(store), [b'{"angledRegion": ' + value + b"}"]) == refusal
