"""The fingerprint of an upload's photographs."""

from __future__ import annotations

from dataclasses import replace

from pinactors.pipeline.upload import fingerprint_of
from pinactors.protocol import View
from tests.pipeline.fakes import image, upload


async def test_images_are_known_by_what_they_hold() -> None:
    first, second = upload(), upload()
    assert fingerprint_of(first.images) == fingerprint_of(second.images)
    second.images[View.BACK] = replace(image("pin back"), path="/elsewhere")
    assert fingerprint_of(first.images) == fingerprint_of(second.images)
    second.images[View.ANGLED] = second.images.pop(View.BACK)
    assert fingerprint_of(first.images) != fingerprint_of(second.images)
