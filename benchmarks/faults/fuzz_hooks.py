"""Hooks for schemathesis: how it sends the pieces of a resumable upload, and how it checks a phone's
stream."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/partial-upload", "application/offset+octet-stream")
def as_it_is(context: Any, value: Any) -> bytes:
    """The generated value as bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Changes the content type of a phone's stream before the checks: by the protocol it is that of one JSON
    object, but the body is NDJSON."""
    streamed = case.path.endswith("mobile-upload") and b"\n" in response.content.strip()
    if streamed and response.headers.get("content-type") == ["application/json"]:
        response.headers["content-type"] = ["application/x-ndjson"]
