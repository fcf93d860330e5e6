"""Pauses between attempts: they double up to a limit."""

from __future__ import annotations

from itertools import islice

from pinactors.backoff import Backoff


def test_pauses_double_up_to_the_limit() -> None:
    assert list(islice(Backoff(0.5, 3.0), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert list(islice(Backoff(4.0, 3.0), 2)) == [3.0, 3.0]


def test_the_pause_after_any_number_of_failures_is_the_same_as_in_turn() -> None:
    pauses = Backoff(0.1, 60.0)
    assert [pauses.after(number) for number in range(12)] == list(islice(pauses, 12))
    assert pauses.after(1_000_000) == 60.0
