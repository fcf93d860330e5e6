"""Packet assembly: any messages in any order give a correct stream."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from pinactors.pipeline.actors.assembly import Assembly
from pinactors.pipeline.actors.messages import (
    Connected,
    Failed,
    Finish,
    Flush,
    Message,
    Repeat,
    Result,
    Started,
)
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.state import Outcome, SessionState, replay
from pinactors.protocol import (
    PACKET_LIMIT,
    TERMINAL,
    AuthenticationResult,
    CharacterIdentification,
    DetailedAnalysis,
    ErrorCode,
    HtmlDisplayData,
    PinactorsError,
    PricingAnalysis,
    decode,
    timed_out,
)
from pinactors.storage.disk import DiskThread
from pinactors.storage.logs.files import LogFile, StoredFile, entries_of
from pinactors.storage.logs.packet_logs import Entry, LogTakenOver, StoredLog
from tests.pipeline.fakes import COMPONENTS, InPlace

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
CODE = ErrorCode.PROCESSING_ERROR
STREAM = "stream-id-of-a-session"
steps = st.lists(
    st.one_of(
        results.map(lambda packet: Result(OF[type(packet)], Outcome.FULL, packet.encoded())),
        st.sampled_from(COMPONENTS).map(lambda component: Result(component, Outcome.FAILED, None)),
        st.builds(lambda text: Failed(PinactorsError(CODE, text, text)), texts),
    ),
    max_size=25,
)
session_ids = st.text(
    alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128
)


class Storage(StoredFile):
    """A stored log in a file, written without a thread."""

    def __init__(self, folder: Path) -> None:
        self.failures: list[OSError] = []
        super().__init__(STREAM, LogFile(folder / f"{STREAM}.journal"), InPlace(), self.failures.append)
        self.folder = folder

    def replayed(self) -> SessionState | None:
        return replay(entries_of((self.folder / f"{STREAM}.journal").read_bytes()))


async def assemble(
    state: SessionState, log: PacketLog, stored: StoredLog, given: list[Message], *, together: bool = False
) -> None:
    """Sends all messages of `given` to an `Assembly`, which writes each by itself, or all at once if
    `together`."""
    messages, received = trio.open_memory_channel[Message](len(given) + 1)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            if not together:
                nursery.start_soon(Assembly(state, log, stored, received).run)
            for message in given:
                await messages.send(message)
                if not together:
                    written = trio.Event()
                    await messages.send(Flush(written))
                    await written.wait()
                    assert log.packets == state.packets
            messages.close()
            if together:
                nursery.start_soon(Assembly(state, log, stored, received).run)


@settings(max_examples=150)
@given(session_id=session_ids, given_steps=steps, together=st.booleans(), drawn=st.booleans())
def test_no_gap_no_repetition_nothing_after_the_end(
    session_id: str, given_steps: list[Any], together: bool, drawn: bool
) -> None:
    with TemporaryDirectory() as folder:
        state = SessionState(STREAM, session_id, "", None, facts={"demonstration": True} if drawn else {})
        log = PacketLog(STREAM, session_id, "")
        stored = Storage(Path(folder))
        messages: list[Message] = [Connected(90_000), *given_steps]
        trio.run(partial(assemble, state, log, stored, messages, together=together))
        packets = [decode(encoded) for encoded in log.packets]
        kinds = [type(packet) for packet in packets]
        assert len(set(kinds)) == len(kinds)
        assert [packet.sequence for packet in packets] == list(range(len(packets)))
        assert all(packet.session_id == session_id for packet in packets)
        assert all(len(encoded) <= PACKET_LIMIT for encoded in log.packets)
        assert all((packet.demonstration is True) == drawn for packet in packets)
        assert [packet.packet_type in TERMINAL for packet in packets] == [
            *[False] * (len(packets) - 1),
            log.closed,
        ]
        assert len(set(state.degraded) & set(state.missing)) == 0
        again = stored.replayed()
        assert again is not None
        assert log.packets == state.packets == again.packets
        assert (again.outcomes, again.with_packet) == (state.outcomes, state.with_packet)
        assert again.facts == state.facts
        assert stored.failures == []


@pytest.mark.parametrize(
    ("waiting", "message"),
    [
        (0, "Analysis started"),
        (1, "Analysis started; another is waiting for this server"),
        (7, "Analysis started; 7 others are waiting for this server"),
    ],
)
async def test_who_starts_hears_how_many_wait(tmp_path: Path, waiting: int, message: str) -> None:
    state, log = SessionState(STREAM, "s", "", None), PacketLog(STREAM, "s", "")
    await assemble(state, log, Storage(tmp_path), [Connected(1), Started(1.0, waiting)])
    assert msgspec.json.decode(log.packets[-1])["message"] == message


async def test_a_session_that_goes_on_keeps_what_was_written(tmp_path: Path) -> None:
    state = SessionState(STREAM, "s", "", None)
    log = PacketLog(STREAM, "s", "")
    stored = Storage(tmp_path)
    component = OF[AuthenticationResult]
    await assemble(
        state, log, stored, [Connected(1), Result(component, Outcome.TIMED_OUT, timed_out().encoded())]
    )
    again = stored.replayed()
    assert again is not None
    await assemble(again, log, stored, [Connected(2), Result(component, Outcome.FULL, timed_out().encoded())])
    assert len(log.packets) == 2
    assert again.outcomes == {"authenticity": Outcome.TIMED_OUT}


async def test_a_finished_session_is_sealed_before_its_readers_have_the_last_packet(tmp_path: Path) -> None:
    state = SessionState(STREAM, "s", "", None)
    log = PacketLog(STREAM, "s", "")

    class Sealing(Storage):
        sealed: Entry | None = None

        async def seal(self, final: Entry) -> None:
            assert not log.closed
            self.sealed = final
            await super().seal(final)

    stored = Sealing(tmp_path)
    final = b'{"packetType":"ANALYSIS_COMPLETE","id":7}'
    await assemble(state, log, stored, [Connected(1), Finish(final), Failed(PinactorsError(CODE, "late"))])
    assert stored.sealed == Entry("P - -", final)
    assert log.packets[1:] == [final]
    assert log.closed
    assert not (tmp_path / f"{STREAM}.journal").exists()


async def test_what_is_not_kept_is_not_read(tmp_path: Path) -> None:
    """While the disk is slow, the event loop runs on; a packet reaches readers only after it was written."""
    slow, release = trio.Event(), threading.Event()
    log = PacketLog(STREAM, "s", "")

    class SlowFile(LogFile):
        def append(self, lines: bytes) -> None:
            trio.from_thread.run_sync(slow.set)
            assert release.wait(60)
            super().append(lines)

    disk = DiskThread()
    stored = StoredFile(STREAM, SlowFile(tmp_path / "log"), disk, list[OSError]().append)
    state = SessionState(STREAM, "s", "", None)
    messages, received = trio.open_memory_channel[Message](2)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(disk.serve)
            nursery.start_soon(Assembly(state, log, stored, received).run)
            messages.send_nowait(Connected(1))
            await slow.wait()
            await trio.testing.wait_all_tasks_blocked()
            assert log.packets == state.packets == []
            release.set()
            await log.wait_beyond(0)
            assert log.packets[0] in (tmp_path / "log").read_bytes()
            messages.close()
            disk.close()


async def test_a_log_that_was_taken_over_is_not_written_to(tmp_path: Path) -> None:
    class TakenOver(Storage):
        async def append(self, entries: Sequence[Entry]) -> None:
            await trio.lowlevel.checkpoint()
            raise LogTakenOver

    log = PacketLog(STREAM, "s", "")
    messages, received = trio.open_memory_channel[Message](1)
    messages.send_nowait(Connected(1))
    with pytest.raises(LogTakenOver):
        await Assembly(SessionState(STREAM, "s", "", None), log, TakenOver(tmp_path), received).run()
    assert log.packets == []


async def test_a_repeated_packet_is_stamped_anew(tmp_path: Path) -> None:
    """Its session id and sequence number are replaced, also if only a plug-in declares its type."""
    state, log = SessionState(STREAM, "s", "", None), PacketLog(STREAM, "s", "")
    head = b'{"packetType":"SECOND_OPINION","sessionId":"\\",\\"sequence\\":7","timestamp":"t"'
    packet = head + b',"sequence":5,"x":1}'
    await assemble(state, log, Storage(tmp_path), [Connected(1), Repeat(packet), Repeat(packet)])
    (repeated,) = log.packets[1:]
    read = msgspec.json.decode(repeated)
    assert (read["sessionId"], read["sequence"], read["x"]) == ("s", 1, 1)
    assert dt.datetime.fromisoformat(read["timestamp"]).tzinfo is not None, "a new time"
