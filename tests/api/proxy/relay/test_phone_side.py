"""The phone's side of a session: one answer to its upload, and what is counted when the log ends."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from pinactors.api.proxy.masters.packets import read
from pinactors.api.proxy.metrics import ProxyMetrics
from pinactors.api.proxy.relay.outlet import RelayedLog
from pinactors.api.proxy.relay.phone_side import PhoneSide
from pinactors.protocol import ErrorCode, PinactorsError
from tests.api.proxy.scripted import COMPLETE, OPENING

REFUSAL = PinactorsError(ErrorCode.OVERLOADED, "Busy")


def new_log() -> RelayedLog:
    return RelayedLog("a" * 24, "phone", "", [])


async def test_the_log_answers_the_upload_from_its_first_packet_on() -> None:
    phone = PhoneSide(ProxyMetrics(CollectorRegistry()))
    outlet = phone.open(new_log())
    await phone.flush(outlet)
    assert (phone.answered, phone.packets) == (False, 0)
    outlet.add(OPENING, read(OPENING))
    await phone.flush(outlet)
    assert await phone.answer() is phone.log
    assert (phone.answered_elsewhere, phone.done, phone.packets) == (False, False, 1)
    outlet.add(COMPLETE, read(COMPLETE))
    await phone.flush(outlet)
    await phone.end(REFUSAL)
    assert (phone.done, phone.packets) == (True, 2)


async def test_an_error_ends_an_open_log_with_a_packet() -> None:
    phone = PhoneSide(ProxyMetrics(CollectorRegistry()))
    outlet = phone.open(new_log())
    outlet.add(OPENING, read(OPENING))
    await phone.end(REFUSAL)
    assert phone.log is not None
    assert phone.log.closed
    assert b'"ERROR"' in phone.log.packets[-1]


async def test_without_a_log_an_error_refuses_the_upload() -> None:
    phone = PhoneSide(ProxyMetrics(CollectorRegistry()))
    await phone.end(REFUSAL)
    await phone.end(PinactorsError(ErrorCode.PROCESSING_ERROR, "later"))
    with pytest.raises(PinactorsError) as refused:
        await phone.answer()
    assert refused.value is REFUSAL
    assert phone.done


async def test_an_upload_that_joins_is_answered_elsewhere() -> None:
    phone, other = PhoneSide(ProxyMetrics(CollectorRegistry())), new_log()
    phone.join(other)
    assert await phone.answer() is other
    assert phone.answered_elsewhere
    assert phone.done
