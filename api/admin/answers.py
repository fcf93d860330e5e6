"""JSON bodies for the operator's page. They are internal to the page and not part of the protocol."""

from __future__ import annotations

import msgspec

from pinactors.api.admin.imports import State
from pinactors.api.answers import CatalogueState, Record


class AdminRecord(Record, kw_only=True):
    """An analysis in the list of all keys' analyses. `key` is the name of the upload's key, empty on an open
    server; the corrections are those of a person's feedback, null if there are none."""

    stream_id: str
    key: str
    comment: str
    corrected_verdict: str | None
    corrected_pin_id: str | None
    corrected_price: float | None


class AdminRecords(msgspec.Struct, rename="camel"):
    """One page of analyses, newest first; `next` is the `before` of the next page, null on the last page."""

    records: list[AdminRecord]
    total: int
    next: int | None


class Overview(msgspec.Struct, rename="camel"):
    """The state of the service. `uploads` has the number of uploads in each of the last minutes, oldest
    first; `failed`, `degraded` and `missing` (by component) count analyses in the same period; `breakers` are
    components that currently skip the full analysis. `editable` is true if this server may change its
    catalogue; a `catalogue` made by another version of the program is `outdated`."""

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
    """A pin of the catalogue with the fields of a row of pins.csv; `views` are the views with a picture."""

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
    """One page of pins, ordered by pin id; `more` is true if there are further pages."""

    pins: list[AdminPin]
    more: bool


class LineProblem(msgspec.Struct, rename="camel"):
    file: str
    line: int
    message: str


class ImportState(msgspec.Struct, rename="camel"):
    """The state of an import: `done` of `total` rows. `problems` are rows left out, `warnings` rows accepted
    with a warning; both lists are limited to what a page can show, and `counts` has the full numbers."""

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
