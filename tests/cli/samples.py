"""Calls commands in this process, and makes stored packets of a session for those that read them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
from typer.testing import CliRunner, Result

from pinactors.cli import app
from pinactors.protocol import AnalysisComplete, AuthenticationResult, Evidence, Packet, Verdict, timestamp

RUNNER = CliRunner()


def call(*arguments: str | Path) -> Result:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


def packets(verdict: Verdict) -> list[bytes]:
    """A session's packets without the last one."""
    packet = AuthenticationResult(
        authentic=verdict is Verdict.AUTHENTIC,
        authenticity_rating=30,
        confidence=0.5,
        verdict=verdict,
        evidence=[Evidence("colour", "The red is duller than the catalogue's.", -0.8)],
        advice=["Photograph the back."],
    )
    return [stamped(packet, 0)]


def seal(number: int) -> bytes:
    """The last packet, for the record `number`."""
    packet = AnalysisComplete(id=number, message="Done", processing_time=1500, degraded=[], missing=[])
    return stamped(packet, 1)


def stamped(packet: Packet, sequence: int) -> bytes:
    packet.session_id, packet.timestamp, packet.sequence = "260630120000", timestamp(), sequence
    return msgspec.json.encode(packet)


def process(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pinactors", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
