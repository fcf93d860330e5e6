"""The tables of docs/protocol.md name the fields, limits and codes that the code has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pinactors.api.records import DEFAULT_LIMIT
from pinactors.api.streams import websocket
from pinactors.api.streams.first_frame import FirstFrame
from pinactors.api.streams.reader import SILENCE_SECONDS
from pinactors.api.tokens import DEFAULT_SECONDS
from pinactors.api.uploads import fields
from pinactors.api.uploads.resumable import tus_headers
from pinactors.protocol import AnyPacket, Packet
from pinactors.protocol.merge import ALIASES, OPTIONAL
from pinactors.protocol.parts import AlsoSeen, Box, Candidate, Estimate, Evidence, Suggestion
from pinactors.records.feedback import PinConfirmation
from pinactors.records.tokens import MAX_SECONDS, MIN_SECONDS
from pinactors.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
NAME = re.compile(r"`([a-zA-Z]\w*)`")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> dict[str, str]:
    """The second cells of a section's table rows, by the text of the first cell."""
    cells = [line.strip("| ").split(" | ", 1) for line in section(title).splitlines() if line.startswith("|")]
    return {cell[0].strip("`"): cell[1] for cell in cells if len(cell) == 2}


def names_of(struct: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


@pytest.mark.parametrize("packet", AnyPacket.__args__, ids=lambda packet: packet.__name__)
def test_each_packet_has_its_fields(packet: type[Packet]) -> None:
    told = rows("Packets")[str(packet.__struct_config__.tag)]
    missing = names_of(packet) - names_of(Packet) - set(NAME.findall(told))
    assert not missing, missing


def test_the_fields_of_every_packet() -> None:
    head = section("Packets").split("|", 1)[0]
    assert names_of(Packet) | {"packetType"} <= set(NAME.findall(head))


@pytest.mark.parametrize(
    ("part", "struct"),
    [
        ("evidence", Evidence),
        ("candidates", Candidate),
        ("alsoSeen", AlsoSeen),
        ("region`, `reference`, `box", Box),
        ("estimate", Estimate),
        ("suggestions", Suggestion),
    ],
)
def test_each_part_has_its_fields(part: str, struct: Any) -> None:
    assert names_of(struct) <= set(NAME.findall(rows("Packets")[part]))


def test_the_buffered_object() -> None:
    told = section("Packets").split("**The buffered object**", 1)[1]
    assert {*OPTIONAL, *ALIASES} <= set(NAME.findall(told))
    assert f"longer than {SILENCE_SECONDS:g} seconds" in section("Packets")


def test_the_uploads_fields_and_limits() -> None:
    told = section("The upload")
    named = {fields.SESSION_FIELD, fields.WEBHOOK_FIELD, *fields.TEXT_FIELDS, *fields.BINARY_FIELDS}
    assert named | set(fields.REGION_FIELDS) <= set(NAME.findall(told))
    settings = Settings()
    assert f"{settings.max_request_bytes >> 20} MB" in told
    assert f"{settings.max_image_pixels // 10**6} megapixels" in told
    floor = f"{settings.upload_floor_bytes:,} bytes arrive every {settings.upload_floor_window:g} seconds"
    assert floor in told


def test_the_websockets_first_frame_and_close_codes() -> None:
    told = section("Reading a session again").split("**On the WebSocket**", 1)[1]
    assert names_of(FirstFrame) <= set(NAME.findall(told))
    codes = {websocket.NORMAL, websocket.UNSUPPORTED, websocket.POLICY, *websocket.CLOSE_CODES.values()}
    assert {int(code) for code in re.findall(r"\b10\d\d\b", told)} == codes


def test_resumable_uploads() -> None:
    told = section("Uploads that continue")
    assert {*tus_headers.EXTENSIONS.split(",")} <= set(re.findall(r"`([a-z-]+)`", told))
    assert set(tus_headers.ALGORITHMS) <= set(NAME.findall(told))
    assert set(NAME.findall(told)) >= tus_headers._USED_KEYS


def test_the_other_requests() -> None:
    told = section("Other requests")
    assert names_of(PinConfirmation) <= set(NAME.findall(told))
    assert f"({MIN_SECONDS} to {MAX_SECONDS:,}; {DEFAULT_SECONDS} if" in told
    assert f"`limit` ({DEFAULT_LIMIT})" in told
