"""What components may declare: names and packet types of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pinactors.pipeline.declaration import Place
from pinactors.protocol import Packet
from tests.pipeline.fakes import ANALYSIS, Seen
from tests.pipeline.opinions import Opinion, component, good, with_component


class Impostor(Packet, tag="ERROR", kw_only=True):
    opinion: str


class Colliding(Packet, tag="COLLIDING", kw_only=True):
    authentic: bool


class Alias(Packet, tag="ALIAS", kw_only=True):
    record_number: int


class Hyphenated(Packet, tag="SECOND-OPINION", kw_only=True):
    score: float


class Foreign(Packet, tag="ÜBER", kw_only=True):
    score: float


class Numbered(Packet, tag=7, kw_only=True):
    score: float


class ThirdOpinion(Packet, tag="THIRD_OPINION", kw_only=True):
    opinion: str


# -- declaring ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (Impostor, "not a component's to make"),
        (Colliding, "fields of other packets: authentic"),
        (Alias, "fields of other packets: recordNumber"),
        (Hyphenated, "'SECOND-OPINION' may have only the characters"),
        (Foreign, "'ÜBER' may have only the characters"),
        (Numbered, "packet type 7 may have only the characters"),
        (Seen, "Seen is not a packet type"),
    ],
)
def test_a_packet_type_may_not_pass_for_another(packet: type[Packet], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ANALYSIS.adding(components=[replace(component(good), packet=packet)])


@pytest.mark.parametrize("name", ["second opinion", "second-opinion", "-", "", "zweite_Meinung_für", "two\n"])
def test_a_name_has_only_characters_that_logs_can_store(name: str) -> None:
    with pytest.raises(ValueError, match="its name may have only the characters"):
        ANALYSIS.adding(components=[replace(component(good), name=name)])


@pytest.mark.parametrize(
    ("name", "packet", "message"),
    [
        ("third", ThirdOpinion, "component third: fields of other packets: opinion"),
        ("third", Opinion, "component third: another component makes the packet type SECOND_OPINION"),
        ("match", ThirdOpinion, "component match: another component or a shared step has this name"),
    ],
)
def test_two_plugins_may_not_collide(name: str, packet: type[Packet], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_component(good).adding(components=[replace(component(good), name=name, packet=packet)])


def test_a_component_of_a_known_name_takes_its_place() -> None:
    ours = replace(ANALYSIS.component("details"), full=good, place=Place.LOOP)
    changed = ANALYSIS.adding(components=[ours])
    assert [each.name for each in changed.components] == [each.name for each in ANALYSIS.components]
    assert changed.component("details").full is good
