"""The session id in the first bytes of an upload."""

from __future__ import annotations

import pytest

from pinactors.api.proxy.masters import routing


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b'{ "sessionId" : "250101", "frontImageData":"', "250101"),
        (b'{"frontImageData":"', None),
        (b'--b\r\nContent-Disposition: form-data; name="sessionId"\r\n\r\nabc\r\n--b', "abc"),
        (b"--b\r\nContent-Disposition: form-data; name=sessionId\r\nX: y\r\n\r\nabc\r\n--b", "abc"),
        (b'--b\r\nContent-Disposition: form-data; name="front_image"\r\n\r\n\xff\xd8', None),
        (b'{"sessionId":"a\\u0041"}', None),
    ],
)
def test_the_session_id_is_found_in_the_first_bytes(start: bytes, found: str | None) -> None:
    assert routing.session_id_in(start) == found
