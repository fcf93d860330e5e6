"""Tests of errors: they survive a process's border, and keep no frames in memory."""

from __future__ import annotations

import pickle

import pytest

from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.protocol.errors import forget_frames, invalid_field


def test_an_error_comes_back_from_another_process_as_it_was() -> None:
    error = PinactorsError(
        ErrorCode.OVERLOADED, "Busy", "try later", field="f", view="back", retry_after=2.5, status=503
    )
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == vars(error)
    assert str(again) == "Busy: try later"
    assert str(PinactorsError(ErrorCode.CANCELLED, "Cancelled")) == "Cancelled", "the detail is the message"


def test_an_invalid_field_is_named() -> None:
    error = invalid_field("frontRegion", "it is no box")
    assert (error.code, error.field) == (ErrorCode.INVALID_FORMAT, "frontRegion")
    assert (error.message, error.detail) == ("Invalid frontRegion", "frontRegion: it is no box")


def fail() -> None:
    try:
        raise ValueError("the cause")
    except ValueError as cause:
        raise PinactorsError(ErrorCode.INVALID_FORMAT, "Invalid") from cause


def test_frames_are_forgotten_also_of_what_caused_the_error() -> None:
    with pytest.raises(PinactorsError) as caught:
        fail()
    error = caught.value
    assert error.__traceback__ is not None
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is not None
    forget_frames(error)
    assert (error.__traceback__, error.__cause__.__traceback__) == (None, None)
