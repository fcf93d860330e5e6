"""The JSON bodies that the operator's page reads. They are the page's own: no part of the protocol."""

from __future__ import annotations

import msgspec

from pinactors.api.admin.imports import State
from pinactors.api.answers import CatalogueState, Record


class AdminRecord(Record, kw_only=True):
    """An analysis in the list of all. `key` is the name of the key it came with, empty on an open server;
    the corrections are what a person would have it corrected to, null where they did not say."""

    stream_id: str
    key: str
    comment: str
    corrected_verdict: str | None
    corrected_pin_id: str | None
    corrected_price: float | None


class AdminRecords(msgspec.Struct, rename="camel"):
    """One page of them, newest first; `next` is the `before` of the next page, null on the last one."""

    records: list[AdminRecord]
    total: int
    next: int | None


class Overview(msgspec.Struct, rename="camel"):
    """How it goes. `uploads` counts those of each of the last minutes, oldest first; `failed`, `degraded` and
    `missing` (by component) those of the same time; `breakers` are components that go straight to basic
    analysis. `editable` says whether this server may change its catalogue, which is `outdated` where another
    version of the program made it."""

    uploads: list[int]
    failed: int
    degraded: dict[str, int]
    missing: dict[str, int]
    breakers: dict[str, str]
    sessions: int
    queued: int
    workers: int
    disagreements: int
    catalogue: CatalogueState
    editable: bool


class AdminPin(msgspec.Struct, rename="camel"):
    """A pin of the catalogue, as a row of pins.csv has it; `views` are those it has a picture of."""

    pin_id: str
    name: str
    characters: list[str]
    series: str | None
    year: int | None
    edition_size: int | None
    brand: str | None
    factory_code: str | None
    views: list[str]
    sales: int


class AdminPins(msgspec.Struct, rename="camel"):
    """One page of them, by pin id; `more`: there are further ones."""

    pins: list[AdminPin]
    more: bool


class LineProblem(msgspec.Struct, rename="camel"):
    file: str
    line: int
    message: str


class ImportState(msgspec.Struct, rename="camel"):
    """How far an import is: `done` of `total` rows. `problems` are rows left out, `warnings` rows taken with
    a reservation, of each as many as a page can show; their numbers are in `counts`."""

    id: str
    state: State
    files: int
    size: int
    done: int
    total: int
    wrong: str
    counts: dict[str, int]
    problems: list[LineProblem]
    warnings: list[LineProblem]


class ImportStates(msgspec.Struct, rename="camel"):
    imports: list[ImportState]
