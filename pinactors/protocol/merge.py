"""One object out of a session's packets: what a desktop gets, in server, proxy and client alike."""

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
"""Fields that are null where their packet never came, so that a buffered answer always has the same shape."""

_FAILURE = ("success", "message", "error", "errorCode", "sessionId", "timestamp")
_FAULT = ("field", "view")
_ENVELOPE = ("packetType", "sequence")
_ALIASES = ("recordNumber", "recordId")


class _Kind(msgspec.Struct):
    kind: str = msgspec.field(name="packetType")


_KIND = msgspec.json.Decoder(_Kind)


def kind_of(encoded: bytes) -> str:
    """The `packetType` of an encoded packet."""
    return _KIND.decode(encoded).kind


def ends(packets: Sequence[bytes]) -> bool:
    """Whether a log ends in a terminal packet; one that was dropped for another is closed without."""
    return bool(packets) and kind_of(packets[-1]) in TERMINAL


def completed(packets: Sequence[bytes]) -> bool:
    """Whether a log ends in `ANALYSIS_COMPLETE`."""
    return bool(packets) and kind_of(packets[-1]) == "ANALYSIS_COMPLETE"


def merge(packets: Iterable[bytes]) -> dict[str, Any]:
    """The buffered answer: the packets merged in order, and nothing else.

    `packets` is a finished log, its terminal packet last. After `ANALYSIS_COMPLETE` the record's `id` appears
    under its two older names as well; an `ERROR` yields the failure body alone. Raises `ValueError` when the
    log does not end in a terminal packet.
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
    merged.update(dict.fromkeys(_ALIASES, merged["id"]))
    for name in _ENVELOPE:
        del merged[name]
    return merged


def failed(answer: dict[str, Any]) -> ErrorCode | None:
    """The error code of a merged answer, None for a success."""
    return None if answer["success"] else ErrorCode(answer["errorCode"])
