"""Parsers of upload bodies: the result does not depend on the carrier, nor on where a body is cut."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinactors.api.uploads.base64_stream import means_missing
from pinactors.api.uploads.json_body import JsonUpload
from pinactors.api.uploads.multipart import MultipartUpload
from pinactors.api.uploads.received import Photograph, SessionNamed
from pinactors.protocol import View
from pinactors.storage.images import ImageStore
from tests.api.uploads.bodies import BODIES, JPEG, TEXT, as_json, cut, outcome, photographs
from tests.api.wire import BOUNDARY, multipart, part


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


class TestEither:
    """Deviations of real clients from the plain form."""

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
