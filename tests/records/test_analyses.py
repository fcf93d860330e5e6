"""Tests of analyses: stored once with their packets, found by upload and by key."""

from __future__ import annotations

import peewee
import pytest
import trio

from pinactors.protocol import View
from pinactors.records import Records, RecordsUnavailable
from pinactors.records.models import AnalysisImage, Image, StoredAnalysis
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage
from tests.records.samples import NOW, Clock, final_packets, record, rows


async def test_an_analysis_is_stored_with_all_its_packets(records: Records) -> None:
    final_packet, calls = final_packets()
    with trio.fail_after(120):
        number = await records.save(record(), final_packet)
        stored = await records.stream("stream-1")
        assert await records.stream("stream-2") is None
    assert stored is not None
    assert calls == [number]
    assert stored.packets == [*record().packets, b'{"id":%d,"attempt":1}' % number]
    assert (stored.session_id, stored.owner, stored.record_number) == ("260630120000", "1", number)
    assert stored.finished_at == NOW
    columns = (
        StoredAnalysis.verdict,
        StoredAnalysis.authentic,
        StoredAnalysis.rating,
        StoredAnalysis.confidence,
        StoredAnalysis.pin_id,
    )
    assert await rows(records, StoredAnalysis.select(*columns)) == [("authentic", True, 81, 0.62, "P1")]
    assert await rows(records, StoredAnalysis.select(StoredAnalysis.missing, StoredAnalysis.started_at)) == [
        ('["pricing"]', NOW)
    ]


async def test_the_photograph_of_a_view_is_found_by_its_stream(records: Records) -> None:
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        await records.save(record(), final_packet)
        views = record().images
        for view in View:
            found = await records.photograph("stream-1", view)
            assert (found and found.sha256) == (views[view].sha256 if view in views else None)
        assert await records.photograph("stream-2", "front") is None
        assert await records.photograph("stream-1", "\0") is None
        assert await records.photograph("\0", "front") is None
        assert await records.stream("\0") is None


async def test_a_repeated_save_changes_nothing(records: Records) -> None:
    final_packet, calls = final_packets()
    with trio.fail_after(120):
        number = await records.save(record(), final_packet)
        first = await records.stream("stream-1")
        assert await records.save(record(rating=3, packets=[b"other"]), final_packet) == number
        assert await records.stream("stream-1") == first
    assert len(calls) == 1


async def test_a_save_after_an_uncertain_commit_finds_what_was_stored(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    final_packet, calls = final_packets()
    database = records._store.database
    commit = database.commit

    def lost() -> None:
        commit()
        raise peewee.OperationalError("the connection broke before the answer")

    with trio.fail_after(120):
        monkeypatch.setattr(database, "commit", lost)
        with pytest.raises(RecordsUnavailable):
            await records.save(record(), final_packet)
        monkeypatch.setattr(database, "commit", commit)
        number = await records.save(record(), final_packet)
        stored = await records.stream("stream-1")
    assert stored is not None
    assert calls == [number]
    assert stored.packets[-1] == b'{"id":%d,"attempt":1}' % number


async def test_a_save_that_was_rolled_back_leaves_nothing_and_may_be_repeated(records: Records) -> None:
    def broken(number: int) -> bytes:
        raise peewee.OperationalError("disk full")

    final_packet, _ = final_packets()
    with trio.fail_after(120):
        with pytest.raises(RecordsUnavailable):
            await records.save(record(), broken)
        assert await records.stream("stream-1") is None
        assert await rows(records, Image.select()) == []
        number = await records.save(record(), final_packet)
        stored = await records.stream("stream-1")
    assert stored is not None
    assert (stored.record_number, stored.packets[-1]) == (number, b'{"id":%d,"attempt":1}' % number)


async def test_images_are_stored_once_by_content(records: Records, settings: Settings) -> None:
    inside = StoredImage(str(settings.images_folder / "aa" / "front.jpg"), "c" * 64, 30)
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        first = await records.save(record("one"), final_packet)
        second = await records.save(
            record("two", images={View.FRONT: inside, View.ANGLED: record().images[View.BACK]}), final_packet
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


async def test_the_same_upload_is_found_while_it_can_be_read_again(records: Records, clock: Clock) -> None:
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        await records.save(record("older"), final_packet)
        await records.save(record("newer"), final_packet)
        await records.save(record("other", owner="2", session_id="s", fingerprint="0" * 64), final_packet)
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
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        await records.save(record("keyed", idempotency_key="k"), final_packet)
        await records.save(record("unkeyed"), final_packet)
        assert await records.find_idempotent("1", "k") == ("keyed", "f" * 64)
        assert await records.find_idempotent("2", "k") is None
        assert await records.find_idempotent("1", "K") is None
        clock.advance(901)
        assert await records.find_idempotent("1", "k") is None


async def test_a_key_that_came_later_stands_for_the_same_photographs(records: Records, clock: Clock) -> None:
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        await records.save(record("first"), final_packet)
        await records.keep_later_key("1", "later", "first", "f" * 64)
        await records.keep_later_key("1", "later", "another", "0" * 64)  # the first row stays
        assert await records.find_idempotent("1", "later") == ("first", "f" * 64)
        assert await records.find_idempotent("2", "later") is None
        assert await records.has_upload("1", "some session", "later")
        clock.advance(901)
        assert await records.find_idempotent("1", "later") is None
        await records.keep_later_key("1", "later", "another", "0" * 64)
        assert await records.find_idempotent("1", "later") == ("another", "0" * 64)
