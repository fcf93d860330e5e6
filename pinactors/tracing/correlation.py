"""The header fields that relate the logs and spans of several servers to each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_FORMS = {
    "traceparent": re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}"),
    "tracestate": re.compile(r"[\x21-\x7e][\x20-\x7e]{0,511}"),
    "x-request-id": re.compile(r"[A-Za-z0-9._-]{1,64}"),
}
"""The valid forms of the W3C Trace Context fields, and of the id that reverse proxies give a request."""


def correlation(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those header fields that relate the logs of several servers; a proxy passes them on.

    Malformed values are left out, because they would get into logs and into the headers of other requests.
    """
    found = {}
    for name, value in fields:
        form = _FORMS.get(name.lower())
        if form is not None and form.fullmatch(value):
            found[name.lower()] = value
    return found


def ids(fields: Mapping[str, str]) -> dict[str, str]:
    """The values of `request` and `trace` for a log line, from the fields that `correlation` returned."""
    found = {}
    if "x-request-id" in fields:
        found["request"] = fields["x-request-id"]
    if "traceparent" in fields:
        found["trace"] = fields["traceparent"].split("-")[1]
    return found
