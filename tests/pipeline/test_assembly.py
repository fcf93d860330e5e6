"""Packet assembly whatever comes in whatever order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pinactors.pipeline import journal as journals
from pinactors.pipeline.assembly import Assembly, Result
from pinactors.pipeline.course import Course, Outcome
from pinactors.pipeline.journal import Journal
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import (
    PACKET_LIMIT,
    AnalysisComplete,
    AuthenticationResult,
    CharacterIdentification,
    ConnectionEstablished,
    DetailedAnalysis,
    ErrorCode,
    ErrorPacket,
    HtmlDisplayData,
    Packet,
    PricingAnalysis,
    decode,
    timed_out,
)
from tests.pipeline.fakes import COMPONENTS

OF = {component.packet: component for component in COMPONENTS}

texts = st.text(max_size=40)
results = st.one_of(
    st.builds(timed_out),
    st.builds(lambda text: DetailedAnalysis(analysis=text, details={"a": text}), texts),
    st.builds(lambda text: HtmlDisplayData(front_html=text), texts),
    st.builds(lambda text: PricingAnalysis(pricing=text, estimate=None), texts),
    st.builds(
        lambda text: CharacterIdentification(characters=text, identification=text, candidates=[]), texts
    ),
)
steps = st.lists(
    st.one_of(
        results,
        st.sampled_from(COMPONENTS),  # ends without a packet
        st.builds(
            lambda text: ErrorPacket(message=text, error=text, error_code=ErrorCode.PROCESSING_ERROR), texts
        ),
        st.builds(lambda: AnalysisComplete(id=1, message="", processing_time=0, degraded=[], missing=[])),
    ),
    max_size=25,
)
session_ids = st.text(
    alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128
)


@settings(max_examples=150, deadline=None)
@given(session_id=session_ids, given_steps=steps)
def test_no_gap_no_repetition_nothing_after_the_end(session_id: str, given_steps: list[object]) -> None:
    with TemporaryDirectory() as folder:
        course = Course("stream-id-of-a-session", session_id, "", None)
        log = PacketLog(course.stream_id, session_id, "", packets=course.packets)
        failures: list[OSError] = []
        journal = Journal.create(Path(folder), course, failures.append)
        assembly = Assembly(course, log, journal)
        assembly.write(ConnectionEstablished(message="", stream_id=course.stream_id, deadline_ms=90_000))
        seen: list[tuple[int, bool]] = []
        for step in given_steps:
            if isinstance(step, AnalysisComplete | ErrorPacket):
                assembly.write(msgspec.structs.replace(step))
            elif isinstance(step, Packet):
                assembly.take(Result(OF[type(step)], Outcome.FULL, msgspec.structs.replace(step)))
            else:
                assembly.take(Result(step, Outcome.FAILED, None))  # type: ignore[arg-type]
            seen.append((len(log.packets), log.closed))
        packets = [decode(encoded) for encoded in log.packets]
        kinds = [type(packet) for packet in packets]
        assert len(set(kinds)) == len(kinds)
        assert [packet.sequence for packet in packets] == list(range(len(packets)))
        assert all(packet.session_id == session_id for packet in packets)
        assert all(len(encoded) <= PACKET_LIMIT for encoded in log.packets)
        assert [packet.terminal for packet in packets] == [False] * (len(packets) - 1) + [log.closed]
        grown = [size for size, _ in seen]
        assert grown == sorted(grown)
        assert len(set(course.degraded) & set(course.missing)) == 0
        again = journals.load(journal.path)
        assert again is not None
        assert again.packets == log.packets
        assert (again.outcomes, again.packed) == (course.outcomes, course.packed)
        assert failures == []
        journal.remove()


def test_a_session_that_goes_on_keeps_what_was_written(tmp_path: Path) -> None:
    course = Course("stream-id-of-a-session", "s", "", None)
    log = PacketLog(course.stream_id, "s", "", packets=course.packets)
    journal = Journal.create(tmp_path, course, list[OSError]().append)
    first = Assembly(course, log, journal)
    first.write(ConnectionEstablished(message="", stream_id=course.stream_id, deadline_ms=1))
    first.take(Result(OF[AuthenticationResult], Outcome.TIMED_OUT, timed_out()))
    second = Assembly(course, log, journal)
    second.write(ConnectionEstablished(message="again", stream_id=course.stream_id, deadline_ms=1))
    second.take(Result(OF[AuthenticationResult], Outcome.FULL, timed_out()))
    assert len(log.packets) == 2
    assert course.outcomes == {"authenticity": Outcome.TIMED_OUT}
    journal.remove()
