"""Lines of byte streams and of errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinactors.lines import LineSplitter, first_line


@given(
    st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=6),
    st.binary(max_size=5),
    st.data(),
)
def test_lines_come_out_whole_wherever_they_are_broken(
    lines: list[bytes], rest: bytes, data: st.DataObject
) -> None:
    rest = rest.replace(b"\n", b"")
    stream = b"".join(line + b"\n" for line in lines) + rest
    splitter, out, start = LineSplitter(20, ValueError), [], 0
    while start < len(stream):
        end = data.draw(st.integers(start + 1, len(stream)))
        out += splitter.feed(stream[start:end])
        start = end
    assert out == lines


def test_the_longest_line() -> None:
    assert LineSplitter(5, ValueError).feed(b"12345\n") == [b"12345"]
    for data in (b"123456", b"123456\n"):
        with pytest.raises(ValueError, match="more than 5 bytes"):
            LineSplitter(5, ValueError).feed(data)


def test_an_errors_first_line() -> None:
    assert first_line(OSError("no route\nto the host")) == "no route"
    assert first_line(TimeoutError()) == "TimeoutError"
