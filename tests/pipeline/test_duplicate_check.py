"""The comparison of an upload with earlier ones: made once, awaited by all."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.pipeline.duplicate_check import WAIT_SECONDS, DuplicateCheck
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError
from tests.pipeline.fakes import upload

OWN, EARLIER = PacketLog("own", "s", ""), PacketLog("earlier", "s", "")


async def earlier(_: Upload, own: PacketLog) -> PacketLog:
    await trio.lowlevel.checkpoint()
    return EARLIER


async def test_it_is_made_once_and_all_get_its_result() -> None:
    asked = []

    async def claim(sent: Upload, own: PacketLog) -> PacketLog:
        asked.append(own)
        return await earlier(sent, own)

    sent, check, found = upload(), DuplicateCheck(OWN, claim), []

    async def wait() -> None:
        found.append(await check.wait(sent))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert (check.decided, check.earlier) == (False, None)
        await check.decide(sent)
        await check.decide(sent)
    assert (asked, found, check.earlier) == ([OWN], [EARLIER], EARLIER)
    check.decide_for(OWN)
    assert check.earlier is EARLIER, "it was decided"


async def test_an_upload_whose_own_log_is_known_to_its_client_is_answered_from_it() -> None:
    sent, check = upload(), DuplicateCheck(OWN, earlier)
    await check.decide(sent)
    sent.announced = True
    assert await check.wait(sent) is OWN
    assert check.earlier is EARLIER


async def test_an_upload_without_an_earlier_one_has_none() -> None:
    check = DuplicateCheck(OWN, earlier)
    check.decide_for(OWN)
    assert await check.wait(upload()) is OWN
    assert check.earlier is None


async def test_all_hear_of_a_conflict() -> None:
    async def conflict(sent: Upload, own: PacketLog) -> PacketLog:
        await trio.lowlevel.checkpoint()
        raise PinactorsError(ErrorCode.SESSION_CONFLICT, "Other photographs")

    sent, check = upload(), DuplicateCheck(OWN, conflict)
    for ask in (check.decide, check.wait):
        with pytest.raises(PinactorsError) as caught:
            await ask(sent)
        assert caught.value.code is ErrorCode.SESSION_CONFLICT
    assert check.decided


async def test_work_waits_for_it_only_so_long(autojump_clock: MockClock) -> None:
    check, sent = DuplicateCheck(OWN, earlier), upload(complete=False)
    started = trio.current_time()
    await check.wait_before_work(sent)
    assert trio.current_time() == started, "the upload is not complete"
    sent.close()
    await check.wait_before_work(sent)
    assert trio.current_time() - started == pytest.approx(WAIT_SECONDS)
    await check.wait_before_work(sent)
    assert trio.current_time() - started == pytest.approx(WAIT_SECONDS), "one time limit for all"
