"""People's feedback on analyses. Every function runs inside a transaction of its caller."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import peewee

from pinactors.protocol import ErrorCode, PinactorsError, Verdict, invalid_field, invalid_value, is_text
from pinactors.records.models import (
    LARGEST_INTEGER,
    AnalysisImage,
    Feedback,
    Image,
    StoredAnalysis,
    page_size,
)


class Agreement(StrEnum):
    AGREE = "agree"
    DISAGREE = "disagree"


COMMENT_LIMIT = 2000
"""Most characters of a comment."""

PIN_ID_LIMIT = 64
"""Most characters of a catalogue pin's id, the same limit as in an import."""

HIGHEST_PRICE = 1e6
"""Highest corrected price in US dollars."""

HISTORY_LIMIT = 50
"""Most rows of feedback per analysis, so that a client that repeats feedback for ever cannot fill the
disk."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """A person's corrections of an analysis: verdict, catalogue pin, price in US dollars. None means not
    corrected."""

    verdict: Verdict | None = None
    pin_id: str | None = None
    price: float | None = None


@dataclass(frozen=True, slots=True)
class Confirmation:
    record_number: int
    pin_id: str
    user_agreement: str
    feedback_comment: str
    session_id: str
    confirmed_at: dt.datetime
    corrected: Corrections


@dataclass(frozen=True, slots=True)
class UnconfirmedAnalysis:
    """An analysis without a confirmation. `pin_id` is its session id, as clients call it; `name` is that of
    the claimed catalogue pin, empty if none was claimed."""

    pin_id: str
    record_number: int
    name: str
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Opinion:
    """The latest feedback on an analysis, with the analysis's verdict and photographs.

    `images` are paths by view, relative to the images folder or absolute; `pin_id` is the claimed catalogue
    pin.
    """

    record_number: int
    verdict: str
    pin_id: str | None
    agreement: str
    comment: str
    images: dict[str, str]
    corrected: Corrections = Corrections()


class PinConfirmation(msgspec.Struct, rename="camel", frozen=True):
    """A request to confirm or correct an analysis: `pinId` is its session id, `recordNumber` its `id`. The
    types check the values; a `recordNumber` may also be a string of digits. The last three fields are the
    person's corrections; a price is in US dollars."""

    record_number: int
    pin_id: str
    user_agreement: Agreement
    feedback_comment: Annotated[str, msgspec.Meta(max_length=COMMENT_LIMIT)] | None = None
    corrected_verdict: Verdict | None = None
    corrected_pin_id: Annotated[str, msgspec.Meta(max_length=PIN_ID_LIMIT)] | None = None
    corrected_price: Annotated[float, msgspec.Meta(gt=0, le=HIGHEST_PRICE)] | None = None

    @property
    def corrected(self) -> Corrections:
        return Corrections(self.corrected_verdict, self.corrected_pin_id, self.corrected_price)


def check(*values: object) -> PinConfirmation:
    """Checks a client's values, which may have any type, in the order of the fields of `PinConfirmation`. An
    empty text means that the field is absent.

    Raises `PinactorsError`: `missing_fields`, `invalid_agreement`, `invalid_format`.
    """
    fields = msgspec.structs.fields(PinConfirmation)
    # Fields left out at the end were not sent.
    field_values = [
        (field, None if value == "" else value) for field, value in zip(fields, values, strict=False)
    ]
    absent = [field.encode_name for field, value in field_values if field.required and value is None]
    if absent:
        raise PinactorsError(
            ErrorCode.MISSING_FIELDS,
            "Missing required fields",
            f"Missing: {', '.join(absent)}",
            field=absent[0],
        )
    statement = PinConfirmation(*(_converted(field, value) for field, value in field_values))
    for name, text in (
        ("feedbackComment", statement.feedback_comment or ""),
        ("correctedPinId", statement.corrected_pin_id or ""),
    ):
        if not is_text(text):
            raise invalid_value(name, f"{name} contains characters that are not valid text")
    return statement


def _converted(field: msgspec.structs.FieldInfo, value: object) -> Any:
    name = field.encode_name
    if field.type is int and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:20])
    try:
        return msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        if field.type is Agreement:
            raise PinactorsError(
                ErrorCode.INVALID_AGREEMENT,
                "Invalid agreement",
                f"{name} must be one of {', '.join(Agreement)}",
                field=name,
            ) from None
        raise invalid_field(name, str(error)) from None


def confirm(
    database: peewee.Database, statement: PinConfirmation, owner: str, now: dt.datetime
) -> Confirmation:
    agreement, comment = statement.user_agreement, statement.feedback_comment or ""
    corrected = statement.corrected
    values = (agreement, comment, corrected.verdict, corrected.pin_id, corrected.price)
    session_id = None
    if 0 < statement.record_number <= LARGEST_INTEGER:
        session_id = (
            StoredAnalysis.select(StoredAnalysis.session_id)
            .where(
                StoredAnalysis.id == statement.record_number,
                StoredAnalysis.owner == owner,
                StoredAnalysis.error_code.is_null(),
            )
            .scalar(database)
        )
    if session_id is None or session_id != statement.pin_id:
        # The same answer for an unknown number, another owner and another session: guessing reveals nothing.
        raise PinactorsError(
            ErrorCode.RECORD_NOT_FOUND, "Record not found", "No analysis has this recordNumber and pinId"
        )
    rows = (
        Feedback.select(
            Feedback.id,
            Feedback.agreement,
            Feedback.comment,
            Feedback.verdict,
            Feedback.pin_id,
            Feedback.price,
        )
        .where(Feedback.analysis == statement.record_number)
        .order_by(Feedback.id.desc())
        .tuples()
    )
    history = list(rows.execute(database))
    if not history or history[0][1:] != values:
        Feedback.insert(
            analysis=statement.record_number,
            agreement=agreement,
            comment=comment,
            created_at=now,
            verdict=corrected.verdict,
            pin_id=corrected.pin_id,
            price=corrected.price,
        ).execute(database)
        StoredAnalysis.update(provisional=False).where(StoredAnalysis.id == statement.record_number).execute(
            database
        )
        outdated = [row[0] for row in history[HISTORY_LIMIT - 1 :]]
        if outdated:
            Feedback.delete().where(Feedback.id.in_(outdated)).execute(database)
    return Confirmation(
        statement.record_number, statement.pin_id, agreement, comment, session_id, now, corrected
    )


def provisional(
    database: peewee.Database, owner: str, limit: int, offset: int
) -> tuple[list[UnconfirmedAnalysis], int]:
    provisional_analyses = StoredAnalysis.select().where(
        StoredAnalysis.owner == owner,
        StoredAnalysis.provisional == True,  # noqa: E712 - an index wants an equation
    )
    rows = (
        provisional_analyses.select(
            StoredAnalysis.session_id, StoredAnalysis.id, StoredAnalysis.pin_name, StoredAnalysis.finished_at
        )
        .order_by(StoredAnalysis.id.desc())
        .limit(page_size(limit))
        .offset(min(max(offset, 0), LARGEST_INTEGER))
        .tuples()
        .execute(database)
    )
    pins = [UnconfirmedAnalysis(session_id, number, name or "", at) for session_id, number, name, at in rows]
    total = int(provisional_analyses.select(peewee.fn.COUNT(StoredAnalysis.id)).scalar(database))
    return pins, total


def is_latest() -> Any:
    """The condition that a row of feedback is the latest on its analysis."""
    return Feedback.id.in_(Feedback.select(peewee.fn.MAX(Feedback.id)).group_by(Feedback.analysis))


def opinions(database: peewee.Database) -> list[Opinion]:
    """The latest feedback on every analysis that has feedback, ordered by record number."""
    rows = (
        Feedback.select(
            StoredAnalysis.id,
            StoredAnalysis.verdict,
            StoredAnalysis.pin_id,
            Feedback.agreement,
            Feedback.comment,
            Feedback.verdict,
            Feedback.pin_id,
            Feedback.price,
        )
        .join(StoredAnalysis)
        .where(is_latest())
        .order_by(StoredAnalysis.id)
        .tuples()
        .execute(database)
    )
    feedback_rows = list(rows)
    images: dict[int, dict[str, str]] = {number: {} for number, *_ in feedback_rows}
    image_rows = AnalysisImage.select(AnalysisImage.analysis, AnalysisImage.view, Image.path).join(Image)
    for number, view, path in image_rows.tuples().execute(database):
        if number in images:
            images[number][view] = path
    return [
        Opinion(number, verdict or "", pin_id, agreement, comment, images[number], corrections(*corrected))
        for number, verdict, pin_id, agreement, comment, *corrected in feedback_rows
    ]


def corrections(verdict: str | None, pin_id: str | None, price: float | None) -> Corrections:
    """The corrections in a row's columns."""
    return Corrections(None if verdict is None else Verdict(verdict), pin_id, price)
