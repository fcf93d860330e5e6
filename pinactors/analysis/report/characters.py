"""Makes the packet of characters: the result of the catalogue search in words. It claims a pin only if the
search identified one."""

from __future__ import annotations

from msgspec import UNSET

from pinactors.analysis.model import MAX_CANDIDATES, CatalogPin, Match, MatchCandidate, NeighbourPin
from pinactors.analysis.report.html import plain, render
from pinactors.protocol import AlsoSeen, Box, Candidate, CharacterIdentification, View

MAX_ALSO_SEEN = 40
NAME_BYTES = 200
CHARACTERS_BYTES = 300
REASON_BYTES = 600
PIN_ID_BYTES = 200
"""Largest size of a pin id. A candidate with a longer one is left out, because a shortened id would name
another pin."""


def describe(match: Match) -> CharacterIdentification:
    """The packet for a finished search."""
    claimed = match.candidates[0] if match.identified and match.candidates else None
    best = [candidate for candidate in match.candidates[:MAX_CANDIDATES] if _fits(candidate.pin.pin_id)]
    return CharacterIdentification(
        characters=characters_of(claimed.pin) if claimed else "",
        identification=render(
            "characters.html",
            pin=_claim(claimed) if claimed else None,
            reason=plain(match.reason, REASON_BYTES),
            candidates=[
                {
                    "name": plain(candidate.pin.name, NAME_BYTES),
                    "characters": characters_of(candidate.pin),
                    "percent": _percent(candidate),
                }
                for candidate in best
                if _percent(candidate) >= 1
            ],
            size=match.catalog_size,
            demonstration=match.demonstration,
        ),
        candidates=[_candidate(candidate) for candidate in best],
        identified=claimed is not None and claimed in best,
        demonstration=match.demonstration or UNSET,
        also_seen=[_also_seen(one) for one in match.also_seen[:MAX_ALSO_SEEN] if _fits(one.pin.pin_id)],
    )


def characters_of(pin: CatalogPin) -> str:
    return plain(", ".join(pin.characters), CHARACTERS_BYTES)


def _claim(candidate: MatchCandidate) -> dict[str, object]:
    pin = candidate.pin
    facts = [
        ("Series", pin.series),
        ("Year", pin.year),
        ("Edition", f"{pin.edition_size:,}" if pin.edition_size else "open"),
        ("Maker", pin.brand),
    ]
    return {
        "name": plain(pin.name, NAME_BYTES),
        "characters": characters_of(pin),
        "facts": [(term, plain(str(value), NAME_BYTES)) for term, value in facts if value],
        "percent": _percent(candidate),
        "inliers": candidate.inliers,
    }


def _candidate(candidate: MatchCandidate) -> Candidate:
    pin = candidate.pin
    return Candidate(
        pin_id=pin.pin_id,
        name=plain(pin.name, NAME_BYTES),
        characters=characters_of(pin),
        series=plain(pin.series, NAME_BYTES) if pin.series else None,
        year=pin.year,
        score=round(candidate.score, 3),
    )


def _also_seen(neighbour: NeighbourPin) -> AlsoSeen:
    x, y, width, height = (round(share, 4) for share in neighbour.box)
    box = Box(View.FRONT, x, y, width, height)
    return AlsoSeen(
        neighbour.pin.pin_id, plain(neighbour.pin.name, NAME_BYTES), box, round(neighbour.score, 3)
    )


def _percent(candidate: MatchCandidate) -> int:
    """The candidate's score in percent, at most 99: no photograph gives certainty."""
    return min(99, round(100 * candidate.score))


def _fits(pin_id: str) -> bool:
    return plain(pin_id, PIN_ID_BYTES) == pin_id
