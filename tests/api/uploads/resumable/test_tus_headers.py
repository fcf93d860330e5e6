"""The header fields of tus 1.0."""

from __future__ import annotations

import base64
import hashlib

import pytest
from werkzeug.datastructures import Headers

from pinactors.api.uploads.resumable import tus_headers as tus
from pinactors.protocol import PinactorsError, View
from tests.api.uploads.resumable.senders import metadata


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", tus.PhotographMetadata(None, View.FRONT, False, None)),
        (metadata(sessionId="s", view="back"), tus.PhotographMetadata("s", View.BACK, False, None)),
        (metadata(view="angled", complete="true"), tus.PhotographMetadata(None, View.ANGLED, True, None)),
        ("view YmFjaw==,complete", tus.PhotographMetadata(None, View.BACK, True, None)),
        ("complete ZmFsc2U= , , view ZnJvbnQ=", tus.PhotographMetadata(None, View.FRONT, False, None)),
        (metadata(stream="abc", filename="pin.jpg"), tus.PhotographMetadata(None, View.FRONT, False, "abc")),
        *[
            (
                metadata(sessionId=word, view=word, complete=word, stream=word, webhook=word),
                tus.PhotographMetadata(None, View.FRONT, False, None),
            )
            for word in ("undefined", "null", "None")
        ],
        *[
            (f"filename {name},view YmFjaw==", tus.PhotographMetadata(None, View.BACK, False, None))
            for name in ("g1yDgQ==", "pin.jpg", "mein Pin.jpg", "YQ", "Pin\xe9.jpg", "a,filename b")
        ],
        *[
            (metadata(complete=word), tus.PhotographMetadata(None, View.FRONT, last, None))
            for word, last in (("True", True), ("TRUE", True), ("1", True), ("False", False), ("0", False))
        ],
    ],
)
def test_metadata_say_which_photograph_it_is(text: str, expected: tus.PhotographMetadata) -> None:
    assert tus.photograph(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        metadata(view="top"),
        metadata(complete="maybe"),
        "view YmFjaw==,view YmFjaw==",
        "view ***",
        "view g1yDgQ==",
        "a\x01b Yg==",
        "k " + "A" * 5000,
    ],
)
def test_metadata_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(PinactorsError) as caught:
        tus.photograph(text)
    assert caught.value.field == "Upload-Metadata"


@pytest.mark.parametrize("algorithm", tus.ALGORITHMS)
def test_a_checksum_is_compared_piece_by_piece(algorithm: str) -> None:
    digest = base64.b64encode(hashlib.new(algorithm, b"abc").digest()).decode()
    for content, right in ((b"abc", True), (b"abd", False)):
        checksum = tus.checksum(Headers({"Upload-Checksum": f"{algorithm} {digest}"}))
        assert checksum is not None
        for byte in content:
            checksum.feed(bytes([byte]))
        if right:
            checksum.check()
        else:
            with pytest.raises(tus.ChecksumMismatch) as caught:
                checksum.check()
            assert caught.value.status == 460


@pytest.mark.parametrize("text", ["crc32 AAAA", "sha1", "sha1 ***", ""])
def test_a_checksum_that_is_none_is_refused(text: str) -> None:
    if text == "sha1":
        checksum = tus.checksum(Headers({"Upload-Checksum": text}))
        assert checksum is not None
        with pytest.raises(tus.ChecksumMismatch):
            checksum.check()
        return
    with pytest.raises(PinactorsError) as caught:
        tus.checksum(Headers({"Upload-Checksum": text}))
    assert caught.value.field == "Upload-Checksum"


def test_no_checksum_is_none() -> None:
    assert tus.checksum(Headers()) is None


@pytest.mark.parametrize("version", [None, "0.2.0", "1.0", "2.0.0"])
def test_another_version_is_refused(version: str | None) -> None:
    with pytest.raises(PinactorsError) as caught:
        tus.check_version(Headers({} if version is None else {"Tus-Resumable": version}))
    assert caught.value.status == 412


def test_an_append_has_its_own_media_type() -> None:
    fields = Headers({"Upload-Offset": "5"})
    assert tus.offset(fields, tus.OFFSET_TYPE) == 5
    with pytest.raises(PinactorsError) as caught:
        tus.offset(fields, "image/jpeg")
    assert caught.value.status == 415


def test_expiry_is_an_http_date() -> None:
    assert tus.expires(784111777) == {"Upload-Expires": "Sun, 06 Nov 1994 08:49:37 GMT"}
