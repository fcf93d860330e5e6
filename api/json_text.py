"""JSON texts of clients. Python's parser refuses some that do no harm, and says so in the interpreter's
words."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

CONVERTED_DIGITS = 1000
"""Most digits of a whole number that stays exact; Python refuses to convert more than 4300."""

EXACT = 1 << 53
"""Below this, each whole number is a float of its own."""

_FIELD = re.compile(r" - at `\$\.(\w+)|missing required field `(\w+)`")


def parse(text: str | bytes) -> Any:
    """Parses a JSON text, which may begin with a byte order mark; a longer whole number than
    `CONVERTED_DIGITS` becomes a float. 7.0 becomes 7: Gson, which reads all numbers as doubles, writes an id
    back so. Raises `ValueError` with a reason for the client."""
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")  # in bytes Python's parser skips it
    try:
        return json.loads(text, parse_int=_number, parse_float=_fraction)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not valid UTF-8") from None


def at_fault(error: msgspec.ValidationError) -> tuple[str, str]:
    """The name of the field that msgspec refused, empty if it names none, and the reason."""
    found = _FIELD.search(str(error))
    return (found[1] or found[2] if found else ""), str(error).partition(" - at ")[0]


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= CONVERTED_DIGITS else float(digits)


def _fraction(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < EXACT else number
