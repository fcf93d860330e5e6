"""Tests of the characters packet: it names a pin only if the match claims one, and says why otherwise."""

import dataclasses

import pytest

from pinactors.analysis.model import MAX_CANDIDATES, CatalogPin, Match, MatchCandidate
from pinactors.analysis.report.characters import describe
from pinactors.protocol import PACKET_LIMIT, CharacterIdentification, decode
from tests.analysis.imaging import hostile

PIN = CatalogPin("P1", "Fox in the Garden", ("Fox", "Animal"), "Garden Club", 2019, 300, "ACME", None)
RIVAL = dataclasses.replace(PIN, pin_id="P2", name="Badger", characters=("Badger",), edition_size=None)


def claimed(pin: CatalogPin = PIN) -> Match:
    return Match(
        (MatchCandidate(pin, 0.93456, 57), MatchCandidate(RIVAL, 0.0312, 4)), True, True, catalog_size=240
    )


def test_a_claimed_pin_is_named_with_its_facts() -> None:
    packet = describe(claimed())
    assert packet.characters == "Fox, Animal"
    for fact in (
        "Fox in the Garden",
        "Fox, Animal",
        "Garden Club",
        "2019",
        "300",
        "ACME",
        "93 %",
        "57",
        "240 pins",
    ):
        assert fact in packet.identification
    assert "Badger" not in packet.identification
    assert [(row.pin_id, row.score) for row in packet.candidates] == [("P1", 0.935), ("P2", 0.031)]
    assert "open" in describe(claimed(RIVAL)).identification  # no edition size: an open edition


def test_facts_the_catalogue_does_not_have_are_left_out() -> None:
    bare = CatalogPin("P1", "Fox", (), None, None, None, None, None)
    packet = describe(claimed(bare))
    assert packet.characters == "Fox", "clients show the field as it is, so it is never empty"
    assert "names no characters" in packet.identification
    for term in ("Series", "Year", "Maker", "None"):
        assert term not in packet.identification


@pytest.mark.parametrize(
    ("match", "words"),
    [
        (dataclasses.replace(claimed(), identified=False), "none of them certain"),
        (Match(catalog_size=240, reason="No pin was made out in the photograph."), "No pin was made out"),
    ],
)
def test_without_a_claim_it_says_why(match: Match, words: str) -> None:
    packet = describe(match)
    assert packet.characters == "Not identified"
    assert "Not identified." in packet.identification
    assert words in packet.identification
    assert "<h3>" not in packet.identification


def test_candidates_without_a_claim_are_listed_with_their_scores() -> None:
    packet = describe(dataclasses.replace(claimed(), identified=False))
    assert "Fox in the Garden (Fox, Animal), 93 %" in packet.identification
    assert [row.pin_id for row in packet.candidates] == ["P1", "P2"]


def test_a_list_of_similar_pins_is_announced_only_if_it_has_any() -> None:
    packet = describe(Match((MatchCandidate(PIN, 0.002, 0),), catalog_size=240))
    assert "most similar" not in packet.identification
    assert "<li>" not in packet.identification
    assert len(packet.candidates) == 1


def test_at_most_five_candidates_best_first() -> None:
    many = tuple(
        MatchCandidate(dataclasses.replace(PIN, pin_id=f"P{n}"), 0.4 - n / 100, 5)
        for n in range(MAX_CANDIDATES + 4)
    )
    packet = describe(Match(many, catalog_size=9))
    assert [row.pin_id for row in packet.candidates] == ["P0", "P1", "P2", "P3", "P4"]
    assert packet.identification.count("<li>") == MAX_CANDIDATES


def test_no_match_is_certain() -> None:
    sure = Match((MatchCandidate(PIN, 1.0, 400),), True, True, catalog_size=1)
    assert "99 % likely" in describe(sure).identification
    assert "100 %" not in describe(sure).identification


def test_a_demonstration_says_so() -> None:
    assert b"emonstration" not in describe(claimed()).encode()
    for match in (claimed(), Match()):
        packet = describe(dataclasses.replace(match, demonstration=True))
        assert packet.demonstration is True
        assert "made-up" in packet.identification


@pytest.mark.parametrize("text", hostile.TEXTS)
@pytest.mark.parametrize("identified", [True, False])
def test_hostile_catalogues_stay_text_and_fit(text: str, identified: bool) -> None:
    pin = CatalogPin("P1", text, (text,) * 50, text, 2019, 300, text, text)
    match = Match(
        (MatchCandidate(pin, 0.5, 9),) * 7, identified, True, text, catalog_size=2, demonstration=True
    )
    packet = hostile.stamped(describe(match))
    assert hostile.faults(packet.identification) == []
    encoded = packet.encode()
    assert len(encoded) <= PACKET_LIMIT
    assert isinstance(decode(encoded), CharacterIdentification)
    assert "\u202e" not in encoded.decode()
    assert "\x1b" not in encoded.decode()


def test_an_id_is_whole_or_not_there() -> None:
    long = dataclasses.replace(PIN, pin_id="x" * 4000)
    packet = describe(Match((MatchCandidate(long, 0.5, 9), MatchCandidate(RIVAL, 0.4, 9)), catalog_size=2))
    assert [row.pin_id for row in packet.candidates] == ["P2"]
