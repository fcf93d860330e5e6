"""Tests of the client of the model's server: trust, budgets and pauses."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import httpx  # noqa: ASYNC127 - its trio backend
import pytest
import trio

from pinactors.pipeline.declaration import StepSkipped
from pinactors.vision.client import VisionClient
from pinactors.vision.question import Question
from tests.vision.asking import LIMIT, QUESTION, settings
from tests.vision.playing import playing


def certified(folder: Path) -> ssl.SSLContext:
    """The TLS context of a server with a self-signed certificate for another host."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    where = ["-subj", "/CN=elsewhere.example", "-keyout", str(key), "-out", str(certificate)]
    if subprocess.run([*command, *where], capture_output=True, check=False).returncode:
        pytest.skip("openssl cannot make a certificate here")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_does_not_fit_is_not_trusted(tmp_path: Path) -> None:
    context = certified(tmp_path)
    with trio.fail_after(LIMIT):
        async with playing(certificate=context) as player:
            with pytest.raises(httpx.ConnectError):
                await VisionClient(settings(player.url)).suggestions(None, QUESTION, "")
    assert player.asked == []


async def test_answers_are_kept_and_budgets_are_kept_to() -> None:
    def asked(number: int) -> Question:
        return Question((b"\xff\xd8",), f"key {number}")

    with trio.fail_after(LIMIT):
        async with playing() as player:
            client = VisionClient(settings(player.url, vision_per_minute=3, vision_per_key_per_day=2))
            first = await client.suggestions(None, asked(1), "one")
            assert await client.suggestions(None, asked(1), "two") == first
            assert len(player.asked) == 1
            await client.suggestions(None, asked(2), "one")
            with pytest.raises(StepSkipped, match="key's budget"):
                await client.suggestions(None, asked(3), "one")
            await client.suggestions(None, asked(3), "two")
            with pytest.raises(StepSkipped, match="this minute"):
                await client.suggestions(None, asked(4), "two")
            assert len(player.asked) == 3
        async with playing() as player:
            client = VisionClient(settings(player.url, vision_per_day=1))
            await client.suggestions(None, asked(1), "")
            with pytest.raises(StepSkipped, match="this day"):
                await client.suggestions(None, asked(2), "")


async def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    with trio.fail_after(LIMIT):
        async with playing(fault="429") as player:
            client = VisionClient(settings(player.url))
            with pytest.raises(Exception, match="429"):
                await client.suggestions(None, QUESTION, "")
            player.fault = ""
            with pytest.raises(StepSkipped, match="pause"):
                await client.suggestions(None, QUESTION, "")
            assert len(player.asked) == 1
