"""Collects the engine's answers to labelled photographs through the real pipeline and its workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import trio

from pinactors.evaluation.dataset import LabelledPhotoSet
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import (
    AnalysisComplete,
    AuthenticationResult,
    CharacterIdentification,
    DetailedAnalysis,
    ErrorPacket,
    Packet,
    PricingAnalysis,
    decode,
)

P = TypeVar("P", bound=Packet)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one photo set: its packets as a client receives them, in order."""

    photo: LabelledPhotoSet
    packets: tuple[Packet, ...]

    def packet(self, kind: type[P]) -> P | None:
        return next((packet for packet in self.packets if isinstance(packet, kind)), None)

    @property
    def authenticity(self) -> AuthenticationResult | None:
        return self.packet(AuthenticationResult)

    @property
    def characters(self) -> CharacterIdentification | None:
        return self.packet(CharacterIdentification)

    @property
    def pricing(self) -> PricingAnalysis | None:
        return self.packet(PricingAnalysis)

    @property
    def details(self) -> dict[str, Any]:
        packet = self.packet(DetailedAnalysis)
        return packet.details if packet else {}

    @property
    def error(self) -> ErrorPacket | None:
        return self.packet(ErrorPacket)

    @property
    def milliseconds(self) -> int | None:
        packet = self.packet(AnalysisComplete)
        return packet.processing_time if packet else None

    @property
    def ranking(self) -> list[str]:
        """Candidates' pin ids, best first."""
        return [candidate.pin_id for candidate in self.characters.candidates] if self.characters else []

    @property
    def claimed(self) -> str | None:
        """The id of the pin that the answer identifies; None if it identifies none."""
        characters = self.characters
        return characters.candidates[0].pin_id if characters and characters.identified else None

    @property
    def score(self) -> float:
        """The score of the best candidate; 0 if there is none."""
        return self.characters.candidates[0].score if self.characters and self.characters.candidates else 0.0


async def collect(
    photos: tuple[LabelledPhotoSet, ...],
    analyse: Callable[[LabelledPhotoSet], Awaitable[PacketLog]],
    at_once: int,
    progress: Callable[[int, int], None],
) -> list[Answer]:
    """Answers in the order of `photos`; `analyse(photo)` opens a session and returns its log.

    `at_once` sessions run at a time; it should be the number of workers, so that no session waits for
    another.
    """
    answers: list[Answer | None] = [None] * len(photos)
    limit = trio.CapacityLimiter(at_once)
    done = 0

    async def one(number: int, photo: LabelledPhotoSet) -> None:
        nonlocal done
        async with limit:
            log = await analyse(photo)
            await log.wait_closed()
        answers[number] = Answer(photo, tuple(decode(packet) for packet in log.packets))
        done += 1
        progress(done, len(photos))

    async with trio.open_nursery() as nursery:
        for number, photo in enumerate(photos):
            nursery.start_soon(one, number, photo, name=f"<evaluate {photo.photo_id}>")
    return [answer for answer in answers if answer is not None]
