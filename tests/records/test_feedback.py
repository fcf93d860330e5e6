"""Tests of confirmations by people, and of the pins that wait for one."""

from __future__ import annotations

import pytest
import trio

from pinactors.protocol import ErrorCode, PinactorsError, Verdict
from pinactors.records import Records
from pinactors.records.feedback import COMMENT_LIMIT, HISTORY_LIMIT, Corrections
from pinactors.records.models import PAGE_LIMIT, Feedback
from tests.records.samples import NOW, Clock, final_packets, record, rows


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"record_number": None}, ErrorCode.MISSING_FIELDS, "recordNumber"),
        ({"pin_id": None}, ErrorCode.MISSING_FIELDS, "pinId"),
        ({"pin_id": ""}, ErrorCode.MISSING_FIELDS, "pinId"),
        ({"agreement": None}, ErrorCode.MISSING_FIELDS, "userAgreement"),
        ({"agreement": "maybe"}, ErrorCode.INVALID_AGREEMENT, "userAgreement"),
        ({"agreement": ["agree"]}, ErrorCode.INVALID_AGREEMENT, "userAgreement"),
        ({"agreement": "AGREE"}, ErrorCode.INVALID_AGREEMENT, "userAgreement"),
        ({"record_number": True}, ErrorCode.INVALID_FORMAT, "recordNumber"),
        ({"record_number": 1.0}, ErrorCode.INVALID_FORMAT, "recordNumber"),
        ({"record_number": "one"}, ErrorCode.INVALID_FORMAT, "recordNumber"),
        ({"record_number": "²"}, ErrorCode.INVALID_FORMAT, "recordNumber"),
        ({"record_number": {}}, ErrorCode.INVALID_FORMAT, "recordNumber"),
        ({"pin_id": 260630120000}, ErrorCode.INVALID_FORMAT, "pinId"),
        ({"comment": 5}, ErrorCode.INVALID_FORMAT, "feedbackComment"),
        ({"comment": "x" * (COMMENT_LIMIT + 1)}, ErrorCode.INVALID_FORMAT, "feedbackComment"),
        ({"comment": "a\0b"}, ErrorCode.INVALID_FORMAT, "feedbackComment"),
        ({"comment": "\ud800"}, ErrorCode.INVALID_FORMAT, "feedbackComment"),
        ({"record_number": 0}, ErrorCode.RECORD_NOT_FOUND, ""),
        ({"record_number": -1}, ErrorCode.RECORD_NOT_FOUND, ""),
        ({"record_number": 999}, ErrorCode.RECORD_NOT_FOUND, ""),
        ({"record_number": 10**40}, ErrorCode.RECORD_NOT_FOUND, ""),
        ({"record_number": "9" * 5000}, ErrorCode.RECORD_NOT_FOUND, ""),
        ({"pin_id": "260630120001"}, ErrorCode.RECORD_NOT_FOUND, ""),
        ({"pin_id": "\ud800\0"}, ErrorCode.RECORD_NOT_FOUND, ""),
        ({"owner": "2"}, ErrorCode.RECORD_NOT_FOUND, ""),
        ({"owner": ""}, ErrorCode.RECORD_NOT_FOUND, ""),
    ],
)
async def test_a_wrong_confirmation_is_refused(
    records: Records, changes: dict[str, object], code: ErrorCode, field: str
) -> None:
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        number = await records.save(record(), final_packet)
        right: dict[str, object] = {
            "record_number": number,
            "pin_id": "260630120000",
            "agreement": "agree",
            "comment": None,
            "owner": "1",
        }
        with pytest.raises(PinactorsError) as caught:
            await records.confirm(**{**right, **changes})  # type: ignore[arg-type]
        assert (caught.value.code, caught.value.field) == (code, field)
        assert (await records.provisional("1"))[1] == 1
        await records.confirm(**right)  # type: ignore[arg-type]
        assert (await records.provisional("1"))[1] == 0


async def test_a_session_that_failed_cannot_be_confirmed(records: Records) -> None:
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        number = await records.save(
            record(error_code="processing_error", verdict=None, authentic=None), final_packet
        )
        with pytest.raises(PinactorsError, match="Record not found"):
            await records.confirm(number, "260630120000", "agree", None, "1")
        assert await records.provisional("1") == ([], 0)


async def test_the_latest_confirmation_counts_and_the_earlier_ones_are_kept(
    records: Records, clock: Clock
) -> None:
    final_packet, _ = final_packets()
    said = Feedback.select(Feedback.agreement, Feedback.comment).order_by(Feedback.id.desc())
    with trio.fail_after(120):
        number = await records.save(record(), final_packet)
        first = await records.confirm(str(number), "260630120000", "agree", "lovely \U0001f98a", "1")
        assert (first.record_number, first.pin_id, first.session_id) == (
            number,
            "260630120000",
            "260630120000",
        )
        assert (first.user_agreement, first.feedback_comment, first.confirmed_at) == (
            "agree",
            "lovely \U0001f98a",
            NOW,
        )
        clock.advance(60)
        await records.confirm(number, "260630120000", "disagree", None, "1")
        await records.confirm(number, "260630120000", "disagree", "", "1")
        assert await rows(records, said) == [("disagree", ""), ("agree", "lovely \U0001f98a")]
        await records.confirm(number, "260630120000", "disagree", "", "1", "counterfeit", "P17", 12)
        assert len(await rows(records, said)) == 3, "a correction is something else said"
        [opinion] = await records.opinions()
        assert opinion.corrected == Corrections(Verdict.COUNTERFEIT, "P17", 12.0)
        for index in range(HISTORY_LIMIT + 5):
            await records.confirm(number, "260630120000", "agree", str(index), "1")
        kept = await rows(records, said)
    assert len(kept) == HISTORY_LIMIT
    assert kept[0] == ("agree", str(HISTORY_LIMIT + 4))


async def test_provisional_pins_are_the_owners_newest_first_and_bounded(
    records: Records, clock: Clock
) -> None:
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        for index in range(PAGE_LIMIT + 3):
            clock.advance(1)
            await records.save(record(f"s{index}", session_id=f"session-{index}"), final_packet)
        unnamed = await records.save(
            record("unnamed", session_id="unnamed", owner="2", pin_id=None, pin_name=None), final_packet
        )
        pins, total = await records.provisional("1")
        assert (len(pins), total) == (PAGE_LIMIT, PAGE_LIMIT + 3)
        newest = pins[0]
        assert (newest.pin_id, newest.name) == (f"session-{PAGE_LIMIT + 2}", "Fox in the Garden")
        assert newest.created_at == clock.now
        await records.confirm(newest.record_number, newest.pin_id, "disagree", None, "1")
        again, total = await records.provisional("1", 2)
        assert [pin.pin_id for pin in again] == [f"session-{PAGE_LIMIT + 1}", f"session-{PAGE_LIMIT}"]
        assert total == PAGE_LIMIT + 2
        assert (await records.provisional("1", 2, 1))[0][0] == again[1]
        assert len((await records.provisional("1", 10**9))[0]) == PAGE_LIMIT
        assert len((await records.provisional("1", -5, -5))[0]) == 0
        assert await records.provisional("1", 5, 10**30) == ([], PAGE_LIMIT + 2)
        others, _ = await records.provisional("2")
        assert [(pin.record_number, pin.name) for pin in others] == [(unnamed, "")]
        assert await records.provisional("") == ([], 0)
