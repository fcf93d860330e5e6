"""JSON bodies: what is passed over, and what costs no more than its bytes."""

from __future__ import annotations

import time

import pytest

from pinactors.api.uploads.json_body import JsonUpload
from pinactors.protocol import View
from pinactors.storage.images import ImageStore
from tests.api.uploads.bodies import JPEG, TEXT, outcome, photographs


class TestJson:
    """Deviations of real clients from the plain form."""

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
            b'"prompts": "caf\xe9", "\xc4": ["\x81\x30"]',  # in Latin-1 and GBK
            b'"sessionId": false, "webhook": false, "frontRegion": false, "backImageData": false',
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
        ("sent", "means"),
        [
            (b'"sessionId": 1764590400123', "1764590400123"),
            (b'"sessionId": null, "sessionId": "trip-7"', "trip-7"),
            (b'"sessionId": "trip-7", "sessionId": ""', "trip-7"),
        ],
    )
    def test_a_session_id_may_be_a_number_and_beside_a_missing_one(
        self, store: ImageStore, sent: bytes, means: str
    ) -> None:
        upload = JsonUpload(store)
        upload.feed(b"{%b}" % sent)
        upload.finish()
        assert upload.session_id == means

    @pytest.mark.parametrize(
        "sent", [b'"sessionId": 1.5', b'"sessionId": true', b'"sessionId": "a", "sessionId": "a"']
    )
    def test_another_value_or_a_second_one_is_refused_by_name(self, store: ImageStore, sent: bytes) -> None:
        assert outcome(JsonUpload(store), [b"{%b}" % sent]) == "invalid_format sessionId"


def test_many_escaped_quotes_cost_no_more_than_their_number(store: ImageStore) -> None:
    """They are not valid in base64, but the time to detect that must not be quadratic."""
    begun = time.process_time()
    for piece in (b'\\"' * 30_000, b"\\" * 60_000):
        assert outcome(JsonUpload(store), [b'{"frontImageData": "', piece, b'"}']) == (
            "invalid_format frontImageData"
        )
    assert time.process_time() - begun < 5
