"""Tests of adding a second engine's suggestions to packets."""

from __future__ import annotations

from pinactors.analysis.report.suggestions import characters_with, details_with
from pinactors.protocol import CharacterIdentification, DetailedAnalysis, Suggestion

SUGGESTED = [
    Suggestion(text="<Otto>", kind="character", source="a model"),
    Suggestion(text="an otter", kind="description", source="a model"),
]


def identified(context: str, name: str) -> CharacterIdentification:
    return CharacterIdentification(identification=f"<p>{name}</p>", characters=name, candidates=[])


def described(context: str) -> DetailedAnalysis:
    return DetailedAnalysis(analysis="<p>gold</p>", details={})


def test_each_packet_shows_its_own_kinds_and_has_all() -> None:
    characters = characters_with(identified, "context", SUGGESTED, "Fox")
    assert characters.identification.startswith("<p>Fox</p>")
    assert "Suggested by a model, not verified:" in characters.identification
    assert "character: &lt;Otto&gt;" in characters.identification
    assert "an otter" not in characters.identification
    assert characters.suggestions == SUGGESTED
    details = details_with(described, "context", SUGGESTED)
    assert "description: an otter" in details.analysis
    assert "Otto" not in details.analysis
    assert details.suggestions == SUGGESTED


def test_without_suggestions_a_packet_is_as_it_was() -> None:
    for suggestions in (None, []):
        assert characters_with(identified, "context", suggestions, "Fox") == identified("context", "Fox")
    kept = details_with(described, "context", SUGGESTED[:1])
    assert kept.analysis == "<p>gold</p>", "none of its kinds"
    assert kept.suggestions == SUGGESTED[:1]
