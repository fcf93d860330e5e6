"""The first frame of a WebSocket on real sockets: what is refused, by which field's name, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from wsproto.events import BytesMessage, TextMessage

from tests.api.conftest import Process, running
from tests.api.rawsocket import opened

LIMIT = 120


WRONG: list[tuple[TextMessage | BytesMessage, str, int]] = [
    (BytesMessage(data=b"\x00"), "invalid_format", 1007),
    (TextMessage(data=""), "invalid_format", 1007),
    (TextMessage(data="{"), "invalid_format", 1007),
    (TextMessage(data="[" * 10_000), "invalid_format", 1007),
    (TextMessage(data='{"x": ' + "9" * 5000), "invalid_format", 1007),
    (TextMessage(data="null"), "invalid_format", 1007),
    (TextMessage(data='{"images": ["side"]}'), "invalid_format", 1007),
    (TextMessage(data='{"images": "front"}'), "invalid_format", 1007),
    (TextMessage(data='{"images": ["front", "front"]}'), "invalid_format", 1007),
    (TextMessage(data='{"images": ["front"], "sessionId": "a b"}'), "invalid_format", 1007),
    (TextMessage(data='{"images": ["front"], "sessionId": 5.5}'), "invalid_format", 1007),
    (TextMessage(data='{"images": ["front"], "idempotencyKey": "a b"}'), "invalid_format", 1007),
    (
        TextMessage(data='{"images": ["front"], "idempotencyKey": "' + "k" * 256 + '"}'),
        "invalid_format",
        1007,
    ),
    (TextMessage(data='{"images": []}'), "missing_image", 1008),
    (TextMessage(data="{}"), "missing_image", 1008),
    (TextMessage(data='{"images": null}'), "missing_image", 1008),
    (TextMessage(data='{"streamId": "\\udfff"}'), "invalid_format", 1007),
    (TextMessage(data='{"images": ["back"]}'), "missing_image", 1008),
    (TextMessage(data='{"streamId": "nobody"}'), "stream_not_found", 1008),
    (TextMessage(data='{"images": ["front"], "x": "' + "y" * 20_000 + '"}'), "invalid_format", 1007),
]


@pytest.mark.parametrize(("frame", "code", "close"), WRONG)
async def test_a_wrong_first_frame_is_refused_with_a_reason(
    shared: Process, frame: TextMessage | BytesMessage, code: str, close: int
) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send_event(frame)
            packet = await socket.packet()
            assert (packet["packetType"], packet["errorCode"], packet["sequence"]) == ("ERROR", code, 0)
            assert packet["success"] is False
            assert not any(word in packet["error"] for word in ("recursion", "`$", "codec", "Exceeds"))
            assert await socket.close_code() == close


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ('{"images": ["front", "front"]}', "images"),
        ('{"images": ["side"]}', "images"),
        ('{"images": "front"}', "images"),
        ('{"images": ["front"], "sessionId": 5.5}', "sessionId"),
        ('{"images": ["front"], "sessionId": "a b"}', "sessionId"),
        ('{"images": ["front"], "idempotencyKey": "a b"}', "idempotencyKey"),
        ('{"streamId": "\\ud800"}', "streamId"),
        ('{"images": ["back"]}', "front"),
    ],
)
async def test_a_refusal_names_the_field_as_it_was_sent(shared: Process, frame: str, field: str) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send_event(TextMessage(data=frame))
            assert (await socket.packet())["field"] == field


@pytest.mark.parametrize(
    "extra",
    [
        '"x": %s, "y": NaN' % ("9" * 5000),
        '"x": "\\ud800", "y": 1e400, "z": [{"\\udfff": null}]',
        '"sessionId": "undefined", "idempotencyKey": "", "webhook": null',
        '"streamId": "", "offset": "null"',
        '"thumbnail": "' + "A" * 9000 + '"',
    ],
)
async def test_other_fields_and_words_for_nothing_do_no_harm(shared: Process, extra: str) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send_event(TextMessage(data='{"images": ["front"], ' + extra + "}"))
            await socket.send_photograph(b"PHOTO " + extra[:50].encode())
            last = (await socket.until("ANALYSIS_COMPLETE"))[-1]
            assert last["sessionId"].isdigit()


async def test_the_first_frame_may_begin_with_a_byte_order_mark(shared: Process) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send_event(TextMessage(data='\ufeff{"images": ["front"]}'))
            await socket.send_photograph(b"PHOTO behind a mark")
            assert (await socket.until("ANALYSIS_COMPLETE"))[-1]["success"] is True


async def test_a_client_that_sends_no_first_frame_is_not_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, upload_floor_window=0.3) as server:
        with trio.fail_after(LIMIT):
            async with opened(server.port) as socket:
                packet = await socket.packet()
                assert packet["errorCode"] == "cancelled"
                assert await socket.close_code() == 1008
