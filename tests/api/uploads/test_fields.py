"""Fields of an upload: where the pin is in a photograph."""

from __future__ import annotations

import pytest

from pinactors.api.uploads.json_body import JsonUpload
from pinactors.api.uploads.multipart import MultipartUpload
from pinactors.api.uploads.received import Parser
from pinactors.storage.images import ImageStore
from tests.api.uploads.bodies import as_json, outcome
from tests.api.wire import BOUNDARY, multipart, part

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
