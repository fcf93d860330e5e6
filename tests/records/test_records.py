"""Tests of `Records` on each kind of database."""

from collections.abc import AsyncIterator

import peewee
import pytest
import trio

from pinactors.protocol import ErrorCode, PinactorsError, Verdict, View
from pinactors.records import Records, RecordsUnavailable
from pinactors.records.feedback import COMMENT_LIMIT, HISTORY_LIMIT, Corrections
from pinactors.records.models import PAGE_LIMIT, Analysis, AnalysisImage, ApiKey, Feedback, Image
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage
from tests.records.samples import NOW, Clock, record, sealer


@pytest.fixture
async def records(settings: Settings, clock: Clock) -> AsyncIterator[Records]:
    with trio.fail_after(120):
        opened = await Records.open(settings, clock)
    yield opened
    with trio.fail_after(120):
        await opened.close()


async def rows(records: Records, query: peewee.BaseQuery) -> list[tuple[object, ...]]:
    with trio.fail_after(120):
        return await records._store.read(lambda database: list(query.tuples().execute(database)))


async def test_an_analysis_is_stored_with_all_its_packets(records: Records) -> None:
    seal, calls = sealer()
    with trio.fail_after(120):
        number = await records.save(record(), seal)
        stored = await records.stream("stream-1")
        assert await records.stream("stream-2") is None
    assert stored is not None
    assert calls == [number]
    assert stored.packets == [*record().packets, b'{"id":%d,"attempt":1}' % number]
    assert (stored.session_id, stored.owner, stored.record_number) == ("260630120000", "1", number)
    assert stored.finished_at == NOW
    columns = (Analysis.verdict, Analysis.authentic, Analysis.rating, Analysis.confidence, Analysis.pin_id)
    assert await rows(records, Analysis.select(*columns)) == [("authentic", True, 81, 0.62, "P1")]
    assert await rows(records, Analysis.select(Analysis.missing, Analysis.started_at)) == [
        ('["pricing"]', NOW)
    ]


async def test_the_photograph_of_a_view_is_found_by_its_stream(records: Records) -> None:
    seal, _ = sealer()
    with trio.fail_after(120):
        await records.save(record(), seal)
        views = record().images
        for view in View:
            found = await records.photograph("stream-1", view)
            assert (found and found.sha256) == (views[view].sha256 if view in views else None)
        assert await records.photograph("stream-2", "front") is None
        assert await records.photograph("stream-1", "\0") is None
        assert await records.photograph("\0", "front") is None
        assert await records.stream("\0") is None


async def test_a_repeated_save_changes_nothing(records: Records) -> None:
    seal, calls = sealer()
    with trio.fail_after(120):
        number = await records.save(record(), seal)
        first = await records.stream("stream-1")
        assert await records.save(record(rating=3, packets=[b"other"]), seal) == number
        assert await records.stream("stream-1") == first
    assert len(calls) == 1


async def test_a_save_after_an_uncertain_commit_finds_what_was_stored(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal, calls = sealer()
    database = records._store.database
    commit = database.commit

    def lost() -> None:
        commit()
        raise peewee.OperationalError("the connection broke before the answer")

    with trio.fail_after(120):
        monkeypatch.setattr(database, "commit", lost)
        with pytest.raises(RecordsUnavailable):
            await records.save(record(), seal)
        monkeypatch.setattr(database, "commit", commit)
        number = await records.save(record(), seal)
        stored = await records.stream("stream-1")
    assert stored is not None
    assert calls == [number]
    assert stored.packets[-1] == b'{"id":%d,"attempt":1}' % number


async def test_a_save_that_was_rolled_back_leaves_nothing_and_may_be_repeated(records: Records) -> None:
    def broken(number: int) -> bytes:
        raise peewee.OperationalError("disk full")

    seal, _ = sealer()
    with trio.fail_after(120):
        with pytest.raises(RecordsUnavailable):
            await records.save(record(), broken)
        assert await records.stream("stream-1") is None
        assert await rows(records, Image.select()) == []
        number = await records.save(record(), seal)
        stored = await records.stream("stream-1")
    assert stored is not None
    assert (stored.record_number, stored.packets[-1]) == (number, b'{"id":%d,"attempt":1}' % number)


async def test_a_fault_of_ours_is_not_called_unavailable(records: Records) -> None:
    def broken(number: int) -> bytes:
        raise ZeroDivisionError

    with trio.fail_after(120), pytest.raises(ZeroDivisionError):
        await records.save(record(), broken)


async def test_images_are_stored_once_by_content(records: Records, settings: Settings) -> None:
    inside = StoredImage(str(settings.images_folder / "aa" / "front.jpg"), "c" * 64, 30)
    seal, _ = sealer()
    with trio.fail_after(120):
        first = await records.save(record("one"), seal)
        second = await records.save(
            record("two", images={View.FRONT: inside, View.ANGLED: record().images[View.BACK]}), seal
        )
    assert sorted(await rows(records, Image.select(Image.sha256, Image.size, Image.path))) == [
        ("a" * 64, 10, "front.jpg"),
        ("b" * 64, 20, "back.jpg"),
        ("c" * 64, 30, "aa/front.jpg"),
    ]
    seen = AnalysisImage.select(AnalysisImage.analysis, AnalysisImage.view, AnalysisImage.image)
    assert sorted(await rows(records, seen)) == [
        (first, "back", "b" * 64),
        (first, "front", "a" * 64),
        (second, "angled", "b" * 64),
        (second, "front", "c" * 64),
    ]


async def test_sessions_end_at_the_same_time(records: Records) -> None:
    seal, calls = sealer()
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for index in range(40):
                nursery.start_soon(records.save, record(f"stream-{index}"), seal)
                nursery.start_soon(records.stream, f"stream-{index}")
        found = [await records.stream(f"stream-{index}") for index in range(40)]
    assert sorted(stored.record_number for stored in found if stored) == sorted(calls)
    assert len(set(calls)) == 40


async def test_a_cancelled_save_is_done_or_not_begun(records: Records) -> None:
    """A cancelled save still waits for its thread, so that its result can be read afterwards and no thread
    continues."""
    seal, calls = sealer()
    with trio.fail_after(120):
        with trio.CancelScope() as scope:
            scope.cancel()
            await records.save(record("before"), seal)
        assert await records.stream("before") is None
        with trio.CancelScope() as scope:

            def seal_late(number: int) -> bytes:
                trio.from_thread.run_sync(scope.cancel)
                return seal(number)

            number = await records.save(record("during"), seal_late)
        stored = await records.stream("during")
    assert stored is not None
    assert stored.record_number == number == calls[0]


async def test_the_same_upload_is_found_while_it_can_be_read_again(records: Records, clock: Clock) -> None:
    seal, _ = sealer()
    with trio.fail_after(120):
        await records.save(record("older"), seal)
        await records.save(record("newer"), seal)
        await records.save(record("other", owner="2", session_id="s", fingerprint="0" * 64), seal)
        assert await records.find_upload("1", "260630120000", "f" * 64) == "newer"
        assert await records.find_upload("2", "s", "0" * 64) == "other"
        for wrong in (("2", "260630120000", "f" * 64), ("1", "s", "f" * 64), ("1", "260630120000", "0" * 64)):
            assert await records.find_upload(*wrong) is None
        clock.advance(900)
        assert await records.find_upload("1", "260630120000", "f" * 64) == "newer"
        clock.advance(1)
        assert await records.find_upload("1", "260630120000", "f" * 64) is None
        assert await records.stream("newer") is not None


async def test_an_idempotency_key_is_its_owners_and_expires(records: Records, clock: Clock) -> None:
    seal, _ = sealer()
    with trio.fail_after(120):
        await records.save(record("keyed", idempotency_key="k"), seal)
        await records.save(record("unkeyed"), seal)
        assert await records.find_idempotent("1", "k") == ("keyed", "f" * 64)
        assert await records.find_idempotent("2", "k") is None
        assert await records.find_idempotent("1", "K") is None
        clock.advance(901)
        assert await records.find_idempotent("1", "k") is None


async def test_a_key_that_came_later_stands_for_the_same_photographs(records: Records, clock: Clock) -> None:
    seal, _ = sealer()
    with trio.fail_after(120):
        await records.save(record("first"), seal)
        await records.keep_later_key("1", "later", "first", "f" * 64)
        await records.keep_later_key("1", "later", "another", "0" * 64)  # the first row stays
        assert await records.find_idempotent("1", "later") == ("first", "f" * 64)
        assert await records.find_idempotent("2", "later") is None
        assert await records.has_upload("1", "some session", "later")
        clock.advance(901)
        assert await records.find_idempotent("1", "later") is None
        await records.keep_later_key("1", "later", "another", "0" * 64)
        assert await records.find_idempotent("1", "later") == ("another", "0" * 64)


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
    seal, _ = sealer()
    with trio.fail_after(120):
        number = await records.save(record(), seal)
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
    seal, _ = sealer()
    with trio.fail_after(120):
        number = await records.save(record(error_code="processing_error", verdict=None, authentic=None), seal)
        with pytest.raises(PinactorsError, match="Record not found"):
            await records.confirm(number, "260630120000", "agree", None, "1")
        assert await records.provisional("1") == ([], 0)


async def test_the_latest_confirmation_counts_and_the_earlier_ones_are_kept(
    records: Records, clock: Clock
) -> None:
    seal, _ = sealer()
    said = Feedback.select(Feedback.agreement, Feedback.comment).order_by(Feedback.id.desc())
    with trio.fail_after(120):
        number = await records.save(record(), seal)
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
    seal, _ = sealer()
    with trio.fail_after(120):
        for index in range(PAGE_LIMIT + 3):
            clock.advance(1)
            await records.save(record(f"s{index}", session_id=f"session-{index}"), seal)
        unnamed = await records.save(
            record("unnamed", session_id="unnamed", owner="2", pin_id=None, pin_name=None), seal
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


async def test_a_key_is_shown_once_and_stored_as_its_digest(records: Records, clock: Clock) -> None:
    with trio.fail_after(120):
        assert not await records.has_keys()
        token = await records.add_key("  phone ")
        other = await records.add_key("phone")
        assert token != other
        assert len(token) == len("pin_") + 43
        assert token.startswith("pin_")
        listed = await records.keys()
        assert [(key.id, key.name, key.created_at, key.revoked_at) for key in listed] == [
            (1, "phone", NOW, None),
            (2, "phone", NOW, None),
        ]
        assert listed[0].prefix == token[:8]
        stored = str(await rows(records, ApiKey.select()))
        assert token not in stored
        assert token[8:] not in stored
        assert await records.authenticate(token) == "1"
        assert await records.authenticate(other) == "2"


async def test_unknown_and_revoked_keys_open_nothing(records: Records, clock: Clock) -> None:
    with trio.fail_after(120):
        token = await records.add_key("phone")
        for wrong in (
            "",
            "pin_",
            token[:-1],
            token + "x",
            token.upper(),
            " " + token,
            "é",
            "\ud800",
            "x" * 10**7,
        ):
            assert await records.authenticate(wrong) is None
        assert not await records.revoke_key(2)
        clock.advance(5)
        assert await records.revoke_key(1)
        assert not await records.revoke_key(1)
        assert await records.authenticate(token) is None
        assert (await records.keys())[0].revoked_at == clock.now
        assert await records.has_keys()  # with its last key revoked, a server still requires keys


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\x1b[31m", "a\0"])
async def test_a_keys_name_can_be_shown(records: Records, name: str) -> None:
    with trio.fail_after(120):
        with pytest.raises(ValueError, match="printable"):
            await records.add_key(name)
        assert await records.keys() == []


async def test_two_records_share_one_database(settings: Settings, records: Records) -> None:
    seal, _ = sealer()
    with trio.fail_after(120):
        other = await Records.open(settings)
        first, second = await records.save(record("one"), seal), await other.save(record("two"), seal)
        assert first != second
        assert await other.stream("one") == await records.stream("one")
        assert await records.check()
        async with trio.open_nursery() as nursery:  # as two processes write: no stale snapshots
            for index in range(60):
                nursery.start_soon([records, other][index % 2].save, record(f"stream-{index}"), seal)
        await other.close()
        assert await records.stream("two") is not None
        assert (await records.provisional("1"))[1] == 62
