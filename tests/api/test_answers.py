"""Answers are of the types that describe them."""

from __future__ import annotations

import msgspec

from pinactors.api.answers import Card, Failure, Health, ProvisionalPins
from tests.api.conftest import Process
from tests.api.wire import ask

PROVISIONAL = "/api/mobile/provisional-pins"


async def test_answers_are_of_the_types_that_describe_them(shared: Process) -> None:
    for path, kind in (
        ("/", Card),
        ("/health", Health),
        (PROVISIONAL, ProvisionalPins),
        ("/nowhere", Failure),
    ):
        body = (await ask(shared.port, "GET", path)).body
        assert msgspec.json.decode(msgspec.json.encode(msgspec.json.decode(body, type=kind))) == (
            msgspec.json.decode(body)
        )
