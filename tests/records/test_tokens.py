"""Tests of short-lived tokens: stored as hashes, optionally bound to a stream, ended by time or key."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest
import trio

from pinactors.protocol import PinactorsError
from pinactors.records import Records, TokenUse, tokens
from pinactors.records.models import AccessToken
from pinactors.settings import Settings
from tests.records.samples import NOW, Clock


@pytest.fixture
async def records(settings: Settings, clock: Clock) -> AsyncIterator[Records]:
    with trio.fail_after(120):
        records = await Records.open(settings, clock)
        await records.add_key("shop")
        yield records
        await records.close()


async def test_a_token_is_known_until_it_expires(records: Records, clock: Clock) -> None:
    token, expires_at = await records.add_token("1", None, 60)
    assert expires_at == NOW + dt.timedelta(seconds=60)
    bound, _ = await records.add_token("1", "stream", 120)
    assert await records.token_use(token) == TokenUse("1", None, expires_at)
    assert await records.token_use(bound) == TokenUse("1", "stream", NOW + dt.timedelta(seconds=120))
    assert await records.authenticate(token) is None
    for wrong in ("", token[:-1], token + "x", "é", "x" * 9000):
        assert await records.token_use(wrong) is None
    clock.advance(60)
    assert await records.token_use(token) is None
    assert await records.token_use(bound) is not None


async def test_a_revoked_key_ends_its_tokens(records: Records) -> None:
    token, _ = await records.add_token("1", None, 60)
    await records.revoke_key(1)
    assert await records.token_use(token) is None


async def test_only_hashes_are_kept_and_none_for_long(records: Records, clock: Clock) -> None:
    token, _ = await records.add_token("1", None, 60)
    clock.advance(61)
    other, _ = await records.add_token("1", None, 60)
    kept = await records._store.read(
        lambda database: list(AccessToken.select(AccessToken.digest).tuples().execute(database))
    )
    assert len(kept) == 1
    assert token not in str(kept)
    assert other not in str(kept)


async def test_a_key_has_so_many_at_most(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "TOKENS_PER_KEY", 2)
    for _ in range(2):
        await records.add_token("1", None, 60)
    with pytest.raises(PinactorsError) as refused:
        await records.add_token("1", None, 60)
    assert refused.value.status == 429
