"""Tests of what is asked of a model, and of what is taken from its answers."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest

from pinactors.vision.answers import request, suggestions
from pinactors.vision.question import Question


def completion(content: object, **message: object) -> bytes:
    text = content if content is None or isinstance(content, str) else json.dumps(content)
    return json.dumps({"choices": [{"message": {"content": text, **message}}]}).encode()


def test_pictures_are_sent_with_the_schema_of_the_answer() -> None:
    asked = request(Question((b"front", b"back"), "key"), "a-model")
    assert (asked["model"], asked["temperature"]) == ("a-model", 0)
    text, *pictures = asked["messages"][-1]["content"]
    assert text["type"] == "text"
    sent = [picture["image_url"]["url"].partition("base64,")[2] for picture in pictures]
    assert [base64.b64decode(each) for each in sent] == [b"front", b"back"]
    assert asked["response_format"]["json_schema"]["strict"] is True


def test_texts_are_one_line_each_and_not_repeated() -> None:
    answer = {
        "characters": ["Otto\n", "Otto", ""],
        "series": "Pond",
        "inscriptions": ["A\tB"],
        "description": "",
    }
    found = suggestions(completion(answer), "a <model>")
    assert [(one.kind, one.text) for one in found] == [
        ("character", "Otto"),
        ("series", "Pond"),
        ("inscription", "A B"),
    ]
    assert {one.source for one in found} == {"a <model>"}


def test_a_refusal_suggests_nothing() -> None:
    assert suggestions(completion(None), "m") == []
    assert suggestions(completion({"characters": ["Otto"]}, refusal="no"), "m") == []


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"choices": []}', completion("no JSON"), completion({"characters": 1})]
)
def test_what_follows_no_schema_is_an_error(body: bytes) -> None:
    with pytest.raises((ValueError, msgspec.DecodeError)):
        suggestions(body, "m")
