"""Tests of the form and the bounds of settings."""

from __future__ import annotations

import math

import pydantic
import pytest

from pinactors.settings import Settings

DURATIONS = [name for name, field in Settings.model_fields.items() if field.annotation is float]


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e10])
@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_that_nothing_can_calculate_with_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        Settings.model_validate({name: value})
    assert [problem["loc"] for problem in refused.value.errors()] == [(name,)]


@pytest.mark.parametrize("host", ["[::1]", "::1"])
def test_an_address_may_have_the_brackets_of_a_url(host: str) -> None:
    assert Settings(host=host).host == "::1"
