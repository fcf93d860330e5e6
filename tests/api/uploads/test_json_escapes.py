"""Escapes in the JSON texts of photographs."""

from __future__ import annotations

import pytest

from pinactors.api.uploads.json_body import JsonUpload
from pinactors.protocol import View
from pinactors.storage.images import ImageStore
from tests.api.uploads.bodies import JPEG, TEXT, photographs


class TestEscapes:
    """Deviations of real clients from the plain form."""

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
