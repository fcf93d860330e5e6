"""Header fields by which the logs and spans of several servers are brought together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_FORMS = {
    "traceparent": re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}"),
    "tracestate": re.compile(r"[\x21-\x7e][\x20-\x7e]{0,511}"),
    "x-request-id": re.compile(r"[A-Za-z0-9._-]{1,64}"),
}
"""Fields of W3C Trace Context, and the id that reverse proxies give a request, as they may look."""


def correlation(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those header fields by which the logs of several servers are brought together: a proxy passes them on.

    What is not well-formed is left out: it would end in a log, or in another request's head.
    """
    found = {}
    for name, value in fields:
        form = _FORMS.get(name.lower())
        if form is not None and form.fullmatch(value):
            found[name.lower()] = value
    return found


def ids(fields: Mapping[str, str]) -> dict[str, str]:
    """`request` and `trace`, as logs have them, of what `correlation` returned."""
    found = {}
    if "x-request-id" in fields:
        found["request"] = fields["x-request-id"]
    if "traceparent" in fields:
        found["trace"] = fields["traceparent"].split("-")[1]
    return found
