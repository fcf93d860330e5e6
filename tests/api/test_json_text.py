"""JSON texts of clients, and what is said of those that cannot be read."""

from __future__ import annotations

import math

import msgspec
import pytest

from pinactors.api.json_text import CONVERTED_DIGITS, at_fault, parse
from pinactors.protocol import View


@pytest.mark.parametrize("text", ['{"x": %s}', b'{"x": %b}'])
def test_a_number_may_have_any_number_of_digits(text: str | bytes) -> None:
    for digits in ("1" * CONVERTED_DIGITS, "1" * 5000, "-" + "1" * 5000):
        found = parse(text % digits if isinstance(text, str) else text % digits.encode())["x"]
        assert found == int(digits) if len(digits) <= CONVERTED_DIGITS else math.isinf(found)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7.0", 7),
        ("-7.00", -7),
        ("7e0", 7),
        ("0.5", 0.5),
        ("1e400", math.inf),
        ("9007199254740993.0", 2.0**53),
    ],
)
def test_a_whole_number_may_be_written_as_a_fraction(text: str, number: float) -> None:
    """As Gson writes an id that it read as a double."""
    found = parse(text)
    assert (found, type(found)) == (number, type(number))


@pytest.mark.parametrize("text", ['\ufeff{"x": NaN}', '\ufeff{"x": NaN}'.encode()])
def test_a_text_may_begin_with_a_byte_order_mark(text: str | bytes) -> None:
    assert parse(text).keys() == {"x"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"[" * 50_000, "it is nested too deeply"), (b'"\xff"', "it is not valid UTF-8"), ("{", "Expecting")],
)
def test_a_text_that_cannot_be_read(text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(text)


class Wanted(msgspec.Struct):
    view: View
    sizes: list[int]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"view": "top", "sizes": []}, "view"),
        ({"view": "back", "sizes": [1, "x"]}, "sizes"),
        ({"view": "back"}, "sizes"),
        ([], ""),
    ],
)
def test_the_field_at_fault(value: object, field: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(value, Wanted)
    name, reason = at_fault(refused.value)
    assert name == field
    assert reason
    assert "$" not in reason
