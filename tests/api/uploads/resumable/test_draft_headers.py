"""The header fields of resumable uploads, version by version of the draft."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import Headers

from pinactors.api.uploads.resumable import draft_headers as draft
from pinactors.protocol import PinactorsError

VERSION_FIELD = draft.VERSION_FIELD
TYPE = draft.PARTIAL_TYPE


@pytest.mark.parametrize(
    ("fields", "version", "supported_version", "complete"),
    [
        ({VERSION_FIELD: "3", "Upload-Incomplete": "?0"}, 3, 3, True),
        ({VERSION_FIELD: "3", "Upload-Incomplete": "?1"}, 3, 3, False),
        ({VERSION_FIELD: "3", "Upload-Complete": "?1"}, 3, 3, None),
        ({VERSION_FIELD: "5", "Upload-Complete": "?1"}, 5, 5, True),
        ({VERSION_FIELD: "5", "Upload-Incomplete": "?1"}, 5, 5, None),
        ({VERSION_FIELD: "6", "Upload-Complete": "?0"}, 6, 6, False),
        ({VERSION_FIELD: "8", "upload-complete": " ?1 "}, 8, 8, True),
        ({VERSION_FIELD: "8", "Upload-Complete": "?0;a=1"}, 8, 8, False),
        ({VERSION_FIELD: "8;a", "Upload-Complete": '?1; *b="\\"c;";d'}, 8, 8, True),
        ({VERSION_FIELD: "8", "Upload-Complete": "?1;"}, 8, 8, None),
        ({VERSION_FIELD: "8", "Upload-Complete": '?1;a="b'}, 8, 8, None),
        ({VERSION_FIELD: "4", "Upload-Complete": "?1"}, 4, None, True),
        ({VERSION_FIELD: "7", "Upload-Complete": "?1"}, 7, None, True),
        ({VERSION_FIELD: "99", "Upload-Complete": "?1"}, 8, None, True),
        ({VERSION_FIELD: "three", "Upload-Complete": "?1"}, 8, None, True),
        ({"Upload-Complete": "?1"}, 8, None, True),
        ({VERSION_FIELD: "8", "Upload-Complete": "1"}, 8, 8, None),
        ({VERSION_FIELD: "8", "Upload-Complete": "true"}, 8, 8, None),
        ({VERSION_FIELD: "8"}, 8, 8, None),
    ],
)
def test_completeness_is_read_as_its_version_has_it(
    fields: dict[str, str], version: int, supported_version: int | None, complete: bool | None
) -> None:
    upload_request = draft.read(Headers(fields))
    assert (upload_request.version, upload_request.supported_version, upload_request.complete) == (
        version,
        supported_version,
        complete,
    )
    assert upload_request.resumes(True) == (complete is not None)
    assert upload_request.resumes(False) == (complete is False)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("0", 0), (" 12 ", 12), ("", None), ("-1", None), ("1.0", None), ("1_000", None), ("٣", None)],
        *[("9" * 15, 10**15 - 1), ("9" * 16, None), ("0x10", None), ("7;a=1", 7)],
    ],
)
def test_numbers_that_are_none_are_ignored(text: str, number: int | None) -> None:
    upload_request = draft.read(Headers({"Upload-Offset": text, "Upload-Length": text}))
    assert (upload_request.offset, upload_request.length) == (number, number)


@pytest.mark.parametrize(
    ("version", "said", "completes"),
    [
        ("3", {}, True),
        ("3", {"Upload-Incomplete": "?1"}, False),
        ("5", {}, True),
        ("5", {"Upload-Complete": "?0"}, False),
        ("6", {}, False),
        ("6", {"Upload-Complete": "?1"}, True),
        ("8", {}, False),
        ("8", {"Upload-Complete": "?1"}, True),
    ],
)
def test_an_append_completes_as_its_version_has_it(
    version: str, said: dict[str, str], completes: bool
) -> None:
    assert draft.read(Headers({VERSION_FIELD: version, **said})).completes is completes


@pytest.mark.parametrize("version", ["3", "5", "6", "8"])
def test_from_version_6_on_an_append_has_a_media_type_of_its_own(version: str) -> None:
    upload_request = draft.read(Headers({VERSION_FIELD: version, "Upload-Offset": "7"}))
    assert draft.check_append(upload_request, TYPE) == 7
    assert draft.check_append(upload_request, f"{TYPE.upper()}; x=y") == 7
    if int(version) >= 6:
        with pytest.raises(PinactorsError) as caught:
            draft.check_append(upload_request, "image/jpeg")
        assert (caught.value.status, caught.value.field) == (415, "Content-Type")
    else:
        assert draft.check_append(upload_request, "image/jpeg") == 7


def test_an_append_without_an_offset_is_refused() -> None:
    with pytest.raises(PinactorsError) as caught:
        draft.check_append(draft.read(Headers({"Upload-Offset": "here"})), TYPE)
    assert caught.value.field == "Upload-Offset"


@pytest.mark.parametrize(
    ("fields", "offset", "length"),
    [
        ({"Upload-Complete": "?1", "Content-Length": "30"}, 0, 30),
        ({"Upload-Complete": "?1", "Content-Length": "30"}, 70, 100),
        ({"Upload-Complete": "?0", "Content-Length": "30"}, 0, None),
        ({"Upload-Complete": "?0", "Content-Length": "30", "Upload-Length": "100"}, 0, 100),
        ({"Upload-Complete": "?1", "Content-Length": "30", "Upload-Length": "100"}, 70, 100),
        ({"Upload-Complete": "?1"}, 70, None),
    ],
)
def test_the_length_follows_from_what_is_said(
    fields: dict[str, str], offset: int, length: int | None
) -> None:
    assert draft.read(Headers({VERSION_FIELD: "8", **fields})).whole_length(offset) == length


def test_two_lengths_at_once_are_refused() -> None:
    upload_request = draft.read(
        Headers({"Upload-Complete": "?1", "Content-Length": "30", "Upload-Length": "99"})
    )
    with pytest.raises(PinactorsError) as caught:
        upload_request.whole_length(70)
    assert caught.value.field == "Upload-Length"


@pytest.mark.parametrize("field", ["Upload-Offset", "Upload-Complete", "Upload-Incomplete"])
@pytest.mark.parametrize("version", ["3", "5", "6", "8"])
def test_a_question_may_not_tell_up_to_version_5(version: str, field: str) -> None:
    fields = Headers({VERSION_FIELD: version, field: "?0"})
    if int(version) >= 6:
        draft.check_question(draft.read(fields), fields)
    else:
        with pytest.raises(PinactorsError):
            draft.check_question(draft.read(fields), fields)


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ("3", {"Upload-Offset": "7", "Upload-Incomplete": "?1"}),
        ("5", {"Upload-Offset": "7", "Upload-Complete": "?0"}),
        ("6", {"Upload-Offset": "7", "Upload-Complete": "?0", "Upload-Length": "9"}),
        ("8", {"Upload-Offset": "7", "Upload-Complete": "?0", "Upload-Length": "9"}),
    ],
)
def test_a_state_is_told_in_the_version_of_whoever_asks(version: str, fields: dict[str, str]) -> None:
    assert (
        draft.state(draft.read(Headers({VERSION_FIELD: version})), complete=False, offset=7, length=9)
        == fields
    )


@pytest.mark.parametrize("version", ["3", "5", "6", "8"])
def test_informational_responses_name_the_version(version: str) -> None:
    upload_request = draft.read(Headers({VERSION_FIELD: version}))
    first = draft.created(upload_request, "/mobile-upload/x", draft.limits(100, 60.5))
    assert (first[VERSION_FIELD], first["Location"]) == (version, "/mobile-upload/x")
    assert first.get("Upload-Limit") == ("max-size=100, max-age=60" if int(version) >= 6 else None)
    later = draft.progress(upload_request, 7)
    assert later == ({VERSION_FIELD: version, "Upload-Offset": "7"} if int(version) >= 5 else None)
