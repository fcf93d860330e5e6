"""Tests of the figures on answers made by hand: how each answer is counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pinactors.evaluation.answers import Answer
from pinactors.evaluation.dataset import VARIANT_TAG, LabelledPhotoSet, PinKind
from pinactors.evaluation.figures import authenticity, by_tag, identification, pins_of, wrong_answers
from pinactors.protocol import (
    BASIC_NOTE,
    TIMEOUT_NOTE,
    AuthenticationResult,
    Candidate,
    CharacterIdentification,
    Verdict,
    View,
)


def answer(
    number: int, kind: PinKind, rating: int, verdict: Verdict, note: str = "", pin: str = ""
) -> Answer:
    packet = AuthenticationResult(
        authentic=verdict is Verdict.AUTHENTIC,
        authenticity_rating=rating,
        confidence=0.5,
        verdict=verdict,
        evidence=[],
    )
    if note:
        packet.note = note
    return Answer(
        LabelledPhotoSet(str(number), kind, pin or None, (), {"front": Path("front.jpg")}),  # type: ignore[dict-item]
        (packet,),
    )


def test_a_basic_or_timed_out_answer_is_counted_and_its_rating_is_not() -> None:
    genuine, fake = PinKind.GENUINE, PinKind.COUNTERFEIT
    answers = [
        answer(0, genuine, 90, Verdict.AUTHENTIC, pin="A"),
        answer(1, fake, 10, Verdict.COUNTERFEIT, pin="B"),
        # Counting either would halve the AUC: their ratings say how much was seen, not how likely a pin is
        # genuine.
        answer(2, genuine, 5, Verdict.UNDETERMINED, BASIC_NOTE, pin="C"),
        answer(3, fake, 95, Verdict.UNDETERMINED, BASIC_NOTE, pin="D"),
        answer(4, genuine, 0, Verdict.UNDETERMINED, TIMEOUT_NOTE, pin="E"),
        Answer(answers_without_packet(5), ()),
    ]
    found = authenticity(answers)
    assert found["answers"] == {"full": 2, "basic": 2, "timed out": 1, "none": 1}
    assert (found["ROC AUC"]["value"], found["ROC AUC"]["n"]) == (1.0, 2)
    assert found["Brier"]["value"] == 0.01
    assert found["genuine called authentic"]["n"] == 3


def answers_without_packet(number: int) -> LabelledPhotoSet:
    return LabelledPhotoSet(str(number), PinKind.GENUINE, "F", (), {})


def test_variants_of_catalogued_pins_are_counted_apart() -> None:
    def unknown(number: int, tags: tuple[str, ...], claimed: bool) -> Answer:
        photo = LabelledPhotoSet(str(number), PinKind.NOT_IN_CATALOG, None, (), {}, tags)
        best = Candidate(pin_id="P1", name="a pin", characters="", series="", year=None, score=0.9)
        packet = CharacterIdentification(
            characters="x", identification="x", candidates=[best], identified=claimed
        )
        return Answer(photo, (packet,))

    variant = ("held_out", VARIANT_TAG)
    found = identification([unknown(1, variant, True), unknown(2, (), False), unknown(3, ("crop",), False)])
    apart = found["variants of catalogued pins claimed"]
    assert (apart["value"], apart["n"]) == (1.0, 1)
    assert (found["unknown pins claimed"]["value"], found["unknown pins claimed"]["n"]) == (0.0, 2)


def test_verdicts_are_shares_of_the_photographs_of_a_kind() -> None:
    answers = [
        answer(number, PinKind.GENUINE, 20, Verdict.COUNTERFEIT if number < 2 else Verdict.AUTHENTIC, pin="A")
        for number in range(4)
    ]
    found = authenticity([*answers, answer(9, PinKind.NOT_IN_CATALOG, 80, Verdict.AUTHENTIC)])
    called = found["genuine called counterfeit"]
    assert (called["value"], called["n"], called["pins"]) == (0.5, 4, 1)
    assert found["unknown pins called authentic"]["value"] == 1.0
    assert found["counterfeits called authentic"]["value"] is None


def test_pins_that_no_catalogue_holds_are_different_pins() -> None:
    unknown = [answer(number, PinKind.NOT_IN_CATALOG, 50, Verdict.UNDETERMINED) for number in range(3)]
    assert len(set(pins_of(unknown))) == 3


def test_figures_by_tag_count_what_carries_it() -> None:
    plain = answer(0, PinKind.GENUINE, 90, Verdict.AUTHENTIC, pin="A")
    tagged = [
        dataclasses.replace(
            answer(number, PinKind.NOT_A_PIN, 3, Verdict.NOT_A_PIN if number == 1 else Verdict.UNDETERMINED),
            photo=LabelledPhotoSet(str(number), PinKind.NOT_A_PIN, None, (), {}, ("coin",)),
        )
        for number in (1, 2, 3)
    ]
    found = by_tag([plain, *tagged])
    assert set(found) == {"not_a_pin: coin"}
    assert found["not_a_pin: coin"] == {
        "photographs": 3,
        "first": 0,
        "claimed and right": 0,
        "claimed and wrong": 0,
        "called no pin": 1,
    }
    assert by_tag(tagged[:2]) == {}, "two photographs are no group"


def test_what_went_wrong_is_named_by_its_picture() -> None:
    def identified(number: int, kind: PinKind, pin: str, ranking: list[str], claimed: bool) -> Answer:
        candidates = [Candidate(one, "a pin", "", "", None, 0.5) for one in ranking]
        packet = CharacterIdentification(
            characters="", identification="", candidates=candidates, identified=claimed
        )
        photo = LabelledPhotoSet(str(number), kind, pin or None, (), {View.FRONT: Path(f"{number}.jpg")})
        return Answer(photo, (packet,))

    doubted = answer(4, PinKind.GENUINE, 10, Verdict.COUNTERFEIT, pin="A")
    found = wrong_answers(
        [
            identified(0, PinKind.GENUINE, "A", ["A", "B"], True),
            identified(1, PinKind.GENUINE, "A", ["A", "B"], False),
            identified(2, PinKind.COUNTERFEIT, "A", ["B", "A"], True),
            identified(3, PinKind.NOT_A_PIN, "", ["B"], True),
            dataclasses.replace(
                doubted, packets=doubted.packets + identified(4, PinKind.GENUINE, "A", ["A"], True).packets
            ),
            answer(5, PinKind.NOT_A_PIN, 90, Verdict.AUTHENTIC),
            answer(6, PinKind.NOT_A_PIN, 50, Verdict.UNDETERMINED),
        ]
    )
    assert found == {
        "right pin not first": ["2.jpg"],
        "right pin first, not claimed": ["1.jpg"],
        "claimed as another pin": ["2.jpg"],
        "claimed, not in the catalogue": ["3.jpg"],
        "genuine, called no pin": [],
        "genuine, called counterfeit": ["front.jpg"],
        "not genuine, called authentic": ["front.jpg"],
    }
