"""Multipart bodies: their boundaries, and what clients write into their parts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

import pytest

from pinactors.api.uploads.multipart import MultipartUpload, boundary_of, checked_boundary
from pinactors.api.uploads.received import OtherField, RegionNamed, SessionNamed, WebhookNamed
from pinactors.protocol import ErrorCode, PinactorsError, View
from pinactors.storage.images import ImageStore
from tests.api.uploads.bodies import JPEG, TEXT, Outcome, coded, cut, outcome, photographs, typed, with_header
from tests.api.wire import BOUNDARY, multipart, part


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


class TestMultipart:
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
