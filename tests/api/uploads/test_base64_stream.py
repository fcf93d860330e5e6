"""The decoder of base64 photographs: alphabets and padding."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from pinactors.api.uploads.base64_stream import Base64Decoder
from pinactors.protocol import ErrorCode, PinactorsError

Encode = Callable[[bytes], bytes]


def decoded(text: bytes, size: int) -> bytes:
    """`text`, decoded in pieces of `size`."""
    decoder = Base64Decoder("frontImageData")
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return b"".join([*map(decoder.feed, pieces), decoder.finish()])


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("length", [1, 2, 3, 254, 255, 256])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_either_alphabet_with_or_without_padding(encode: Encode, length: int, size: int) -> None:
    """Android's `URL_SAFE` and `NO_PADDING`."""
    photograph = bytes(range(256))[-length:]
    text = encode(photograph)
    for sent in (text, text.rstrip(b"="), text.rstrip(b"=") + b"\n"):
        assert decoded(sent, size) == photograph


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    "text",
    [
        *(b"AAAA+A_A" * 9, b"-" + b"A" * 90_002 + b"/"),
        *(b"YWJjZ", b"YWJjZA=", b"YWJjZ===", b"YWJjZA==Y", b"YWJjZA==YWJj", b"A", b"="),
    ],
)
def test_but_neither_mixed_nor_with_letters_missing(text: bytes, size: int) -> None:
    with pytest.raises(PinactorsError) as refused:
        decoded(text, size)
    assert (refused.value.code, refused.value.field) == (ErrorCode.INVALID_FORMAT, "frontImageData")
