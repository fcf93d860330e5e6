"""What people say about analyses. Every function runs inside a transaction of its caller."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import peewee

from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.records.models import Analysis, AnalysisImage, Feedback, Image

AGREEMENTS = ("agree", "disagree")

COMMENT_LIMIT = 2000
"""Characters of one comment."""

HISTORY_LIMIT = 50
"""Rows one analysis keeps: a client that repeats itself for ever fills no disk."""

PAGE_LIMIT = 200
_LARGEST_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Confirmation:
    record_number: int
    pin_id: str
    user_agreement: str
    feedback_comment: str
    session_id: str
    confirmed_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ProvisionalPin:
    """An analysis without a confirmation. `pin_id` is its session id, as the clients have it; `name` that of
    the catalogue pin it claimed, empty when it claimed none."""

    pin_id: str
    record_number: int
    name: str
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a person's latest word makes of an analysis: what it had said, and the photographs it had seen.

    `images` are paths in the images folder, or elsewhere, by view; `pin_id` the catalogue pin it claimed.
    """

    record_number: int
    verdict: str
    pin_id: str | None
    agreement: str
    comment: str
    images: dict[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """A checked request to confirm."""

    record_number: int
    pin_id: str
    agreement: str
    comment: str


def check(record_number: object, pin_id: object, agreement: object, comment: object) -> Statement:
    """The statement in a client's values, whatever they are.

    Raises `PinactorsError`: `missing_fields`, `invalid_agreement`, `invalid_format`.
    """
    given = {"recordNumber": record_number, "pinId": pin_id, "userAgreement": agreement}
    absent = [name for name, value in given.items() if value is None or value == ""]
    if absent:
        raise PinactorsError(
            ErrorCode.MISSING_FIELDS,
            "Missing required fields",
            f"Missing: {', '.join(absent)}",
            field=absent[0],
        )
    if agreement not in AGREEMENTS:
        raise PinactorsError(
            ErrorCode.INVALID_AGREEMENT,
            "Invalid agreement",
            f"userAgreement must be one of {', '.join(AGREEMENTS)}",
            field="userAgreement",
        )
    if isinstance(record_number, str) and record_number.isascii() and record_number.isdigit():
        record_number = int(record_number[:20])
    if not isinstance(record_number, int) or isinstance(record_number, bool):
        raise _invalid("recordNumber", "recordNumber must be an integer")
    if not isinstance(pin_id, str):
        raise _invalid("pinId", "pinId must be text")
    if comment is None:
        comment = ""
    if not isinstance(comment, str) or len(comment) > COMMENT_LIMIT:
        raise _invalid(
            "feedbackComment", f"feedbackComment must be text of at most {COMMENT_LIMIT} characters"
        )
    if "\0" in comment or any("\ud800" <= character <= "\udfff" for character in comment):
        raise _invalid("feedbackComment", "feedbackComment holds characters that are no text")
    return Statement(record_number, pin_id, str(agreement), comment)


def _invalid(field: str, detail: str) -> PinactorsError:
    return PinactorsError(ErrorCode.INVALID_FORMAT, f"Invalid {field}", detail, field=field)


def confirm(database: peewee.Database, statement: Statement, owner: str, now: dt.datetime) -> Confirmation:
    session_id = None
    if 0 < statement.record_number <= _LARGEST_NUMBER:
        session_id = (
            Analysis.select(Analysis.session_id)
            .where(
                Analysis.id == statement.record_number,
                Analysis.owner == owner,
                Analysis.error_code.is_null(),
            )
            .scalar(database)
        )
    if session_id is None or session_id != statement.pin_id:
        # One answer for an unknown number, another owner's and another session's: guessing teaches nothing.
        raise PinactorsError(
            ErrorCode.RECORD_NOT_FOUND, "Record not found", "No analysis has this recordNumber and pinId"
        )
    rows = (
        Feedback.select(Feedback.id, Feedback.agreement, Feedback.comment)
        .where(Feedback.analysis == statement.record_number)
        .order_by(Feedback.id.desc())
        .tuples()
    )
    history = list(rows.execute(database))
    if not history or history[0][1:] != (statement.agreement, statement.comment):
        Feedback.insert(
            analysis=statement.record_number,
            agreement=statement.agreement,
            comment=statement.comment,
            created_at=now,
        ).execute(database)
        Analysis.update(provisional=False).where(Analysis.id == statement.record_number).execute(database)
        surplus = [row[0] for row in history[HISTORY_LIMIT - 1 :]]
        if surplus:
            Feedback.delete().where(Feedback.id.in_(surplus)).execute(database)
    return Confirmation(
        statement.record_number, statement.pin_id, statement.agreement, statement.comment, session_id, now
    )


def provisional(
    database: peewee.Database, owner: str, limit: int, offset: int
) -> tuple[list[ProvisionalPin], int]:
    open_ones = Analysis.select().where(Analysis.owner == owner, Analysis.provisional == True)  # noqa: E712 - an index wants an equation
    rows = (
        open_ones.select(Analysis.session_id, Analysis.id, Analysis.pin_name, Analysis.finished_at)
        .order_by(Analysis.id.desc())
        .limit(min(max(limit, 1), PAGE_LIMIT))
        .offset(min(max(offset, 0), _LARGEST_NUMBER))
        .tuples()
        .execute(database)
    )
    pins = [ProvisionalPin(session_id, number, name or "", at) for session_id, number, name, at in rows]
    total = int(open_ones.select(peewee.fn.COUNT(Analysis.id)).scalar(database))
    return pins, total


def opinions(database: peewee.Database) -> list[Opinion]:
    """The latest feedback on every analysis that has some, by record number."""
    latest = Feedback.select(peewee.fn.MAX(Feedback.id)).group_by(Feedback.analysis)
    rows = (
        Feedback.select(Analysis.id, Analysis.verdict, Analysis.pin_id, Feedback.agreement, Feedback.comment)
        .join(Analysis)
        .where(Feedback.id.in_(latest))
        .order_by(Analysis.id)
        .tuples()
        .execute(database)
    )
    said = list(rows)
    images: dict[int, dict[str, str]] = {number: {} for number, *_ in said}
    seen = AnalysisImage.select(AnalysisImage.analysis, AnalysisImage.view, Image.path).join(Image)
    for number, view, path in seen.tuples().execute(database):
        if number in images:
            images[number][view] = path
    return [
        Opinion(number, verdict or "", pin_id, agreement, comment, images[number])
        for number, verdict, pin_id, agreement, comment in said
    ]
