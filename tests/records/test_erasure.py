"""Tests of erasure and retention: which rows go or stay, and which photographs are no longer referred to."""

from __future__ import annotations

import datetime as dt

from pinactors.protocol import View
from pinactors.records import Filter, Records
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage
from tests.records.samples import NOW, Clock, final_packets, record


def image(name: str) -> StoredImage:
    return StoredImage(f"{name}.jpg", name * 64, 10)


async def filled(settings: Settings) -> tuple[Records, list[int]]:
    """Records with three analyses, a day apart, of which the first two have the photograph b."""
    clock = Clock()
    records = await Records.open(settings, clock)
    await records.add_key("shop")
    numbers = []
    for number, names in enumerate(["ab", "bc", "d"]):
        images = dict(zip((View.FRONT, View.BACK), map(image, names), strict=False))
        saved = record(f"stream-{number}", owner=str(number), images=images)
        numbers.append(await records.save(saved, final_packets()[0]))
        clock.advance(24 * 3600)
    await records.confirm(numbers[0], "260630120000", "agree", "", "0")
    return records, numbers


async def test_a_record_goes_with_its_packets_and_photographs_but_not_those_of_others(
    settings: Settings,
) -> None:
    records, numbers = await filled(settings)
    erased = await records.erase(Filter(number=numbers[0]))
    assert (erased.analyses, erased.photographs) == (1, ["a" * 64])
    assert await records.stream("stream-0") is None
    assert await records.opinions() == []
    assert await records.known_images(["a" * 64, "b" * 64]) == {"b" * 64}
    assert (await records.erase(Filter(number=numbers[0]))).analyses == 0
    erased = await records.erase(Filter(number=numbers[1]))
    assert sorted(erased.photographs) == ["b" * 64, "c" * 64]
    await records.close()


async def test_no_number_is_given_again(settings: Settings) -> None:
    """A share link or an app that kept the number of an erased record must not show another one."""
    records, numbers = await filled(settings)
    assert (await records.erase(Filter())).analyses == 3
    await records.close()
    records = await Records.open(settings)
    assert await records.save(record("later"), final_packets()[0]) == numbers[-1] + 1
    await records.close()


async def test_of_one_key(settings: Settings) -> None:
    records, _ = await filled(settings)
    assert (await records.erase(Filter(key="shop"))).analyses == 1, "the key's number is 1"
    assert await records.count(Filter()) == 2
    await records.close()


async def test_before_a_day(settings: Settings) -> None:
    records, _ = await filled(settings)
    erased = await records.erase(Filter(until=NOW + dt.timedelta(days=2)))
    assert erased.analyses == 2
    assert sorted(sha256[0] for sha256 in erased.photographs) == ["a", "b", "c"]
    await records.close()


async def test_photographs_go_before_their_records(settings: Settings) -> None:
    records, numbers = await filled(settings)
    day = NOW + dt.timedelta(hours=1)
    assert await records.count_photographs(day) == 1, "b was seen again the day after"
    assert await records.erase_photographs(day) == ["a" * 64]
    assert await records.erase_photographs(day) == []
    (row,), _ = await records.page(Filter(number=numbers[0]))
    assert row.images == {"back": "b.jpg"}
    assert sorted(await records.erase_photographs(NOW + dt.timedelta(days=9))) == [
        name * 64 for name in "bcd"
    ]
    assert await records.count(Filter()) == 3
    await records.close()
