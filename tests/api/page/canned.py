"""Packets as a server sends them, for states of the page that no real photograph produces reliably."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

Packet = dict[str, Any]

STREAM_ID = "canned-stream"
VERDICTS = ("authentic", "counterfeit", "undetermined", "not_a_pin")
LONG = "Madame Longwinded and the Extraordinarily Patient Lighthouse Keeper of the Northern Harbour"
"""A name that is longer than its place on the page."""

RESULTS = (
    "HTML_DISPLAY_DATA",
    "PRICING_ANALYSIS",
    "CHARACTER_IDENTIFICATION",
    "DETAILED_ANALYSIS",
    "AUTHENTICATION_RESULT",
)
ORDERS = [RESULTS, RESULTS[::-1], *list(permutations(RESULTS))[37:120:41]]
"""Some of the possible orders of the five results."""

EVIDENCE: list[Packet] = [
    {
        "name": "stamp_consistency",
        "finding": "The factory code's year 2019 fits © 2019; the year 2019 is the same as the catalogue's.",
        "weight": 0.3,
        "assessed": True,
        "region": {"view": "back", "x": 0.28, "y": 0.36, "width": 0.36, "height": 0.25},
        "reference": {"view": "back", "x": 0.3, "y": 0.4, "width": 0.4, "height": 0.3},
    },
    {"name": "stamp_match", "finding": "The stamp reads as it should.", "weight": 0.29, "assessed": True},
    {
        "name": "front_lines",
        "finding": "The lines are even.",
        "weight": 0.2,
        "assessed": True,
        "box": {"view": "front", "x": 0.7, "y": 0.32, "width": 0.11, "height": 0.1},
    },
    {"name": "enamel_fill", "finding": "It lies evenly in its fields.", "weight": 0.11, "assessed": True},
    {"name": "plating_uniformity", "finding": "One tint all over.", "weight": 0.0, "assessed": True},
    {"name": "posts", "finding": "no post stands out", "weight": 0.0, "assessed": False},
]


def sales(count: int, conditions: tuple[str, ...] = ("mint",)) -> list[Packet]:
    return [
        {
            "soldAt": f"2026-{1 + index % 11:02}-{1 + index % 27:02}",
            "price": 20 + 3.1 * (index % 5),
            "currency": "USD",
            "condition": conditions[index % len(conditions)],
            "source": "made up",
        }
        for index in range(count)
    ]


def packets(
    verdict: str = "authentic",
    *,
    order: tuple[str, ...] = RESULTS,
    name: str = "Marlo the Fox",
    stream_id: str = STREAM_ID,
    sold: list[Packet] | None = None,
) -> list[Packet]:
    """The whole stream of an analysis with the given verdict, its five results in the given order."""
    known = verdict in ("authentic", "counterfeit")
    sign = -1.3 if verdict == "counterfeit" else 1
    rows = EVIDENCE if known else EVIDENCE[4:]
    sold = sales(12, ("mint", "good")) if sold is None else sold
    results: dict[str, Packet] = {
        "AUTHENTICATION_RESULT": {
            "authentic": verdict == "authentic",
            "authenticityRating": {"authentic": 90, "counterfeit": 8, "undetermined": 52}.get(verdict, 0),
            "confidence": 0.9 if known else 0.3,
            "verdict": verdict,
            "evidence": []
            if verdict == "not_a_pin"
            else [{**row, "weight": sign * row["weight"]} for row in rows],
            "advice": [] if known else ["Photograph the back: its stamp and pattern settle most."],
        },
        "CHARACTER_IDENTIFICATION": {
            "characters": "Marlo" if known else "Not identified",
            "identification": f"<section><h3>{name}</h3><p>Found in the catalogue.</p></section>"
            if known
            else "<p>Not identified.</p>",
            "candidates": [
                {"pinId": "DEMO-01", "name": name, "characters": "Marlo", "series": "Whispering Wood"}
                | {"year": 2019, "score": 0.99 if known else 0.3},
                {"pinId": "DEMO-02", "name": "Gustav", "characters": "Gustav", "series": None}
                | {"year": None, "score": 0.02},
            ]
            if verdict != "not_a_pin"
            else [],
            "identified": known,
            "alsoSeen": [
                {"pinId": "DEMO-03", "name": "Pip", "box": [0.1, 0.1, 0.2, 0.2], "score": 0.8},
                {"pinId": "DEMO-04", "name": "Ada", "box": [0.6, 0.6, 0.2, 0.2], "score": 0.7},
            ]
            if known
            else [],
            "suggestions": [
                {"text": "Perhaps a fox", "kind": "name", "source": "another engine", "verified": False}
            ],
        },
        "PRICING_ANALYSIS": {
            "pricing": "<p>Sold prices only.</p>" if known else "<p>No price.</p>",
            "estimate": {"currency": "USD", "low": 22.8, "median": 24.85, "high": 27.49}
            | {"sampleSize": len(sold), "asOf": "2026-11-28"}
            if known
            else None,
            "reason": "The pin is not identified, so there are no sales to go by.",
            "sales": sold if known else [],
        },
        "DETAILED_ANALYSIS": {
            "analysis": "<dl><dt>Metal</dt><dd>gold</dd></dl>",
            "details": {
                "factoryCode": "FAC-071204-19122",
                "colours": [{"name": "orange", "hex": "#be6c29", "share": 0.3}],
                "photos": {"back": {"score": 0.4, "pinFound": True, "problems": ["The stamp is blurred."]}},
            },
        },
        "HTML_DISPLAY_DATA": {
            "frontHtml": "<h3>Front</h3><p>1,080 × 1,440 pixels, photo quality good.</p>",
            "backHtml": "<h3>Back</h3><p>1,080 × 1,440 pixels, photo quality good.</p>",
            "angledHtml": "<h3>Tilted</h3><p>1,080 × 1,440 pixels, photo quality good.</p>",
        },
    }
    opening = {"message": "Connected", "streamId": stream_id, "deadlineMs": 90_000}
    ending = {"success": True, "complete": True, "id": 7, "message": "Analysis complete"}
    ending |= {"processingTime": 2925, "degraded": [], "missing": []}
    stream = [
        {"packetType": "CONNECTION_ESTABLISHED"} | opening,
        {
            "packetType": "PROCESSING_STARTED",
            "message": "Analysis started; 3 others are waiting for this server",
        },
        *({"packetType": kind} | results[kind] for kind in order),
        {"packetType": "ANALYSIS_COMPLETE"} | ending,
    ]
    return [
        packet | {"sessionId": "canned", "timestamp": "2026-11-28T07:30:31.424Z", "sequence": number}
        for number, packet in enumerate(stream)
    ]


def lines(stream: list[Packet]) -> str:
    return "".join(f"{json.dumps(packet)}\n" for packet in stream)


ARRIVING = """() => {
  const ours = [];
  let arrived = "";
  window.arrive = (text) => {
    arrived += text;
    for (const xhr of ours) { xhr.responseText += text; xhr.onprogress(); }
  };
  window.XMLHttpRequest = class {
    constructor() { Object.assign(this, { upload: {}, status: 200, responseText: "" }); }
    open() {}
    setRequestHeader() {}
    getResponseHeader() { return null; }
    abort() {}
    send() {
      ours.push(this);
      this.upload.onprogress({ loaded: 900, total: 900, lengthComputable: true });
      this.responseText = arrived; // before the last piece of the upload is sent
      if (arrived) this.onprogress();
    }
  };
}"""
"""Replaces the page's network: the test calls `arrive(text)` to append `text` to the server's answer."""
