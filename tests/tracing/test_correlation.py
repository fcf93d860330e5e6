"""Tests of the header fields that relate logs: which are passed on, and what a log line has of them."""

from __future__ import annotations

import pytest

from pinactors.tracing.correlation import correlation, ids

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def test_valid_fields_are_passed_on_by_their_names_in_small_letters() -> None:
    sent = [("Traceparent", PARENT), ("TRACESTATE", "a=b, c=d"), ("X-Request-Id", "r-1"), ("Cookie", "x")]
    found = correlation(sent)
    assert found == {"traceparent": PARENT, "tracestate": "a=b, c=d", "x-request-id": "r-1"}
    assert ids(found) == {"request": "r-1", "trace": TRACE}
    assert ids({}) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traceparent", PARENT.upper()),
        ("traceparent", PARENT[:-1]),
        ("traceparent", PARENT + "\n"),
        ("tracestate", ""),
        ("tracestate", "a" * 513),
        ("tracestate", "a\r\nb: c"),
        ("x-request-id", "r 1"),
        ("x-request-id", "r" * 65),
    ],
)
def test_malformed_values_are_left_out(name: str, value: str) -> None:
    assert correlation([(name, value)]) == {}
