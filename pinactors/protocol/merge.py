"""Merges a session's packets into one object, the buffered answer; used by server, proxy and client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from pinactors.protocol import TERMINAL, ErrorCode

OPTIONAL = (
    "authentic",
    "authenticityRating",
    "confidence",
    "verdict",
    "evidence",
    "characters",
    "identification",
    "candidates",
    "identified",
    "alsoSeen",
    "pricing",
    "estimate",
    "analysis",
    "details",
    "frontHtml",
    "backHtml",
    "angledHtml",
)
"""Fields that are null if their packet is missing, so that a buffered answer always has the same shape."""

_FAILURE = ("success", "message", "error", "errorCode", "sessionId", "timestamp")
_FAULT = ("field", "view")
ENVELOPE = ("packetType", "sequence")
"""Fields of a packet that the buffered answer does not have."""

ALIASES = ("recordNumber", "recordId")
"""Older names of the record's `id`, which only the buffered answer has."""


class _Kind(msgspec.Struct):
    kind: str = msgspec.field(name="packetType")


_KIND = msgspec.json.Decoder(_Kind)


def kind_of(encoded: bytes) -> str:
    """The `packetType` of an encoded packet."""
    return _KIND.decode(encoded).kind


def ends(packets: Sequence[bytes]) -> bool:
    """Whether a log ends with a terminal packet. A closed log has none if its session was dropped because an
    earlier one answers the upload."""
    return bool(packets) and kind_of(packets[-1]) in TERMINAL


def completed(packets: Sequence[bytes]) -> bool:
    """Whether a log ends with `ANALYSIS_COMPLETE`."""
    return bool(packets) and kind_of(packets[-1]) == "ANALYSIS_COMPLETE"


def merge(packets: Iterable[bytes]) -> dict[str, Any]:
    """The buffered answer: the fields of all packets, later ones replacing earlier ones.

    `packets` is a finished log, with its terminal packet last. If that is `ANALYSIS_COMPLETE` the record's
    `id` appears under its two older names too; if it is an `ERROR` the result is only the body of the
    failure. Raises `ValueError` if the log does not end with a terminal packet.
    """
    merged: dict[str, Any] = dict.fromkeys(OPTIONAL)
    kind = ""
    for encoded in packets:
        packet = msgspec.json.decode(encoded, type=dict[str, Any])
        kind = packet["packetType"]
        merged.update(packet)
    if kind not in TERMINAL:
        raise ValueError("the packets of a session that has not ended cannot be merged")
    if kind == "ERROR":
        return {name: merged[name] for name in (*_FAILURE, *_FAULT) if name in merged}
    merged.update(dict.fromkeys(ALIASES, merged["id"]))
    for name in ENVELOPE:
        del merged[name]
    return merged


def failed(answer: dict[str, Any]) -> ErrorCode | None:
    """The error code of a merged answer; None if it is a success."""
    return None if answer["success"] else ErrorCode(answer["errorCode"])
