"""Tests of the details packet: it contains what was read and measured, and names what was not."""

from __future__ import annotations

import numpy as np
import pytest

from pinactors.analysis.model import CatalogPin, Match, MatchCandidate, StampReading, TextLine
from pinactors.analysis.report import details
from pinactors.protocol import PACKET_LIMIT, View
from tests.analysis.prepared import plain_view

STAMP = StampReading(
    lines=(
        TextLine("<b>FAC</b>", 0.9, np.zeros((4, 2), np.float32)),
        TextLine("guess", 0.2, np.zeros((4, 2), np.float32)),
    ),
    factory_code="FAC-060122-15240",
    year=2015,
    brand="ACME",
)


def test_what_was_read_and_measured() -> None:
    packet = details.describe(
        plain_view(View.FRONT, (200, 30, 40)), plain_view(View.BACK, (150, 150, 152)), None, STAMP, None
    )
    assert packet.details["factoryCode"] == "FAC-060122-15240"
    assert packet.details["madeOn"] == "2015-08-28"
    assert packet.details["metal"] == "silver"
    assert packet.details["sizeRatio"] == pytest.approx(2.0, abs=0.02)
    assert packet.details["marks"] == ["<b>FAC</b>"], "a line the reader guessed at is not shown"
    assert "editionSize" not in packet.details
    assert "edition size" in packet.analysis
    assert "<b>FAC" not in packet.analysis, "what stands on a pin is text"
    assert "&lt;closer&gt;" in packet.analysis


def test_nothing_is_claimed_of_what_was_not_seen() -> None:
    packet = details.describe(plain_view(View.FRONT, (1, 1, 1), found=False), None, None, None, None)
    assert set(packet.details) == {"photos"}
    assert packet.details["photos"]["front"]["pinFound"] is False
    assert "Nothing stands out from the background." in packet.analysis


def test_a_brand_that_is_not_certain_is_not_called_unread_beside_its_line() -> None:
    stamp = StampReading(lines=(TextLine("(c)FENWICK&MOSS", 0.9, np.zeros((4, 2), np.float32)),))
    packet = details.describe(
        plain_view(View.FRONT, (1, 1, 1)), plain_view(View.BACK, (1, 1, 1)), None, stamp, None
    )
    assert "Read on the back: (c)FENWICK&amp;MOSS" in packet.analysis
    assert "brand" in packet.analysis
    assert "Not read" not in packet.analysis


@pytest.mark.parametrize("code", ["FAC-060122-15367", "FAC-060122-15000", "FAC-060122-15366"])
def test_a_day_that_does_not_exist_is_no_date(code: str) -> None:
    packet = details.describe(
        plain_view(View.FRONT, (1, 1, 1)), None, None, StampReading(factory_code=code), None
    )
    assert "madeOn" not in packet.details


def test_a_full_back_fits_a_packet() -> None:
    line = TextLine('"<&>"' * 40, 0.9, np.zeros((4, 2), np.float32))
    views = [plain_view(which, (200, 30, 40)) for which in View]
    packet = details.describe(*views, StampReading(lines=(line,) * 40, reason="x" * 900), None)
    assert len(packet.encode()) <= PACKET_LIMIT
    assert packet.details["marks"]


@pytest.mark.parametrize(
    ("read", "likely", "known", "told"),
    [
        (1000, None, 1000, 1000),
        (1000, None, None, 1000),
        (1099, None, 1000, None),  # 9 and 0 are easily confused
        (750, None, 300, 750),
        (None, 1000, 1000, 1000),
        (None, 1099, 1000, None),
        (None, None, 1000, None),  # a number that only the catalogue has was not read
    ],
)
def test_a_number_is_held_against_the_catalogue(
    read: int | None, likely: int | None, known: int | None, told: int | None
) -> None:
    pin = CatalogPin("P1", "A pin", (), None, None, known, None, None)
    match = Match((MatchCandidate(pin, 0.99, 80),), identified=True)
    stamp = StampReading(edition_size=read, likely={} if likely is None else {"edition_size": likely})
    packet = details.describe(plain_view(View.FRONT, (1, 1, 1)), None, None, stamp, match)
    assert packet.details.get("editionSize") == told


@pytest.mark.parametrize("text", ["FAC-06122-15240", "FAC-O60122-15240", "FAC-O"])
def test_a_code_with_digits_missing_is_never_shown_as_read(text: str) -> None:
    stamp = StampReading(lines=(TextLine(text, 0.95, np.zeros((4, 2), np.float32)),))
    packet = details.describe(
        plain_view(View.FRONT, (9, 9, 9)), plain_view(View.BACK, (9, 9, 9)), None, stamp, None
    )
    assert "marks" not in packet.details
    assert "factoryCode" not in packet.details
    assert packet.details["partlyRead"] == ["factoryCode"]
    assert text not in packet.analysis
    assert "not all of its digits can be read" in packet.analysis
