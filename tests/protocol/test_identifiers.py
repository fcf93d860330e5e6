"""The form of stream ids."""

from __future__ import annotations

import pytest

from pinactors.protocol import is_stream_id, new_stream_id


def test_a_new_stream_id_has_the_form_of_one() -> None:
    assert is_stream_id(new_stream_id())


@pytest.mark.parametrize("text", ["", "a" * 15, "a" * 65, "../secret-of-another", "a" * 16 + "\n", "é" * 16])
def test_what_could_be_no_files_name_or_is_too_short_to_be_unguessable_is_none(text: str) -> None:
    assert not is_stream_id(text)
