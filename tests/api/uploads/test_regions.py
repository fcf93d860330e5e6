"""Where the pin is in a photograph, sent before or after that photograph, on real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry import Registry
from pinactors.pipeline.upload import Upload
from pinactors.protocol import View
from tests.api.conftest import running
from tests.api.wire import JSON, MULTIPART, PHONE, ask, json_body, multipart, part

UPLOAD = "/mobile-upload"
REGION = (0.1, 0.2, 0.3, 0.4)
FIELDS = ("front_image", "back_image", "frontRegion", "sessionId")


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[Upload]:
    """The uploads that were answered."""
    uploads: list[Upload] = []
    answer = Registry.answer

    async def noted(self: Registry, upload: Upload, log: PacketLog) -> PacketLog:
        uploads.append(upload)
        return await answer(self, upload, log)

    monkeypatch.setattr(Registry, "answer", noted)
    return uploads


def as_form(order: tuple[str, ...]) -> bytes:
    values = {"frontRegion": b"0.1,0.2,0.3,0.4", "sessionId": "-".join(order).encode()[:60]}
    return multipart(
        [
            part(name, values[name]) if name in values else part(name, f"PHOTO {name}".encode(), "a.jpg")
            for name in order
        ]
    )


def as_json(order: tuple[str, ...]) -> bytes:
    names = {"front_image": "frontImageData", "back_image": "backImageData"}
    values = {"frontRegion": REGION, "sessionId": "-".join(order)[:60]}
    return json_body(**{names.get(name, name): values.get(name, f"PHOTO {name}".encode()) for name in order})


@pytest.mark.parametrize(("body", "headers"), [(as_form, MULTIPART), (as_json, JSON)])
async def test_a_region_counts_wherever_it_is_sent(
    tmp_path: Path,
    answered: list[Upload],
    body: Callable[[tuple[str, ...]], bytes],
    headers: dict[str, str],
) -> None:
    async with running(tmp_path) as server:
        for count, order in enumerate(permutations(FIELDS), 1):
            answer = await ask(server.port, "POST", UPLOAD, body(order), headers | PHONE)
            assert answer.packets[-1]["packetType"] == "ANALYSIS_COMPLETE", order
            assert len(answered) == count
            assert answered[-1].images[View.FRONT].region == REGION, order


async def test_a_region_behind_a_photograph_whose_packets_are_read_is_refused_by_name(tmp_path: Path) -> None:
    headers = JSON | PHONE | {"x-session-id": "read", "Prefer": "respond-early"}
    async with running(tmp_path) as server:
        late = ("front_image", "back_image", "frontRegion")
        answer = await ask(server.port, "POST", UPLOAD, as_json(late), headers)
        error = answer.packets[-1]
        assert (error["packetType"], error["errorCode"], error["field"]) == (
            "ERROR",
            "invalid_format",
            "frontRegion",
        )
        assert "send the region first" in json.dumps(error)
        near = ("front_image", "frontRegion", "back_image")
        answer = await ask(server.port, "POST", UPLOAD, as_json(near), headers | {"x-session-id": "near"})
        assert answer.packets[-1]["packetType"] == "ANALYSIS_COMPLETE"
