"""Tests of API keys: shown once, stored as digests, revoked."""

from __future__ import annotations

import pytest
import trio

from pinactors.records import Records
from pinactors.records.models import ApiKey
from tests.records.samples import NOW, Clock, rows


async def test_a_key_is_shown_once_and_stored_as_its_digest(records: Records, clock: Clock) -> None:
    with trio.fail_after(120):
        assert not await records.has_keys()
        key = await records.add_key("  phone ")
        other = await records.add_key("phone")
        assert key != other
        assert len(key) == len("pin_") + 43
        assert key.startswith("pin_")
        listed = await records.keys()
        assert [(key.id, key.name, key.created_at, key.revoked_at) for key in listed] == [
            (1, "phone", NOW, None),
            (2, "phone", NOW, None),
        ]
        assert listed[0].prefix == key[:8]
        stored = str(await rows(records, ApiKey.select()))
        assert key not in stored
        assert key[8:] not in stored
        assert await records.authenticate(key) == "1"
        assert await records.authenticate(other) == "2"


async def test_unknown_and_revoked_keys_open_nothing(records: Records, clock: Clock) -> None:
    with trio.fail_after(120):
        key = await records.add_key("phone")
        for wrong in (
            "",
            "pin_",
            key[:-1],
            key + "x",
            key.upper(),
            " " + key,
            "é",
            "\ud800",
            "x" * 10**7,
        ):
            assert await records.authenticate(wrong) is None
        assert not await records.revoke_key(2)
        clock.advance(5)
        assert await records.revoke_key(1)
        assert not await records.revoke_key(1)
        assert await records.authenticate(key) is None
        assert (await records.keys())[0].revoked_at == clock.now
        assert await records.has_keys()  # with its last key revoked, a server still requires keys


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\x1b[31m", "a\0"])
async def test_a_keys_name_can_be_shown(records: Records, name: str) -> None:
    with trio.fail_after(120):
        with pytest.raises(ValueError, match="printable"):
            await records.add_key(name)
        assert await records.keys() == []
