"""What schemathesis loads beside its own: how bodies of pieces of an upload are sent."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/partial-upload", "application/offset+octet-stream")
def as_it_is(context: Any, value: Any) -> bytes:
    """Bytes, whatever was made up."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """A phone's stream has the type of one JSON object, as the protocol says; here it has its own."""
    streamed = case.path.endswith("mobile-upload") and b"\n" in response.content.strip()
    if streamed and response.headers.get("content-type") == ["application/json"]:
        response.headers["content-type"] = ["application/x-ndjson"]
