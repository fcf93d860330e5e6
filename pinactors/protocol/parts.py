"""Parts of packets: verdict, evidence, candidates, suggestions, price."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from pinactors.protocol.views import View


class Verdict(StrEnum):
    AUTHENTIC = "authentic"
    COUNTERFEIT = "counterfeit"
    UNDETERMINED = "undetermined"
    NOT_A_PIN = "not_a_pin"


class Box(msgspec.Struct, rename="camel", frozen=True):
    """A region of one photograph, in fractions of its width and height (0 to 1, upright by EXIF)."""

    view: View
    x: float
    y: float
    width: float
    height: float


class Evidence(msgspec.Struct, rename="camel"):
    """One row of the evidence model.

    `finding` is a sentence for a person. `weight` is a log10 likelihood ratio, positive for genuine, and 0 if
    the row could not be assessed (`assessed` is false). `region` is the measured place in a photograph,
    `reference` the same place in the identified pin's catalogue picture of that view.
    """

    name: str
    finding: str
    weight: float
    assessed: bool = True
    region: Box | UnsetType = UNSET
    reference: Box | UnsetType = UNSET


class Candidate(msgspec.Struct, rename="camel"):
    """A pin of the catalogue that the photographs may show."""

    pin_id: str
    name: str
    characters: str
    series: str | None
    year: int | None
    score: float


class AlsoSeen(msgspec.Struct, rename="camel"):
    """Another catalogued pin in the photograph of the front, and its place there."""

    pin_id: str
    name: str
    box: Box
    score: float


class Suggestion(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A statement of a second engine (`source`) about the pin. It is not verified and affects no result.

    `kind` is `character`, `series`, `inscription` or `description`.
    """

    text: str
    kind: str
    source: str
    verified: Literal[False] = False


class Estimate(msgspec.Struct, rename="camel"):
    """A price estimate in `currency`: the quartiles of `sample_size` sales. `as_of` is an ISO date."""

    currency: str
    low: float
    median: float
    high: float
    sample_size: int
    as_of: str
