"""Tests of offsets: the properties on which clients may rely without parsing an offset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinactors.protocol.offsets import DIGITS, to_offset, to_position

positions = st.integers(0, 10**DIGITS - 1)


@given(positions)
def test_a_token_names_its_position(position: int) -> None:
    assert to_position(to_offset(position)) == position


@given(positions, positions)
def test_offsets_sort_as_strings_the_way_positions_do(one: int, other: int) -> None:
    assert (to_offset(one) < to_offset(other)) == (one < other)


@given(positions)
def test_offsets_need_no_escaping_and_are_no_reserved_word(position: int) -> None:
    offset = to_offset(position)
    assert offset.isascii()
    assert offset.isalnum()
    assert offset not in ("-1", "now")


@given(st.text())
def test_nothing_else_is_an_offset(text: str) -> None:
    try:
        position = to_position(text)
    except ValueError:
        return
    assert to_offset(position) == text


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "now", "1" * (DIGITS + 1), " " + "0" * (DIGITS - 1), "0" * DIGITS + "\n", "٠" * DIGITS],
)
def test_near_misses(text: str) -> None:
    with pytest.raises(ValueError):
        to_position(text)


@pytest.mark.parametrize("position", [-1, 10**DIGITS])
def test_positions_no_log_can_have(position: int) -> None:
    with pytest.raises(ValueError):
        to_offset(position)
